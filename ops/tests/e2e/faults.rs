//! A short run of the randomised faults, always the same; `cargo ops test faults` goes on for as long as one likes.

use crate::stack::{alone, said, sluice};

#[test]
fn a_short_run_of_drawn_faults_finds_nothing() {
    let _alone = alone();
    let output = sluice(&[
        "test",
        "faults",
        "--no-build",
        "--seed",
        "1",
        "--minutes",
        "0.5",
    ]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(
        text.contains(" rounds in ") && text.contains(" 0 findings"),
        "{text}"
    );
}

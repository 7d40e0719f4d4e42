//! House rules of every Rust file: why it exists, nothing left for later, tests that wait for
//! conditions, one subject a file.

use super::lexer::{code_of, only_tests};
use super::{Checkout, Finding, SourceFile};
use crate::failure::Outcome;

/// Longer files hold more than one subject.
const MAX_LINES: usize = 800;

/// What is left for later has an issue, not a place in the code.
const LATER: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

/// How the name of a function begins that waits for a condition, and may pause between two looks.
const WAITS: [&str; 5] = ["wait", "until", "eventually", "poll", "within"];

pub(super) fn check(checkout: &Checkout) -> Outcome<Vec<Finding>> {
    Ok(checkout.rust().flat_map(breaches).collect())
}

fn breaches(file: &SourceFile) -> Vec<Finding> {
    let code = code_of(&file.text);
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") && !file.text.starts_with("#![doc") {
        findings.push(Finding::new(
            &file.path,
            1,
            "does not say why it exists (`//!`)",
        ));
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        let what = format!("has {lines} lines, more than {MAX_LINES}: split it by subject");
        findings.push(Finding::new(&file.path, 0, what));
    }
    for (at, line) in file.text.lines().enumerate() {
        if LATER.iter().any(|word| line.contains(word)) {
            findings.push(Finding::new(
                &file.path,
                at + 1,
                "leaves something for later",
            ));
        }
    }
    for (at, line) in code.lines().enumerate() {
        if line.contains("#[ignore") {
            findings.push(Finding::new(
                &file.path,
                at + 1,
                "a test that does not run is no test",
            ));
        }
        if line.contains("todo!(") || line.contains("unimplemented!(") {
            findings.push(Finding::new(
                &file.path,
                at + 1,
                "leaves something for later",
            ));
        }
    }
    findings.extend(naps(file, &code));
    findings
}

/// Sleeps in tests that wait for nothing.
fn naps(file: &SourceFile, code: &str) -> Vec<Finding> {
    let in_tests = file
        .path
        .components()
        .any(|part| part.as_os_str() == "tests");
    let tests = if in_tests { code } else { only_tests(code) };
    let skipped = code.lines().count() - tests.lines().count();
    let mut function = "";
    let mut findings = Vec::new();
    for (at, line) in tests.lines().enumerate() {
        if let Some(name) = function_name(line) {
            function = name;
        }
        if line.contains("sleep(") && !WAITS.iter().any(|start| function.starts_with(start)) {
            let what = "a test waits for conditions and does not sleep (a helper that looks again and \
                        again is named wait_…, until_… or eventually_…)";
            findings.push(Finding::new(&file.path, skipped + at + 1, what));
        }
    }
    findings
}

fn function_name(line: &str) -> Option<&str> {
    let after = &line[line.find("fn ")? + 3..];
    after
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

#[cfg(test)]
mod tests {
    use super::super::checkout_of;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let findings = check(&checkout_of(&[(path, text)])).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_says_why_it_exists() {
        assert_eq!(found("a.rs", "fn f() {}\n").len(), 1);
        assert_eq!(found("a.rs", "//! For f.\nfn f() {}\n").len(), 0);
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        let later = format!("//! x\n// {}: more\n", LATER[0]);
        assert_eq!(found("a.rs", &later).len(), 1);
        assert_eq!(found("a.rs", "//! x\nfn f() { todo!() }\n").len(), 1);
        assert_eq!(
            found("a.rs", "//! x\n#[ignore = \"slow\"]\nfn f() {}\n").len(),
            1
        );
    }

    #[test]
    fn a_nap_in_a_test_is_found_and_a_wait_is_not() {
        let test = |name: &str| {
            format!("//! x\n\n#[cfg(test)]\nmod tests {{\nfn {name}() {{\nsleep(1);\n}}\n}}\n")
        };
        let naps = found("a.rs", &test("keys_are_revoked"));
        assert_eq!(naps.len(), 1);
        assert!(naps[0].starts_with("a.rs:6:"), "{naps:?}");
        assert_eq!(found("a.rs", &test("wait_for_the_key")).len(), 0);
        assert_eq!(found("a.rs", "//! x\nfn f() { sleep(1); }\n").len(), 0);
        assert_eq!(
            found("gateway/tests/it/a.rs", "//! x\nfn f() { sleep(1); }\n").len(),
            1
        );
    }

    #[test]
    fn a_file_of_many_subjects_is_found() {
        let long = format!("//! x\n{}", "fn f() {}\n".repeat(MAX_LINES));
        assert!(found("a.rs", &long)[0].contains("split it by subject"));
    }
}

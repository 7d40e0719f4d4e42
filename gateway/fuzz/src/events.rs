//! A provider's stream of events: however it comes in pieces, what passes and what is noted is the same, and no event is cut.

use bytes::Bytes;
use gateway::{
    endpoint::Dialect,
    upstream::{
        events::{Events, begins_with_error},
        usage::UsageScan,
    },
};

use crate::pieces;

/// The first byte chooses the API and whether the event that only brings usage is taken out, the second the pieces; the rest
/// is the stream.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let [choice, seed, text @ ..] = data else {
        return;
    };
    let dialect = if choice & 1 == 0 {
        Dialect::OpenAi
    } else {
        Dialect::Anthropic
    };
    let takes_usage_out = choice & 2 != 0;

    let mut whole = Events::new(dialect, takes_usage_out);
    let mut passed = whole.push(&Bytes::copy_from_slice(text)).to_vec();
    assert!(ends_an_event(&passed), "an event is cut");
    passed.extend_from_slice(&whole.finish());

    let mut cut = Events::new(dialect, takes_usage_out);
    let mut passed_in_pieces = Vec::new();
    for piece in pieces(text, *seed) {
        let passes = cut.push(&Bytes::copy_from_slice(piece));
        assert!(ends_an_event(&passes), "an event is cut");
        passed_in_pieces.extend_from_slice(&passes);
    }
    passed_in_pieces.extend_from_slice(&cut.finish());

    assert_eq!(show(&passed_in_pieces), show(&passed));
    assert_eq!(cut.usage(), whole.usage());
    assert_eq!(
        (cut.count(), cut.done(), cut.error()),
        (whole.count(), whole.done(), whole.error())
    );
    if takes_usage_out {
        assert!(is_within(&passed, text), "nothing is added, nothing moved");
    } else {
        assert_eq!(show(&passed), show(text));
    }
    // Whatever it says: it says something.
    let _error = begins_with_error(dialect, text);
    usage(dialect, text, *seed);
}

/// The scan for usage in an answer that is no stream.
fn usage(dialect: Dialect, text: &[u8], seed: u8) {
    let mut whole = UsageScan::of(dialect);
    whole.feed(text);
    let mut cut = UsageScan::of(dialect);
    pieces(text, seed).for_each(|piece| cut.feed(piece));
    assert_eq!(cut.found(), whole.found());
}

/// Whether an error event can follow.
fn ends_an_event(passed: &[u8]) -> bool {
    let line = passed.strip_suffix(b"\n");
    passed.is_empty()
        || line.is_some_and(|it| {
            let it = it.strip_suffix(b"\r").unwrap_or(it);
            it.is_empty() || it.ends_with(b"\n")
        })
}

/// Whether `part` is what is left of `whole` when bytes are left out.
fn is_within(part: &[u8], whole: &[u8]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|byte| rest.any(|it| it == byte))
}

fn show(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

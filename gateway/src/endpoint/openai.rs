//! OpenAI's wire format.

use bytes::Bytes;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EventKind, after, data_of};
use crate::{
    failure::{Failure, Row},
    upstream::usage::Stated,
};

/// The body of an error.
pub(super) fn error(failure: &Failure, message: &str, request: Uuid) -> Bytes {
    #[derive(Serialize)]
    struct Wrapped<'a> {
        error: Told<'a>,
    }
    #[derive(Serialize)]
    struct Told<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
        request_id: Uuid,
    }
    let Row {
        status: _,
        kind,
        code,
        outcome: _,
    } = failure.row();
    let error = Told {
        message,
        r#type: kind,
        param: failure.param(),
        code,
        request_id: request,
    };
    serde_json::to_vec(&Wrapped { error })
        .expect("an error is JSON")
        .into()
}

/// What an event is, by how its data begins. All events may state usage, and look the same.
pub(super) fn kind(event: &[u8], begun: bool) -> EventKind {
    let Some(data) = data_of(event) else {
        return EventKind::Aside;
    };
    if data.starts_with(b"[DONE]") {
        EventKind::End
    } else if is_error(data) {
        EventKind::Error
    } else if !begun && opens(data) {
        // Looked at only until the answer has begun: searching every event would cost more than passing it on.
        EventKind::Aside
    } else {
        EventKind::Content
    }
}

/// Whether data begins as an error does: `{"error":`, and no `null` after it.
fn is_error(data: &[u8]) -> bool {
    after(data, &[b"{", br#""error""#, b":"]).is_some_and(|rest| !rest.starts_with(b"null"))
}

/// Whether this is the chunk with which a chat begins: who speaks, and no text yet.
fn opens(data: &[u8]) -> bool {
    let is_empty = |key: &[u8]| {
        memmem::find(data, key).is_some_and(|at| {
            let value = after(data[at + key.len()..].trim_ascii_start(), &[b":"]);
            value.is_some_and(|value| value.starts_with(br#""""#) || value.starts_with(b"null"))
        })
    };
    memmem::find(data, br#""role""#).is_some()
        && is_empty(br#""content""#)
        && memmem::find(data, br#""tool_calls""#).is_none()
        && memmem::find(data, br#""reasoning"#).is_none()
}

/// The object `usage`.
#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

/// Reads it. Its input holds what was read from the cache; nothing is said of what was written to it.
pub(super) fn usage(object: &[u8]) -> Option<Stated> {
    let usage: Usage = serde_json::from_slice(object).ok()?;
    if usage.prompt_tokens.is_none() && usage.completion_tokens.is_none() {
        return None;
    }
    let input = usage.prompt_tokens_details.unwrap_or_default();
    let output = usage.completion_tokens_details.unwrap_or_default();
    Some(Stated {
        input: usage.prompt_tokens,
        cached_input: input.cached_tokens,
        audio_input: input.audio_tokens,
        output: usage.completion_tokens,
        reasoning: output.reasoning_tokens,
        audio_output: output.audio_tokens,
        ..Stated::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_with_the_first_event_that_carries_some_of_it() {
        let check = |data: &str, expected| {
            let event = format!("data: {data}\n\n");
            assert_eq!(kind(event.as_bytes(), false), expected, "{data}");
        };
        check(
            r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}"#,
            EventKind::Aside,
        );
        check(
            r#"{"choices": [{"delta": {"role": "assistant", "content": null}}]}"#,
            EventKind::Aside,
        );
        check(
            r#"{"choices":[{"delta":{"role":"assistant","content":"Hi"}}]}"#,
            EventKind::Content,
        );
        check(
            r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[{}]}}]}"#,
            EventKind::Content,
        );
        check(
            r#"{"choices":[{"delta":{"role":"assistant","content":"","reasoning_content":"So"}}]}"#,
            EventKind::Content,
        );
        check(r#"{"choices":[{"text":"Hi"}]}"#, EventKind::Content);
    }
}

//! Answers that come in pieces: server-sent events in the body of an ordinary request.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

/// Puts lines together from pieces that may end anywhere, also within a character.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    pending: Vec<u8>,
}

// === impl LineReader ===

impl LineReader {
    /// Takes the next piece and returns the `data:` of each event whose line it completed.
    pub(crate) fn data(&mut self, piece: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(piece);
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let whole = std::mem::replace(&mut self.pending, rest);
        let text = String::from_utf8_lossy(&whole);
        text.lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.trim().to_owned())
            .collect()
    }
}

/// Hands each piece of `body` to `piece`, until it ends.
///
/// # Errors
///
/// What the browser threw: the connection broke, or the request was aborted.
pub(crate) async fn read_chunks(
    body: ReadableStream,
    mut piece: impl FnMut(&[u8]),
) -> Result<(), JsValue> {
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    loop {
        let read = JsFuture::from(reader.read()).await?;
        if Reflect::get(&read, &"done".into())?.is_truthy() {
            return Ok(());
        }
        let value: Uint8Array = Reflect::get(&read, &"value".into())?.unchecked_into();
        piece(&value.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_whole_only_when_its_line_is() {
        let mut reader = LineReader::default();
        assert!(reader.data(b"data: {\"a\":").is_empty());
        assert_eq!(reader.data(b"1}\n\nda"), ["{\"a\":1}"]);
        assert_eq!(reader.data(b"ta: [DONE]\r\n\r\n"), ["[DONE]"]);
    }

    #[test]
    fn a_character_may_be_cut_in_two() {
        let mut reader = LineReader::default();
        let text = "data: \u{e9}\n".as_bytes();
        assert!(reader.data(&text[..7]).is_empty());
        assert_eq!(reader.data(&text[7..]), ["\u{e9}"]);
    }

    #[test]
    fn comments_and_other_fields_are_passed_over() {
        let mut reader = LineReader::default();
        assert_eq!(
            reader.data(b": ping\nevent: x\nid: 7\ndata: a\ndata: b\n"),
            ["a", "b"]
        );
    }
}

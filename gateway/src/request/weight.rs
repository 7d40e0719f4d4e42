//! How much a body weighs where its tokens have to be estimated: text by its length, and an image, however large its file
//! in base64, by what models charge for one.

use memchr::memmem;

/// What stands before the data of an image, a sound or a document in JSON.
const MARK: &[u8] = b";base64,";
/// How many bytes of text one such file weighs as much as: some 1,000 tokens. `OpenAI` charges 85 to 1,105 tokens for an
/// image (its guide "Images and vision", "Calculating costs").
const FILE_BYTES: usize = 4_000;

/// How many bytes of text the body weighs as much as.
#[must_use]
pub fn weight(body: &[u8]) -> u64 {
    let mut weight = 0;
    let mut rest = body;
    // A file that is smaller than what one weighs is counted as it is.
    while rest.len() > FILE_BYTES {
        let Some(mark) = memmem::find(rest, MARK) else {
            break;
        };
        let data = &rest[mark + MARK.len()..];
        let length = data
            .iter()
            .position(|byte| !is_base64(*byte))
            .unwrap_or(data.len());
        weight += mark + MARK.len() + length.min(FILE_BYTES);
        rest = &data[length..];
    }
    (weight + rest.len()) as u64
}

/// Both alphabets of RFC 4648, padding, and the backslash that some write before a slash.
const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_weigh_what_models_charge_not_what_they_measure() {
        let image = |bytes| format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "A".repeat(bytes));
        let around = image(0).len() as u64;
        assert_eq!(weight(b"just text"), 9);
        assert_eq!(weight(image(100).as_bytes()), around + 100);
        assert_eq!(weight(image(1_000_000).as_bytes()), around + 4_000);
        let two = [image(50_000), image(60_000)].concat();
        assert_eq!(weight(two.as_bytes()), 2 * (around + 4_000));
        let text = format!(";base64, {}", "word ".repeat(2_000));
        assert_eq!(
            weight(text.as_bytes()),
            text.len() as u64,
            "text is no file"
        );
        let cut_off = format!("{}{}", ";base64,", "A".repeat(9_000));
        assert_eq!(weight(cut_off.as_bytes()), 8 + 4_000);
    }
}

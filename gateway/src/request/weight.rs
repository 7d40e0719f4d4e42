//! How much a body weighs where its tokens have to be estimated: text by its length, and an image, however large its file
//! in base64, by what models charge for one.

use memchr::memmem;

/// What stands before the data of an image or a document in a URL of its own (RFC 2397).
const IN_URL: &[u8] = b";base64,";
/// The key under which OpenAI takes a sound, and Anthropic an image or a document.
const IN_MEMBER: &[u8] = br#""data""#;
/// How many bytes of text one such file weighs as much as: some 1,000 tokens. `OpenAI` charges 85 to 1,105 tokens for an
/// image (its guide "Images and vision", "Calculating costs").
const FILE_BYTES: usize = 4_000;

/// How many bytes of text the body weighs as much as.
#[must_use]
pub fn weight(body: &[u8]) -> u64 {
    // A body that is smaller than what a file weighs is counted as it is.
    if body.len() <= FILE_BYTES {
        return body.len() as u64;
    }
    let in_urls = excess(body, IN_URL, as_it_is);
    let in_members = excess(body, IN_MEMBER, text_of_member);
    (body.len() - in_urls - in_members) as u64
}

/// By how many bytes all files after such a mark are larger than what they weigh. `data` gives where the data begins after
/// a mark; `None`: this is no file's.
fn excess(body: &[u8], mark: &[u8], data: fn(&[u8]) -> Option<&[u8]>) -> usize {
    let mut excess = 0;
    let mut rest = body;
    while let Some(at) = memmem::find(rest, mark) {
        rest = &rest[at + mark.len()..];
        let Some(data) = data(rest) else { continue };
        let length = data
            .iter()
            .position(|byte| !is_base64(*byte))
            .unwrap_or(data.len());
        excess += length.saturating_sub(FILE_BYTES);
        rest = &data[length..];
    }
    excess
}

/// What stands in a URL follows its mark at once.
const fn as_it_is(rest: &[u8]) -> Option<&[u8]> {
    Some(rest)
}

/// What stands in a member follows a colon and a quote.
fn text_of_member(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    rest.trim_ascii_start().strip_prefix(b"\"")
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
        let member = |bytes| format!(r#"{{"type":"base64","data" : "{}"}}"#, "A".repeat(bytes));
        let around = member(0).len() as u64;
        assert_eq!(weight(member(100).as_bytes()), around + 100);
        assert_eq!(weight(member(1_000_000).as_bytes()), around + 4_000);
        let both = [image(50_000), member(60_000)].concat();
        let around_both = (image(0).len() + member(0).len()) as u64;
        assert_eq!(weight(both.as_bytes()), around_both + 8_000);
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

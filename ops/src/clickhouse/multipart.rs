//! `multipart/form-data`, in which clients send a query with its bound parameters when these would
//! not fit in a URL. Files (ClickHouse's external tables) are not supported, and said to be so.

use super::exception::{Exception, Kind};

/// The boundary, when a body is such a form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    rest.split(';').find_map(|part| {
        let value = part.trim().strip_prefix("boundary=")?;
        Some(value.trim_matches('"').to_owned())
    })
}

/// The fields of a form, in order.
pub(super) fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, Vec<u8>)>, Exception> {
    let bad = |what: &str| {
        Exception::new(
            Kind::BadRequestParameter,
            format!("Cannot read the form: {what}."),
        )
    };
    let opening = format!("--{boundary}");
    let marker = format!("\r\n--{boundary}");
    let mut rest = body
        .strip_prefix(opening.as_bytes())
        .ok_or_else(|| bad("it does not begin with its boundary"))?;
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        rest = rest
            .strip_prefix(b"\r\n")
            .ok_or_else(|| bad("no line break behind a boundary"))?;
        let head_end =
            find(rest, b"\r\n\r\n").ok_or_else(|| bad("a part without an end of its head"))?;
        let head = String::from_utf8_lossy(&rest[..head_end]);
        let disposition = head
            .lines()
            .find(|line| {
                line.to_ascii_lowercase()
                    .starts_with("content-disposition:")
            })
            .ok_or_else(|| bad("a part without a name"))?;
        if parameter(disposition, "filename").is_some() {
            return Err(Exception::new(
                Kind::NotImplemented,
                "External tables are not supported by the embedded server.",
            ));
        }
        let name = parameter(disposition, "name").ok_or_else(|| bad("a part without a name"))?;
        let value = &rest[head_end + 4..];
        let end =
            find(value, marker.as_bytes()).ok_or_else(|| bad("the last boundary is missing"))?;
        fields.push((name, value[..end].to_vec()));
        rest = &value[end + marker.len()..];
    }
}

fn parameter(disposition: &str, name: &str) -> Option<String> {
    disposition.split(';').find_map(|part| {
        let value = part.trim().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim_matches('"').to_owned())
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {x:Int8}\r\n--b\r\n\
                        Content-Disposition: form-data; name=\"param_x\"\r\n\r\n1\r\n--b--\r\n";

    #[test]
    fn the_fields_of_a_form_are_found() {
        let boundary = boundary("multipart/form-data; boundary=\"b\"").expect("there is one");
        let expected = vec![
            ("query".to_owned(), b"SELECT {x:Int8}".to_vec()),
            ("param_x".to_owned(), b"1".to_vec()),
        ];
        assert_eq!(
            fields(FORM.as_bytes(), &boundary).expect("the form is whole"),
            expected
        );
    }

    #[test]
    fn a_cut_form_is_refused() {
        for end in 0..FORM.len() - 4 {
            assert!(fields(&FORM.as_bytes()[..end], "b").is_err(), "{end}");
        }
    }

    #[test]
    fn a_file_is_refused_as_not_supported() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n1\r\n--b--\r\n";
        assert_eq!(fields(form.as_bytes(), "b").expect_err("a file").code(), 48);
    }
}

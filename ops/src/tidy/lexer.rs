//! Rust source without its comments and the insides of its strings, so that a check sees code only.

/// Blanks comments and the contents of string and character literals; lines stay lines.
pub(super) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = length_of_text(rest, &code);
        let taken = if skipped > 0 {
            skipped
        } else {
            first.len_utf8()
        };
        let (piece, after) = rest.split_at(taken);
        if skipped > 0 {
            code.extend(piece.chars().filter(|c| *c == '\n').collect::<Vec<_>>());
            // Keeps `"` tokens apart from what follows.
            code.push(' ');
        } else {
            code.push(first);
        }
        rest = after;
    }
    code
}

/// The length in bytes of the comment or literal that `rest` begins with; 0 when it begins with code.
fn length_of_text(rest: &str, before: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return length_of_string(rest);
    }
    let in_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_a_word {
        return length_of_raw_string(rest);
    }
    if rest.starts_with('\'') {
        return length_of_char(rest);
    }
    0
}

fn length_of_string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn length_of_raw_string(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest[body..]
        .find(&end)
        .map_or(rest.len(), |at| body + at + end.len())
}

/// `'a'` and `'\n'`, but not the lifetime `'a`.
fn length_of_char(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[2..].find('\'').map_or(0, |at| {
            // `'\''` closes one later.
            let close = 2 + at;
            if close == 2 { close + 2 } else { close + 1 }
        }),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// The code without its unit tests, which stand last in a file.
pub(super) fn without_tests(code: &str) -> &str {
    &code[..start_of_tests(code)]
}

/// Only the unit tests.
pub(super) fn only_tests(code: &str) -> &str {
    &code[start_of_tests(code)..]
}

fn start_of_tests(code: &str) -> usize {
    const MARK: &str = "#[cfg(test)]";
    code.match_indices(MARK)
        .find(|(at, _)| code[at + MARK.len()..].trim_start().starts_with("mod "))
        .map_or(code.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let check = |source: &str, code: &str| assert_eq!(code_of(source).trim_end(), code);
        check("a // b", "a");
        check("a /* b */ c", "a   c");
        check(r#"f("b\"b", c)"#, "f( , c)");
        check(r###"f(r#"b"b"#, c)"###, "f( , c)");
        check("f('b', '\\'', '\\n', c)", "f( ,  ,  , c)");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn lines_stay_lines() {
        let code = code_of("a\n\"x\ny\"\n// z\nb");
        assert_eq!(code.lines().count(), 5);
        assert_eq!(code.lines().last(), Some("b"));
    }
}

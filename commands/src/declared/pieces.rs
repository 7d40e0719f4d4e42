//! A file cut into its documents, each still in YAML.

/// A document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'t> {
    pub(super) text: &'t str,
    /// How many lines of the file come before it.
    pub(super) before: u64,
}

/// The documents of a file: what stands between lines that begin with `---` or end a document with `...`. Wherever such a
/// line stands, it is never content: no text of YAML may have one (YAML 1.2.2, 9.1.2). What holds nothing but comments
/// is left out, unless the whole file does.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut open = Open::default();
    let mut at = 0;
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let begins = is_mark(line, "---");
        if begins {
            // What came before it without a mark and without content are directives and comments: they belong to it.
            if open.has_content || open.is_marked {
                open.close(&mut pieces, text, at);
                open = Open::from(at, number);
            }
            open.is_marked = true;
        }
        open.has_content |= says_something(if begins { &line[3..] } else { line });
        at += line.len();
        if is_mark(line, "...") {
            open.close(&mut pieces, text, at);
            open = Open::from(at, number + 1);
        }
    }
    open.close(&mut pieces, text, at);
    if pieces.is_empty() {
        pieces.push(Piece { text, before: 0 });
    }
    pieces
}

/// A document whose end was not seen yet.
#[derive(Debug, Default)]
struct Open {
    start: usize,
    before: u64,
    is_marked: bool,
    has_content: bool,
}

impl Open {
    const fn from(start: usize, before: u64) -> Self {
        Self {
            start,
            before,
            is_marked: false,
            has_content: false,
        }
    }

    fn close<'t>(&self, pieces: &mut Vec<Piece<'t>>, text: &'t str, end: usize) {
        if self.has_content {
            pieces.push(Piece {
                text: &text[self.start..end],
                before: self.before,
            });
        }
    }
}

fn is_mark(line: &str, mark: &str) -> bool {
    line.strip_prefix(mark)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line is more than a comment, a directive or an end.
fn says_something(line: &str) -> bool {
    let text = line.trim();
    !(text.is_empty() || text.starts_with('#') || line.starts_with('%') || is_mark(line, "..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, u64)]) {
        let found: Vec<_> = pieces(text).iter().map(|it| (it.text, it.before)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_file_is_cut_where_documents_begin() {
        check("a: 1\n", &[("a: 1\n", 0)]);
        check("a: 1\n---\nb: 2", &[("a: 1\n", 0), ("---\nb: 2", 1)]);
        check("---\na: 1\n", &[("---\na: 1\n", 0)]);
        check(
            "# first\n---\na: 1\n--- # second\nb: 2\n",
            &[("# first\n---\na: 1\n", 0), ("--- # second\nb: 2\n", 3)],
        );
        check(
            "--- {a: 1}\r\n--- {b: 2}\r\n",
            &[("--- {a: 1}\r\n", 0), ("--- {b: 2}\r\n", 1)],
        );
    }

    #[test]
    fn what_only_looks_like_a_beginning_cuts_nothing() {
        let text = "a: |\n  ---\n  b\n----: x\n---x: y\nc: '---'\n";
        check(text, &[(text, 0)]);
    }

    #[test]
    fn a_document_can_be_ended_and_directives_belong_to_the_next() {
        check(
            "%YAML 1.2\n---\na: 1\n...\n# between\n%YAML 1.2\n---\nb: 2\n",
            &[
                ("%YAML 1.2\n---\na: 1\n...\n", 0),
                ("# between\n%YAML 1.2\n---\nb: 2\n", 4),
            ],
        );
    }

    #[test]
    fn documents_without_content_are_left_out() {
        check("---\n---\na: 1\n---\n# nothing\n", &[("---\na: 1\n", 1)]);
        check("", &[("", 0)]);
        check("# nothing\n", &[("# nothing\n", 0)]);
    }
}

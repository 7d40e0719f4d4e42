//! As much of ClickHouse's syntax as its HTTP interface must see before the engine does: where an
//! `INSERT`'s data begins and in which format, and which format a `SELECT` asks for.
//!
//! This does not validate anything: the engine's own parser does. Strings, quoted names, comments
//! and brackets are skipped, so a word inside them is never taken for a keyword.

/// What kind of request a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// `INSERT … FORMAT x` or `INSERT … VALUES`, with its data behind it.
    Insert(InsertHead),
    /// `INSERT … FROM INFILE` or `… INTO OUTFILE`: files of the server's machine.
    ServerFile,
    /// Anything else.
    Other {
        /// Begins with SELECT, WITH or a bracket: its output can be fetched block by block.
        selects: bool,
        /// The format that the text itself names.
        format: Option<String>,
    },
}

/// An `INSERT` apart from its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InsertHead {
    /// The statement without its format clause ends here.
    pub(super) statement_end: usize,
    /// The format of the data.
    pub(super) format: String,
    /// The data begins here.
    pub(super) data_start: usize,
}

/// Looks at a text, of an insert at least up to its data.
pub(super) fn shape(text: &[u8]) -> Shape {
    let mut words = Words { text, at: 0 };
    let first = words.next();
    match first {
        Some(Word {
            is_top: true,
            text: word,
            ..
        }) if word.eq_ignore_ascii_case(b"INSERT") => insert_shape(text, words),
        Some(Word {
            is_top, text: word, ..
        }) => {
            let selects = !is_top || is(word, "SELECT") || is(word, "WITH");
            other_shape(selects, words)
        }
        None => Shape::Other {
            selects: false,
            format: None,
        },
    }
}

fn insert_shape(text: &[u8], mut words: Words<'_>) -> Shape {
    // The table's name comes first: one that is called `format` or `values` is no keyword there.
    let mut seen_into = false;
    let mut seen_name = false;
    while let Some(word) = words.next() {
        if !word.is_top {
            continue;
        }
        if !seen_into {
            seen_into = is(word.text, "INTO");
            if !seen_into {
                seen_name = true;
                seen_into = true;
            }
        } else if !seen_name {
            seen_name = !(is(word.text, "TABLE") || is(word.text, "FUNCTION"));
        } else if is(word.text, "SELECT") || is(word.text, "WITH") {
            return other_shape(false, words);
        } else if is(word.text, "INFILE") {
            return Shape::ServerFile;
        } else if is(word.text, "VALUES") {
            let data_start = word.start + word.text.len();
            return Shape::Insert(InsertHead {
                statement_end: word.start,
                format: "Values".to_owned(),
                data_start,
            });
        } else if is(word.text, "FORMAT")
            && let Some(name) = words.next()
        {
            return Shape::Insert(InsertHead {
                statement_end: word.start,
                format: String::from_utf8_lossy(name.text).into_owned(),
                data_start: data_start(text, name.start + name.text.len()),
            });
        }
    }
    Shape::Other {
        selects: false,
        format: None,
    }
}

fn other_shape(selects: bool, words: Words<'_>) -> Shape {
    let mut format = None;
    let mut expects_name = false;
    for word in words.filter(|word| word.is_top) {
        if expects_name {
            format = Some(String::from_utf8_lossy(word.text).into_owned());
            expects_name = false;
        } else if is(word.text, "OUTFILE") {
            return Shape::ServerFile;
        } else {
            expects_name = is(word.text, "FORMAT");
        }
    }
    Shape::Other { selects, format }
}

/// Data begins behind the first line break after the format's name, or else behind the blanks
/// (ClickHouse's `ParserInsertQuery`).
fn data_start(text: &[u8], after_name: usize) -> usize {
    let mut at = after_name;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\x0c')) {
        at += 1;
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

/// A bare word, or a quoted name as one word.
struct Word<'t> {
    text: &'t [u8],
    start: usize,
    /// Outside all brackets.
    is_top: bool,
}

/// The bare words of a text, and what stands in brackets as words that are not on top.
struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

// === impl Words ===

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        while let Some(&byte) = self.text.get(self.at) {
            let start = self.at;
            match byte {
                b'\'' => self.skip_quoted(byte),
                b'"' | b'`' => {
                    self.skip_quoted(byte);
                    return Some(Word {
                        text: &self.text[start..self.at],
                        start,
                        is_top: true,
                    });
                }
                b'(' | b'[' | b'{' => {
                    self.skip_bracket();
                    return Some(Word {
                        text: &self.text[start..start + 1],
                        start,
                        is_top: false,
                    });
                }
                b'-' if self.text.get(start + 1) == Some(&b'-') => self.skip_line(),
                b'#' if matches!(self.text.get(start + 1), Some(b' ' | b'!')) => self.skip_line(),
                b'/' if self.text.get(start + 1) == Some(&b'*') => self.skip_comment(),
                _ if is_word(byte) => {
                    while self.text.get(self.at).copied().is_some_and(is_word) {
                        self.at += 1;
                    }
                    return Some(Word {
                        text: &self.text[start..self.at],
                        start,
                        is_top: true,
                    });
                }
                _ => self.at += 1,
            }
        }
        None
    }
}

impl Words<'_> {
    /// Skips a bracket with all that it holds, however deep.
    fn skip_bracket(&mut self) {
        let mut depth = 0_usize;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\'' | b'"' | b'`' => self.skip_quoted(byte),
                b'-' if self.text.get(self.at + 1) == Some(&b'-') => self.skip_line(),
                b'/' if self.text.get(self.at + 1) == Some(&b'*') => self.skip_comment(),
                b'(' | b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b')' | b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// Skips a string or a quoted name; a backslash or a doubled quote does not end it.
    fn skip_quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += 1;
            if byte == b'\\' {
                self.at += 1;
            } else if byte == quote {
                if self.text.get(self.at) != Some(&quote) {
                    return;
                }
                self.at += 1;
            }
        }
        self.at = self.text.len();
    }

    fn skip_line(&mut self) {
        while self.text.get(self.at).is_some_and(|&byte| byte != b'\n') {
            self.at += 1;
        }
    }

    fn skip_comment(&mut self) {
        self.at += 2;
        while self.at < self.text.len() && !self.text[self.at..].starts_with(b"*/") {
            self.at += 1;
        }
        self.at = (self.at + 2).min(self.text.len());
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits an insert into statement, format and data.
    fn split(text: &str) -> Option<(String, String, String)> {
        match shape(text.as_bytes()) {
            Shape::Insert(head) => Some((
                text[..head.statement_end].trim_end().to_owned(),
                head.format,
                text[head.data_start..].to_owned(),
            )),
            Shape::ServerFile | Shape::Other { .. } => None,
        }
    }

    fn check_insert(text: &str, statement: &str, format: &str, data: &str) {
        let expected = Some((statement.to_owned(), format.to_owned(), data.to_owned()));
        assert_eq!(split(text), expected, "{text}");
    }

    #[test]
    fn an_insert_is_split_where_its_data_begins() {
        check_insert(
            "INSERT INTO t FORMAT RowBinary\n\nx",
            "INSERT INTO t",
            "RowBinary",
            "\nx",
        );
        check_insert(
            "insert into t(a, b) format CSV  1,2",
            "insert into t(a, b)",
            "CSV",
            "1,2",
        );
        check_insert(
            "INSERT INTO t VALUES (1, 'FORMAT x')",
            "INSERT INTO t",
            "Values",
            " (1, 'FORMAT x')",
        );
        check_insert(
            "/* FORMAT a */ INSERT INTO `format` -- VALUES\n FORMAT TSV\r\n1",
            "/* FORMAT a */ INSERT INTO `format` -- VALUES",
            "TSV",
            "1",
        );
        check_insert(
            "INSERT INTO values VALUES (1)",
            "INSERT INTO values",
            "Values",
            " (1)",
        );
        check_insert(
            "INSERT INTO TABLE FUNCTION null('a Int8') FORMAT CSV\n1",
            "INSERT INTO TABLE FUNCTION null('a Int8')",
            "CSV",
            "1",
        );
        check_insert(
            "INSERT INTO t SETTINGS a = 'FORMAT' FORMAT CSV\n1",
            "INSERT INTO t SETTINGS a = 'FORMAT'",
            "CSV",
            "1",
        );
    }

    #[test]
    fn an_insert_that_selects_has_no_data() {
        assert_eq!(split("INSERT INTO t SELECT 1 FORMAT Null"), None);
        assert_eq!(split("INSERT INTO t (a) WITH 1 AS x SELECT x"), None);
    }

    #[test]
    fn the_format_of_a_select_is_the_one_that_it_names_last() {
        let format = |text: &str| match shape(text.as_bytes()) {
            Shape::Other { selects, format } => (selects, format),
            Shape::Insert(_) | Shape::ServerFile => (false, None),
        };
        assert_eq!(
            format("SELECT 1 FORMAT JSON"),
            (true, Some("JSON".to_owned()))
        );
        assert_eq!(
            format("select 'FORMAT x' format CSV settings a = 1"),
            (true, Some("CSV".to_owned()))
        );
        assert_eq!(
            format("(SELECT 1 FORMAT x) UNION ALL SELECT 2"),
            (true, None)
        );
        assert_eq!(format("DESCRIBE TABLE t"), (false, None));
        assert_eq!(format("SELECT formatDateTime(now(), 'x')"), (true, None));
    }

    #[test]
    fn files_of_the_servers_machine_are_seen() {
        assert_eq!(shape(b"SELECT 1 INTO OUTFILE '/tmp/x'"), Shape::ServerFile);
        assert_eq!(
            shape(b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV"),
            Shape::ServerFile
        );
    }

    #[test]
    fn a_text_that_stops_anywhere_is_no_panic() {
        let text = b"INSERT INTO \"a\\\" (b, 'c\\'') /* x */ -- y\n FORMAT RowBinary";
        for end in 0..=text.len() {
            shape(&text[..end]);
        }
    }
}

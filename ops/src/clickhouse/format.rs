//! Output formats: which media type each has, and which can be sent block by block.
//!
//! The engine formats each block of a streamed result as a document of its own. That is right for
//! formats that are only rows; where a header comes first, the later blocks' headers are cut off;
//! everything else (JSON, Parquet, …) is sent only once it is complete.

/// How the blocks of a format follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Blocks are rows and nothing else.
    Rows,
    /// So many lines come before the rows.
    HeaderLines(usize),
    /// A count of columns and, for each, so many strings (`RowBinaryWithNames…`).
    BinaryHeader {
        /// Names only, or names and types.
        strings_per_column: usize,
    },
    /// One document that cannot be cut.
    Whole,
}

/// The layout of a format, by ClickHouse's name.
pub(super) fn layout(format: &str) -> Layout {
    match format {
        "Native"
        | "RowBinary"
        | "JSONEachRow"
        | "JSONLines"
        | "NDJSON"
        | "JSONStringsEachRow"
        | "JSONCompactEachRow"
        | "JSONCompactStringsEachRow"
        | "TabSeparated"
        | "TSV"
        | "TabSeparatedRaw"
        | "TSVRaw"
        | "Raw"
        | "CSV"
        | "TSKV"
        | "LineAsString"
        | "RawBLOB"
        | "MsgPack" => Layout::Rows,
        "CSVWithNames"
        | "TabSeparatedWithNames"
        | "TSVWithNames"
        | "TabSeparatedRawWithNames"
        | "TSVRawWithNames"
        | "JSONCompactEachRowWithNames"
        | "JSONCompactStringsEachRowWithNames" => Layout::HeaderLines(1),
        "CSVWithNamesAndTypes"
        | "TabSeparatedWithNamesAndTypes"
        | "TSVWithNamesAndTypes"
        | "TabSeparatedRawWithNamesAndTypes"
        | "TSVRawWithNamesAndTypes"
        | "JSONCompactEachRowWithNamesAndTypes"
        | "JSONCompactStringsEachRowWithNamesAndTypes" => Layout::HeaderLines(2),
        "RowBinaryWithNames" => Layout::BinaryHeader {
            strings_per_column: 1,
        },
        "RowBinaryWithNamesAndTypes" => Layout::BinaryHeader {
            strings_per_column: 2,
        },
        _ => Layout::Whole,
    }
}

impl Layout {
    /// The header at the beginning of the first block.
    pub(super) fn header(self, block: &[u8]) -> &[u8] {
        let length = match self {
            Self::Rows | Self::Whole => Some(0),
            Self::HeaderLines(lines) => lines_length(block, lines),
            Self::BinaryHeader { strings_per_column } => binary_length(block, strings_per_column),
        };
        &block[..length.unwrap_or(0)]
    }
}

fn lines_length(block: &[u8], lines: usize) -> Option<usize> {
    let mut quoted = false;
    let mut left = lines;
    for (at, &byte) in block.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => {
                left -= 1;
                if left == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn binary_length(block: &[u8], strings_per_column: usize) -> Option<usize> {
    let (columns, mut at) = variable_integer(block, 0)?;
    for _ in 0..columns.checked_mul(strings_per_column)? {
        let (length, behind) = variable_integer(block, at)?;
        at = behind
            .checked_add(length)
            .filter(|&end| end <= block.len())?;
    }
    Some(at)
}

/// LEB128, and where it ends.
fn variable_integer(block: &[u8], start: usize) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, &byte) in block.get(start..)?.iter().take(9).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, start + index + 1));
        }
    }
    None
}

/// The media type that ClickHouse gives a format.
pub(super) fn content_type(format: &str) -> &'static str {
    match format {
        "JSON"
        | "JSONCompact"
        | "JSONStrings"
        | "JSONCompactStrings"
        | "JSONColumns"
        | "JSONCompactColumns"
        | "JSONColumnsWithMetadata"
        | "JSONObjectEachRow" => "application/json; charset=UTF-8",
        "JSONEachRow" | "JSONLines" | "NDJSON" | "JSONStringsEachRow" | "JSONCompactEachRow" => {
            "application/x-ndjson; charset=UTF-8"
        }
        "CSV" => "text/csv; charset=UTF-8; header=absent",
        "CSVWithNames" | "CSVWithNamesAndTypes" => "text/csv; charset=UTF-8; header=present",
        "TabSeparated"
        | "TSV"
        | "TabSeparatedRaw"
        | "TSVRaw"
        | "TabSeparatedWithNames"
        | "TSVWithNames"
        | "TabSeparatedWithNamesAndTypes"
        | "TSVWithNamesAndTypes" => "text/tab-separated-values; charset=UTF-8",
        "XML" => "application/xml; charset=UTF-8",
        "Native"
        | "RowBinary"
        | "RowBinaryWithNames"
        | "RowBinaryWithNamesAndTypes"
        | "Parquet"
        | "Arrow"
        | "ArrowStream"
        | "ORC"
        | "Avro"
        | "MsgPack" => "application/octet-stream",
        _ => "text/plain; charset=UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_where_the_rows_begin() {
        let check = |format: &str, block: &[u8], header: &[u8]| {
            assert_eq!(layout(format).header(block), header, "{format}");
        };
        check("CSVWithNames", b"\"a\n\",\"b\"\n1,2\n", b"\"a\n\",\"b\"\n");
        check(
            "TSVWithNamesAndTypes",
            b"a\tb\nInt8\tInt8\n1\t2\n",
            b"a\tb\nInt8\tInt8\n",
        );
        check(
            "RowBinaryWithNamesAndTypes",
            b"\x01\x01a\x05UInt8\x07",
            b"\x01\x01a\x05UInt8",
        );
        check("Native", b"\x01\x01\x01a\x05UInt8\x07", b"");
        check("RowBinaryWithNamesAndTypes", b"\x01\x09a", b"");
    }
}

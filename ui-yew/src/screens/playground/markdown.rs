//! What models write for people to read: as much of Markdown as helps in a conversation. Pure.
//!
//! Blocks of code, code and strong words within a line, and headings. Lists and paragraphs are legible as they
//! are. Nothing is dropped: whatever is not understood stays as it was written.

/// A part of an answer, from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// Text, with its line breaks.
    Text(Vec<Span>),
    /// A block of code.
    Code(String),
}

/// A run of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    /// As it is.
    Plain(String),
    /// Strong words, or a heading.
    Strong(String),
    /// Code.
    Code(String),
}

/// What begins and ends a block of code.
const FENCE: &str = "```";

/// Reads an answer, which may still be growing: a block of code that has not ended yet is one all the same.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut code: Option<Vec<&str>> = None;
    let mut prose: Vec<&str> = Vec::new();
    for line in text.lines() {
        match (&mut code, line.trim_start().starts_with(FENCE)) {
            (None, true) => {
                push_text(&mut blocks, &mut prose);
                code = Some(Vec::new());
            }
            (Some(lines), true) => {
                blocks.push(Block::Code(lines.join("\n")));
                code = None;
            }
            (Some(lines), false) => lines.push(line),
            (None, false) => prose.push(line),
        }
    }
    if let Some(lines) = code {
        blocks.push(Block::Code(lines.join("\n")));
    }
    push_text(&mut blocks, &mut prose);
    blocks
}

/// The lines so far as a block, without the empty ones around them.
fn push_text(blocks: &mut Vec<Block>, lines: &mut Vec<&str>) {
    let text = lines.join("\n");
    lines.clear();
    let text = text.trim_matches('\n').trim_end();
    if text.is_empty() {
        return;
    }
    let mut spans = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            spans.push(Span::Plain("\n".to_owned()));
        }
        match heading(line) {
            Some(heading) => spans.push(Span::Strong(heading.to_owned())),
            None => spans.extend(line_spans(line)),
        }
    }
    blocks.push(Block::Text(spans));
}

/// The text of a line that is a heading: `## Like this`.
fn heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    let title = rest.strip_prefix(' ')?.trim();
    ((1..=6).contains(&level) && !title.is_empty()).then_some(title)
}

/// The spans of one line. A mark without its partner stays as it is.
fn line_spans(line: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut rest = line;
    let mut plain = String::new();
    while !rest.is_empty() {
        let marked = between(rest, "`")
            .map(|(inner, after)| (Span::Code(inner.to_owned()), after))
            .or_else(|| {
                let (inner, after) = between(rest, "**")?;
                Some((Span::Strong(inner.to_owned()), after))
            });
        match marked {
            Some((span, after)) => {
                push_plain(&mut spans, &mut plain);
                spans.push(span);
                rest = after;
            }
            None => {
                let first = rest.chars().next().map_or(0, char::len_utf8);
                plain.push_str(&rest[..first]);
                rest = &rest[first..];
            }
        }
    }
    push_plain(&mut spans, &mut plain);
    spans
}

/// What stands between this mark at the beginning and the next one, and what comes after.
fn between<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (inner, after) = text.strip_prefix(mark)?.split_once(mark)?;
    (!inner.is_empty()).then_some((inner, after))
}

fn push_plain(spans: &mut Vec<Span>, plain: &mut String) {
    if !plain.is_empty() {
        spans.push(Span::Plain(std::mem::take(plain)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Span {
        Span::Plain(text.to_owned())
    }

    fn check(text: &str, expected: &[Block]) {
        assert_eq!(blocks(text), expected, "{text}");
    }

    #[test]
    fn text_and_code_are_told_apart() {
        check(
            "Look:\n\n```rust\nfn main() {}\n\n```\nDone.",
            &[
                Block::Text(vec![plain("Look:")]),
                Block::Code("fn main() {}\n".to_owned()),
                Block::Text(vec![plain("Done.")]),
            ],
        );
    }

    #[test]
    fn code_that_has_not_ended_yet_is_code() {
        check("```\nlet x", &[Block::Code("let x".to_owned())]);
    }

    #[test]
    fn words_are_marked_within_a_line() {
        let spans = vec![
            plain("Use "),
            Span::Code("a**b".to_owned()),
            plain(", "),
            Span::Strong("never".to_owned()),
            plain(" `b**."),
        ];
        check("Use `a**b`, **never** `b**.", &[Block::Text(spans)]);
    }

    #[test]
    fn a_heading_is_strong_and_a_number_sign_is_none() {
        let spans = vec![
            Span::Strong("One".to_owned()),
            plain("\n"),
            plain("#2 and 3"),
        ];
        check("## One\n#2 and 3", &[Block::Text(spans)]);
    }

    #[test]
    fn nothing_is_nothing() {
        check("", &[]);
        check("\n\n", &[]);
    }
}

//! The fold, the rules and the gateway's decisions take values and give values: no clock, no chance,
//! no input or output, and no order that differs from run to run.

use super::lexer::{code_of, without_tests};
use super::{Checkout, Finding, SourceFile};
use crate::failure::Outcome;

/// Folders whose code is pure.
const PURE: [&str; 3] = [
    "events-schema/src",
    "gateway/policy/src",
    "commands/src/domain",
];

/// What pure code does not say, and why.
const BANNED: [(&str, &str); 23] = [
    ("tokio", "waits"),
    ("async fn", "waits"),
    ("sqlx", "talks to a database"),
    ("async_nats", "talks to NATS"),
    ("hyper::", "talks HTTP"),
    ("std::fs", "touches files"),
    ("TcpStream", "touches the network"),
    ("UdpSocket", "touches the network"),
    ("ToSocketAddrs", "asks for names"),
    ("std::process", "touches processes"),
    ("std::thread", "has threads"),
    ("std::env", "reads the environment"),
    ("SystemTime::now", "reads the clock"),
    ("Instant::now", "reads the clock"),
    ("Utc::now", "reads the clock"),
    ("Local::now", "reads the clock"),
    ("now_v7", "makes ids"),
    ("new_v4", "makes ids"),
    ("rand::", "draws at random"),
    ("getrandom", "draws at random"),
    ("RandomState", "has an order that differs from run to run"),
    (
        "HashMap",
        "has an order that differs from run to run: BTreeMap or a sorted Vec",
    ),
    (
        "HashSet",
        "has an order that differs from run to run: BTreeSet or a sorted Vec",
    ),
];

/// Hash maps of these crates iterate in an order that depends on the contents alone.
const ORDERED_HASHING: [&str; 1] = ["imbl"];

pub(super) fn check(checkout: &Checkout) -> Outcome<Vec<Finding>> {
    Ok(checkout
        .rust()
        .filter(|file| PURE.iter().any(|folder| file.path.starts_with(folder)))
        .flat_map(impurities)
        .collect())
}

fn impurities(file: &SourceFile) -> Vec<Finding> {
    let code = code_of(&file.text);
    let mut findings = Vec::new();
    for (at, line) in without_tests(&code).lines().enumerate() {
        for (word, why) in BANNED {
            let ordered = ORDERED_HASHING.iter().any(|name| line.contains(name));
            if has_word(line, word) && !ordered {
                findings.push(Finding::new(&file.path, at + 1, format!("`{word}` {why}")));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` and is not the end of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joined(before) && (word.ends_with(':') || !joined(after))
    })
}

#[cfg(test)]
mod tests {
    use super::super::checkout_of;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let findings = check(&checkout_of(&[(path, text)])).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_clock_in_a_rule_is_found() {
        assert_eq!(
            found(
                "commands/src/domain/key.rs",
                "fn f() {\n    let now = Utc::now();\n}\n"
            ),
            ["commands/src/domain/key.rs:2: `Utc::now` reads the clock"]
        );
    }

    #[test]
    fn a_map_without_an_order_is_found_in_the_fold() {
        let text = "use std::collections::HashMap;\n";
        assert_eq!(found("events-schema/src/state/mod.rs", text).len(), 1);
        assert_eq!(
            found("gateway/policy/src/lib.rs", "type M = BTreeMap<u8, u8>;\n").len(),
            0
        );
    }

    #[test]
    fn words_in_comments_strings_tests_and_longer_names_do_not_count() {
        let text =
            "// no tokio here\nlet strand::x = \"std::fs\";\n#[cfg(test)]\nmod t { use tokio; }\n";
        assert_eq!(
            found("gateway/policy/src/lib.rs", text),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_shells_may_do_what_the_pure_places_may_not() {
        assert_eq!(
            found("commands/src/log.rs", "use tokio::time;\n"),
            Vec::<String>::new()
        );
    }
}

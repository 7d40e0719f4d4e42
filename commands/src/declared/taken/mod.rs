//! Policies as documents of the formats that other gateways have: what `brought` reads of them is the same policies again.
//!
//! Each rule has the flat shape as far as that says all, and else the newer one. What no rule of a format can say is left out,
//! and told by name in comments at the top: one such policy keeps nobody from having the others.

mod limits;
mod rules;

use std::fmt::Write as _;

use serde::Serialize;

pub use self::limits::rate_limits;

/// A document.
#[derive(Debug, Serialize)]
struct Config<R> {
    name: &'static str,
    r#type: &'static str,
    rules: Vec<R>,
}

/// A policy that no rule can say, and why.
struct Left {
    name: String,
    why: String,
}

/// The document in YAML, with what is not in it at the top.
///
/// # Panics
/// Never: a document holds nothing that YAML cannot.
fn written<R: Serialize>(config: &Config<R>, left: &[Left]) -> String {
    let mut text = String::new();
    if !left.is_empty() {
        text.push_str("# Not in this document, since the format has no words for it:\n");
        for Left { name, why } in left {
            writeln!(text, "# - '{name}': {why}").expect("text takes text");
        }
        text.push_str("# Applied with --prune, the document deletes what is not in it.\n");
    }
    text.push_str(&serde_saphyr::to_string(config).expect("a document is YAML"));
    text
}

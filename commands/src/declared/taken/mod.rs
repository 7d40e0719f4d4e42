//! Policies as documents of the formats that other gateways have: what `brought` reads of them is the same policies again.
//!
//! Each rule has the flat shape as far as that says all, and else the newer one. What no rule of a format can say is left out,
//! and told by name in comments at the top: one such policy keeps nobody from having the others.

mod budgets;
mod limits;
mod rules;

use std::fmt::Write as _;

use events_schema::names::Slug;
use serde::Serialize;

use self::rules::Rule;
pub use self::{budgets::budgets, limits::rate_limits};

/// Why a policy cannot be written that names nobody any more.
const ERASED: &str = "it is for people who were erased";

/// A document.
#[derive(Debug, Serialize)]
struct Config<'t> {
    name: &'t str,
    r#type: &'t str,
    rules: Vec<Rule>,
}

/// What is written, and what cannot be.
#[derive(Debug, Default)]
struct Taken {
    rules: Vec<Rule>,
    /// Policies that no rule can say, and why.
    left: Vec<(String, String)>,
    /// Policies that a rule says but for this.
    notes: Vec<(String, String)>,
}

impl Taken {
    /// A policy, as a rule or with why none says it.
    fn put(&mut self, name: &Slug, rule: Result<Rule, String>) {
        match rule {
            Ok(rule) => self.rules.push(rule),
            Err(why) => self.left.push((name.to_string(), why)),
        }
    }

    /// What the rule of a policy leaves out.
    fn note(&mut self, name: &Slug, what: &str) {
        self.notes.push((name.to_string(), what.to_owned()));
    }

    /// The document in YAML, with what is not in it at the top.
    ///
    /// # Panics
    /// Never: a document holds nothing that YAML cannot.
    fn written(self, name: &str, kind: &str) -> String {
        let Self { rules, left, notes } = self;
        let mut text = String::new();
        let mut comment = |about: &str, policies: &[(String, String)]| {
            if policies.is_empty() {
                return;
            }
            writeln!(text, "# {about}, since the format has no words for it:").expect(FITS);
            for (name, why) in policies {
                writeln!(text, "# - '{name}': {why}").expect(FITS);
            }
        };
        comment("Not in this document", &left);
        comment("Not said in this document", &notes);
        if !left.is_empty() {
            text.push_str(
                "# Applied with --prune, the document deletes policies that it does not name.\n",
            );
        }
        let config = Config {
            name,
            r#type: kind,
            rules,
        };
        text.push_str(&serde_saphyr::to_string(&config).expect("a document is YAML"));
        text
    }
}

const FITS: &str = "text takes text";

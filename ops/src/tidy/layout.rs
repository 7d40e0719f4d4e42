//! The visible entries of the top folder are those of the architecture, and nothing else.

use std::fs;
use std::path::Path;

use super::{Checkout, Finding};
use crate::failure::{Doing, Outcome};

const VISIBLE: [&str; 12] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "commands",
    "events-schema",
    "gateway",
    "ops",
    "projections",
    "ui-yew",
];

/// What builds leave behind; not part of the checkout.
const IGNORED: [&str; 1] = ["target"];

pub(super) fn check(checkout: &Checkout) -> Outcome<Vec<Finding>> {
    let doing = || format!("reading {}", checkout.root.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&checkout.root).doing(doing)? {
        names.push(
            entry
                .doing(doing)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    Ok(compare(&names))
}

fn compare(names: &[String]) -> Vec<Finding> {
    let strangers = names
        .iter()
        .filter(|name| !name.starts_with('.') && !IGNORED.contains(&name.as_str()))
        .filter(|name| !VISIBLE.contains(&name.as_str()))
        .map(|name| Finding::new(Path::new(name), 0, "has no place in the top folder"));
    let missing = VISIBLE
        .iter()
        .filter(|wanted| !names.iter().any(|name| name == *wanted))
        .map(|wanted| Finding::new(Path::new(wanted), 0, "is missing"));
    strangers.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        VISIBLE.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn dotfiles_and_builds_are_not_looked_at() {
        let mut names = names();
        names.extend([".git".into(), "target".into()]);
        assert_eq!(compare(&names), []);
    }

    #[test]
    fn a_stranger_and_a_missing_entry_are_found() {
        let mut names = names();
        names.retain(|name| name != "LICENSE");
        names.push("scripts".into());
        let found: Vec<String> = compare(&names).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "scripts: has no place in the top folder",
                "LICENSE: is missing"
            ]
        );
    }
}

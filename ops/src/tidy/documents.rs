//! A crate's README is its documentation, and links in documents lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::{Checkout, Finding, SourceFile};
use crate::failure::Outcome;

/// How a crate takes its README for its documentation.
const TAKEN: &str = "#![doc = include_str!(\"../README.md\")]";

pub(super) fn check(checkout: &Checkout) -> Outcome<Vec<Finding>> {
    let crates = checkout
        .files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml") && file.path != Path::new("Cargo.toml"))
        .flat_map(|manifest| readme_of_crate(checkout, manifest));
    let links = checkout
        .files
        .iter()
        .filter(|file| file.is_markdown())
        .flat_map(|file| dead_links(checkout, file));
    Ok(crates.chain(links).collect())
}

fn readme_of_crate(checkout: &Checkout, manifest: &SourceFile) -> Vec<Finding> {
    let folder = manifest.path.parent().unwrap_or(Path::new(""));
    let readme = folder.join("README.md");
    let mut findings = Vec::new();
    if checkout
        .file(&readme)
        .is_none_or(|file| file.text.trim().is_empty())
    {
        findings.push(Finding::new(&readme, 0, "is missing"));
    }
    let roots: Vec<&SourceFile> = ["src/lib.rs", "src/main.rs"]
        .iter()
        .filter_map(|root| checkout.file(&folder.join(root)))
        .collect();
    if !roots.iter().any(|root| root.text.contains(TAKEN)) {
        findings.push(Finding::new(
            &manifest.path,
            0,
            "no root of this crate takes README.md for its docs",
        ));
    }
    findings
}

fn dead_links(checkout: &Checkout, file: &SourceFile) -> Vec<Finding> {
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut in_code = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let led_to = normal(&folder.join(path));
            if checkout.file(&led_to).is_none() && !checkout.root.join(&led_to).exists() {
                findings.push(Finding::new(
                    &file.path,
                    at + 1,
                    format!("the link {target} leads nowhere"),
                ));
            }
        }
    }
    findings
}

/// What the links of a line lead to: `](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(move |(at, mark)| {
        let rest = &line[at + mark.len()..];
        rest.find(')').map(|end| &rest[..end])
    })
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::super::checkout_of;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let findings = check(&checkout_of(files)).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crate_without_its_readme_is_found() {
        let whole = [
            ("x/Cargo.toml", ""),
            ("x/README.md", "# x"),
            ("x/src/lib.rs", TAKEN),
        ];
        assert_eq!(found(&whole), Vec::<String>::new());
        assert_eq!(found(&whole[..2]).len(), 1);
        assert_eq!(found(&whole[..1]).len(), 2);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let check = |text: &str, dead: usize| {
            let files = [("docs/a.md", text), ("b.md", "b")];
            assert_eq!(found(&files).len(), dead, "{text}");
        };
        check(
            "[b](../b.md#top), [web](https://example.com), [here](#here)",
            0,
        );
        check("[b](b.md)", 1);
        check("```\n[b](nowhere.md)\n```", 0);
    }
}

//! `tidy`: the rules of this codebase that no compiler knows. Each check is a function from the
//! checkout to its findings, with tests that show how it fails.

mod dependencies;
mod documents;
mod layout;
mod lexer;
mod purity;
mod sources;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Outcome};
use crate::paths;

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the checkout.
    file: PathBuf,
    /// Counted from 1; 0 when it concerns the whole file.
    line: usize,
    what: String,
}

/// A text file of the checkout.
#[derive(Debug)]
struct SourceFile {
    /// Relative to the checkout.
    path: PathBuf,
    text: String,
}

/// What the checks look at.
#[derive(Debug, Default)]
struct Checkout {
    root: PathBuf,
    files: Vec<SourceFile>,
}

/// A rule: its name and its check.
type Check = (&'static str, fn(&Checkout) -> Outcome<Vec<Finding>>);

const CHECKS: [Check; 6] = [
    ("the folders are those of the architecture", layout::check),
    (
        "crates depend only on what the law allows",
        dependencies::law,
    ),
    (
        "dependencies are declared in one place",
        dependencies::one_place,
    ),
    ("the pure places are pure", purity::check),
    ("sources keep the house rules", sources::check),
    (
        "documents are true to the crates and their links lead somewhere",
        documents::check,
    ),
];

/// Checks the checkout and prints what breaks a rule.
pub(crate) fn run() -> Outcome {
    let failed = report(&paths::checkout()?)?;
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{failed} of {} rules are broken",
        CHECKS.len()
    )))
}

/// How many rules there are.
pub(crate) fn rules() -> usize {
    CHECKS.len()
}

/// Prints each rule and its findings; returns how many rules are broken.
pub(crate) fn report(root: &Path) -> Outcome<usize> {
    let checkout = Checkout::read(root)?;
    let mut failed = 0;
    for (rule, check) in CHECKS {
        let mut findings = check(&checkout)?;
        findings.sort();
        println!("  {} {rule}", if findings.is_empty() { "✓" } else { "✗" });
        for finding in &findings {
            println!("      {finding}");
        }
        failed += usize::from(!findings.is_empty());
    }
    Ok(failed)
}

// === impl Finding ===

impl Finding {
    fn new(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        match line {
            0 => write!(f, "{}: {what}", file.display()),
            _ => write!(f, "{}:{line}: {what}", file.display()),
        }
    }
}

// === impl SourceFile ===

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.path
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    fn is_markdown(&self) -> bool {
        self.path
            .extension()
            .is_some_and(|extension| extension == "md")
    }
}

// === impl Checkout ===

impl Checkout {
    fn read(root: &Path) -> Outcome<Self> {
        let mut checkout = Self {
            root: root.to_path_buf(),
            files: Vec::new(),
        };
        checkout.read_folder(root)?;
        Ok(checkout)
    }

    fn read_folder(&mut self, folder: &Path) -> Outcome {
        let doing = || format!("reading {}", folder.display());
        for entry in fs::read_dir(folder).doing(doing)? {
            let path = entry.doing(doing)?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !matches!(
                    name,
                    "target" | ".git" | "node_modules" | "golden" | "fixtures"
                ) {
                    self.read_folder(&path)?;
                }
            } else if is_text(name)
                && let Ok(relative) = path.strip_prefix(&self.root)
            {
                let text =
                    fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
                self.files.push(SourceFile {
                    path: relative.to_path_buf(),
                    text,
                });
            }
        }
        Ok(())
    }

    fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_rust())
    }

    fn file(&self, path: &Path) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What of the checkout is read.
fn is_text(name: &str) -> bool {
    [
        ".rs", ".md", ".toml", ".css", ".js", ".mjs", ".html", ".py", ".sql",
    ]
    .iter()
    .any(|ending| name.ends_with(ending))
}

/// A checkout of the given files, for tests.
#[cfg(test)]
fn checkout_of(files: &[(&str, &str)]) -> Checkout {
    let files = files
        .iter()
        .map(|(path, text)| SourceFile {
            path: path.into(),
            text: (*text).to_owned(),
        })
        .collect();
    Checkout {
        root: PathBuf::new(),
        files,
    }
}

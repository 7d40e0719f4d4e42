//! What the console is built from, as one hash: built again only when it differs.

use std::fs;
use std::path::{Path, PathBuf};

use super::vendor;
use crate::failure::{Doing, Outcome};

/// Where the hash lies inside the folder that was built.
const STAMP: &str = ".built-from";

/// Raised by hand when this pipeline itself starts to build something else from the same inputs.
const PIPELINE: &str = "1";

/// The sources that end up in the console: it and what it may depend on, and what pins the rest.
const SOURCES: [&str; 5] = [
    "ui-yew",
    "events-schema",
    "gateway/policy",
    "Cargo.toml",
    "Cargo.lock",
];

/// The hash of all that the console of the checkout at `repo` is built from, in hex.
pub(super) fn fingerprint(repo: &Path) -> Outcome<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(PIPELINE.as_bytes());
    for package in &vendor::PACKAGES {
        hasher.update(package.integrity.as_bytes());
    }
    for source in SOURCES {
        for file in files_below(&repo.join(source))? {
            let content = fs::read(&file).doing(|| format!("reading {}", file.display()))?;
            let name = file.strip_prefix(repo).unwrap_or(&file);
            hasher.update(name.as_os_str().as_encoded_bytes());
            hasher.update(&content.len().to_le_bytes());
            hasher.update(&content);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Whether the folder was built from exactly these inputs.
pub(super) fn is_current(out_dir: &Path, fingerprint: &str) -> bool {
    fs::read_to_string(out_dir.join(STAMP)).is_ok_and(|stamp| stamp == fingerprint)
}

/// Marks a folder as built from these inputs.
pub(super) fn write(out_dir: &Path, fingerprint: &str) -> Outcome {
    fs::write(out_dir.join(STAMP), fingerprint).doing(|| format!("marking {}", out_dir.display()))
}

/// Every file at or below `path`, sorted, without tests, hidden files and build results.
pub(super) fn files_below(path: &Path) -> Outcome<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).doing(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let path = entry
                .doing(|| format!("listing {}", folder.display()))?
                .path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "tests" | "benches") {
                folders.push(path);
            } else if path.is_file() && !name.starts_with('.') {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> tempfile::TempDir {
        let repo = tempfile::tempdir().expect("a temporary folder");
        for folder in ["ui-yew/src", "events-schema", "gateway/policy"] {
            fs::create_dir_all(repo.path().join(folder)).expect("a folder");
        }
        for file in ["ui-yew/src/main.rs", "Cargo.toml", "Cargo.lock"] {
            fs::write(repo.path().join(file), file).expect("a file");
        }
        repo
    }

    #[test]
    fn a_changed_source_changes_the_fingerprint() {
        let repo = checkout();
        let before = fingerprint(repo.path()).expect("a fingerprint");
        assert_eq!(before, fingerprint(repo.path()).expect("a fingerprint"));
        fs::write(repo.path().join("ui-yew/src/main.rs"), "other").expect("a file");
        assert_ne!(before, fingerprint(repo.path()).expect("a fingerprint"));
    }

    #[test]
    fn a_folder_is_current_only_for_the_inputs_it_was_marked_with() {
        let out = tempfile::tempdir().expect("a temporary folder");
        assert!(!is_current(out.path(), "a"));
        write(out.path(), "a").expect("a mark");
        assert!(is_current(out.path(), "a"));
        assert!(!is_current(out.path(), "b"));
    }
}

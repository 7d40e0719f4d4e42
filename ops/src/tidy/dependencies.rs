//! Who may depend on whom, and where versions and features are declared.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Checkout, Finding};
use crate::failure::{Doing, Failure, Outcome};
use crate::stack::binaries::cargo;

/// The law: each crate of ours, and those of ours that it may depend on.
const LAW: [(&str, &[&str]); 8] = [
    ("events-schema", &[]),
    ("commands", &["events-schema", "gateway-policy"]),
    ("projections", &["events-schema", "gateway-policy"]),
    ("gateway", &["events-schema", "gateway-policy"]),
    (
        "gateway-fuzz",
        &["events-schema", "gateway", "gateway-policy"],
    ),
    ("gateway-policy", &["events-schema"]),
    ("ui-yew", &["events-schema", "gateway-policy"]),
    ("ops", &["events-schema", "gateway-policy"]),
];

/// Crates of others that a crate of ours must do without, even though the workspace has them.
const NEVER: [(&str, &[&str]); 3] = [
    // A gateway knows nothing of Postgres or ClickHouse.
    ("gateway", &["sqlx", "clickhouse"]),
    (
        "gateway-policy",
        &[
            "tokio",
            "sqlx",
            "async-nats",
            "hyper",
            "getrandom",
            "clickhouse",
        ],
    ),
    (
        "events-schema",
        &[
            "tokio",
            "sqlx",
            "async-nats",
            "hyper",
            "getrandom",
            "clickhouse",
        ],
    ),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None`: a normal dependency; else `dev` or `build`.
    kind: Option<String>,
}

/// Crates depend only on what the law allows.
pub(super) fn law(checkout: &Checkout) -> Outcome<Vec<Finding>> {
    let output = cargo()?
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .doing(|| "asking cargo for the workspace".into())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(format!("cargo metadata failed: {said}")));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .doing(|| "reading what cargo says of the workspace".into())?;
    let mut findings = Vec::new();
    for package in &metadata.packages {
        findings.extend(breaches(package, &checkout.root));
    }
    Ok(findings)
}

fn breaches(package: &Package, root: &Path) -> Vec<Finding> {
    let Package {
        name,
        manifest_path,
        dependencies,
    } = package;
    let file = manifest_path.strip_prefix(root).unwrap_or(manifest_path);
    let Some((_, allowed)) = LAW.iter().find(|(ours, _)| ours == name) else {
        return vec![Finding::new(
            file,
            0,
            format!("the law knows no crate '{name}'"),
        )];
    };
    let never = NEVER
        .iter()
        .find(|(ours, _)| ours == name)
        .map_or(&[][..], |(_, never)| *never);
    let is_ours = |other: &str| LAW.iter().any(|(ours, _)| *ours == other);
    dependencies
        .iter()
        .filter(|dependency| {
            let other = dependency.name.as_str();
            let against_the_law = is_ours(other) && !allowed.contains(&other);
            let banned = never.contains(&other) && dependency.kind.as_deref() != Some("dev");
            against_the_law || banned
        })
        .map(|dependency| {
            Finding::new(
                file,
                0,
                format!("{name} must not depend on {}", dependency.name),
            )
        })
        .collect()
}

/// Versions and features of others' crates stand in the root's `[workspace.dependencies]` only.
pub(super) fn one_place(checkout: &Checkout) -> Outcome<Vec<Finding>> {
    Ok(checkout
        .files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml") && file.path != Path::new("Cargo.toml"))
        .flat_map(|file| declared_here(&file.path, &file.text))
        .collect())
}

fn declared_here(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            in_dependencies = section.trim_end_matches(']').ends_with("dependencies");
            if section.contains("dependencies.") {
                findings.push(Finding::new(
                    path,
                    at + 1,
                    "write this dependency on one line",
                ));
            }
            continue;
        }
        if !in_dependencies || line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let ours = LAW.iter().any(|(ours, _)| *ours == name);
        if !line.contains("workspace = true") {
            findings.push(Finding::new(
                path,
                at + 1,
                format!("declare {name} in the root's Cargo.toml"),
            ));
        } else if line.contains("features") && !ours {
            findings.push(Finding::new(
                path,
                at + 1,
                format!("declare {name}'s features in the root's Cargo.toml"),
            ));
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::new(path, 0, "does not take the workspace's lints"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.into(),
            manifest_path: "x/Cargo.toml".into(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        }
    }

    fn said(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.what.as_str())
            .collect()
    }

    #[test]
    fn a_crate_that_reaches_across_is_found_even_from_its_tests() {
        let check = |package: &Package, expected: &[&str]| {
            assert_eq!(said(&breaches(package, Path::new(""))), expected);
        };
        check(
            &package("gateway", &[("gateway-policy", None), ("hyper", None)]),
            &[],
        );
        check(
            &package("gateway", &[("commands", Some("dev"))]),
            &["gateway must not depend on commands"],
        );
        check(
            &package("gateway", &[("sqlx", None)]),
            &["gateway must not depend on sqlx"],
        );
        check(&package("gateway-policy", &[("tokio", Some("dev"))]), &[]);
        check(&package("extra", &[]), &["the law knows no crate 'extra'"]);
    }

    #[test]
    fn a_version_or_a_feature_in_a_members_manifest_is_found() {
        let check = |lines: &str, expected: &[&str]| {
            let text = format!("[package]\nname = \"x\"\n[lints]\nworkspace = true\n{lines}");
            assert_eq!(
                said(&declared_here(Path::new("x/Cargo.toml"), &text)),
                expected
            );
        };
        check("[dependencies]\nserde.workspace = true", &[]);
        check(
            "[dependencies]\nevents-schema = { workspace = true, features = [\"openapi\"] }",
            &[],
        );
        check(
            "[dependencies]\nserde = \"1\"",
            &["declare serde in the root's Cargo.toml"],
        );
        check(
            "[dev-dependencies]\ntokio = { workspace = true, features = [\"full\"] }",
            &["declare tokio's features in the root's Cargo.toml"],
        );
        check(
            "[dependencies.serde]\nversion = \"1\"",
            &["write this dependency on one line"],
        );
    }

    #[test]
    fn a_member_without_the_workspaces_lints_is_found() {
        let findings = declared_here(Path::new("x/Cargo.toml"), "[package]\n");
        assert_eq!(said(&findings), ["does not take the workspace's lints"]);
    }
}

//! The stack that the console belongs to: one that is named, or one of the test's own.

use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde::Deserialize;

/// How far the mock provider's port is from the console's.
const MOCK_PROVIDER: u16 = 5;

/// A stack that is up; the test's own is taken down when this is dropped.
pub(crate) struct Stack {
    /// The console's URL.
    pub(crate) console: String,
    /// The mock provider's base URL.
    pub(crate) mock_provider: String,
    /// The first owner.
    pub(crate) operator: Operator,
    own: Option<tempfile::TempDir>,
}

/// Who signs in.
#[derive(Deserialize)]
pub(crate) struct Operator {
    pub(crate) email: String,
    pub(crate) password: String,
}

/// Of the line that `up --detach` ends with, what is needed here.
#[derive(Deserialize)]
struct Line {
    console: String,
    operator: Operator,
}

// === impl Stack ===

impl Stack {
    /// The stack that `SLUICE_TEST_STACK` names, or a new one.
    pub(crate) fn of_this_run() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let named = std::env::vars().find(|(name, _)| name == "SLUICE_TEST_STACK");
        let (line, own) = match named {
            Some((_, line)) => (line, None),
            None => {
                let (line, folder) = up()?;
                (line, Some(folder))
            }
        };
        let Line { console, operator } = serde_json::from_str(&line)?;
        let (host, port) = console
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or("the console has a port")?;
        let mock_provider = format!("{host}:{}/v1", port.parse::<u16>()? + MOCK_PROVIDER);
        Ok(Self {
            console,
            mock_provider,
            operator,
            own,
        })
    }
}

/// Brings a stack up that ends with this process at the latest, and returns the line it ends with.
fn up() -> Result<(String, tempfile::TempDir), Box<dyn Error + Send + Sync>> {
    let readable = std::fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new()
        .prefix("sluice-browser-")
        .permissions(readable)
        .tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args([
            "up",
            "--detach",
            "--no-build",
            "--port-base",
            "0",
            "--bound-to",
            &std::process::id().to_string(),
        ])
        .arg("--data")
        .arg(folder.path().join("data"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().last() {
        Some(line) if output.status.success() => Ok((line.to_owned(), folder)),
        _ => Err(format!(
            "no stack: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(folder) = &self.own {
            let down = Command::new(env!("CARGO_BIN_EXE_sluice"))
                .arg("down")
                .arg("--data")
                .arg(folder.path().join("data"))
                .output();
            drop(down);
        }
    }
}

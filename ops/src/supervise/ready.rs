//! Asking a process whether it can do its work.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::plan::Probe;
use crate::client;

/// How long one question may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Longest part of an answer that is shown.
const QUOTED_CHARS: usize = 300;

/// Ready, or the reason why not.
pub(crate) async fn ask(probe: &Probe) -> Result<(), String> {
    let answer = match probe {
        Probe::Http {
            port,
            path,
            ca_file,
        } => timeout(ASK_WITHIN, ask_http(*port, path, ca_file.as_deref())).await,
        Probe::Program { program, args } => {
            let mut command = Command::new(program);
            command.args(args);
            timeout(ASK_WITHIN, ask_program(command)).await
        }
    };
    answer.unwrap_or_else(|_| Err(format!("no answer within {} s", ASK_WITHIN.as_secs())))
}

async fn ask_http(port: u16, path: &str, ca_file: Option<&Path>) -> Result<(), String> {
    let scheme = if ca_file.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://127.0.0.1:{port}{path}");
    let answer = client::get(&url, ca_file)
        .await
        .map_err(|failure| failure.to_string())?;
    if answer.status.is_success() {
        return Ok(());
    }
    let body: String = answer.text().chars().take(QUOTED_CHARS).collect();
    Err(format!("{path} answers {}: {}", answer.status, body.trim()))
}

async fn ask_program(mut command: Command) -> Result<(), String> {
    let output = command
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

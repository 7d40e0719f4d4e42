//! `restore`: a stack's log from a backup. What is there is never overwritten.
//!
//! Whether something was appended after the backup only `EVENTS` can tell. Where that is still there, `commands` takes
//! the missing rows back from it at its start. Where it is gone, gateways may know of more than the log does, so the
//! restored log takes no commands until an operator starts a new epoch, which gateways then follow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{DUMP, MANIFEST, Manifest, SECRETS, copy_closed, digest, succeed};
use crate::failure::{Doing, Failure, Outcome};
use crate::parts::Cache;
use crate::paths;
use crate::progress::Progress;
use crate::stack::DataDir;
use crate::stack::alone::Alone;
use crate::stack::ports::Ports;
use crate::stack::postgres;
use crate::stack::secrets::{self, PostgresPasswords};
use crate::stack::ways::Ways;
use crate::supervise::state::StackState;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct RestoreArgs {
    /// The folder that `backup` made.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The stack's data folder; it must hold no log.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The stack is one of `up --tls`, which runs another Postgres.
    #[arg(long)]
    tls: bool,
}

/// Where the head is said to have been published one event after the backup's last: no event has this hash, so that
/// `commands` finds the log too short.
const STOP_APPENDS: &str = "INSERT INTO seen_heads (position, hash, epoch, seen_us) \
    SELECT position + 1, decode(repeat('00', 32), 'hex'), epoch, 0 FROM log_head WHERE epoch IS NOT NULL";

/// How deep below its folder NATS keeps the streams: `jetstream/jetstream/ACCOUNT/streams/NAME`.
const STREAM_DEPTH: usize = 5;

/// Restores the log and the secrets, and says what is to be done next.
pub(crate) fn run(args: &RestoreArgs) -> Outcome {
    let data = DataDir::locate(args.data.as_deref())?;
    let from = paths::absolute(&args.from)?;
    check_backup(&from)?;
    data.create()?;
    let _alone = data.lock()?;
    must_be_free(&data)?;
    let progress = Progress::on_stderr();
    let bin = Cache::open()?.part(postgres::part(&data, args.tls)?, &progress)?;
    restore_secrets(&from.join(SECRETS), &data)?;
    let passwords = secrets::postgres_passwords(&data)?;
    let step = progress.step("log");
    postgres::initialise(&data, &bin, &passwords)?;
    let events = find_below(&data.nats(), "EVENTS", STREAM_DEPTH);
    if let Err(failure) = load(&from, &data, &bin, &passwords, !events) {
        // Half a log must not be taken for one.
        fs::remove_dir_all(data.postgres())
            .doing(|| format!("removing {}", data.postgres().display()))?;
        return Err(failure);
    }
    step.done();
    if events {
        eprintln!(
            "The log is restored. What was appended after the backup is taken back from EVENTS at the next `up`."
        );
    } else {
        eprintln!(
            "The log is restored. EVENTS is gone, so what was appended after the backup is lost. Commands are refused \
             until you start a new epoch: bring the stack up, look at its history, then say \
             `sluice start-epoch --why '…'`."
        );
    }
    Ok(())
}

fn check_backup(from: &Path) -> Outcome {
    let manifest = from.join(MANIFEST);
    let doing = || format!("reading {}", manifest.display());
    let text = fs::read(&manifest).doing(doing)?;
    let Manifest { dump, .. } = serde_json::from_slice(&text).doing(doing)?;
    if digest(&from.join(DUMP))? == dump {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is not what was dumped: the backup is damaged",
        from.join(DUMP).display()
    )))
}

fn must_be_free(data: &DataDir) -> Outcome {
    let running = StackState::read(&data.state_file())?;
    if running.is_some_and(|state| state.supervisor.is_running()) {
        return Err(Failure::new("the stack runs: take it down first"));
    }
    if data.postgres().exists() {
        return Err(Failure::new(format!(
            "{} holds a log, which a restore would overwrite: move it away first",
            data.postgres().display()
        )));
    }
    Ok(())
}

/// Brings back what is missing. What is there is newer than the backup, and stays; but it must open what the backup's
/// opened.
fn restore_secrets(from: &Path, data: &DataDir) -> Outcome {
    for entry in fs::read_dir(from).doing(|| format!("reading {}", from.display()))? {
        let kept = entry.doing(|| format!("reading {}", from.display()))?;
        let live = data.secrets().join(kept.file_name());
        if !live.exists() {
            copy_closed(&kept.path(), &live)?;
        } else if !opens_as_much(&live, &kept.path())? {
            return Err(Failure::new(format!(
                "{} lacks a key of the backup's: it belongs to another deployment, or a key was removed since",
                live.display()
            )));
        }
    }
    Ok(())
}

/// Whether a ring has every key of another. What is no ring needs not be the same.
fn opens_as_much(live: &Path, kept: &Path) -> Outcome<bool> {
    let read = |path: &Path| -> Outcome<Value> {
        let text = fs::read(path).doing(|| format!("reading {}", path.display()))?;
        // serde's error would quote what it did not understand, which may be a secret.
        serde_json::from_slice(&text)
            .map_err(|_| Failure::new(format!("{} is not readable", path.display())))
    };
    let (live, kept) = (read(live)?, read(kept)?);
    let keys = kept["keys"].as_object();
    Ok(keys.is_none_or(|keys| keys.iter().all(|(id, key)| live["keys"][id] == *key)))
}

fn load(
    from: &Path,
    data: &DataDir,
    bin: &Path,
    passwords: &PostgresPasswords,
    stop_appends: bool,
) -> Outcome {
    let ports = Ports::free(u16::from_le_bytes(secrets::random()?))?;
    let server = Alone::start(data, ports, bin, &[])?;
    let mut command = Command::new(bin.join("pg_restore"));
    command
        .env_clear()
        .env("PGPASSWORD", &passwords.superuser_password)
        .args(["--host=127.0.0.1", "--username=postgres", "--no-password"])
        .args(["--dbname=sluice", "--single-transaction", "--exit-on-error"])
        .arg(format!("--port={}", ports.postgres()))
        .arg(from.join(DUMP));
    succeed(command, "restoring the log")?;
    if stop_appends {
        let superuser = Ways::of(data, false).postgres(
            "postgres",
            &passwords.superuser_password,
            "sluice",
            ports.postgres(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "starting this tool's runtime".into())?;
        runtime
            .block_on(execute(&superuser, STOP_APPENDS))
            .doing(|| "marking the log as restored".into())?;
    }
    drop(server);
    Ok(())
}

async fn execute(url: &str, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(statement).await?;
    connection.close().await
}

/// Whether a folder of this name lies somewhere below.
fn find_below(folder: &Path, name: &str, depth: usize) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        let path = entry.path();
        path.is_dir()
            && (entry.file_name() == name || (depth > 1 && find_below(&path, name, depth - 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_lost_a_key_does_not_open_what_the_backups_opened() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let kept = write("kept", r#"{"active": "k1", "keys": {"k1": "aa"}}"#);
        let check = |text: &str, expected: bool| {
            assert_eq!(
                opens_as_much(&write("live", text), &kept).unwrap(),
                expected,
                "{text}"
            );
        };
        check(r#"{"active": "k1", "keys": {"k1": "aa"}}"#, true);
        check(
            r#"{"active": "k2", "keys": {"k1": "aa", "k2": "bb"}}"#,
            true,
        );
        check(r#"{"active": "k2", "keys": {"k2": "bb"}}"#, false);
        check(r#"{"active": "k1", "keys": {"k1": "cc"}}"#, false);
        let said = opens_as_much(&write("live", "hunter2"), &kept)
            .unwrap_err()
            .to_string();
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_stream_is_found_where_nats_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!find_below(folder.path(), "EVENTS", STREAM_DEPTH));
        let streams = folder.path().join("jetstream/jetstream/$G/streams/EVENTS");
        fs::create_dir_all(streams).unwrap();
        assert!(find_below(folder.path(), "EVENTS", STREAM_DEPTH));
    }
}

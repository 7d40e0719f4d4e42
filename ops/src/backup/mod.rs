//! `backup` and `restore`: the log with all that lies beside it, and the secrets that open it. Everything else follows
//! from these two, but for the requests in ClickHouse, of which a deployment keeps backups by ClickHouse's own means.

mod restore;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::failure::{Doing, Failure, Outcome};
use crate::paths;
use crate::running::Running;
use crate::stack::{DataDir, secrets};

pub(crate) use restore::{RestoreArgs, run as restore};

/// The dump, in `pg_dump`'s own format.
const DUMP: &str = "log.dump";

/// A copy of the stack's secrets.
const SECRETS: &str = "secrets";

/// What the backup is of.
const MANIFEST: &str = "backup.json";

/// Tables whose rows are not kept: whoever was signed in signs in again.
const WITHOUT: [&str; 1] = ["sessions"];

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder to make. It opens everything: keep it as you keep the secrets.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The stack's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The version of this tool.
    sluice: String,
    /// When it was begun, in Unix milliseconds.
    begun_ms: u64,
    /// BLAKE3 of the dump, in hexadecimal digits.
    dump: String,
}

/// Takes a backup of a running stack. It is complete or absent.
pub(crate) fn run(args: &Args) -> Outcome {
    let running = Running::find(DataDir::locate(args.data.as_deref())?)?;
    let to = paths::absolute(&args.to)?;
    if to.exists() {
        return Err(Failure::new(format!(
            "{} is there already: a backup makes its folder itself",
            to.display()
        )));
    }
    let draft = to.with_extension("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft).doing(|| format!("removing {}", draft.display()))?;
    }
    make_closed(&draft)?;
    let begun_ms = clock::now_ms();
    dump(&running, &draft.join(DUMP))?;
    copy_secrets(&running.data.secrets(), &draft.join(SECRETS))?;
    let manifest = Manifest {
        sluice: env!("CARGO_PKG_VERSION").to_owned(),
        begun_ms,
        dump: digest(&draft.join(DUMP))?,
    };
    let text = serde_json::to_vec_pretty(&manifest).doing(|| "writing the manifest".into())?;
    fs::write(draft.join(MANIFEST), text).doing(|| "writing the manifest".into())?;
    fs::rename(&draft, &to).doing(|| format!("moving the backup to {}", to.display()))?;
    eprintln!(
        "The log, and the secrets that open it, are in {}.",
        to.display()
    );
    Ok(())
}

/// One consistent picture of the database, taken while it is written to.
fn dump(running: &Running, to: &Path) -> Outcome {
    let passwords = secrets::postgres_passwords(&running.data)?;
    let mut command = Command::new(running.postgres_tool("pg_dump")?);
    command
        .env_clear()
        .env("PGPASSWORD", passwords.superuser_password)
        .args(["--host=127.0.0.1", "--username=postgres", "--no-password"])
        .args(["--dbname=sluice", "--format=custom"])
        .arg(format!("--port={}", running.ports.postgres()))
        .args(WITHOUT.map(|table| format!("--exclude-table-data={table}")))
        .arg("--file")
        .arg(to);
    if let Some(file) = running.ways.ca_file() {
        command
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", file);
    }
    succeed(command, "dumping the log")
}

fn copy_secrets(from: &Path, to: &Path) -> Outcome {
    make_closed(to)?;
    for entry in fs::read_dir(from).doing(|| format!("reading {}", from.display()))? {
        let entry = entry.doing(|| format!("reading {}", from.display()))?;
        if entry.path().extension().is_some_and(|it| it == "json") {
            copy_closed(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Copies a file so that only its owner may read it.
fn copy_closed(from: &Path, to: &Path) -> Outcome {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    let text = fs::read(from).doing(doing)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .doing(doing)?;
    std::io::Write::write_all(&mut file, &text).doing(doing)?;
    file.sync_all().doing(doing)
}

fn make_closed(folder: &Path) -> Outcome {
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .doing(|| format!("making {}", folder.display()))
}

fn digest(file: &Path) -> Outcome<String> {
    let doing = || format!("reading {}", file.display());
    let mut hasher = blake3::Hasher::new();
    let mut reader = fs::File::open(file).doing(doing)?;
    std::io::copy(&mut reader, &mut hasher).doing(doing)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Runs a program to its end; what it said is shown when it fails.
fn succeed(mut command: Command, doing: &str) -> Outcome {
    let output = command.output().doing(|| doing.to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "{doing} failed ({}): {}",
        output.status,
        said.trim()
    )))
}

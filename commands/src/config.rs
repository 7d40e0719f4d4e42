//! The configuration: flags with their twins in the environment. The only place that looks at either, and the only
//! one that reads key rings.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use events_schema::keyring::{InvalidKeyRing, KeyRing};

use crate::{certificate::CertificateArgs, secrets::Secrets, trust::TrustArgs};

/// The control plane of Sluice: its log, its HTTP API, and its console.
#[derive(Debug, Parser)]
#[command(name = "sluice-commands", version)]
pub struct Cli {
    /// How to write log lines.
    #[command(flatten)]
    pub logging: Logging,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Serve the HTTP API and the console, and relay events to JetStream.
    Serve(Box<Serve>),
    /// Make an owner, who may do everything; the password is read from standard input. Prints the operator's id.
    CreateOwner(CreateOwner),
    /// Check the whole log against its hash chain, EVENTS and the heads seen before. Prints one line of JSON.
    Verify(Log),
    /// Bring the database's tables up to date.
    Migrate(Migrate),
    /// Run a relay alone. Stops with the reason when another one is at work.
    Relay(Log),
    /// Accept that the log was forked or lost, and go on under a higher epoch.
    StartEpoch(StartEpoch),
}

/// How to write log lines.
#[derive(Debug, Args)]
pub struct Logging {
    /// `text` for people, `json` for machines.
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
    /// Which lines: for example `info` or `info,commands=debug`.
    #[arg(
        long = "log",
        env = "SLUICE_LOG",
        default_value = "info",
        global = true
    )]
    pub filter: String,
}

/// A format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Where the log is.
#[derive(Debug, Clone, Args)]
pub struct Log {
    /// Postgres, as the role `sluice_service`. To another machine the connection is verified (`sslmode=verify-full`)
    /// unless this says another sslmode.
    #[arg(long, env = "SLUICE_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: String,
    /// NATS, as `nats://[user:password@]host:port`, or `tls://…` for an encrypted connection.
    #[arg(
        long,
        env = "SLUICE_NATS_URL",
        default_value = "nats://127.0.0.1:7702",
        hide_env_values = true
    )]
    pub nats_url: String,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where the log is.
    #[command(flatten)]
    pub log: Log,
    /// Postgres as the role `sluice_owner`: migrations run at the start.
    #[arg(long, env = "SLUICE_POSTGRES_OWNER_URL", hide_env_values = true)]
    pub postgres_owner_url: Option<String>,
    /// Where to listen.
    #[arg(long, env = "SLUICE_LISTEN", default_value = "127.0.0.1:7700")]
    pub listen: SocketAddr,
    /// What to show who connects.
    #[command(flatten)]
    pub certificate: CertificateArgs,
    /// ClickHouse's HTTP interface, for analytics: `http[s]://[user:password@]host:port`. The user need only read.
    #[arg(
        long,
        env = "SLUICE_CLICKHOUSE_URL",
        default_value = "http://127.0.0.1:7704",
        hide_env_values = true
    )]
    pub clickhouse_url: String,
    /// The gateway's base URL, as callers use it; the playground uses it too.
    #[arg(
        long,
        env = "SLUICE_GATEWAY_URL",
        default_value = "http://127.0.0.1:7800"
    )]
    pub gateway_url: String,
    /// The folder of the key rings.
    #[arg(long, env = "SLUICE_SECRETS_DIR")]
    pub secrets_dir: PathBuf,
    /// The folder of the built console.
    #[arg(long, env = "SLUICE_ASSETS_DIR")]
    pub assets_dir: Option<PathBuf>,
    /// Believe `x-forwarded-for` and `x-forwarded-proto`: only behind a proxy that sets both itself.
    #[arg(long, env = "SLUICE_TRUST_FORWARDED")]
    pub trust_forwarded: bool,
}

/// Options of `create-owner`.
#[derive(Debug, Args)]
pub struct CreateOwner {
    /// Where the log is.
    #[command(flatten)]
    pub log: Log,
    /// Postgres as the role `sluice_owner`: migrations run first.
    #[arg(long, env = "SLUICE_POSTGRES_OWNER_URL", hide_env_values = true)]
    pub postgres_owner_url: Option<String>,
    /// The folder of the key rings.
    #[arg(long, env = "SLUICE_SECRETS_DIR")]
    pub secrets_dir: PathBuf,
    /// The owner's e-mail address.
    #[arg(long)]
    pub email: String,
    /// The owner's name.
    #[arg(long)]
    pub name: String,
}

/// Options of `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Postgres as the role `sluice_owner`.
    #[arg(long, env = "SLUICE_POSTGRES_OWNER_URL", hide_env_values = true)]
    pub postgres_owner_url: String,
}

/// Options of `start-epoch`.
#[derive(Debug, Args)]
pub struct StartEpoch {
    /// Where the log is.
    #[command(flatten)]
    pub log: Log,
    /// Why, for the history.
    #[arg(long)]
    pub why: String,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key ring cannot be read.
    #[error("the key ring {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no key ring.
    #[error("the file {path} is no key ring: {source}")]
    NoKeyRing {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidKeyRing,
    },
    /// The console's folder holds no console.
    #[error("the folder {0} holds no index.html: build the console, or leave --assets-dir out")]
    NoConsole(PathBuf),
}

/// Reads the key rings of this service from their folder.
///
/// # Errors
/// See [`ConfigError`].
pub fn read_secrets(dir: &Path) -> Result<Secrets, ConfigError> {
    Ok(Secrets {
        pepper: read_ring(&dir.join("api-key-pepper.json"))?,
        sealing_public: read_ring(&dir.join("sealing-public.json"))?,
        fingerprint: read_ring(&dir.join("fingerprint.json"))?,
    })
}

fn read_ring(path: &Path) -> Result<KeyRing, ConfigError> {
    let text = read_closed(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    KeyRing::parse(&text).map_err(|source| ConfigError::NoKeyRing {
        path: path.to_owned(),
        source,
    })
}

/// A file's text, unless everyone on this machine may read or change it.
fn read_closed(path: &Path) -> std::io::Result<String> {
    const OTHERS: u32 = 0o007;
    if fs::metadata(path)?.permissions().mode() & OTHERS != 0 {
        let open = "everyone on this machine may use it: take that away (chmod o-rwx)";
        return Err(std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            open,
        ));
    }
    fs::read_to_string(path)
}

/// The console's folder, when it holds a console.
///
/// # Errors
/// When it holds none.
pub fn check_assets(dir: Option<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    match dir {
        Some(dir) if !dir.join("index.html").is_file() => Err(ConfigError::NoConsole(dir)),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_ring_that_everyone_may_use_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = folder.path().join("api-key-pepper.json");
        let text = format!(r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#, "01".repeat(32));
        fs::write(&ring, text).expect("it can be written");
        for (mode, good) in [(0o600, true), (0o440, true), (0o644, false), (0o602, false)] {
            fs::set_permissions(&ring, fs::Permissions::from_mode(mode)).expect("it is ours");
            let read = read_ring(&ring).map(|_| ());
            assert_eq!(read.is_ok(), good, "{mode:o}: {read:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_ring_is_said_in_one_line() {
        let error = read_secrets(Path::new("/nonexistent")).expect_err("no such folder");
        let text = error.to_string();
        assert!(
            text.contains("/nonexistent/api-key-pepper.json") && !text.contains('\n'),
            "{text}"
        );
    }
}

//! What an operator sets: flags with environment twins, and the key rings in files. The only reader of either.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use events_schema::keyring::{InvalidKeyRing, KeyRing};

use crate::{certificate::CertificateArgs, trust::TrustArgs};

/// Sluice's projections: snapshots for gateways, the ledger and the audit trail.
#[derive(Debug, Clone, Parser)]
#[command(name = "sluice-projections", version)]
pub struct Config {
    /// What to run; everything when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where everything is.
    #[command(flatten)]
    pub places: Places,
}

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Build something again from what it follows from, beside what is live, compare the two, and put it in its place.
    Rebuild {
        /// What.
        #[arg(value_enum)]
        what: Rebuild,
    },
    /// Everything: the snapshot publisher, the ledger and the audit trail.
    Serve,
    /// The snapshot publisher alone; it stops when another publisher is alive.
    Publish,
}

/// What can be built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rebuild {
    /// Every entry of SNAPSHOTS, from EVENTS.
    Snapshots,
    /// The rollup usage_1m, from the requests.
    Ledger,
    /// The audit trail admin_events, from EVENTS.
    Audit,
}

/// Where everything is, and how the log is written.
#[derive(Debug, Clone, Args)]
pub struct Places {
    /// The NATS server with EVENTS, SNAPSHOTS and USAGE: nats://[user:password@]host:port, or tls://… for an encrypted
    /// connection.
    #[arg(
        long,
        global = true,
        env = "SLUICE_NATS_URL",
        default_value = "nats://127.0.0.1:7702",
        hide_env_values = true
    )]
    pub nats_url: String,
    /// Postgres, of which only the sealed credentials and where the log ends are read. To another machine the connection
    /// is verified (sslmode=verify-full) unless this says another sslmode.
    #[arg(
        long,
        global = true,
        env = "SLUICE_POSTGRES_URL",
        default_value = "postgres://sluice_reader@127.0.0.1:7701/sluice",
        hide_env_values = true
    )]
    pub postgres_url: String,
    /// ClickHouse's HTTP interface: http[s]://[user:password@]host:port.
    #[arg(
        long,
        global = true,
        env = "SLUICE_CLICKHOUSE_URL",
        default_value = "http://127.0.0.1:7704",
        hide_env_values = true
    )]
    pub clickhouse_url: String,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The folder with snapshot-mac.json.
    #[arg(
        long,
        global = true,
        env = "SLUICE_SECRETS_DIR",
        default_value = "secrets"
    )]
    pub secrets_dir: PathBuf,
    /// Where to answer /healthz, /readyz and /metrics.
    #[arg(
        long,
        global = true,
        env = "SLUICE_LISTEN",
        default_value = "127.0.0.1:7706"
    )]
    pub listen: SocketAddr,
    /// What to show who asks there.
    #[command(flatten)]
    pub certificate: CertificateArgs,
    /// How many servers of a NATS cluster keep each stream that is created here.
    #[arg(
        long,
        global = true,
        env = "SLUICE_STREAM_REPLICAS",
        default_value_t = 1
    )]
    pub stream_replicas: usize,
    /// How to write the log.
    #[arg(long, global = true, env = "SLUICE_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What to log, as `level` or `target=level,…`.
    #[arg(long, global = true, env = "SLUICE_LOG", default_value = "info")]
    pub log: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Why a key ring cannot be had. Never quotes what it holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read.
    #[error("reading the key ring {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no key ring.
    #[error("the file {path} is no key ring")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: InvalidKeyRing,
    },
}

impl Places {
    /// Reads the ring of the snapshots' MAC keys.
    ///
    /// # Errors
    /// When the file is missing or no key ring.
    pub fn snapshot_mac(&self) -> Result<KeyRing, SecretsError> {
        let path = self.secrets_dir.join("snapshot-mac.json");
        let text = read_closed(&path).map_err(|source| SecretsError::Read {
            path: path.clone(),
            source,
        })?;
        KeyRing::parse(&text).map_err(|source| SecretsError::Parse { path, source })
    }
}

/// A file's text, unless everyone on this machine may read or change it.
fn read_closed(path: &Path) -> io::Result<String> {
    const OTHERS: u32 = 0o007;
    if fs::metadata(path)?.permissions().mode() & OTHERS != 0 {
        let open = "everyone on this machine may use it: take that away (chmod o-rwx)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, open));
    }
    fs::read_to_string(path)
}

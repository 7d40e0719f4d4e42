//! ClickHouse's HTTP interface around libchdb, so that clients connect as to a server.
//!
//! Made for a development stack and small deployments on one machine. What differs from a real
//! server: users are named when it starts, no roles, no external tables, no `KILL QUERY` and no
//! `client_protocol_version` (clients fall back by themselves), answers in formats that are one
//! document (JSON, Parquet, …) are held in memory until they are complete, and errors name the
//! version with `(embedded build)`.
//!
//! Each request gets a connection of its own to the engine (about a millisecond), so no setting
//! leaks into the next; a named session keeps one.

mod ask;
mod body;
mod encoding;
mod engine;
mod exception;
mod ffi;
mod format;
mod framing;
mod job;
mod multipart;
mod reply;
mod server;
mod session;
mod sql;
mod users;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::engine::Engine;
use self::server::{MAX_QUERIES, Shared};
use self::users::Users;
use crate::failure::{Doing as _, Outcome};
use crate::tls::ServerTls;

/// Queries that would not end in their time get so long more before the process ends without them.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Threads that read and write sockets; the engine has its own.
const SOCKET_THREADS: usize = 2;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen for HTTP; port 0 picks a free one, and the first line printed names it.
    #[arg(
        long,
        env = "SLUICE_CLICKHOUSE_LISTEN",
        default_value = "127.0.0.1:7704"
    )]
    listen: SocketAddr,
    /// The folder of the data; made when it is missing.
    #[arg(long, env = "SLUICE_CLICKHOUSE_PATH")]
    path: PathBuf,
    /// The engine: libchdb.so.
    #[arg(long, env = "SLUICE_CLICKHOUSE_LIB")]
    lib: PathBuf,
    /// Of the user `default`, who may do everything. Without it, and without other users, anyone may connect.
    #[arg(long, env = "SLUICE_CLICKHOUSE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Another user, as NAME:PASSWORD, or NAME:PASSWORD:readonly for one who may only read; several in the variable
    /// have commas between them.
    #[arg(
        long = "user",
        value_name = "USER",
        env = "SLUICE_CLICKHOUSE_USERS",
        hide_env_values = true
    )]
    // Not read by clap, whose errors quote what they do not understand.
    users: Vec<String>,
    #[command(flatten)]
    tls: ServerTls,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: Args) -> Outcome {
    let Args {
        listen,
        path,
        lib,
        password,
        users,
        tls,
    } = args;
    let users = users::named(&users)?;
    let tls = tls.acceptor()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .max_blocking_threads(MAX_QUERIES + 8)
        .enable_all()
        .build()
        .doing(|| "starting ClickHouse's socket threads".to_owned())?;
    let outcome = runtime.block_on(async {
        // Bound first: a taken port is said at once, and before the data is touched.
        let listener = TcpListener::bind(listen)
            .await
            .doing(|| format!("listening on {listen} for ClickHouse"))?;
        let address = listener
            .local_addr()
            .doing(|| format!("listening on {listen} for ClickHouse"))?;
        let mut terminate =
            signal(SignalKind::terminate()).doing(|| "waiting for SIGTERM".to_owned())?;
        let mut interrupt =
            signal(SignalKind::interrupt()).doing(|| "waiting for SIGINT".to_owned())?;
        let password = password.as_deref().filter(|password| !password.is_empty());
        let users = Users::new(password, users);
        let shared = Shared::new(Engine::start(&lib, &path)?, users, tls);
        say(&format!(
            "clickhouse: version {} serves {} on {scheme}://{address}",
            shared.engine.version,
            path.display()
        ));
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Arc::clone(&shared).serve(listener, stop).await;
        shared.sessions.clear();
        // The engine may keep threads of tables that are open. What was acknowledged is in files.
        let joined = shared.engine.stop();
        tracing::debug!(joined, "the engine was told to stop");
        say("clickhouse: stopped");
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WAIT);
    outcome
}

/// A line for whoever started this; if nobody reads it any more, that is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

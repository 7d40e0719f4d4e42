//! The process of the projections.

use std::{future::pending, process::ExitCode, sync::Arc};

use clap::Parser;
use projections::{
    audit::{self, AuditPart},
    certificate::Certificate,
    clock,
    config::{Command, Config, LogFormat, Places, Rebuild},
    corrections::{self, CorrectionsPart},
    ledger::{self, LedgerPart},
    limits::{self, LimitsPart},
    log_head::LogHead,
    nats, postgres, rebuild, retention,
    snapshots::{self, PublisherConfig, PublisherPart, PublisherStatus, Rivals},
    status::{self, Part},
    trust::Trust,
    warehouse::Warehouse,
};
use sqlx::postgres::PgConnectOptions;
use tokio::{net::TcpListener, signal::unix, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(
        installed.is_ok(),
        "nothing else installs a provider before main"
    );
    let Config { command, places } = Config::parse();
    let command = command.unwrap_or(Command::Serve);
    // What a tool prints is for its caller: log lines then go to standard error.
    let is_tool = matches!(command, Command::Rebuild { .. });
    if let Err(error) = start_logging(&places, is_tool) {
        return fail(&*error);
    }
    match run(command, &places) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

/// One clear line, also where the log is filtered away.
#[expect(
    clippy::print_stderr,
    reason = "the reason why the process ends goes to whoever started it"
)]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    eprintln!("sluice-projections: {line}");
    ExitCode::FAILURE
}

type AnyError = Box<dyn std::error::Error>;

fn start_logging(places: &Places, to_stderr: bool) -> Result<(), AnyError> {
    let filter = EnvFilter::try_new(&places.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false);
    match (places.log_format, to_stderr) {
        (LogFormat::Text, false) => builder.init(),
        (LogFormat::Json, false) => builder.json().init(),
        (LogFormat::Text, true) => builder.with_writer(std::io::stderr).init(),
        (LogFormat::Json, true) => builder.json().with_writer(std::io::stderr).init(),
    }
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn run(command: Command, places: &Places) -> Result<(), AnyError> {
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_at_signal(shutdown.clone()));
    let rivals = match command {
        Command::Serve => Rivals::StandBy,
        Command::Publish => Rivals::Stop,
        Command::Rebuild { what } => return rebuild(what, places, shutdown).await,
    };
    let trust = Trust::read(&places.trust)?;
    let certificate = Certificate::read(places.certificate.clone()).await?;
    let config = publisher(places, &trust, rivals)?;
    let server = nats::Server::new(&places.nats_url, trust.clone())?;
    let link = nats::connect(&server, "sluice-projections").await?;
    let (sender, receiver) = watch::channel(PublisherStatus::new());
    let jetstream = async_nats::jetstream::new(link.client.clone());
    let publisher = tokio::spawn(snapshots::run(config, link, sender, shutdown.clone()));
    let mut parts: Vec<Arc<dyn Part>> = vec![Arc::new(PublisherPart(receiver))];
    let mut workers = JoinSet::new();
    let mut listening = None;
    if command == Command::Serve {
        let warehouse = Warehouse::new(&places.clickhouse_url, &trust)?;
        let ledger = ledger::Config {
            jetstream: jetstream.clone(),
            warehouse: warehouse.clone(),
            usage_bytes: ledger::USAGE_BYTES,
            replicas: places.stream_replicas,
            now: clock::now,
            worker: random_id()?,
            status: Arc::default(),
        };
        let audit = audit::Config {
            jetstream: jetstream.clone(),
            warehouse: warehouse.clone(),
            status: Arc::default(),
        };
        let limits = limits::Config {
            link: nats::connect(&server, "sluice-projections limits").await?,
            worker: random_id()?,
            replicas: places.stream_replicas,
            warehouse: warehouse.clone(),
            now: clock::now,
            status: Arc::default(),
        };
        let log_head = LogHead::new(postgres_options(places, &trust)?);
        let corrections = corrections::Config {
            jetstream: jetstream.clone(),
            warehouse: warehouse.clone(),
            log_head: log_head.clone(),
            now: clock::now,
            worker: random_id()?,
            status: Arc::default(),
        };
        let retention = retention::Config {
            jetstream,
            warehouse,
            log_head,
            now: clock::now,
        };
        parts.push(Arc::new(LedgerPart(Arc::clone(&ledger.status))));
        parts.push(Arc::new(AuditPart(Arc::clone(&audit.status))));
        parts.push(Arc::new(CorrectionsPart(Arc::clone(&corrections.status))));
        parts.push(Arc::new(LimitsPart(Arc::clone(&limits.status))));
        workers.spawn(limits::run(limits, shutdown.clone()));
        workers.spawn(ledger::run(ledger, shutdown.clone()));
        workers.spawn(audit::run(audit, shutdown.clone()));
        workers.spawn(corrections::run(corrections, shutdown.clone()));
        workers.spawn(retention::run(retention, shutdown.clone()));
        let listener = TcpListener::bind(places.listen).await;
        let listener =
            listener.map_err(|error| format!("listening on {}: {error}", places.listen))?;
        tracing::info!(listen = %places.listen, "the projections are up");
        listening = Some(listener);
    }
    let worked = async {
        publisher.await??;
        workers.join_all().await;
        Ok(())
    };
    let told = async {
        if let Some(listener) = listening {
            status::serve(listener, certificate, parts, shutdown).await?;
        }
        // The process ends when its work does.
        pending().await
    };
    tokio::select! {
        worked = worked => worked,
        failed = told => failed,
    }
}

fn publisher(places: &Places, trust: &Trust, rivals: Rivals) -> Result<PublisherConfig, AnyError> {
    Ok(PublisherConfig {
        id: random_id()?,
        ring: places.snapshot_mac()?,
        postgres: postgres_options(places, trust)?,
        replicas: places.stream_replicas,
        rivals,
    })
}

fn postgres_options(places: &Places, trust: &Trust) -> Result<PgConnectOptions, AnyError> {
    let options = postgres::secured(&places.postgres_url, trust)?.parse();
    Ok(options.map_err(|_| "the Postgres URL cannot be read")?)
}

/// Builds something again, and says what came of it.
#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command line tool tells how far it is, and ends with its result"
)]
async fn rebuild(
    what: Rebuild,
    places: &Places,
    shutdown: CancellationToken,
) -> Result<(), AnyError> {
    let trust = Trust::read(&places.trust)?;
    let server = nats::Server::new(&places.nats_url, trust.clone())?;
    let link = nats::connect(&server, "sluice-projections rebuild").await?;
    let jetstream = async_nats::jetstream::new(link.client.clone());
    let say = |line: &str| eprintln!("{line}");
    let result = match what {
        Rebuild::Snapshots => {
            let config = publisher(places, &trust, Rivals::Replace)?;
            let done = snapshots::republish(config, link, shutdown).await?;
            serde_json::json!({
                "rebuilt": "snapshots", "built": done.sent, "differed": done.differed,
                "position": done.position, "digest_before": done.digest_before,
                "digest_after": done.digest_after,
            })
        }
        Rebuild::Ledger => {
            let warehouse = Warehouse::new(&places.clickhouse_url, &trust)?;
            let done = rebuild::ledger::rebuild(&jetstream, &warehouse, &shutdown, &say).await?;
            serde_json::json!({ "rebuilt": "ledger", "built": done.built, "differed": done.differed })
        }
        Rebuild::Audit => {
            let warehouse = Warehouse::new(&places.clickhouse_url, &trust)?;
            let done = rebuild::audit::rebuild(&jetstream, &warehouse, &shutdown, &say).await?;
            serde_json::json!({ "rebuilt": "audit", "built": done.built, "differed": done.differed })
        }
    };
    println!("{result}");
    Ok(())
}

/// Tells this process from any other of its kind.
fn random_id() -> Result<uuid::Uuid, AnyError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

async fn cancel_at_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        unix::signal(unix::SignalKind::terminate()),
        unix::signal(unix::SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be handled: only SIGKILL ends this process");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
}

//! The gateway's process.

use std::{process::ExitCode, sync::Arc};

use clap::Parser as _;
use gateway::{
    clock,
    config::{Config, LogFormat, Secrets},
    identity,
    metrics::Metrics,
    record::{self, RecordConfig},
    report::Identity,
    server::{Workers, worker::Shared},
    view::{self, ViewConfig},
};
use tokio::{net::TcpListener, signal::unix};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Several crates bring rustls: all of them are to use ring.
    let _was_installed = rustls::crypto::ring::default_provider().install_default();
    let config = Config::parse();
    match log_to_stdout(&config).and_then(|()| run(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

type AnyError = Box<dyn std::error::Error>;

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
    eprintln!("sluice-gateway: {line}");
    ExitCode::FAILURE
}

fn log_to_stdout(config: &Config) -> Result<(), AnyError> {
    let filter = EnvFilter::try_new(&config.log)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Starts the parts, and stops them in the order in which they need each other: first whoever makes records, then the
/// recorder and the view.
fn run(config: &Config) -> Result<(), AnyError> {
    let secrets = Secrets::read(config)?;
    // Before anything in the data folder is touched: a gateway that cannot have port and folder for itself leaves both
    // to the one that has them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime
        .block_on(TcpListener::bind(config.listen))
        .map_err(|error| format!("listening on {}: {error}", config.listen))?;
    let _lock = identity::lock_folder(&config.data_dir)?;
    let started_at = clock::now();
    let identity = Identity {
        gateway: identity::of_folder(&config.data_dir, clock::uuid_v7(started_at))?,
        incarnation: clock::uuid_v7(started_at),
        region: config.region.clone(),
        started_at,
    };
    let metrics = Arc::new(Metrics::new(config.workers()));
    let (serving, keeping) = (CancellationToken::new(), CancellationToken::new());

    let view_config = ViewConfig {
        nats_url: config.nats_url.clone(),
        snapshot_mac: secrets.snapshot_mac.clone(),
        file: config.data_dir.join("view"),
        max_age: config.view_max_age(),
    };
    let counted = Arc::clone(&metrics);
    let figures = move || counted.figures();
    let loading = view::spawn(view_config, identity.clone(), figures, keeping.clone())?;
    let record_config = RecordConfig {
        nats_url: config.nats_url.clone(),
        data_dir: config.data_dir.clone(),
        spool_max_bytes: config.spool_max_bytes,
        workers: config.workers(),
    };
    let recording = record::spawn(
        &record_config,
        &identity,
        Arc::clone(&metrics),
        keeping.clone(),
    )?;
    let (view, status) = (loading.view.clone(), loading.status.clone());
    let shared = Shared::new(config, secrets, view, status, metrics);
    let workers = Workers::start(&shared, &recording.rings, config.drain_timeout(), &serving)?;

    let served = runtime.block_on(serve(listener, &identity, &workers, &serving));
    serving.cancel();
    workers.join();
    keeping.cancel();
    recording.join();
    loading.join();
    served
}

/// Accepts connections until the process is asked to end.
async fn serve(
    listener: TcpListener,
    identity: &Identity,
    workers: &Workers,
    serving: &CancellationToken,
) -> Result<(), AnyError> {
    let listen = listener.local_addr()?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    tracing::info!(%listen, gateway = %identity.gateway, "listening");
    tokio::select! {
        () = workers.accept(listener, serving.clone()) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new connections, requests under way go on");
    Ok(())
}

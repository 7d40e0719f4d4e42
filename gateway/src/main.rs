//! The gateway's process.

use std::{io, net::SocketAddr, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser as _;
use gateway::{
    clock,
    config::{Config, LogFormat, Secrets},
    health::AllHealth,
    identity,
    limits::{Limits, exchange},
    metrics::Metrics,
    nats,
    record::{self, RecordConfig},
    report::Identity,
    server::{
        Ending, Workers,
        worker::{Counted, Shared},
    },
    trust::Trust,
    view::{self, ViewConfig},
};
use gateway_policy::limits::message::Incarnation;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How often counters are forgotten of which nothing counts any more.
const FORGET: Duration = Duration::from_secs(10);

/// How many connections may wait to be taken, as far as the system lets them: when a gateway starts again under load, all callers
/// come at once, and one that finds no room waits for seconds before it tries again.
const BACKLOG: u32 = 4_096;

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

/// Begins to listen.
fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Connections of its former life may not be forgotten yet.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Starts the parts, and stops them in the order in which they need each other: first whoever makes records, then the
/// recorder and the view.
fn run(config: &Config) -> Result<(), AnyError> {
    let secrets = Secrets::read(config)?;
    let trust = Trust::read(&config.trust)?;
    let server = config.nats(&trust)?;
    let door = config.door()?;
    let collector = config.collector()?;
    raise_descriptors();
    // Before anything in the data folder is touched: a gateway that cannot have port and folder for itself leaves both
    // to the one that has them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime
        .block_on(async { listen(config.listen) })
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
    let ending = Ending {
        drain: CancellationToken::new(),
        patience: config.drain_timeout(),
        hurry: CancellationToken::new(),
    };
    let keeping = CancellationToken::new();

    let view_config = ViewConfig {
        nats: server.clone(),
        snapshot_mac: secrets.snapshot_mac.clone(),
        file: config.data_dir.join("view"),
        max_age: config.view_max_age(),
    };
    let health = Arc::new(AllHealth::new(config.tolerance()));
    let (counted, fared) = (Arc::clone(&metrics), Arc::clone(&health));
    let figures = move || counted.figures(fared.told());
    let loading = view::spawn(view_config, identity.clone(), figures, keeping.clone())?;
    let record_config = RecordConfig {
        nats: server.clone(),
        data_dir: config.data_dir.clone(),
        spool_max_bytes: config.spool_max_bytes,
        workers: config.workers(),
        collector,
        trust: trust.clone(),
    };
    let recording = record::spawn(
        &record_config,
        &identity,
        Arc::clone(&metrics),
        keeping.clone(),
    )?;
    let (view, status) = (loading.view.clone(), loading.status.clone());
    let limits = Arc::new(Limits::new(
        Incarnation(identity.incarnation.into_bytes()),
        config.alone,
    ));
    let counted = Counted {
        metrics,
        health,
        limits: Arc::clone(&limits),
    };
    let shared = Shared::new(config, secrets, trust, view, status, counted);
    let workers = Workers::start(&shared, &recording.rings, &door, &ending)?;

    runtime.spawn(forget_unused(Arc::clone(&limits)));
    let leaving = CancellationToken::new();
    let telling = if config.alone {
        None
    } else {
        let link = runtime.block_on(nats::connect(&server, "sluice-gateway limits"))?;
        let metrics = Arc::clone(&shared.metrics);
        let told = exchange::run(limits, metrics, identity.incarnation, link, leaving.clone());
        Some(runtime.spawn(told))
    };
    let signals = runtime.block_on(async { Signals::new() })?;
    let served = runtime.block_on(serve(
        config, listener, &identity, &shared, workers, &ending, signals,
    ));
    leaving.cancel();
    if let Some(telling) = telling {
        let _ended = runtime.block_on(telling);
    }
    keeping.cancel();
    recording.join();
    loading.join();
    served
}

/// Forgets counters of which nothing counts any more, for ever.
async fn forget_unused(limits: Arc<Limits>) {
    let mut now_and_then = interval(FORGET);
    now_and_then.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        now_and_then.tick().await;
        limits.sweep(clock::now());
    }
}

/// As many file descriptors as the system allows: each connection needs one, and the usual soft limit is 1,024.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of file descriptors could not be raised");
    }
}

/// The signals that ask for the end.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(unix::SignalKind::terminate())?,
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Accepts connections until the process is asked to end, and waits for what is under way then.
async fn serve(
    config: &Config,
    listener: TcpListener,
    identity: &Identity,
    shared: &Shared,
    workers: Workers,
    ending: &Ending,
    mut signals: Signals,
) -> Result<(), AnyError> {
    let listen = listener.local_addr()?;
    tracing::info!(%listen, gateway = %identity.gateway, "listening");
    tokio::select! {
        () = workers.accept(&listener) => {}
        () = signals.next() => {}
    }
    shared.leave();
    if config.lame_duck() > Duration::ZERO {
        tracing::info!("going away: load balancers have time to notice");
        tokio::select! {
            () = workers.accept(&listener) => {}
            () = sleep(config.lame_duck()) => {}
            () = signals.next() => {}
        }
    }
    tracing::info!("stopping: no new connections, requests under way go on");
    drop(listener);
    ending.drain.cancel();
    let ended = spawn_blocking(move || workers.join());
    let mut ended = pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => return ended.map_err(Into::into),
            () = signals.next() => ending.hurry.cancel(),
        }
    }
}

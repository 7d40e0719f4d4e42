//! `serve`: the service. It listens at once and answers 503 with the reason until Postgres is there.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use axum_server::{Handle, Server, accept::NoDelayAcceptor, tls_rustls::RustlsAcceptor};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::{
    alerts::Alerts,
    analytics::Analytics,
    certificate::Certificate,
    config::{self, Log, Serve},
    console_key,
    control::{Control, ControlOptions},
    counters::Counters,
    gateways::Gateways,
    http::{App, AppParts, router},
    log::StartError,
    nats,
    playground::Playground,
    postgres,
    totals::Totals,
    trust::Trust,
};

/// How often a start is tried again.
const START_AGAIN: Duration = Duration::from_millis(500);
/// How often the console's key is tried again.
const KEY_AGAIN: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may take until its first request is there: browsers open some in advance.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// How long requests under way may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

pub(super) async fn run(options: Serve, trust: &Trust) -> Result<(), Failure> {
    let Serve {
        log: Log {
            postgres_url,
            nats_url,
        },
        postgres_owner_url,
        listen,
        certificate,
        clickhouse_url,
        gateway_url,
        secrets_dir,
        assets_dir,
        trust_forwarded,
    } = options;
    let (secrets, assets) = (
        config::read_secrets(&secrets_dir)?,
        config::check_assets(assets_dir)?,
    );
    let certificate = Certificate::read(certificate).await?;
    let (nats, stopping) = (
        nats::connect(&nats_url, trust).await?,
        CancellationToken::new(),
    );
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|source| Failure::Listen {
            address: listen,
            source,
        })?;
    let app = App::new(AppParts {
        secrets,
        gateways: Gateways::default(),
        totals: Totals::default(),
        counters: Counters::default(),
        alerts: Alerts::default(),
        playground: Playground::new(&gateway_url, trust)?,
        analytics: Analytics::new(&clickhouse_url, trust).map_err(Failure::ClickHouse)?,
        gateway_url,
        trust_forwarded,
        speaks_tls: certificate.is_some(),
        stopping: stopping.clone(),
    });
    tracing::info!(%listen, tls = certificate.is_some(), "listening");
    tokio::spawn(app.parts().gateways.clone().listen(nats.clone()));
    tokio::spawn(app.parts().totals.clone().listen(nats.clone()));
    let control = ControlOptions {
        postgres_url: postgres::secured(&postgres_url, trust)?,
        postgres_owner_url: postgres_owner_url
            .map(|url| postgres::secured(&url, trust))
            .transpose()?,
        nats: Some(nats),
        relay: true,
    };
    let starting = tokio::spawn(start(app.clone(), control, secrets_dir));
    let door = Door {
        listener,
        certificate,
    };
    let served = serve(door, router(&app, assets.as_deref()), stopping);
    tokio::select! {
        served = served => served?,
        Ok(Err(failure)) = starting => return Err(failure),
    }
    if let Ok(control) = app.control() {
        control.stop().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens the log as soon as it can be, then sees to the console's key. Ends only when the log never can be opened.
async fn start(
    app: App,
    options: ControlOptions,
    secrets_dir: PathBuf,
) -> Result<std::convert::Infallible, Failure> {
    let mut said = String::new();
    let control = loop {
        match Control::start(options.clone()).await {
            Ok(control) => break control,
            Err(error @ (StartError::Url(_) | StartError::NewerDatabase(_))) => {
                return Err(error.into());
            }
            Err(error) => {
                let why = error.to_string();
                if said != why {
                    tracing::warn!(%error, "the log cannot be opened yet");
                    said.clone_from(&why);
                }
                app.set_not_ready(why);
                tokio::time::sleep(START_AGAIN).await;
            }
        }
    };
    if let Some(nats) = options.nats {
        tokio::spawn(app.parts().alerts.clone().raise(control.clone(), nats));
    }
    app.set_control(control.clone());
    loop {
        match console_key::ensure(&control, app.secrets(), &secrets_dir).await {
            Ok(key) => {
                app.parts().playground.set_key(key);
                std::future::pending().await
            }
            Err(error) => tracing::warn!(%error, "the playground has no key yet"),
        }
        tokio::time::sleep(KEY_AGAIN).await;
    }
}

/// How callers come in.
struct Door {
    listener: TcpListener,
    /// What they are shown; `None`: they come in plain text.
    certificate: Option<Certificate>,
}

/// Serves until SIGTERM or SIGINT, then for as long as requests under way need, but not longer than the drain.
async fn serve(
    door: Door,
    router: axum::Router,
    stopping: CancellationToken,
) -> Result<(), Failure> {
    let handle = Handle::new();
    let ending = handle.clone();
    let drained_or_late = async move {
        asked_to_stop().await;
        tracing::info!("stopping");
        stopping.cancel();
        ending.graceful_shutdown(None);
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = answer(door, router, handle) => served.map_err(Failure::Server),
        () = drained_or_late => {
            tracing::warn!("requests under way were cut off after 10 s");
            Ok(())
        }
    }
}

/// Serves until `handle` is told to end. A connection that is slow to agree on keys holds up no other.
async fn answer(door: Door, router: axum::Router, handle: Handle<SocketAddr>) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = Server::<SocketAddr>::from_listener(door.listener)
        .handle(handle)
        .first_request_timeout(FIRST_REQUEST)
        .accept_error_handler(|peer, error| match peer {
            Some(peer) => {
                tracing::debug!(%peer, %error, "a connection ended before its first request")
            }
            None => tracing::warn!(%error, "a connection could not be accepted"),
        })
        .acceptor(NoDelayAcceptor::new());
    match door.certificate {
        None => server.http1_only().serve(service).await,
        Some(certificate) => {
            let config = certificate.config.clone();
            let tls = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE);
            let served = server.map(|plain| tls.acceptor(plain)).serve(service);
            tokio::select! {
                served = served => served,
                () = certificate.follow() => Ok(()),
            }
        }
    }
}

async fn asked_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

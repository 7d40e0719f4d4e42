//! How the gateway connects to NATS.
//!
//! The client connects in the background, for ever, also the first time; nothing that serves requests may wait
//! for it. Its `publish` waits without bound while it is disconnected: whoever calls it does so with a timeout.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event};
use events_schema::{address::Address, subjects};
use tokio::sync::watch;

use crate::trust::{Trust, TrustError};

/// A dead connection is noticed after two of these, instead of minutes.
const PING: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many messages a subscription holds: the server's flow control stops it after 32 MiB, which is more than the
/// 65,536 messages that the client holds by default when messages are small.
const SUBSCRIPTION_CAPACITY: usize = 1 << 18;
/// Any request to JetStream's API is answered within this, or is tried again.
const REQUEST: Duration = Duration::from_secs(3);

/// A client and whether it is connected.
#[derive(Debug, Clone)]
pub struct Link {
    /// The client.
    pub client: Client,
    /// Whether it is connected, and how often it was: the count tells two connections apart.
    pub connected: watch::Receiver<Option<u64>>,
}

/// Where NATS is, and whom to trust there.
#[derive(Debug, Clone)]
pub struct Server {
    address: Address,
    trust: Trust,
}

/// Why no connection can be begun.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The address cannot be used.
    #[error("the NATS URL {0} cannot be used: nats://[user:password@]host:port, or tls://…")]
    Address(Address),
    /// The address is none.
    #[error("the NATS URL is not understood: nats://[user:password@]host:port, or tls://…")]
    NoAddress,
    /// Nobody can be trusted.
    #[error("connecting to NATS over TLS")]
    Trust(#[from] TrustError),
}

// === impl Server ===

impl Server {
    /// The server at `nats://[user:password@]host:port`, or `tls://…`.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn new(url: &str, trust: Trust) -> Result<Self, NatsError> {
        let address: Address = url.parse().map_err(|_| NatsError::NoAddress)?;
        if !["nats", "tls"].contains(&address.scheme()) {
            return Err(NatsError::Address(address));
        }
        if address.credentials().is_some() && address.is_readable_on_the_way() {
            tracing::warn!(server = %address, "the password for NATS can be read on the way there: use tls://");
        }
        Ok(Self { address, trust })
    }

    /// Who connects, over what, and what is said when it does not come about.
    fn options(&self) -> Result<ConnectOptions, TrustError> {
        let mut options = explaining(ConnectOptions::new(), self.address.clone());
        if let Some(config) = self.trust.nats_config(self.address.is_encrypted())? {
            options = options.tls_client_config(config);
        }
        if self.address.is_encrypted() {
            // A server names the others of its cluster before anything is encrypted: whoever is on the way could name
            // one of their own, with a good certificate for its own name, and be told the password.
            options = options.require_tls(true).ignore_discovered_servers();
        }
        let Some(who) = self.address.credentials() else {
            return Ok(options);
        };
        if let Some(prefix) = subjects::inbox_prefix(&who.user) {
            options = options.custom_inbox_prefix(prefix);
        }
        Ok(options.user_and_password(who.user.clone(), who.password.clone()))
    }
}

/// Says why a server is not reached, once for each reason: the client's own events only say that it is not.
fn explaining(options: ConnectOptions, address: Address) -> ConnectOptions {
    let said = Mutex::new(None);
    options.reconnect_to_server_callback(move |servers, _| {
        let why = servers.into_iter().find_map(|server| server.last_error);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != why {
            if let Some(why) = &why {
                tracing::warn!(server = %address, why, "NATS cannot be reached");
            }
            *said = why;
        }
        // Whichever is next.
        std::future::ready(None)
    })
}

/// Begins to connect to the server, as `name`.
///
/// # Errors
/// When the address cannot be used. A server that is away is no error.
pub async fn connect(server: &Server, name: &str) -> Result<Link, NatsError> {
    let (report, connected) = watch::channel(None);
    let connects = std::sync::atomic::AtomicU64::new(0);
    let heard = move |event: &Event| match event {
        Event::Connected => {
            let nth = connects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            report.send_replace(Some(nth));
        }
        Event::Disconnected | Event::Closed => {
            report.send_replace(None);
        }
        Event::SlowConsumer(_) => {
            tracing::warn!("messages were dropped: the subscription's buffer is full")
        }
        other => tracing::debug!(%other, "NATS"),
    };
    let heard = std::sync::Arc::new(heard);
    let client = server
        .options()?
        .name(name)
        .ping_interval(PING)
        .connection_timeout(CONNECT)
        .request_timeout(Some(REQUEST))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(pause)
        .retry_on_initial_connect()
        .event_callback(move |event| {
            heard(&event);
            std::future::ready(())
        })
        .connect(server.address.to_string())
        .await
        .map_err(|_| NatsError::Address(server.address.clone()))?;
    Ok(Link { client, connected })
}

impl Link {
    /// Waits until the client is connected.
    pub async fn up(&mut self) -> u64 {
        let now = self
            .connected
            .wait_for(Option::is_some)
            .await
            .map(|now| *now);
        match now {
            Ok(Some(nth)) => nth,
            // The client is gone, and with it all that could come: its owner is about to end.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the connection numbered `nth` is lost.
    pub async fn lost(&mut self, nth: u64) {
        if self
            .connected
            .wait_for(|now| *now != Some(nth))
            .await
            .is_err()
        {
            std::future::pending().await
        }
    }
}

/// 20 ms, doubled with each attempt, up to the longest pause.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(10);
    Duration::from_millis(20)
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
}

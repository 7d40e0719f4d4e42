//! How this service connects to NATS.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, ConnectOptions};
use events_schema::{address::Address, subjects};

use crate::trust::{Trust, TrustError};

/// How often NATS is pinged: a connection that died is noticed within two of these.
const PING: Duration = Duration::from_secs(3);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

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

/// A connection to `nats://[user:password@]host:port`, or `tls://…`: made in the background, and made again whenever it
/// breaks.
///
/// # Errors
/// When that is no URL. A server that is away is no error.
pub async fn connect(url: &str, trust: &Trust) -> Result<Client, NatsError> {
    let address: Address = url.parse().map_err(|_| NatsError::NoAddress)?;
    if !["nats", "tls"].contains(&address.scheme()) {
        return Err(NatsError::Address(address));
    }
    if address.credentials().is_some() && address.is_readable_on_the_way() {
        tracing::warn!(server = %address, "the password for NATS can be read on the way there: use tls://");
    }
    as_user(options(&address, trust)?, &address)
        .name("sluice-commands")
        .retry_on_initial_connect()
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .event_callback(async |event| tracing::info!(%event, "NATS"))
        .connect(address.to_string())
        .await
        .map_err(|_| NatsError::Address(address))
}

/// Over what, and what is said when it does not come about.
fn options(address: &Address, trust: &Trust) -> Result<ConnectOptions, TrustError> {
    let mut options = explaining(ConnectOptions::new(), address.clone());
    if let Some(config) = trust.nats_config(address.is_encrypted())? {
        options = options.tls_client_config(config);
    }
    if address.is_encrypted() {
        // A server names the others of its cluster before anything is encrypted: whoever is on the way could name one of
        // their own, with a good certificate for its own name, and be told the password.
        options = options.require_tls(true).ignore_discovered_servers();
    }
    Ok(options)
}

fn as_user(options: ConnectOptions, address: &Address) -> ConnectOptions {
    let Some(who) = address.credentials() else {
        return options;
    };
    let options = options.user_and_password(who.user.clone(), who.password.clone());
    match subjects::inbox_prefix(&who.user) {
        Some(prefix) => options.custom_inbox_prefix(prefix),
        None => options,
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

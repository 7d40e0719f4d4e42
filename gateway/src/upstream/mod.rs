//! The way to the providers: connections, credentials, and the answer on its way back.
//!
//! - [`account`]: a provider account as one thread reaches it, with its idle connections;
//! - [`addresses`]: which addresses a provider's host may have;
//! - [`answer`]: the answer, piece by piece;
//! - [`connection`]: one HTTP/1.1 connection, driven by whoever waits for its answer;
//! - [`credential`]: opening what was sealed to the gateways;
//! - [`events`], [`usage`]: what is looked at in an answer while it passes;
//! - [`headers`]: which headers pass, in both directions;
//! - [`connect`]: making connections;
//! - [`wire`]: HTTP/1.1 as it stands on the wire.

pub mod account;
pub mod addresses;
pub mod answer;
pub mod connect;
pub mod connection;
pub mod credential;
pub mod events;
pub mod headers;
pub mod usage;
pub mod wire;

use std::{cell::Cell, time::Duration};

use self::{
    account::{Account, Reach},
    connect::Connector,
    connection::{Connection, NotSent, Seen},
    wire::Head,
};
use crate::{config::Config, failure::UpstreamFailure, metrics::WorkerMetrics, request::Body};

/// How long to wait for providers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub response: Duration,
    /// For the next piece of an answer.
    pub idle: Duration,
}

impl Patience {
    /// As configured.
    #[must_use]
    pub const fn of(config: &Config) -> Self {
        Self {
            connect: Duration::from_millis(config.connect_timeout_ms),
            response: Duration::from_millis(config.response_timeout_ms),
            idle: Duration::from_millis(config.idle_timeout_ms),
        }
    }
}

/// What a thread sends requests with.
pub struct Sender {
    /// Makes connections.
    pub connector: Connector,
    /// How long it waits.
    pub patience: Patience,
}

impl Sender {
    /// Sends one request, whose head `write_head` writes, and waits for the head of the answer. Sets `begun` once some of
    /// it has left.
    ///
    /// A connection that was idle may turn out to have been closed by the provider: the request is then sent again on
    /// another, and if some of it has left, on a new one. A request that the provider may be working on is not: it would
    /// be charged twice.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        account: &Account,
        metrics: &WorkerMetrics,
        write_head: impl Fn(&mut Vec<u8>, &Reach),
        body: &Body,
        begun: &Cell<bool>,
    ) -> Result<(Head, Connection), UpstreamFailure> {
        let reach = account.reach().ok_or(UpstreamFailure::Credential)?;
        let mut may_reuse = true;
        loop {
            let idle = if may_reuse {
                account.take_idle().await
            } else {
                None
            };
            let mut connection = match idle {
                Some(connection) => connection,
                None => {
                    metrics.upstream_connections.add(1);
                    let connecting = self.connector.connect(&reach.origin, reach.scope);
                    connecting.await.inspect_err(|failure| {
                        if *failure == UpstreamFailure::Address {
                            account.tell_of_addresses();
                        }
                    })?
                }
            };
            let head = |out: &mut Vec<u8>| write_head(out, reach);
            let sent = connection.send(head, body, self.patience.response, begun);
            let NotSent { failure, seen } = match sent.await {
                Ok(head) => return Ok((head, connection)),
                Err(not_sent) => not_sent,
            };
            let was_closed = failure == UpstreamFailure::Broken && connection.reused;
            match seen {
                Seen::Nothing if was_closed => {}
                Seen::Crossed if was_closed => {
                    metrics.upstream_resent.add(1);
                    may_reuse = false;
                }
                Seen::Nothing | Seen::Crossed | Seen::Perhaps => return Err(failure),
            }
        }
    }
}

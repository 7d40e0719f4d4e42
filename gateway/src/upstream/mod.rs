//! The way to the providers: connections, credentials, and the answer on its way back.
//!
//! - [`account`]: a provider account as one thread reaches it;
//! - [`addresses`]: which addresses a provider's host may have;
//! - [`pool`]: its connections, and which of them a request goes over;
//! - [`answer`]: the answer, piece by piece;
//! - [`connection`]: one HTTP/1.1 connection, driven by whoever waits for its answer;
//! - [`http2`]: one HTTP/2 connection, and the streams on it;
//! - [`credential`]: opening what was sealed to the gateways;
//! - [`events`], [`usage`]: what is looked at in an answer while it passes;
//! - [`headers`]: which headers pass, in both directions;
//! - [`connect`], [`transport`]: making connections;
//! - [`wire`]: HTTP/1.1 as it stands on the wire.

pub mod account;
pub mod addresses;
pub mod answer;
pub mod connect;
pub mod connection;
pub mod credential;
pub mod events;
pub mod headers;
pub mod http2;
pub mod pool;
pub mod transport;
pub mod usage;
pub mod wire;

use std::{cell::Cell, rc::Rc, time::Duration};

use http::{HeaderMap, StatusCode};

use self::{
    account::Account,
    answer::{Answer, Source},
    connection::{NotSent, Seen},
    headers::Outgoing,
    http2::stream::Stream,
    pool::Way,
};
use crate::{config::Config, failure::UpstreamFailure, metrics::WorkerMetrics, request::Body};

/// How often a request is sent again because a provider says that it has done nothing about it. Once is a connection that
/// is going away; more often, the provider has enough to do.
const MOST_DECLINED: u32 = 3;

/// How long to wait for providers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub response: Duration,
    /// For the next piece of an answer.
    pub idle: Duration,
    /// For a word on a connection of HTTP/2 with requests under way; then it is asked for one, and waited for as long again.
    pub quiet: Duration,
}

impl Patience {
    /// As configured.
    #[must_use]
    pub const fn of(config: &Config) -> Self {
        Self {
            connect: Duration::from_millis(config.connect_timeout_ms),
            response: Duration::from_millis(config.response_timeout_ms),
            idle: Duration::from_millis(config.idle_timeout_ms),
            quiet: Duration::from_millis(config.upstream_ping_ms),
        }
    }
}

/// What a thread sends requests with.
pub struct Sender {
    /// How long it waits.
    pub patience: Patience,
}

impl Sender {
    /// Sends one request and waits for the head of the answer. Sets `begun` once some of it has left.
    ///
    /// A connection that was used before may turn out to have been closed by the provider: the request is then sent again
    /// on another, and if some of it has left, on a new one. So it is where the provider says that it has done nothing about
    /// it. A request that the provider may be working on is not: it would be charged twice.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        account: &Rc<Account>,
        metrics: &WorkerMetrics,
        outgoing: Outgoing<'_>,
        body: &Body,
        begun: &Cell<bool>,
    ) -> Result<(StatusCode, HeaderMap, Answer), UpstreamFailure> {
        let (reach, pool) = account.way().ok_or(UpstreamFailure::Credential)?;
        let wait = self.patience.response;
        let answer = |source| Answer::new(source, Rc::clone(account), self.patience.idle);
        let (mut may_reuse, mut declined) = (true, 0);
        loop {
            let way = pool.way(may_reuse).await.inspect_err(|failure| {
                if *failure == UpstreamFailure::Address {
                    account.tell_of_addresses();
                }
            })?;
            let is_shared = matches!(way, Way::Shared(_));
            let (NotSent { failure, seen }, was_used) = match way {
                Way::Alone(mut connection) => {
                    let head = |out: &mut Vec<u8>| outgoing.write(out, reach);
                    match connection.send(head, body, wait, begun).await {
                        Ok(head) => {
                            let source = Source::Connection(head.framing, connection);
                            return Ok((head.status, head.headers, answer(source)));
                        }
                        Err(not_sent) => (not_sent, connection.reused),
                    }
                }
                Way::Shared(slot) => {
                    let was_used = slot.link().has_answered();
                    let request = outgoing.request(reach)?;
                    match Stream::send(slot, request, body, wait, begun).await {
                        Ok((head, stream)) => {
                            let source = Source::Stream(stream);
                            return Ok((head.status, head.headers, answer(source)));
                        }
                        Err(not_sent) => (not_sent, was_used),
                    }
                }
            };
            let was_closed = failure == UpstreamFailure::Broken && was_used;
            match seen {
                // Each turn takes a connection of HTTP/1.1 away; one of HTTP/2 may be there again.
                Seen::Nothing if was_closed && (!is_shared || declined < MOST_DECLINED) => {
                    declined += u32::from(is_shared);
                }
                Seen::Crossed if was_closed => {
                    metrics.upstream_resent.add(1);
                    may_reuse = false;
                }
                Seen::Declined if declined < MOST_DECLINED => {
                    metrics.upstream_resent.add(1);
                    declined += 1;
                }
                Seen::Nothing | Seen::Crossed | Seen::Declined | Seen::Perhaps => {
                    return Err(failure);
                }
            }
        }
    }
}

//! How this service connects to NATS.
//!
//! The client connects in the background, for ever, also the first time. Its `publish` waits without bound while it
//! is disconnected: whoever calls it does so with a timeout.

use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions, Event, ServerAddr};
use events_schema::subjects;
use tokio::sync::watch;

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

/// Begins to connect to `url`, as `name`.
///
/// # Errors
/// When the URL cannot be used. A server that is away is no error.
pub async fn connect(url: &str, name: &str) -> Result<Link, ConnectError> {
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
    let client = as_user(ConnectOptions::new(), url)
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
        .connect(url)
        .await?;
    Ok(Link { client, connected })
}

/// What the URL says about who connects: `nats://user:password@host:port`. A URL that cannot be used is for connecting to
/// refuse.
fn as_user(options: ConnectOptions, url: &str) -> ConnectOptions {
    let Ok(address) = url.parse::<ServerAddr>() else {
        return options;
    };
    let (Some(user), Some(password)) = (address.username(), address.password()) else {
        return options;
    };
    let options = options.user_and_password(user.to_owned(), password.to_owned());
    match subjects::inbox_prefix(user) {
        Some(prefix) => options.custom_inbox_prefix(prefix),
        None => options,
    }
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

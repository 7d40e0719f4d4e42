//! What the tests are made of: processes, a provider, a configuration, and a client.

pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod distance;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod nats;
pub(crate) mod provider;
pub(crate) mod snapshots;
pub(crate) mod treasury;

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

/// Processes start and notice things within seconds; a slow machine gets more.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            begin.elapsed() < DEADLINE,
            "{what}: not within {} s",
            DEADLINE.as_secs()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for something that happens within seconds, or not at all.
pub(crate) async fn in_time<T>(what: &str, happening: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(DEADLINE, happening).await;
    happened.unwrap_or_else(|_| panic!("{what}: not within {} s", DEADLINE.as_secs()))
}

/// An address on which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// The value of a `SLUICE_TEST_…` variable.
pub(crate) fn variable(name: &str) -> String {
    std::env::vars()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
        .unwrap_or_else(|| panic!("{name} is not set: run this test with `cargo ops test`"))
}

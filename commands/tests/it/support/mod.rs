//! What the tests share: servers, commands by the dozen, and waiting for conditions.

pub(crate) mod journal;
pub(crate) mod nats;
pub(crate) mod orders;
pub(crate) mod postgres;
pub(crate) mod served;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod strategies;
pub(crate) mod world;

use std::{future::Future, time::Duration};

use commands::control::{Control, ControlOptions};

pub(crate) use self::{nats::Nats, postgres::Postgres};

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A service's control on this Postgres, without NATS.
pub(crate) async fn control(postgres: &Postgres) -> Control {
    let options = ControlOptions {
        postgres_url: postgres.url("sluice_service"),
        postgres_owner_url: Some(postgres.url("sluice_owner")),
        nats: None,
        relay: false,
    };
    Control::start(options).await.expect("the control starts")
}

/// A service's control with its relay.
pub(crate) async fn control_with_relay(postgres: &Postgres, nats: &Nats) -> Control {
    let options = ControlOptions {
        postgres_url: postgres.url("sluice_service"),
        postgres_owner_url: Some(postgres.url("sluice_owner")),
        nats: Some(nats.client().await),
        relay: true,
    };
    Control::start(options).await.expect("the control starts")
}

//! `relay`: a relay alone, by hand. It takes no lock: the stream itself refuses it where another one publishes, and
//! it then stops with the reason.

use super::Failure;
use crate::{config::Log, log, nats, postgres, relay, trust::Trust};

pub(super) async fn run(options: Log, trust: &Trust) -> Result<(), Failure> {
    let Log {
        postgres_url,
        nats_url,
    } = options;
    let (pool, nats) = (
        log::open_pool(&postgres::secured(&postgres_url, trust)?).await?,
        nats::connect(&nats_url, trust).await?,
    );
    Err(relay::run_alone(pool, nats, false).await.into())
}

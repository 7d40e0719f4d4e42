//! `relay`: a relay alone, by hand. It takes no lock: the stream itself refuses it where another one publishes, and
//! it then stops with the reason.

use super::{Failure, connect_nats};
use crate::{config::Log, log, relay};

pub(super) async fn run(options: Log) -> Result<(), Failure> {
    let Log {
        postgres_url,
        nats_url,
    } = options;
    let (pool, nats) = (
        log::open_pool(&postgres_url).await?,
        connect_nats(&nats_url).await?,
    );
    Err(relay::run_alone(pool, nats, false).await.into())
}

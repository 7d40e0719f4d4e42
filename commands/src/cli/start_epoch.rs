//! `start-epoch`: an operator accepts that the log was forked or lost its end, and goes on with what is there.

use super::{Failure, print};
use crate::{
    config::{Log, StartEpoch},
    log, nats, postgres,
    trust::Trust,
};

pub(super) async fn run(options: StartEpoch, trust: &Trust) -> Result<(), Failure> {
    let StartEpoch {
        log: Log {
            postgres_url,
            nats_url,
        },
        why,
    } = options;
    let log = log::start(
        &postgres::secured(&postgres_url, trust)?,
        Some(nats::connect(&nats_url, trust).await?),
    )
    .await?;
    let done = log.start_epoch(Some(why)).await;
    let epoch = log.live().head.epoch;
    log.stop().await;
    done?;
    print(&epoch.map(|epoch| epoch.to_string()).unwrap_or_default())
}

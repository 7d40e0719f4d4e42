//! `start-epoch`: an operator accepts that the log was forked or lost its end, and goes on with what is there.

use super::{Failure, connect_nats, print};
use crate::{
    config::{Log, StartEpoch},
    log,
};

pub(super) async fn run(options: StartEpoch) -> Result<(), Failure> {
    let StartEpoch {
        log: Log {
            postgres_url,
            nats_url,
        },
        why,
    } = options;
    let log = log::start(&postgres_url, Some(connect_nats(&nats_url).await?)).await?;
    let done = log.start_epoch(Some(why)).await;
    let epoch = log.live().head.epoch;
    log.stop().await;
    done?;
    print(&epoch.map(|epoch| epoch.to_string()).unwrap_or_default())
}

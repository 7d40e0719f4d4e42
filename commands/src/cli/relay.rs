//! `relay`: a relay alone, by hand. It takes no lock: the stream itself refuses it where another one publishes, and
//! it then stops with the reason.

use std::time::Duration;

use tokio::sync::watch;

use super::{Failure, connect_nats};
use crate::{
    config::Log,
    log::{self, read},
    relay::{Relay, RelayStatus},
};

/// How often the log's head is looked at.
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn run(options: Log) -> Result<(), Failure> {
    let Log {
        postgres_url,
        nats_url,
    } = options;
    let (pool, nats) = (
        log::open_pool(&postgres_url).await?,
        connect_nats(&nats_url).await?,
    );
    let (head, heads) = watch::channel(read::head(&pool).await?.position);
    let (status, _watched) = watch::channel(RelayStatus::default());
    let mut relay = Relay {
        pool: pool.clone(),
        nats,
        heads,
        status,
    };
    let follow = async {
        loop {
            tokio::time::sleep(POLL).await;
            match read::head(&pool).await {
                Ok(now) => head.send_if_modified(|known| {
                    std::mem::replace(known, now.position) != now.position
                }),
                Err(error) => break error,
            };
        }
    };
    tokio::select! {
        stopped = relay.publish_unelected() => match stopped {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        },
        error = follow => Err(error.into()),
    }
}

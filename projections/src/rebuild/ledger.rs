//! The rollup again, from the requests.
//!
//! The worker rests meanwhile. Before it goes on, an empty batch takes the next place: should the worker die then, it
//! repeats that one, and not a batch of which the new table has never heard.

use async_nats::jetstream::Context;
use clickhouse::Row;
use events_schema::subjects;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::pause::Rest;
use super::{RebuildError, Rebuilt, Say, TRIES};
use crate::feed::FeedError;
use crate::ledger::{CONSUMER, pass};
use crate::warehouse::{Warehouse, within};
use crate::{clock, retention};

/// The table beside the live one.
const BESIDE: &str = "usage_1m_rebuild";

/// Sums of one minute, owner and target in which the two differ.
const DIFFERENT: &str = "
SELECT count() FROM (
    SELECT minute, owner, target FROM (
        SELECT minute, owner, target, sum(requests) AS r, sum(errors) AS e, sum(input_tokens) AS i,
            sum(output_tokens) AS o, sum(cost) AS c FROM usage_1m GROUP BY minute, owner, target
        UNION ALL
        SELECT minute, owner, target, sum(requests) AS r, sum(errors) AS e, sum(input_tokens) AS i,
            sum(output_tokens) AS o, sum(cost) AS c FROM usage_1m_rebuild GROUP BY minute, owner, target
    )
    GROUP BY minute, owner, target
    HAVING count() != 2 OR min((r, e, i, o, c)) != max((r, e, i, o, c))
)";

/// Days of which there are requests.
const DAYS: &str = "SELECT toYYYYMMDD(received_at) AS day, count() AS requests FROM requests GROUP BY day ORDER BY day";

#[derive(Row, Deserialize)]
struct Day {
    day: u32,
    requests: u64,
}

/// Adds up the rollup from all requests, and puts it in place of the live one. Minutes of which
/// requests are no longer kept are taken over.
///
/// # Errors
/// [`RebuildError`]; the live one stays.
pub async fn rebuild(
    jetstream: &Context,
    warehouse: &Warehouse,
    stop: &CancellationToken,
    say: Say<'_>,
) -> Result<Rebuilt, RebuildError> {
    warehouse.migrate().await?;
    let stream = jetstream
        .get_stream(subjects::USAGE)
        .await
        .map_err(FeedError::of("asking for the stream USAGE"))?;
    for _ in 0..TRIES {
        let Some(rest) = Rest::begin(&stream, CONSUMER).await? else {
            continue;
        };
        let built = build(warehouse, &rest, stop, say).await;
        let built = match built {
            Ok(built) => built,
            Err(error) => {
                rest.end().await?;
                warehouse.drop_table(BESIDE).await?;
                return Err(error);
            }
        };
        say("comparing");
        let query = warehouse.client().query(DIFFERENT);
        let differed: u64 = within("comparing the rollups", query.fetch_one()).await?;
        let settled = pass::is_settled(warehouse, rest.acknowledged()).await?;
        if settled && rest.lasts().await? {
            warehouse.exchange("usage_1m", BESIDE).await?;
            pass::claim_an_empty_batch(warehouse).await?;
            rest.end().await?;
            warehouse.drop_table(BESIDE).await?;
            return Ok(Rebuilt { built, differed });
        }
        say("the worker began anew meanwhile: once more");
        rest.end().await?;
    }
    warehouse.drop_table(BESIDE).await?;
    Err(RebuildError::Restless)
}

async fn build(
    warehouse: &Warehouse,
    rest: &Rest<'_>,
    stop: &CancellationToken,
    say: Say<'_>,
) -> Result<u64, RebuildError> {
    warehouse.make_beside("usage_1m", BESIDE).await?;
    let since = whole_since(warehouse).await?;
    warehouse.take_over_before(BESIDE, since).await?;
    let query = warehouse.client().query(DAYS).param("since", since);
    let days: Vec<Day> = within("looking for days", query.fetch_all()).await?;
    let all: u64 = days.iter().map(|day| day.requests).sum();
    let (mut built, mut done) = (0, 0);
    for Day { day, requests } in days {
        if stop.is_cancelled() {
            return Err(RebuildError::BrokenOff);
        }
        warehouse.roll_up_day(BESIDE, day, since).await?;
        (built, done) = (built + requests, done + 1);
        say(&format!("{built} of {all} requests, of {done} days"));
        // The rest must not run out in the middle of years of requests.
        if !rest.lasts().await? {
            return Ok(built);
        }
    }
    Ok(built)
}

/// The minute from which on requests are whole, in seconds since 1970: that of the oldest, unless older ones were deleted
/// for their age.
async fn whole_since(warehouse: &Warehouse) -> Result<u32, RebuildError> {
    let kept = warehouse.requests_kept(clock::now()).await?;
    let since = retention::whole_since(&kept);
    let sql = "SELECT if(count() = 0, toUInt32(4294967295), toUInt32(greatest( \
               toStartOfMinute(toDateTime(min(received_at), 'UTC')), \
               toDateTime({since:UInt32}, 'UTC')))) FROM requests";
    let query = warehouse.client().query(sql).param("since", since);
    let doing = "looking for the oldest requests";
    Ok(within(doing, query.fetch_one()).await?)
}

//! The rollups again, from the requests, and from what corrections of prices have changed of them.
//!
//! The worker rests meanwhile, and so does the one that corrects; after it goes on, that one compares all requests with all corrections
//! anew. Before the ledger goes on, an empty batch takes the next place: should the worker die then, it
//! repeats that one, and not a batch of which the new table has never heard.

use async_nats::jetstream::Context;
use clickhouse::Row;
use events_schema::subjects;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::pause::Rest;
use super::{RebuildError, Rebuilt, Say, TRIES};
use crate::feed::{FeedError, chain};
use crate::ledger::{CONSUMER, pass};
use crate::warehouse::{Warehouse, within};
use crate::{clock, corrections, retention};

/// The table beside the live one.
const BESIDE: &str = "usage_1m_rebuild";
/// The one beside that of corrections.
const CORRECTIONS_BESIDE: &str = "cost_corrections_1m_rebuild";

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

/// The same of corrections. What unfinished passes have left in the live one does not count.
const CORRECTIONS_DIFFERENT: &str = "
SELECT count() FROM (
    SELECT minute, owner, target FROM (
        SELECT minute, owner, target, sum(amount) AS a FROM corrections_1m GROUP BY minute, owner, target HAVING a != 0
        UNION ALL
        SELECT minute, owner, target, sum(amount) AS a FROM cost_corrections_1m_rebuild
            WHERE pass IN (SELECT pass FROM correction_passes) GROUP BY minute, owner, target HAVING a != 0
    )
    GROUP BY minute, owner, target
    HAVING count() != 2 OR min(a) != max(a)
)";

/// Days on which requests were corrected.
const CORRECTED_DAYS: &str = "SELECT toYYYYMMDD(received_at) AS day, count() AS requests FROM cost_corrections GROUP BY day ORDER BY day";

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
                drop_both(warehouse).await?;
                return Err(error);
            }
        };
        say("comparing");
        let mut differed = 0;
        for different in [DIFFERENT, CORRECTIONS_DIFFERENT] {
            let query = warehouse.client().query(different);
            let count: u64 = within("comparing the rollups", query.fetch_one()).await?;
            differed += count;
        }
        let settled = pass::is_settled(warehouse, rest.acknowledged()).await?;
        if settled && rest.lasts().await? {
            warehouse.exchange("usage_1m", BESIDE).await?;
            warehouse
                .exchange("cost_corrections_1m", CORRECTIONS_BESIDE)
                .await?;
            pass::claim_an_empty_batch(warehouse).await?;
            rest.end().await?;
            drop_both(warehouse).await?;
            return Ok(Rebuilt { built, differed });
        }
        say("the worker began anew meanwhile: once more");
        rest.end().await?;
    }
    drop_both(warehouse).await?;
    Err(RebuildError::Restless)
}

async fn drop_both(warehouse: &Warehouse) -> Result<(), RebuildError> {
    warehouse.drop_table(BESIDE).await?;
    Ok(warehouse.drop_table(CORRECTIONS_BESIDE).await?)
}

async fn build(
    warehouse: &Warehouse,
    rest: &Rest<'_>,
    stop: &CancellationToken,
    say: Say<'_>,
) -> Result<u64, RebuildError> {
    // What corrects costs has ended before what it has corrected is added up.
    corrections::begin_anew(warehouse)
        .await
        .map_err(|error| RebuildError::Corrections(chain(&error)))?;
    warehouse.make_beside("usage_1m", BESIDE).await?;
    warehouse
        .make_beside("cost_corrections_1m", CORRECTIONS_BESIDE)
        .await?;
    let since = whole_since(warehouse).await?;
    warehouse
        .take_over_before("usage_1m", BESIDE, since)
        .await?;
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
    build_corrections(warehouse, since).await?;
    Ok(built)
}

/// Adds up what corrections of prices have changed.
async fn build_corrections(warehouse: &Warehouse, since: u32) -> Result<(), RebuildError> {
    let (live, beside) = ("cost_corrections_1m", CORRECTIONS_BESIDE);
    warehouse.take_over_before(live, beside, since).await?;
    let query = warehouse.client().query(CORRECTED_DAYS);
    let days: Vec<Day> = within("looking for days with corrections", query.fetch_all()).await?;
    for Day { day, requests: _ } in days {
        warehouse.roll_up_corrections(beside, day, since).await?;
    }
    Ok(())
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

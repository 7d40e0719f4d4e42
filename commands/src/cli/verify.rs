//! `verify`: the whole log against everything that vouches for it. Works without a running service.

use super::{Failure, connect_nats, print};
use crate::{config::Log, log, verify};

pub(super) async fn run(options: Log) -> Result<(), Failure> {
    let Log {
        postgres_url,
        nats_url,
    } = options;
    let (pool, nats) = (
        log::open_pool(&postgres_url).await?,
        connect_nats(&nats_url).await?,
    );
    let report = verify::verify(&pool, Some(&nats), None).await?;
    print(&serde_json::to_string(&report).expect("a report is JSON"))?;
    match report.findings.first() {
        _ if report.ok => Ok(()),
        Some(finding) => Err(Failure::NotVerified(finding.position)),
        None => Err(Failure::NotVerified(report.position)),
    }
}

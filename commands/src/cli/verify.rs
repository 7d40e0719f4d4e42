//! `verify`: the whole log against everything that vouches for it. Works without a running service.

use super::{Failure, print};
use crate::{config::Log, log, nats, postgres, trust::Trust, verify};

pub(super) async fn run(options: Log, trust: &Trust) -> Result<(), Failure> {
    let Log {
        postgres_url,
        nats_url,
    } = options;
    let (pool, nats) = (
        log::open_pool(&postgres::secured(&postgres_url, trust)?).await?,
        nats::connect(&nats_url, trust).await?,
    );
    let report = verify::verify(&pool, Some(&nats), None).await?;
    print(&serde_json::to_string(&report).expect("a report is JSON"))?;
    match report.findings.first() {
        _ if report.ok => Ok(()),
        Some(finding) => Err(Failure::NotVerified(finding.position)),
        None => Err(Failure::NotVerified(report.position)),
    }
}

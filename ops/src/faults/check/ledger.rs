//! Every request is in the ledger once, and what a killed gateway lost is counted.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use serde::Deserialize;

use super::Checker;
use crate::failure::{Doing as _, Outcome};
use crate::faults::facts::Notebook;

#[derive(Row, Deserialize)]
struct Counted {
    incarnation: String,
    records: u64,
    numbers: u64,
    highest: u64,
}

#[derive(Row, Deserialize)]
struct Gap {
    incarnation: String,
    numbers: u64,
    highest: u64,
}

// === impl Checker ===

impl Checker {
    /// No request is in the ledger twice; what a killed gateway lost is counted; the rollup agrees.
    pub(super) async fn requests_are_recorded(&self, notebook: &Notebook) -> Outcome {
        let doubled = self
            .count("SELECT toUInt64(count() - uniqExact(request)) FROM requests")
            .await?;
        if doubled > 0 {
            notebook.found(format!(
                "{doubled} requests are in the ledger more than once"
            ));
        }
        let requests = self.count("SELECT count() FROM requests").await?;
        let rolled_up = self
            .count("SELECT toUInt64(sum(requests)) FROM usage_1m")
            .await?;
        if requests != rolled_up {
            notebook.found(format!(
                "the ledger has {requests} requests, its rollup {rolled_up}"
            ));
        }
        let gaps = self.numbers_in_gaps().await?;
        if gaps > 0 && !self.killed {
            notebook.found(format!(
                "{gaps} records are lost, and no gateway was killed"
            ));
        }
        Ok(())
    }

    /// How many records are counted as lost.
    pub(super) async fn numbers_in_gaps(&self) -> Outcome<u64> {
        self.count("SELECT toUInt64(sum(last_number - first_number + 1)) FROM ledger_gaps")
            .await
    }

    /// The answered requests that the ledger does not have.
    pub(super) async fn missing_requests(&self) -> Outcome<Vec<String>> {
        let recorded: Vec<String> = self
            .clickhouse
            .query("SELECT toString(request) FROM requests")
            .fetch_all()
            .await
            .doing(|| "reading the ledger's requests".into())?;
        let recorded: BTreeSet<String> = recorded.into_iter().collect();
        let facts = self.place.notebook.facts();
        Ok(facts
            .requests
            .keys()
            .filter(|id| !recorded.contains(*id))
            .cloned()
            .collect())
    }

    /// Each number of each life of a gateway is in the ledger once, or in a gap once.
    pub(super) async fn unaccounted_numbers(&self) -> Outcome<Vec<String>> {
        let counted: Vec<Counted> = self
            .clickhouse
            .query(
                "SELECT toString(incarnation) AS incarnation, count() AS records, \
                 uniqExact(number) AS numbers, max(number) AS highest FROM requests GROUP BY incarnation",
            )
            .fetch_all()
            .await
            .doing(|| "counting the ledger's numbers".into())?;
        let gaps: Vec<Gap> = self
            .clickhouse
            .query(
                "SELECT toString(incarnation) AS incarnation, \
                 toUInt64(sum(last_number - first_number + 1)) AS numbers, max(last_number) AS highest \
                 FROM ledger_gaps GROUP BY incarnation",
            )
            .fetch_all()
            .await
            .doing(|| "counting the ledger's gaps".into())?;
        let gaps: BTreeMap<String, Gap> = gaps
            .into_iter()
            .map(|gap| (gap.incarnation.clone(), gap))
            .collect();
        Ok(counted
            .into_iter()
            .filter_map(|counted| {
                let gap = gaps.get(&counted.incarnation);
                let lost = gap.map_or(0, |gap| gap.numbers);
                let highest = gap.map_or(0, |gap| gap.highest).max(counted.highest);
                let all = counted.records + lost;
                (counted.records != counted.numbers || all != highest).then(|| {
                    format!(
                        "of incarnation {} there are {} records of {} numbers and {lost} in gaps, up to {highest}",
                        counted.incarnation, counted.records, counted.numbers
                    )
                })
            })
            .collect())
    }
}

//! What a correction of a price would change, before it is decided. What requests cost until then follows from the corrections that
//! are decided, and not from what the projections have made of them: so it is right also while they are at work.

use clickhouse::{Row, query::Query};
use events_schema::{
    api::analytics::{RepricedDay, RepricedOwner, RepricingPreview},
    events::CostDifference,
    id::ModelId,
    ledger::{self, Kept, Repriced, RepricedLists},
    money::{NanoUsd, Price},
    time::Timestamp,
};
use serde::Deserialize;

use super::{Analytics, AnalyticsError, ask, or_empty, sql};

/// How many owners are told at most.
const MOST_OWNERS: u32 = 20;

/// A correction that somebody thinks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The model.
    pub model: ModelId,
    /// From when on, inclusive.
    pub from: Timestamp,
    /// Until when, exclusive.
    pub until: Timestamp,
    /// The price.
    pub price: Price,
    /// The corrections of the model's price that are decided.
    pub made: Vec<Repriced>,
}

#[derive(Debug, Default, Row, Deserialize)]
struct TotalRow {
    counted: u64,
    all_before: i128,
    all_after: i128,
    without_price: u64,
    without_tokens: u64,
}

#[derive(Debug, Row, Deserialize)]
struct PartRow {
    part: String,
    counted: u64,
    all_before: i128,
    all_after: i128,
}

// === impl Analytics ===

impl Analytics {
    /// What the correction would change. Owners are not called by their names yet.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn repricing(
        &self,
        proposal: &Proposal,
        now: Timestamp,
    ) -> Result<RepricingPreview, AnalyticsError> {
        let corrects_from = self.corrects_from(proposal, now).await?;
        let by_day = sql::repricing_by("toString(toStartOfDay(received_at, 'UTC'))", "part", false);
        let by_owner = sql::repricing_by(
            "owner",
            "abs(all_after - all_before) DESC, counted DESC, part",
            true,
        );
        let parts = |sql: String| {
            let query = self.asked(&sql, proposal, corrects_from);
            let query = query.param("limit", MOST_OWNERS + 1);
            async move { or_empty(ask(query.fetch_all::<PartRow>()).await, Vec::new) }
        };
        let (total, days, owners) = tokio::try_join!(
            self.repricing_total(proposal, corrects_from),
            parts(by_day),
            parts(by_owner)
        )?;
        let most = usize::try_from(MOST_OWNERS).unwrap_or(usize::MAX);
        let more_owners = owners.len() > most;
        let days = days.into_iter().map(PartRow::day);
        Ok(RepricingPreview {
            corrects_from,
            total: total.difference(),
            without_price: total.without_price,
            without_tokens: total.without_tokens,
            days: days.collect::<Result<_, _>>()?,
            owners: owners.into_iter().take(most).map(PartRow::owner).collect(),
            more_owners,
        })
    }

    /// The difference in all.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn cost_difference(
        &self,
        proposal: &Proposal,
        now: Timestamp,
    ) -> Result<CostDifference, AnalyticsError> {
        let corrects_from = self.corrects_from(proposal, now).await?;
        let total = self.repricing_total(proposal, corrects_from).await?;
        Ok(total.difference())
    }

    async fn repricing_total(
        &self,
        proposal: &Proposal,
        corrects_from: Timestamp,
    ) -> Result<TotalRow, AnalyticsError> {
        let query = self.asked(&sql::repricing(), proposal, corrects_from);
        or_empty(ask(query.fetch_one()).await, TotalRow::default)
    }

    fn asked(&self, sql: &str, proposal: &Proposal, corrects_from: Timestamp) -> Query {
        let Proposal {
            model,
            from: _,
            until,
            price,
            made,
        } = proposal;
        let RepricedLists {
            positions: _,
            models,
            froms,
            untils,
            inputs,
            cached_inputs,
            outputs,
        } = RepricedLists::new(made.iter().copied());
        self.client
            .query(sql)
            .param("model", model.to_string())
            .param("from", corrects_from.micros())
            .param("to", (*until).max(corrects_from).micros())
            .param("input", price.input.nanos())
            .param(
                "cached_input",
                price.cached_input.unwrap_or(price.input).nanos(),
            )
            .param("output", price.output.nanos())
            .param("repriced_models", models)
            .param("repriced_froms", froms)
            .param("repriced_untils", untils)
            .param("repriced_inputs", inputs)
            .param("repriced_cached_inputs", cached_inputs)
            .param("repriced_outputs", outputs)
    }

    /// From when on the projections correct what is asked for: they leave alone what is past its time, or was once.
    async fn corrects_from(
        &self,
        proposal: &Proposal,
        now: Timestamp,
    ) -> Result<Timestamp, AnalyticsError> {
        let before = self
            .client
            .query("SELECT days, toUnixTimestamp64Micro(until) FROM ledger_retention");
        let lately = self.client.query(ledger::KEPT_DAYS);
        let lately = lately.param("table", "requests");
        let (before, lately) = tokio::try_join!(
            async { or_empty(ask(before.fetch_all::<(u32, i64)>()).await, Vec::new) },
            async { ask(lately.fetch_optional::<u32>()).await },
        )?;
        let before = before.into_iter().map(|(days, until)| Kept { days, until });
        let lately = lately.map(|days| Kept {
            days,
            until: now.micros(),
        });
        let since = ledger::whole_since(before.chain(lately));
        let since = Timestamp::from_micros(i64::from(since) * 1_000_000);
        Ok(since.unwrap_or(Timestamp::MIN).max(proposal.from))
    }
}

// === impl TotalRow ===

impl TotalRow {
    fn difference(&self) -> CostDifference {
        difference(self.counted, self.all_before, self.all_after)
    }
}

// === impl PartRow ===

impl PartRow {
    fn day(self) -> Result<RepricedDay, AnalyticsError> {
        let text = format!("{}Z", self.part.replace(' ', "T"));
        Ok(RepricedDay {
            day: text
                .parse()
                .map_err(|_| AnalyticsError::Unreadable(format!("the day {}", self.part)))?,
            difference: difference(self.counted, self.all_before, self.all_after),
        })
    }

    fn owner(self) -> RepricedOwner {
        RepricedOwner {
            difference: difference(self.counted, self.all_before, self.all_after),
            owner: (!self.part.is_empty()).then_some(self.part),
            owner_name: None,
        }
    }
}

fn difference(requests: u64, before: i128, after: i128) -> CostDifference {
    CostDifference {
        requests,
        cost_before: nanos(before),
        cost_after: nanos(after),
    }
}

/// An amount that ClickHouse has added up; the largest where it does not fit.
pub(super) fn nanos(amount: i128) -> NanoUsd {
    NanoUsd::new(u64::try_from(amount.max(0)).unwrap_or(u64::MAX))
}

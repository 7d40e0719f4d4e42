//! What was refused in a time, by what and for whom; and what policies would have refused that only audit.

use clickhouse::Row;
use events_schema::{
    api::analytics::{RefusalEffect, RefusalItem, Refusals},
    time::Timestamp,
};
use serde::Deserialize;
use uuid::Uuid;

use super::{Analytics, AnalyticsError, Range, ask, or_empty, sql};

/// How many groups are told at most: more than anybody reads through.
const MOST_ITEMS: u32 = 200;

/// Which refusals are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalFilter {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Of this owner: `user:<id>` or `virtual_account:<id>`.
    pub owner: Option<String>,
    /// By this: `rate_limit_policy:<id>`, `budget_policy:<id>`, `key:<id>`, or the code of an error.
    pub by: Option<String>,
    /// With this effect.
    pub effect: Option<RefusalEffect>,
}

#[derive(Debug, Row, Deserialize)]
struct GroupRow {
    by_what: String,
    did: String,
    whose: String,
    counted: u64,
    last_at: i64,
    last_request: (u64, u64),
}

#[derive(Debug, Default, Row, Deserialize)]
struct TotalRow {
    counted: u64,
    refused: u64,
    audited: u64,
    diverted: u64,
}

// === impl Analytics ===

impl Analytics {
    /// What was refused, and what would have been. Things and owners are not called by their names yet.
    ///
    /// # Errors
    /// When the question makes no sense, or ClickHouse does not answer, or holds what this version does not know.
    pub async fn refusals(&self, filter: &RefusalFilter) -> Result<Refusals, AnalyticsError> {
        let RefusalFilter {
            from,
            to,
            owner,
            by,
            effect,
        } = filter;
        let range = Range::new(*from, *to)?;
        let asked = |sql: &str| {
            let query = self
                .client
                .query(sql)
                .param("from", range.from.micros())
                .param("to", range.to.micros());
            match owner {
                Some(owner) => query.param("owner", owner),
                None => query,
            }
        };
        let groups = sql::refusals(owner.is_some(), by.is_some(), effect.is_some());
        // One more than is told says whether there are more.
        let mut groups = asked(&groups).param("limit", MOST_ITEMS + 1);
        if let Some(by) = by {
            groups = groups.param("by", by);
        }
        if let Some(effect) = effect {
            groups = groups.param("effect", effect.as_str());
        }
        let total = asked(&sql::refused_in_all(owner.is_some()));
        let (groups, total) = tokio::try_join!(
            async { or_empty(ask(groups.fetch_all::<GroupRow>()).await, Vec::new) },
            async { or_empty(ask(total.fetch_one::<TotalRow>()).await, TotalRow::default) },
        )?;
        let most = usize::try_from(MOST_ITEMS).unwrap_or(usize::MAX);
        let more = groups.len() > most;
        let items = groups.into_iter().take(most).map(GroupRow::item);
        let TotalRow {
            counted,
            refused,
            audited,
            diverted,
        } = total;
        Ok(Refusals {
            from: *from,
            to: *to,
            requests: counted,
            refused,
            audited,
            diverted,
            items: items.collect::<Result<_, _>>()?,
            more,
        })
    }
}

// === impl GroupRow ===

impl GroupRow {
    fn item(self) -> Result<RefusalItem, AnalyticsError> {
        let (high, low) = self.last_request;
        let last_request = Uuid::from_u64_pair(high, low);
        let unreadable = |what: &str| {
            AnalyticsError::Unreadable(format!("{last_request} was refused at an unknown {what}"))
        };
        let effect = RefusalEffect::ALL
            .into_iter()
            .find(|effect| effect.as_str() == self.did)
            .ok_or_else(|| unreadable("effect"))?;
        Ok(RefusalItem {
            effect,
            by: self.by_what,
            of: None,
            owner: (!self.whose.is_empty()).then_some(self.whose),
            owner_name: None,
            requests: self.counted,
            last_at: Timestamp::from_micros(self.last_at).map_err(|_| unreadable("time"))?,
            last_request,
        })
    }
}

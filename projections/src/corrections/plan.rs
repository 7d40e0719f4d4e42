//! Which requests a pass compares, and how.

use clickhouse::{Row, query::Query};
use events_schema::ledger::{self, RepricedLists};
use serde::Deserialize;

use super::decided::{Decided, Told};
use super::passes::Pass;
use crate::warehouse::{Warehouse, WarehouseError, within};

/// How many requests one statement compares, about: some seconds, and some hundred megabytes of ClickHouse's memory.
const MOST_REQUESTS: u64 = 1_000_000;

/// The step of slices, in seconds.
const HOUR: u32 = 3_600;

/// What a pass has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The pass after which it comes.
    after: u64,
    /// All corrections that hold, in their order.
    decided: Vec<Decided>,
    /// Corrections that are new, or hold no more: all requests of their ranges are compared.
    changed: Vec<Told>,
    /// Of all others, those of batches of the ledger after this one, …
    since: u64,
    /// … up to this one.
    through: u64,
}

/// Some hours, of whose requests one statement takes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// In seconds since 1970.
    begins: u32,
    /// Exclusive.
    ends: u32,
    /// How many requests are compared.
    pub(super) requests: u64,
}

#[derive(Debug, Clone, Copy, Row, Deserialize)]
struct HourRow {
    hour: u32,
    counted: u64,
}

// === impl Plan ===

impl Plan {
    /// What there is to do after the pass `newest`, up to the batch `settled`; `None`: nothing. `quiet`: after which pass it was found
    /// up to which batch that there is nothing to do.
    pub(super) fn new(
        newest: Option<&Pass>,
        decided: &[Decided],
        settled: u64,
        quiet: Option<(u64, u64)>,
    ) -> Option<Self> {
        let after = newest.map_or(0, |it| it.ordinal);
        let held: &[Told] = newest.map_or(&[], |it| &it.holds);
        let told: Vec<Told> = decided.iter().map(Decided::told).collect();
        let begun = told.iter().filter(|it| !held.contains(it));
        let ended = held.iter().filter(|it| !told.contains(it));
        let changed: Vec<Told> = begun.chain(ended).cloned().collect();
        let since = newest.map_or(0, |it| it.through_batch);
        // A ledger that has lost its batches counts them anew.
        let since = if settled + 1 < since { 0 } else { since };
        let quiet = quiet.filter(|(pass, _)| *pass == after);
        let since = quiet.map_or(since, |(_, through)| since.max(through));
        let through = settled.max(since);
        let is_late = through > since && !decided.is_empty();
        (!changed.is_empty() || is_late).then(|| Self {
            after,
            decided: decided.to_vec(),
            changed,
            since,
            through,
        })
    }

    /// The pass after which it comes.
    pub(super) const fn after(&self) -> u64 {
        self.after
    }

    /// Up to which batch requests are compared.
    pub(super) const fn through(&self) -> u64 {
        self.through
    }

    /// The corrections that hold.
    pub(super) fn decided(&self) -> &[Decided] {
        &self.decided
    }

    /// Whether others hold than before.
    pub(super) fn changes_what_holds(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The hours in which there are requests to compare, those not before the second `whole_since`.
    pub(super) async fn slices(
        &self,
        warehouse: &Warehouse,
        whole_since: u32,
    ) -> Result<Vec<Slice>, WarehouseError> {
        let (begins, ends) = self.span(whole_since);
        let sql = format!(
            "SELECT toUnixTimestamp(toStartOfHour(received_at)) AS hour, count() AS counted \
             FROM ({}) GROUP BY hour ORDER BY hour",
            self.compared("received_at")
        );
        let query = self.ask(warehouse, &sql, begins, ends);
        let hours: Vec<HourRow> =
            within("looking for requests to correct", query.fetch_all()).await?;
        Ok(sliced(&hours))
    }

    /// From the earliest time that a correction is for to the latest, in seconds.
    fn span(&self, whole_since: u32) -> (u32, u32) {
        let told = self.decided.iter().map(Decided::told);
        let all: Vec<Told> = told.chain(self.changed.iter().cloned()).collect();
        let second = |micros: i64| u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
        let begins = all.iter().map(|it| second(it.from.micros())).min();
        let ends = all.iter().map(|it| second(it.until.micros())).max();
        (
            begins.unwrap_or_default().max(whole_since),
            ends.unwrap_or_default().saturating_add(1),
        )
    }

    /// Compares the requests of a slice, and writes down what their cost differs by.
    pub(super) async fn correct(
        &self,
        warehouse: &Warehouse,
        slice: Slice,
        pass: &Pass,
    ) -> Result<(), WarehouseError> {
        let sql = format!(
            "INSERT INTO cost_corrections \
             (request, received_at, owner, key, target, model, incarnation, budgets, amount, position, pass, ordinal) \
             SELECT request, received_at, owner, key, target, answered_by, incarnation, budgets, \
             wanted_cost - first_cost - known_amount AS difference, wanted_position, {{pass:UUID}}, {{ordinal:UInt64}} \
             FROM (SELECT request, received_at, owner, key, target, answered_by, incarnation, budgets, \
             {first} AS first_cost, {cost} AS wanted_cost, {position} AS wanted_position FROM ({compared})) AS compared \
             LEFT JOIN (SELECT request AS known_request, sum(amount) AS known_amount, \
             argMax(position, ordinal) AS known_position FROM corrections \
             WHERE {IN_SLICE} AND model IN {{compared_models:Array(String)}} GROUP BY known_request) AS known \
             ON compared.request = known.known_request \
             WHERE difference != 0 OR wanted_position != known_position \
             SETTINGS insert_deduplicate = 0, throw_on_max_partitions_per_insert_block = 0",
            first = ledger::FIRST_COST,
            cost = ledger::corrected_cost_sql("place"),
            position = ledger::position_sql("place"),
            compared = self.compared("*"),
        );
        let query = self
            .ask(warehouse, &sql, slice.begins, slice.ends)
            .param("pass", pass.id.to_string())
            .param("ordinal", pass.ordinal);
        within("correcting what requests cost", query.execute()).await
    }

    /// The requests that are compared, and as `place` which of the corrections holds for each. With nothing but late ones to look
    /// for, nothing stands beside the condition on batches, so that ClickHouse's index of them tells what need not be read.
    fn compared(&self, columns: &str) -> String {
        let of_changed = if self.changed.is_empty() {
            ""
        } else {
            " OR arrayExists((m, f, u) -> m = answered_by \
             AND f <= toUnixTimestamp64Micro(received_at) AND toUnixTimestamp64Micro(received_at) < u, \
             {changed_models:Array(String)}, {changed_froms:Array(Int64)}, {changed_untils:Array(Int64)})"
        };
        format!(
            "SELECT {columns}, {which} AS place FROM requests \
             WHERE {IN_SLICE} AND answered_by IN {{compared_models:Array(String)}} AND ledger_batch <= {{through:UInt64}} \
             AND ((ledger_batch > {{since:UInt64}} AND place > 0){of_changed})",
            which = ledger::WHICH
        )
    }

    fn ask(&self, warehouse: &Warehouse, sql: &str, begins: u32, ends: u32) -> Query {
        let RepricedLists {
            positions,
            models,
            froms,
            untils,
            inputs,
            cached_inputs,
            outputs,
        } = RepricedLists::new(self.decided.iter().map(|it| it.repriced));
        let changed = || self.changed.iter();
        let of_changed: Vec<String> = changed().map(|it| it.model.to_string()).collect();
        let mut all: Vec<String> = models.iter().chain(&of_changed).cloned().collect();
        all.sort();
        all.dedup();
        warehouse
            .client()
            .query(sql)
            .param("begins", begins)
            .param("ends", ends)
            .param("since", self.since)
            .param("through", self.through)
            .param("compared_models", all)
            .param("changed_models", of_changed)
            .param(
                "changed_froms",
                changed().map(|it| it.from.micros()).collect::<Vec<_>>(),
            )
            .param(
                "changed_untils",
                changed().map(|it| it.until.micros()).collect::<Vec<_>>(),
            )
            .param("repriced_positions", positions)
            .param("repriced_models", models)
            .param("repriced_froms", froms)
            .param("repriced_untils", untils)
            .param("repriced_inputs", inputs)
            .param("repriced_cached_inputs", cached_inputs)
            .param("repriced_outputs", outputs)
    }
}

/// That a request arrived between `begins` and `ends`.
const IN_SLICE: &str = "received_at >= toDateTime({begins:UInt32}, 'UTC') AND received_at < toDateTime({ends:UInt32}, 'UTC')";

/// Hours put together until there is enough for one statement.
fn sliced(hours: &[HourRow]) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    for HourRow { hour, counted } in hours {
        let ends = hour.saturating_add(HOUR);
        match slices.last_mut() {
            Some(last) if last.requests + counted <= MOST_REQUESTS => {
                last.ends = ends;
                last.requests += counted;
            }
            Some(_) | None => slices.push(Slice {
                begins: *hour,
                ends,
                requests: *counted,
            }),
        }
    }
    slices
}

//! What the ledger says was spent of budgets.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use events_schema::time::Timestamp;
use gateway_policy::limits::{
    Measure,
    lease::BudgetId,
    message::{CounterId, Incarnation},
    period::{Period, SlotNumber},
};
use serde::Deserialize;
use uuid::Uuid;

use super::before::Had;
use crate::{
    corrections,
    ledger::budget_text,
    warehouse::{Warehouse, WarehouseError, within},
};

/// What each incarnation has spent of each budget; one that has spent nothing is not named.
pub(super) type Spent = BTreeMap<BudgetId, Vec<(Incarnation, u64)>>;

/// Budgets that are asked for, each with when it had its limit; `None`: always, as far as is known.
pub(super) type Asked = BTreeMap<BudgetId, Option<Had>>;

/// What the ledger says of budgets.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What was spent of them.
    pub(super) spent: Spent,
    /// What requests used that counted there when they had no such limit; those of which nothing was are not named.
    pub(super) before: BTreeMap<BudgetId, u64>,
    /// What corrected prices add to that, also less than nothing; those to which they add nothing are not named.
    pub(super) corrected: BTreeMap<BudgetId, i64>,
}

/// How many budgets are asked for in one statement: their names fill 70 KiB.
const AT_ONCE: usize = 1_000;

/// Of these budgets, what the dead have spent of whom all records have arrived. `asked` names at least these.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn of_the_dead(
    warehouse: &Warehouse,
    silent: &BTreeMap<BudgetId, BTreeSet<Incarnation>>,
    mut asked: Asked,
) -> Result<Spent, WarehouseError> {
    let all: BTreeSet<Incarnation> = silent.values().flatten().copied().collect();
    let dead = ended(warehouse, &all).await?;
    let of_dead = silent.iter().filter_map(|(budget, silent)| {
        let dead: Vec<Incarnation> = silent.intersection(&dead).copied().collect();
        (!dead.is_empty()).then_some((*budget, dead))
    });
    let of_dead: BTreeMap<BudgetId, Vec<Incarnation>> = of_dead.collect();
    asked.retain(|budget, _| of_dead.contains_key(budget));
    let spent = ask(warehouse, &asked).await?.spent;
    let spent_by = |budget: &BudgetId, whose: Incarnation| {
        let mut spent = spent.get(budget).into_iter().flatten();
        spent
            .find(|(it, _)| *it == whose)
            .map_or(0, |(_, spent)| *spent)
    };
    let said = of_dead.into_iter().map(|(budget, dead)| {
        let spent = dead.into_iter().map(|it| (it, spent_by(&budget, it)));
        (budget, spent.collect())
    });
    Ok(said.collect())
}

/// Which of these have ended, with nothing of their records lost.
async fn ended(
    warehouse: &Warehouse,
    these: &BTreeSet<Incarnation>,
) -> Result<BTreeSet<Incarnation>, WarehouseError> {
    let these: Vec<Incarnation> = these.iter().copied().collect();
    let mut ended = BTreeSet::new();
    for some in these.chunks(AT_ONCE) {
        let sql = "SELECT DISTINCT incarnation FROM ledger_ends \
                   WHERE incarnation IN (SELECT toUUID(arrayJoin({these:Array(String)}))) \
                   AND incarnation NOT IN (SELECT incarnation FROM ledger_gaps \
                   WHERE incarnation IN (SELECT toUUID(arrayJoin({these:Array(String)}))))";
        let text = |it: &Incarnation| Uuid::from_bytes(it.0).to_string();
        let these: Vec<String> = some.iter().map(text).collect();
        let query = warehouse.client().query(sql).param("these", these);
        let rows: Vec<EndedRow> =
            within("looking for gateways that ended", query.fetch_all()).await?;
        ended.extend(rows.iter().map(|row| incarnation(row.incarnation)));
    }
    Ok(ended)
}

fn incarnation((high, low): (u64, u64)) -> Incarnation {
    Incarnation(Uuid::from_u64_pair(high, low).into_bytes())
}

#[derive(Row, Deserialize)]
struct EndedRow {
    incarnation: (u64, u64),
}

#[derive(Row, Deserialize)]
struct SpentRow {
    budget: String,
    incarnation: (u64, u64),
    /// How many of the positions they were decided on at or after.
    older: u64,
    costs: u64,
    tokens: u64,
}

/// Asks the ledger. Requests that it has not heard of yet are lacking: what it says is a lower bound.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn ask(warehouse: &Warehouse, asked: &Asked) -> Result<Said, WarehouseError> {
    let mut windows = BTreeMap::<(Period, SlotNumber), Vec<OfBudget<'_>>>::new();
    for (budget, had) in asked {
        let window = (budget.counter.period, budget.slot);
        windows
            .entry(window)
            .or_default()
            .push((budget, had.as_ref()));
    }
    let mut all = Said {
        spent: asked.keys().map(|it| (*it, Vec::new())).collect(),
        before: BTreeMap::new(),
        corrected: BTreeMap::new(),
    };
    for ((period, slot), budgets) in windows {
        for some in budgets.chunks(AT_ONCE) {
            let begins = period.slot_begins(slot);
            let ends = period.slot_begins(slot.plus(1));
            of_window(warehouse, (begins, ends), some, &mut all).await?;
        }
    }
    Ok(all)
}

/// A budget, and when it had its limit.
type OfBudget<'a> = (&'a BudgetId, Option<&'a Had>);

async fn of_window(
    warehouse: &Warehouse,
    (begins, ends): (Timestamp, Timestamp),
    budgets: &[OfBudget<'_>],
    all: &mut Said,
) -> Result<(), WarehouseError> {
    let sql = "SELECT budget, incarnation, \
               toUInt64(arrayCount(it -> it <= position, {positions:Array(UInt64)})) AS older, \
               sum(ifNull(cost, 0)) AS costs, sum(input_tokens + output_tokens) AS tokens \
               FROM requests ARRAY JOIN budgets AS budget \
               WHERE received_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC') \
               AND received_at < fromUnixTimestamp64Micro({ends:Int64}, 'UTC') \
               AND budget IN {names:Array(String)} \
               GROUP BY budget, incarnation, older";
    let names: BTreeSet<String> = budgets.iter().map(|(it, _)| name(&it.counter)).collect();
    // At which limits came and went. What did before the window makes no difference in it, but for requests that were decided on
    // late: nearly always there are none.
    let changes = budgets.iter().filter_map(|(_, had)| *had);
    let changes = changes.flat_map(Had::changes).map(|it| it.position);
    let positions: BTreeSet<u64> = changes.collect();
    let positions: Vec<u64> = positions.into_iter().collect();
    let query = warehouse
        .client()
        .query(sql)
        .param("begins", begins.micros())
        .param("ends", ends.micros())
        .param("positions", &positions)
        .param("names", names.into_iter().collect::<Vec<_>>());
    let rows: Vec<SpentRow> = within("adding up what was spent", query.fetch_all()).await?;
    let of_cost = budgets.iter().map(|(budget, _)| *budget);
    let of_cost = of_cost.filter(|it| it.counter.measure == Measure::Cost);
    let of_cost: BTreeMap<String, &BudgetId> = of_cost.map(|it| (name(&it.counter), it)).collect();
    let cost_names = of_cost.keys().cloned().collect();
    let corrected = corrections::of_budgets(warehouse, (begins, ends), &cost_names).await?;
    let corrected = corrected.into_iter();
    let corrected = corrected.filter_map(|(name, amount)| Some((**of_cost.get(&name)?, amount)));
    all.corrected.extend(corrected);
    let mut by_name = BTreeMap::<&str, Vec<&SpentRow>>::new();
    for row in &rows {
        by_name.entry(&row.budget).or_default().push(row);
    }
    for (budget, had) in budgets {
        let of = by_name.get(name(&budget.counter).as_str());
        let mut spent = BTreeMap::<Incarnation, u64>::new();
        for row in of.into_iter().flatten() {
            let used = match budget.counter.measure {
                Measure::Cost => row.costs,
                Measure::Tokens => row.tokens,
                // No budget counts requests.
                Measure::Requests => 0,
            };
            let older = usize::try_from(row.older).unwrap_or(usize::MAX);
            // The last that they were not decided on before; 0 is before all.
            let position: Option<&u64> = older.checked_sub(1).and_then(|at| positions.get(at));
            let position = position.map_or(0, |it| *it);
            let sum = if had.is_none_or(|it| it.at(position)) {
                spent.entry(incarnation(row.incarnation)).or_default()
            } else {
                all.before.entry(**budget).or_default()
            };
            *sum = sum.saturating_add(used);
        }
        all.spent.entry(**budget).or_default().extend(spent);
    }
    Ok(())
}

fn name(counter: &CounterId) -> String {
    budget_text(
        Uuid::from_bytes(counter.rule),
        Uuid::from_bytes(counter.segment),
    )
}

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

use crate::{
    ledger::budget_text,
    warehouse::{Warehouse, WarehouseError, within},
};

/// What each incarnation has spent of each budget; one that has spent nothing is not named.
pub(super) type Spent = BTreeMap<BudgetId, Vec<(Incarnation, u64)>>;

/// How many budgets are asked for in one statement: their names fill 70 KiB.
const AT_ONCE: usize = 1_000;

/// Of these budgets, what the dead have spent of whom all records have arrived.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn of_the_dead(
    warehouse: &Warehouse,
    silent: &BTreeMap<BudgetId, BTreeSet<Incarnation>>,
) -> Result<Spent, WarehouseError> {
    let all: BTreeSet<Incarnation> = silent.values().flatten().copied().collect();
    let dead = ended(warehouse, &all).await?;
    let of_dead = silent.iter().filter_map(|(budget, silent)| {
        let dead: Vec<Incarnation> = silent.intersection(&dead).copied().collect();
        (!dead.is_empty()).then_some((*budget, dead))
    });
    let of_dead: BTreeMap<BudgetId, Vec<Incarnation>> = of_dead.collect();
    let spent = ask(warehouse, &of_dead.keys().copied().collect()).await?;
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
    cost: u64,
    tokens: u64,
}

/// Asks the ledger. Requests that it has not heard of yet are lacking: what it says is a lower bound.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn ask(
    warehouse: &Warehouse,
    budgets: &BTreeSet<BudgetId>,
) -> Result<Spent, WarehouseError> {
    let mut windows = BTreeMap::<(Period, SlotNumber), Vec<&BudgetId>>::new();
    for budget in budgets {
        let window = (budget.counter.period, budget.slot);
        windows.entry(window).or_default().push(budget);
    }
    let mut all: Spent = budgets.iter().map(|budget| (*budget, Vec::new())).collect();
    for ((period, slot), budgets) in windows {
        for some in budgets.chunks(AT_ONCE) {
            let begins = period.slot_begins(slot);
            let ends = period.slot_begins(slot.plus(1));
            of_window(warehouse, (begins, ends), some, &mut all).await?;
        }
    }
    Ok(all)
}

async fn of_window(
    warehouse: &Warehouse,
    (begins, ends): (Timestamp, Timestamp),
    budgets: &[&BudgetId],
    all: &mut Spent,
) -> Result<(), WarehouseError> {
    let sql = "SELECT budget, incarnation, sum(ifNull(cost, 0)) AS cost, \
               sum(input_tokens + output_tokens) AS tokens \
               FROM requests ARRAY JOIN budgets AS budget \
               WHERE received_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC') \
               AND received_at < fromUnixTimestamp64Micro({ends:Int64}, 'UTC') \
               AND budget IN {names:Array(String)} \
               GROUP BY budget, incarnation";
    let names: BTreeSet<String> = budgets.iter().map(|it| name(&it.counter)).collect();
    let query = warehouse
        .client()
        .query(sql)
        .param("begins", begins.micros())
        .param("ends", ends.micros())
        .param("names", names.into_iter().collect::<Vec<_>>());
    let rows: Vec<SpentRow> = within("adding up what was spent", query.fetch_all()).await?;
    let mut by_name = BTreeMap::<&str, Vec<&SpentRow>>::new();
    for row in &rows {
        by_name.entry(&row.budget).or_default().push(row);
    }
    for budget in budgets {
        let of = by_name.get(name(&budget.counter).as_str());
        let spent = of.into_iter().flatten().map(|row| {
            let amount = match budget.counter.measure {
                Measure::Cost => row.cost,
                Measure::Tokens => row.tokens,
                // No budget counts requests.
                Measure::Requests => 0,
            };
            (incarnation(row.incarnation), amount)
        });
        all.entry(**budget).or_default().extend(spent);
    }
    Ok(())
}

fn name(counter: &CounterId) -> String {
    budget_text(
        Uuid::from_bytes(counter.rule),
        Uuid::from_bytes(counter.segment),
    )
}

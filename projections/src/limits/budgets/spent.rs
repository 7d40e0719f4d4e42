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
    corrections,
    ledger::budget_text,
    warehouse::{Warehouse, WarehouseError, within},
};

/// What each incarnation has spent of each budget; one that has spent nothing is not named.
pub(super) type Spent = BTreeMap<BudgetId, Vec<(Incarnation, u64)>>;

/// Budgets that are asked for. Of each, before which position of the history requests that counted there did so when it had no such
/// limit.
pub(super) type Asked = BTreeMap<BudgetId, u64>;

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
    costs: u64,
    costs_before: u64,
    tokens: u64,
    tokens_before: u64,
}

/// Asks the ledger. Requests that it has not heard of yet are lacking: what it says is a lower bound.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn ask(warehouse: &Warehouse, asked: &Asked) -> Result<Said, WarehouseError> {
    let mut windows = BTreeMap::<(Period, SlotNumber), Vec<(&BudgetId, u64)>>::new();
    for (budget, since) in asked {
        let window = (budget.counter.period, budget.slot);
        windows.entry(window).or_default().push((budget, *since));
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

async fn of_window(
    warehouse: &Warehouse,
    (begins, ends): (Timestamp, Timestamp),
    budgets: &[(&BudgetId, u64)],
    all: &mut Said,
) -> Result<(), WarehouseError> {
    let since = |of: &str| {
        format!("position >= transform(budget, {{names:Array(String)}}, {{{of}:Array(UInt64)}}, 0)")
    };
    let (cost, tokens) = (since("cost_since"), since("tokens_since"));
    let sql = format!(
        "SELECT budget, incarnation, \
         sumIf(ifNull(cost, 0), {cost}) AS costs, sumIf(ifNull(cost, 0), NOT {cost}) AS costs_before, \
         sumIf(input_tokens + output_tokens, {tokens}) AS tokens, \
         sumIf(input_tokens + output_tokens, NOT {tokens}) AS tokens_before \
         FROM requests ARRAY JOIN budgets AS budget \
         WHERE received_at >= fromUnixTimestamp64Micro({{begins:Int64}}, 'UTC') \
         AND received_at < fromUnixTimestamp64Micro({{ends:Int64}}, 'UTC') \
         AND budget IN {{names:Array(String)}} \
         GROUP BY budget, incarnation"
    );
    // Of each name, since when it has its limits.
    let mut names = BTreeMap::<String, (u64, u64)>::new();
    for (budget, since) in budgets {
        let (cost, tokens) = names.entry(name(&budget.counter)).or_default();
        match budget.counter.measure {
            Measure::Cost => *cost = *since,
            Measure::Tokens => *tokens = *since,
            Measure::Requests => {}
        }
    }
    let query = warehouse
        .client()
        .query(&sql)
        .param("begins", begins.micros())
        .param("ends", ends.micros())
        .param("names", names.keys().collect::<Vec<_>>())
        .param(
            "cost_since",
            names.values().map(|it| it.0).collect::<Vec<_>>(),
        )
        .param(
            "tokens_since",
            names.values().map(|it| it.1).collect::<Vec<_>>(),
        );
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
    for (budget, _) in budgets {
        let of = by_name.get(name(&budget.counter).as_str());
        for row in of.into_iter().flatten() {
            let (spent, before) = match budget.counter.measure {
                Measure::Cost => (row.costs, row.costs_before),
                Measure::Tokens => (row.tokens, row.tokens_before),
                // No budget counts requests.
                Measure::Requests => (0, 0),
            };
            if spent > 0 {
                let by = (incarnation(row.incarnation), spent);
                all.spent.entry(**budget).or_default().push(by);
            }
            if before > 0 {
                let all_before = all.before.entry(**budget).or_default();
                *all_before = all_before.saturating_add(before);
            }
        }
    }
    Ok(())
}

fn name(counter: &CounterId) -> String {
    budget_text(
        Uuid::from_bytes(counter.rule),
        Uuid::from_bytes(counter.segment),
    )
}

//! What requests used that policies match now and did not count: those that were decided on before the policies were what they
//! are. Policies are asked by the code that gateways ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use clickhouse::Row;
use events_schema::{
    events::{LimitSegment, Owner},
    id::{BudgetPolicyId, KeyId, ModelId, VirtualModelId},
    state::Organisation,
    time::Timestamp,
};
use gateway_policy::{
    EntryId, Facts, Measure, ModelIds, Rule, Rules, SlotNumber, Wanted,
    limits::{lease::BudgetId, message::CounterId, period::Period},
};
use serde::Deserialize;
use uuid::Uuid;

use super::definitions::{Definition, Definitions};
use crate::{
    ledger::budget_text,
    warehouse::{Warehouse, WarehouseError, within},
};

/// How many policies are asked about in one statement. The ledger is read once for all of them; requests are told apart by how many
/// of them are younger.
pub(super) const AT_ONCE: usize = 64;

/// Of each policy that was asked about, what was used of its budgets; those of which nothing was are not named.
pub(super) type Matched = BTreeMap<BudgetPolicyId, BTreeMap<BudgetId, u64>>;

/// Requests that policies and windows cannot tell apart.
#[derive(Row, Deserialize)]
struct Alike {
    /// On which day they arrived, counted from 1970.
    day: i64,
    owner: String,
    /// Empty, where no policy looks at it.
    with_key: String,
    resolved: String,
    answered_by: String,
    /// The counters of the policies at which they counted.
    counted: Vec<String>,
    /// The metadata that policies look at.
    said: Vec<(String, String)>,
    /// How many of the positions are higher than theirs.
    younger: u64,
    costs: u64,
    tokens: u64,
}

/// Asks the ledger and the policies, for the windows of the moment.
///
/// # Errors
/// When ClickHouse does not answer.
pub(super) async fn ask(
    warehouse: &Warehouse,
    definitions: Arc<Definitions>,
    asked: BTreeSet<BudgetPolicyId>,
    wall: Timestamp,
) -> Result<Matched, WarehouseError> {
    let rules = Rules::of_budgets(&definitions.state);
    let mut counting = Counting::new(&definitions, &asked, wall);
    let Some((begins, latest)) = counting.range() else {
        return Ok(counting.matched);
    };
    let sql = "SELECT toInt64(toRelativeDayNum(received_at)) AS day, owner, if({by_key:Bool}, key, '') AS with_key, resolved, answered_by, \
               arrayFilter(it -> has({policies:Array(String)}, substring(it, 1, 32)), budgets) AS counted, \
               arrayFilter(it -> has({keys:Array(String)}, it.1), \
               arrayZip(mapKeys(metadata), mapValues(metadata))) AS said, \
               toUInt64(arrayCount(it -> it > position, {positions:Array(UInt64)})) AS younger, \
               toUInt64(greatest(sum(toInt128(ifNull(cost, 0)) + corrected.amount), 0)) AS costs, \
               sum(input_tokens + output_tokens) AS tokens \
               FROM requests LEFT JOIN (SELECT request, sum(amount) AS amount FROM corrections \
               WHERE received_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC') GROUP BY request) AS corrected \
               ON requests.request = corrected.request \
               WHERE received_at >= fromUnixTimestamp64Micro({begins:Int64}, 'UTC') \
               AND position < {latest:UInt64} \
               AND (cost > 0 OR input_tokens + output_tokens > 0) \
               GROUP BY day, owner, with_key, resolved, answered_by, counted, said, younger";
    let policies = asked.iter().map(|it| it.uuid().as_simple().to_string());
    let query = warehouse
        .client()
        .query(sql)
        .param("policies", policies.collect::<Vec<_>>())
        .param("keys", keys(&definitions.state))
        .param("by_key", applies_per_key(&definitions.state))
        .param("positions", &counting.positions)
        .param("begins", begins.micros())
        .param("latest", latest);
    let read = async {
        let mut rows = query.fetch::<Alike>()?;
        while let Some(alike) = rows.next().await? {
            counting.count(&rules, &alike);
        }
        Ok(())
    };
    within("adding up what was used before budgets counted it", read).await?;
    Ok(counting.matched)
}

/// The keys of metadata that any budget policy looks at.
fn keys(state: &Organisation) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for policy in state.budget_policies().values() {
        let per = policy.rule.applies_per.iter().filter_map(|it| match it {
            LimitSegment::Metadata(key) => Some(key),
            LimitSegment::User
            | LimitSegment::VirtualAccount
            | LimitSegment::Model
            | LimitSegment::Team
            | LimitSegment::Key => None,
        });
        let asked_for = policy.rule.when.metadata.keys();
        keys.extend(per.chain(asked_for).map(ToString::to_string));
    }
    keys.into_iter().collect()
}

/// Whether any budget policy has a budget for each key.
fn applies_per_key(state: &Organisation) -> bool {
    let mut policies = state.budget_policies().values();
    policies.any(|it| it.rule.applies_per.contains(&LimitSegment::Key))
}

/// Adds up.
struct Counting<'d> {
    state: &'d Organisation,
    asked: BTreeMap<EntryId, &'d Definition>,
    /// Since when the asked policies match what they match, each position once, the highest first.
    positions: Vec<u64>,
    wall: Timestamp,
    matched: Matched,
}

impl<'d> Counting<'d> {
    fn new(
        definitions: &'d Definitions,
        asked: &BTreeSet<BudgetPolicyId>,
        wall: Timestamp,
    ) -> Self {
        let found = asked.iter().filter_map(|id| {
            let definition = definitions.policies.get(id)?;
            Some((id.bytes(), definition))
        });
        let asked_for: BTreeMap<EntryId, &Definition> = found.collect();
        let positions = asked_for.values().map(|it| it.matches.position);
        let positions: BTreeSet<u64> = positions.collect();
        Self {
            state: &definitions.state,
            asked: asked_for,
            positions: positions.into_iter().rev().collect(),
            wall,
            matched: asked.iter().map(|id| (*id, BTreeMap::new())).collect(),
        }
    }

    /// When the first of the windows began, and before which position a request must have been decided on.
    fn range(&self) -> Option<(Timestamp, u64)> {
        let periods = self.asked.values().flat_map(|it| it.periods());
        let begins = periods.map(|period| period.window_began(self.wall));
        Some((begins.min()?, *self.positions.first()?))
    }

    fn count(&mut self, rules: &Rules, alike: &Alike) {
        let Ok(owner) = alike.owner.parse::<Owner>() else {
            return;
        };
        let Some(wanted) = wanted(self.state, &alike.resolved) else {
            return;
        };
        let teams: Vec<EntryId> = match owner {
            Owner::User(user) => {
                let teams = self.state.teams_of(user);
                teams.map(|(team, _)| team.id.bytes()).collect()
            }
            Owner::VirtualAccount(_) => Vec::new(),
        };
        let metadata = alike.said.iter().cloned().collect();
        let facts = Facts::supposed(owner, &teams, wanted, &metadata);
        let key = alike.with_key.parse::<KeyId>().ok();
        let facts = key.map_or(facts, |key| facts.with_key(key.bytes()));
        for rule in rules.all(&facts).iter() {
            self.count_for(rule, &facts, alike);
        }
        let answered_by = alike.answered_by.parse().ok();
        let led_to = answered_by.filter(|_| matches!(wanted, Wanted::VirtualModel { .. }));
        if let Some(model) = led_to {
            let attempt = facts.led_to(ids(self.state, model));
            for rule in rules.all_naming(&attempt, &facts).iter() {
                self.count_for(rule, &attempt, alike);
            }
        }
    }

    fn count_for(&mut self, rule: &Rule, facts: &Facts<'_>, alike: &Alike) {
        let Some(definition) = self.asked.get(&rule.id) else {
            return;
        };
        let younger = usize::try_from(alike.younger).unwrap_or(usize::MAX);
        let mut younger = self.positions.iter().take(younger);
        if !younger.any(|it| *it == definition.matches.position) {
            return;
        }
        let policy = BudgetPolicyId::from_bytes(rule.id);
        let budgets = self.matched.entry(policy).or_default();
        for segment in rule.segments(facts).iter() {
            let name = budget_text(policy.uuid(), Uuid::from_bytes(*segment));
            if alike.counted.contains(&name) {
                continue;
            }
            for limit in rule.limits(segment) {
                let used = match limit.measure {
                    Measure::Cost => alike.costs,
                    Measure::Tokens => alike.tokens,
                    Measure::Requests => 0,
                };
                let slot = limit.period.slot_at(self.wall);
                if used > 0 && limit.period.slot_at(day(alike.day)) == slot {
                    let counter = CounterId {
                        rule: rule.id,
                        measure: limit.measure,
                        period: limit.period,
                        segment: *segment,
                    };
                    let budget = budgets.entry(BudgetId { counter, slot }).or_default();
                    *budget = budget.saturating_add(used);
                }
            }
        }
    }
}

/// When a day begins. Every window of a budget is so many whole days.
fn day(since_1970: i64) -> Timestamp {
    let slot = u64::try_from(since_1970).unwrap_or(0);
    Period::Day.slot_begins(SlotNumber(slot))
}

/// What a name stood for, as the ledger says it.
fn wanted(state: &Organisation, resolved: &str) -> Option<Wanted> {
    match resolved.split_once(':')? {
        ("model", id) => Some(Wanted::Model(ids(state, id.parse().ok()?))),
        ("virtual_model", id) => {
            let id: VirtualModelId = id.parse().ok()?;
            Some(Wanted::VirtualModel {
                id: id.bytes(),
                before: behind(state, id),
            })
        }
        _ => None,
    }
}

/// A model that is gone is of no account.
fn ids(state: &Organisation, model: ModelId) -> ModelIds {
    let account = state.models().get(&model).map(|it| it.account.bytes());
    ModelIds {
        model: model.bytes(),
        account: account.unwrap_or_default(),
    }
}

/// The model before which a virtual model stands, since it is called the same.
fn behind(state: &Organisation, id: VirtualModelId) -> Option<ModelIds> {
    let name = state.virtual_models().get(&id)?.name.as_str();
    let (account, model) = name.split_once('/')?;
    let account = state.provider_account_named(&account.parse().ok()?)?;
    let model = state.model_named(account.id, &model.parse().ok()?)?;
    Some(ids(state, model.id))
}

//! From the ledger's rows to what counters are of. Nothing is believed but what the policy code says of a request: its counter is
//! the one that is looked for, or it is another.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{LimitSegment, ModelRef, Owner, Stream},
    id::{BudgetPolicyId, KeyId, RateLimitPolicyId, UserId},
    state::{BudgetPolicy, Organisation, RateLimitPolicy},
    time::Timestamp,
};
use gateway_policy::{
    EntryId, Facts, ModelIds, Rules, Wanted as Asked,
    rules::{Counter, Value},
};
use uuid::Uuid;

use super::{CounterName, Wanted};
use crate::analytics::{CountedPer, CountedRow};

/// What a counter is of: of each thing that its policy keeps counters of, in their order.
pub type CounterOf = Vec<(LimitSegment, CounterValue)>;

/// What the requests of a counter have of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CounterValue {
    /// Nothing: they are no user's, or say nothing of that in their metadata.
    Nothing,
    /// Something with an id.
    Id(Uuid),
    /// A value of the metadata.
    Text(String),
}

/// A counter that is told of by a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) counter: CounterName,
    pub(super) is_budget: bool,
    pub(super) began_at: Timestamp,
    per: BTreeSet<LimitSegment>,
}

/// Which counters stand for no value at all: that of all requests, that of those that have nothing, and that of those for whose
/// values a gateway had no room.
const STANDS_FOR_NONE: [[u8; 16]; 3] = [[0; 16], [0xff; 16], [0xfe; 16]];

// === impl Hidden ===

impl Hidden {
    /// `None`: the policy is gone, or what the counter is of stands in its id.
    pub(super) fn of(state: &Organisation, wanted: Wanted) -> Option<Self> {
        let Wanted {
            counter: (policy, segment),
            began_at,
        } = wanted;
        let budget = state
            .budget_policies()
            .get(&BudgetPolicyId::from_uuid(policy));
        let rate = state
            .rate_limit_policies()
            .get(&RateLimitPolicyId::from_uuid(policy));
        let of_rate = rate.map(|it| &it.rule.applies_per);
        let per = budget.map(|it| &it.rule.applies_per).or(of_rate)?;
        let is_hash = match per.first() {
            None => false,
            Some(LimitSegment::Metadata(_)) => true,
            Some(
                LimitSegment::User
                | LimitSegment::VirtualAccount
                | LimitSegment::Model
                | LimitSegment::Team
                | LimitSegment::Key,
            ) => per.len() > 1,
        };
        let is_of_values = !STANDS_FOR_NONE.contains(segment.as_bytes());
        (is_hash && is_of_values).then(|| Self {
            counter: wanted.counter,
            is_budget: budget.is_some(),
            began_at,
            per: per.clone(),
        })
    }

    /// As records of requests name it, if it is one of a budget.
    pub(super) fn budget_text(&self) -> String {
        let (policy, segment) = self.counter;
        format!("{}:{}", policy.as_simple(), segment.as_simple())
    }

    /// Whether its policy keeps counters of such things.
    pub(super) fn could_be(&self, of: &CounterOf) -> bool {
        self.per.iter().eq(of.iter().map(|(segment, _)| segment))
    }

    fn per(&self) -> CountedPer {
        let has = |segments: &[LimitSegment]| segments.iter().any(|it| self.per.contains(it));
        let metadata = self.per.iter().filter_map(|it| match it {
            LimitSegment::Metadata(key) => Some(key.to_string()),
            LimitSegment::User
            | LimitSegment::VirtualAccount
            | LimitSegment::Model
            | LimitSegment::Team
            | LimitSegment::Key => None,
        });
        CountedPer {
            rule: rate_text(self.counter.0),
            // Somebody's they all are, and whose is part of what a request is; so it is asked for where it matters alone.
            owner: has(&[
                LimitSegment::User,
                LimitSegment::VirtualAccount,
                LimitSegment::Team,
            ]),
            key: has(&[LimitSegment::Key]),
            model: has(&[LimitSegment::Model]),
            metadata: metadata.collect(),
        }
    }
}

fn rate_text(policy: Uuid) -> String {
    format!("rate_limit_policy:{}", policy.as_simple())
}

/// What the rate-limit policies of these counters keep counters of, each once.
pub(super) fn counted_per(hidden: &[Hidden]) -> Vec<CountedPer> {
    let all = hidden.iter().map(|it| (it.counter.0, it));
    let by_policy: BTreeMap<Uuid, &Hidden> = all.collect();
    by_policy.values().map(|it| it.per()).collect()
}

/// What these counters are of, as far as the rows say it.
pub(super) fn find(
    state: &Organisation,
    hidden: &[Hidden],
    rows: &[CountedRow],
) -> BTreeMap<CounterName, CounterOf> {
    let rules = rules(state, hidden);
    let mut by_row: BTreeMap<String, Vec<&Hidden>> = BTreeMap::new();
    for it in hidden {
        let text = if it.is_budget {
            it.budget_text()
        } else {
            rate_text(it.counter.0)
        };
        by_row.entry(text).or_default().push(it);
    }
    let mut found = BTreeMap::new();
    for row in rows {
        let Some(those) = by_row.get(&row.counter) else {
            continue;
        };
        let request = Request::of(state, row);
        for it in those {
            if !found.contains_key(&it.counter)
                && let Some(of) = request.counted(&rules, it)
            {
                found.insert(it.counter, of);
            }
        }
    }
    found
}

/// The rules of these counters' policies, also of such as are disabled: their windows are not over.
fn rules(state: &Organisation, hidden: &[Hidden]) -> Rules {
    let ids: BTreeSet<Uuid> = hidden.iter().map(|it| it.counter.0).collect();
    if hidden.iter().any(|it| it.is_budget) {
        let policies = ids.into_iter().filter_map(|id| {
            let policy = state
                .budget_policies()
                .get(&BudgetPolicyId::from_uuid(id))?;
            Some(BudgetPolicy {
                disabled: false,
                ..policy.clone()
            })
        });
        return Rules::of_budget_policies(&policies.collect::<Vec<_>>());
    }
    let policies = ids.into_iter().filter_map(|id| {
        let id = RateLimitPolicyId::from_uuid(id);
        let policy = state.rate_limit_policies().get(&id)?;
        Some(RateLimitPolicy {
            disabled: false,
            ..policy.clone()
        })
    });
    Rules::of_rate_limit_policies(&policies.collect::<Vec<_>>())
}

/// A request of which a row tells.
struct Request {
    owner: Owner,
    teams: Vec<EntryId>,
    key: EntryId,
    /// What it can have counted as: what was asked for, or the target of an attempt.
    models: Vec<Asked>,
    metadata: BTreeMap<String, String>,
}

impl Request {
    fn of(state: &Organisation, row: &CountedRow) -> Self {
        let CountedRow {
            counter: _,
            whose,
            with_key,
            wanted,
            answered,
            said,
        } = row;
        // Where whose it is does not matter, it is anybody's.
        let anybody = Owner::User(UserId::from_uuid(Uuid::nil()));
        let owner = whose.parse().unwrap_or(anybody);
        let teams = match owner {
            Owner::User(user) => state
                .teams_of(user)
                .map(|(team, _)| team.id.bytes())
                .collect(),
            Owner::VirtualAccount(_) => Vec::new(),
        };
        let key: Option<KeyId> = with_key.parse().ok();
        let wanted = wanted.replacen(':', ".", 1).parse().ok();
        let wanted = wanted.and_then(|it| model_of(state, it));
        let answered = answered.parse().ok();
        let answered = answered.map(|id| of_model(state, ModelRef::Model(id)));
        let mut models: Vec<_> = wanted.into_iter().chain(answered.flatten()).collect();
        if models.is_empty() {
            models.push(no_model());
        }
        Self {
            owner,
            teams,
            key: key.map(KeyId::bytes).unwrap_or_default(),
            models,
            metadata: said.iter().cloned().collect(),
        }
    }

    /// What the counter is of, if the request counted there.
    fn counted(&self, rules: &Rules, hidden: &Hidden) -> Option<CounterOf> {
        let (policy, segment) = hidden.counter;
        let rule = rules.of(policy.as_bytes())?;
        self.models.iter().find_map(|model| {
            let facts = Facts::supposed(self.owner, &self.teams, *model, &self.metadata);
            let facts = facts.with_key(self.key);
            let counter = rule.counter(segment.as_bytes(), &facts)?;
            Some(told(&hidden.per, &counter))
        })
    }
}

/// A rule keeps its counters of what its policy names, in the same order.
fn told(per: &BTreeSet<LimitSegment>, counter: &Counter<'_>) -> CounterOf {
    let values = counter.of.iter().map(|(_, value)| match value {
        Value::Absent => CounterValue::Nothing,
        Value::Id(id) => CounterValue::Id(Uuid::from_bytes(*id)),
        Value::Text(text) => CounterValue::Text((*text).to_owned()),
    });
    per.iter().cloned().zip(values).collect()
}

fn model_of(state: &Organisation, wanted: Stream) -> Option<Asked> {
    match wanted {
        Stream::Model(id) => of_model(state, ModelRef::Model(id)),
        Stream::VirtualModel(id) => of_model(state, ModelRef::VirtualModel(id)),
        Stream::Log
        | Stream::ProviderAccount(_)
        | Stream::User(_)
        | Stream::VirtualAccount(_)
        | Stream::Key(_)
        | Stream::Grant(_)
        | Stream::Operator(_)
        | Stream::Team(_)
        | Stream::RateLimitPolicy(_)
        | Stream::BudgetPolicy(_)
        | Stream::BudgetAlert(_)
        | Stream::Settings => None,
    }
}

/// Of what has a counter of its own the id is enough: also of what is gone.
fn of_model(state: &Organisation, model: ModelRef) -> Option<Asked> {
    match model {
        ModelRef::Model(id) => {
            let account = state.models().get(&id).map(|it| it.account.bytes());
            Some(Asked::Model(ModelIds {
                model: id.bytes(),
                account: account.unwrap_or_default(),
            }))
        }
        ModelRef::VirtualModel(id) => Some(Asked::VirtualModel {
            id: id.bytes(),
            before: None,
        }),
        ModelRef::ProviderAccount(_) => None,
    }
}

/// Where it does not matter what a request was for.
const fn no_model() -> Asked {
    Asked::VirtualModel {
        id: [0; 16],
        before: None,
    }
}

#[cfg(test)]
mod tests {
    use events_schema::{
        envelope::DecodedEnvelope,
        events::{
            BudgetAmount, BudgetLimit, BudgetPolicyEvent, BudgetRule, BudgetWindow, Event,
            LimitMode, LimitUnit, LimitWhenCutOff, LimitWindow, RateLimit, RateLimitPolicyEvent,
            RateLimitRule, When, WhenCutOff,
        },
        id::ModelId,
    };

    use super::*;

    const RATE: RateLimitPolicyId = RateLimitPolicyId::from_bytes([1; 16]);
    const BUDGET: BudgetPolicyId = BudgetPolicyId::from_bytes([2; 16]);
    const USER: UserId = UserId::from_bytes([3; 16]);
    const MODEL: ModelId = ModelId::from_bytes([4; 16]);
    const KEY: KeyId = KeyId::from_bytes([5; 16]);

    fn project() -> LimitSegment {
        LimitSegment::Metadata("project".parse().expect("a key"))
    }

    fn fold(state: &mut Organisation, event: &Event) {
        state.evolve(&DecodedEnvelope {
            position: state.position() + 1,
            recorded_at: Timestamp::MIN,
            stream_version: state.stream_version(event.stream()) + 1,
            event,
        });
    }

    /// A rate limit, and a budget, for each of these.
    fn state(per: &[LimitSegment], of_budget: &[LimitSegment]) -> Organisation {
        let mut state = Organisation::default();
        let limit = RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
            limit: 1,
        };
        let rule = RateLimitRule {
            when: When::default(),
            applies_per: per.iter().cloned().collect(),
            limits: [limit].into(),
            overrides: BTreeSet::new(),
            mode: LimitMode::Enforce,
            when_cut_off: LimitWhenCutOff::Alone,
        };
        let (name, order) = ("rate".parse().expect("a name"), 1);
        let created = RateLimitPolicyEvent::RateLimitPolicyCreated { name, order, rule };
        fold(&mut state, &Event::RateLimitPolicy(RATE, created));
        let limit = BudgetLimit {
            amount: BudgetAmount::Tokens(1),
            window: BudgetWindow::Day,
        };
        let rule = BudgetRule {
            when: When::default(),
            applies_per: of_budget.iter().cloned().collect(),
            limits: [limit].into(),
            overrides: BTreeSet::new(),
            mode: LimitMode::Enforce,
            when_cut_off: WhenCutOff::Open,
            alerts: BTreeSet::new(),
        };
        let (name, order) = ("budget".parse().expect("a name"), 1);
        let created = BudgetPolicyEvent::BudgetPolicyCreated { name, order, rule };
        fold(&mut state, &Event::BudgetPolicy(BUDGET, created));
        state
    }

    /// Where a request of the user counts that says so of itself.
    fn counter_at(rules: &Rules, policy: Uuid, said: &[(&str, &str)]) -> CounterName {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let metadata: BTreeMap<String, String> = said.iter().map(own).collect();
        let model = Asked::Model(ModelIds {
            model: MODEL.bytes(),
            account: [9; 16],
        });
        let facts = Facts::supposed(Owner::User(USER), &[], model, &metadata);
        let facts = facts.with_key(KEY.bytes());
        let rule = rules.of(policy.as_bytes()).expect("it is there");
        (policy, Uuid::from_bytes(rule.segments(&facts)[0]))
    }

    fn row(counter: &str, said: &[(&str, &str)]) -> CountedRow {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        CountedRow {
            counter: counter.to_owned(),
            whose: Owner::User(USER).to_string(),
            with_key: KEY.to_string(),
            wanted: "virtual_model:07070707070707070707070707070707".to_owned(),
            answered: MODEL.to_string(),
            said: said.iter().map(own).collect(),
        }
    }

    fn hidden(state: &Organisation, counter: CounterName) -> Option<Hidden> {
        let began_at = Timestamp::MIN;
        Hidden::of(state, Wanted { counter, began_at })
    }

    #[test]
    fn a_counter_of_a_value_is_found_among_requests_and_no_other_is_taken_for_it() {
        let state = state(&[project()], &[]);
        let rules = Rules::of_rate_limits(&state);
        let counter = counter_at(&rules, RATE.uuid(), &[("project", "apollo")]);
        let hidden = hidden(&state, counter).expect("it is a hash");
        let policy = format!("rate_limit_policy:{RATE}");
        let of = |rows: &[CountedRow]| find(&state, std::slice::from_ref(&hidden), rows);
        let gemini = row(&policy, &[("project", "gemini")]);
        let elsewhere = row("rate_limit_policy:00", &[("project", "apollo")]);
        assert_eq!(of(&[gemini.clone(), elsewhere]), BTreeMap::new());
        let apollo = row(&policy, &[("project", "apollo")]);
        let text = CounterValue::Text("apollo".to_owned());
        let found = vec![(project(), text)];
        assert!(hidden.could_be(&found));
        assert_eq!(of(&[gemini, apollo]), [(counter, found)].into());
    }

    #[test]
    fn a_counter_of_two_things_is_found_also_of_the_target_that_answered() {
        let state = state(&[], &[LimitSegment::Key, LimitSegment::Model]);
        let counter = counter_at(&Rules::of_budgets(&state), BUDGET.uuid(), &[]);
        let hidden = hidden(&state, counter).expect("it is a hash");
        let rows = [row(&hidden.budget_text(), &[])];
        let of = vec![
            (LimitSegment::Model, CounterValue::Id(MODEL.uuid())),
            (LimitSegment::Key, CounterValue::Id(KEY.uuid())),
        ];
        let expected = BTreeMap::from([(counter, of)]);
        assert_eq!(find(&state, &[hidden], &rows), expected);
    }

    #[test]
    fn nobody_looks_for_what_is_told_by_an_id_or_stands_for_no_value() {
        let state = state(&[project()], &[LimitSegment::User]);
        let of = |policy, segment| hidden(&state, (policy, Uuid::from_bytes(segment)));
        assert_eq!(of(BUDGET.uuid(), [3; 16]), None);
        assert_eq!(of(Uuid::from_bytes([8; 16]), [3; 16]), None);
        for none in STANDS_FOR_NONE {
            assert_eq!(of(RATE.uuid(), none), None);
        }
        let rate = of(RATE.uuid(), [3; 16]).expect("it is a hash");
        let per = CountedPer {
            rule: format!("rate_limit_policy:{RATE}"),
            owner: false,
            key: false,
            model: false,
            metadata: vec!["project".to_owned()],
        };
        assert_eq!(counted_per(&[rate.clone(), rate]), [per]);
    }
}

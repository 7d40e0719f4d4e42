//! What counters of limits and budgets are called: whose, or what of, as things are called now.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use events_schema::{
    events::{LimitSegment, ModelRef, Owner, Subject},
    id::{KeyId, ModelId, TeamId, UserId, VirtualAccountId, VirtualModelId},
    state::Organisation,
};
use gateway_policy::rules::fault::segment_name;
use uuid::Uuid;

use crate::{
    counters::{CounterName, CounterOf, CounterValue, Wanted},
    http::{
        App,
        app::Answer,
        names::{self, Names},
    },
};

/// A counter that has nothing to be counted by.
const ABSENT: Uuid = Uuid::from_bytes([0xff; 16]);

/// What there is to call some counters by.
pub(super) struct CounterNames<'a> {
    /// Names of people, and of things.
    pub(super) names: Names<'a>,
    /// What those are of that are told of by hashes.
    hidden: HashMap<CounterName, Arc<CounterOf>>,
}

impl<'a> CounterNames<'a> {
    /// All that is needed for these counters, as far as it is known; those that matter most come first.
    pub(super) async fn read(
        app: &App,
        state: &'a Organisation,
        wanted: &[Wanted],
    ) -> Answer<Self> {
        let parts = app.parts();
        let wanted_of = wanted.iter().copied();
        let hidden = parts.counters.of(&parts.analytics, state, wanted_of).await;
        // A segment may be a user, and so may a part of what is behind a hash.
        let segments = wanted.iter().map(|it| it.counter.1);
        let of_hidden = hidden.values().flat_map(|of| of.iter().filter_map(person));
        let people = segments.chain(of_hidden);
        Ok(Self {
            names: Names::read(app.control()?, state, people).await?,
            hidden,
        })
    }

    /// What a counter is called; `None`: it is that of all requests, or nobody knows what it is of.
    pub(super) fn name(
        &self,
        counter: CounterName,
        applies_per: &BTreeSet<LimitSegment>,
    ) -> Option<String> {
        if let Some(of) = self.hidden.get(&counter) {
            let values = of.iter().map(|(segment, value)| self.value(segment, value));
            return Some(values.collect::<Vec<_>>().join(", "));
        }
        let mut applies_per = applies_per.iter();
        // Of two the counter is a hash of both.
        let (Some(segment), None) = (applies_per.next(), applies_per.next()) else {
            return None;
        };
        if counter.1 == ABSENT {
            return Some(without(segment));
        }
        self.of_one(segment, counter.1)
    }

    /// Whose, or which thing's, where it is still there.
    fn of_one(&self, segment: &LimitSegment, id: Uuid) -> Option<String> {
        let (names, state) = (&self.names, self.names.state());
        match segment {
            LimitSegment::User => {
                let user = UserId::from_uuid(id);
                let is_known = state.users().contains_key(&user);
                is_known.then(|| names.owner(Owner::User(user)))
            }
            LimitSegment::VirtualAccount => {
                let account = VirtualAccountId::from_uuid(id);
                let is_known = state.virtual_accounts().contains_key(&account);
                is_known.then(|| names.owner(Owner::VirtualAccount(account)))
            }
            LimitSegment::Team => {
                let team = TeamId::from_uuid(id);
                let is_known = state.teams().contains_key(&team);
                is_known.then(|| names.subject(Subject::Team(team)))
            }
            LimitSegment::Model => model_name(state, id),
            LimitSegment::Key => {
                let key = KeyId::from_uuid(id);
                let is_known = state.keys().contains_key(&key);
                is_known.then(|| names.subject(Subject::Key(key)))
            }
            LimitSegment::Metadata(_) => None,
        }
    }

    /// Of what is gone there is no more than the id.
    fn value(&self, segment: &LimitSegment, value: &CounterValue) -> String {
        match value {
            CounterValue::Nothing => without(segment),
            CounterValue::Id(id) => self
                .of_one(segment, *id)
                .unwrap_or_else(|| id.as_simple().to_string()),
            CounterValue::Text(text) => match segment {
                LimitSegment::Metadata(key) => format!("{key}={text}"),
                LimitSegment::User
                | LimitSegment::VirtualAccount
                | LimitSegment::Model
                | LimitSegment::Team
                | LimitSegment::Key => text.clone(),
            },
        }
    }
}

fn person((segment, value): &(LimitSegment, CounterValue)) -> Option<Uuid> {
    match (segment, value) {
        (LimitSegment::User, CounterValue::Id(id)) => Some(*id),
        (
            LimitSegment::User
            | LimitSegment::VirtualAccount
            | LimitSegment::Model
            | LimitSegment::Team
            | LimitSegment::Key
            | LimitSegment::Metadata(_),
            CounterValue::Nothing | CounterValue::Id(_) | CounterValue::Text(_),
        ) => None,
    }
}

/// `without a team`: of requests that have nothing of what there is a counter of.
fn without(segment: &LimitSegment) -> String {
    match segment {
        LimitSegment::Metadata(key) => format!("without {key}"),
        LimitSegment::User
        | LimitSegment::VirtualAccount
        | LimitSegment::Model
        | LimitSegment::Team
        | LimitSegment::Key => format!("without a {}", segment_name(segment)),
    }
}

fn model_name(state: &Organisation, id: Uuid) -> Option<String> {
    let (model, virtual_model) = (ModelId::from_uuid(id), VirtualModelId::from_uuid(id));
    if state.models().contains_key(&model) {
        Some(names::model_ref(state, ModelRef::Model(model)))
    } else if state.virtual_models().contains_key(&virtual_model) {
        Some(names::model_ref(
            state,
            ModelRef::VirtualModel(virtual_model),
        ))
    } else {
        None
    }
}

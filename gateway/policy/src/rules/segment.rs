//! Which of a rule's counters a request has.

use arrayvec::ArrayVec;

use super::{Facts, MODEL, Rule, TEAM, USER, VIRTUAL_ACCOUNT, VIRTUAL_MODEL};
use crate::EntryId;

/// For how many of its caller's teams a request counts at one rule, each at a counter of its own: nobody is in more that have
/// limits of their own, and each takes a place in every decision.
pub const MOST_TEAMS: usize = 8;

/// What has a counter of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Each user.
    User,
    /// Each virtual account.
    VirtualAccount,
    /// Each model.
    Model,
    /// Each value of this key of the metadata.
    Metadata(Box<str>),
    /// Each team of the caller that the rule names; where it names none, each of them.
    Team,
    /// Each key.
    Key,
}

/// The counters of a rule at which a request counts: one, but for rules that apply per team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    of: ArrayVec<EntryId, MOST_TEAMS>,
    /// Whether the caller is in more of the rule's teams than [`MOST_TEAMS`]: it does not count for those with the greatest ids.
    pub are_cut: bool,
}

/// One of a rule's counters, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter<'r> {
    /// Which of the rule's counters: zeros where all requests share one.
    pub segment: EntryId,
    /// What the request has of each that has a counter of its own at the rule; empty: all requests share one.
    pub of: Vec<(&'r Segment, Value<'r>)>,
}

/// What a request has of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'r> {
    /// Nothing: all that have nothing share a counter.
    Absent,
    /// Something with an id.
    Id(EntryId),
    /// A value of the metadata.
    Text(&'r str),
}

/// The counter of requests that have nothing of the one segment.
const ABSENT: EntryId = [0xff; 16];

// === impl Segments ===

impl std::ops::Deref for Segments {
    type Target = [EntryId];

    fn deref(&self) -> &[EntryId] {
        &self.of
    }
}

// === impl Rule ===

impl Rule {
    /// Which of its counters a request has: zeros where all share one.
    #[must_use]
    pub fn segments(&self, facts: &Facts<'_>) -> Segments {
        let mut segments = Segments {
            of: ArrayVec::new(),
            are_cut: false,
        };
        let counter = |team| of(&self.per, |segment| facts.value(segment, team));
        if self.per.contains(&Segment::Team) {
            let mut teams = self.teams(facts);
            let first = teams.by_ref().take(MOST_TEAMS);
            segments.of.extend(first.map(|team| counter(Some(team))));
            segments.are_cut = teams.next().is_some();
        }
        if segments.is_empty() {
            segments.of.push(counter(None));
        }
        segments
    }

    /// The same counters, each with what it is of: for people. Where a request has no team, a rule per team has one for all such.
    #[must_use]
    pub fn counters<'r>(&'r self, facts: &Facts<'r>) -> Vec<Counter<'r>> {
        let mut teams = self.teams(facts);
        let counter = |segment: &EntryId| {
            let team = teams.next();
            let of = self.per.iter().map(|it| (it, facts.value(it, team)));
            Counter {
                segment: *segment,
                of: of.collect(),
            }
        };
        self.segments(facts).iter().map(counter).collect()
    }

    /// What one of its counters is of, if the request has it.
    #[must_use]
    pub fn counter<'r>(&'r self, segment: &EntryId, facts: &Facts<'r>) -> Option<Counter<'r>> {
        let mut counters = self.counters(facts).into_iter();
        counters.find(|it| it.segment == *segment)
    }

    /// The teams of the caller that have a counter, if teams have one.
    fn teams<'f>(&'f self, facts: &Facts<'f>) -> impl Iterator<Item = EntryId> + use<'f> {
        let teams = facts.teams.iter().filter(move |team| self.has_team(team));
        teams.copied()
    }

    /// Whether it has a counter for a team.
    fn has_team(&self, team: &EntryId) -> bool {
        let named = &self.subjects.within;
        let names_teams = named.iter().any(|(tag, _)| *tag == TEAM);
        !names_teams || named.binary_search(&(TEAM, *team)).is_ok()
    }
}

impl<'r> Facts<'r> {
    /// `team`: the one of the caller's teams that is looked at.
    fn value(&self, segment: &Segment, team: Option<EntryId>) -> Value<'r> {
        let owner = |tag| match self.owner {
            (it, id) if it == tag => Value::Id(id),
            _ => Value::Absent,
        };
        match segment {
            Segment::User => owner(USER),
            Segment::VirtualAccount => owner(VIRTUAL_ACCOUNT),
            Segment::Model => match self.models[0] {
                Some((MODEL | VIRTUAL_MODEL, id)) => Value::Id(id),
                Some(_) | None => Value::Absent,
            },
            Segment::Metadata(key) => {
                let value = self.metadata.get(&**key);
                value.map_or(Value::Absent, |value| Value::Text(value))
            }
            Segment::Team => team.map_or(Value::Absent, Value::Id),
            Segment::Key => self.key.map_or(Value::Absent, Value::Id),
        }
    }
}

/// The counter's place among those of its rule: zeros where all requests share one, the id where each of one kind with ids has
/// one; else a hash, so that values which callers choose never meet.
pub(super) fn of<'r>(per: &[Segment], value: impl Fn(&Segment) -> Value<'r>) -> EntryId {
    match per {
        [] => [0; 16],
        [one] => match value(one) {
            Value::Absent => ABSENT,
            Value::Id(id) => id,
            Value::Text(text) => hash([Value::Text(text)].into_iter()),
        },
        many => hash(many.iter().map(value)),
    }
}

fn hash<'r>(values: impl Iterator<Item = Value<'r>>) -> EntryId {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        match value {
            Value::Absent => drop(hasher.update(&[0])),
            Value::Id(id) => drop(hasher.update(&[1]).update(&id)),
            Value::Text(text) => {
                let length = text.len() as u64;
                hasher.update(&[2]).update(&length.to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
    let mut counter = [0; 16];
    counter.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    counter
}

//! What the rules make of a request, in words. Which match, in which order and at which counters, is `gateway-policy`'s to say:
//! here it is asked as a gateway asks it. Pure.

use std::collections::BTreeMap;

use events_schema::events::Owner;
use gateway_policy::limits::period::Period;
use gateway_policy::rules::{Counter, Segment, Value};
use gateway_policy::{EntryId, Facts, Measure, Rule, RuleLimit, Rules, Wanted};

use super::policies::Sort;
use super::supposed::{Asked, Caller};
use crate::format;

/// What is asked.
pub(super) struct Question<'q> {
    pub(super) sort: Sort,
    pub(super) rules: &'q Rules,
    /// The policy that is being edited, if it is one of them.
    pub(super) edited: Option<EntryId>,
    pub(super) caller: &'q Caller,
    pub(super) asked: &'q Asked,
    pub(super) metadata: &'q BTreeMap<String, String>,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The policies that match the request, in their order.
    pub(super) request: Vec<Row>,
    /// The first that matches as well and for which there is no room.
    pub(super) left_out: Option<String>,
    /// Those that stand in the way of attempts at the targets of a virtual model, by the target's name.
    pub(super) targets: Vec<(String, Vec<Row>)>,
    /// Whether the one that is edited is among them; `None`: none is edited.
    pub(super) edited_matches: Option<bool>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) is_edited: bool,
    pub(super) part: Part,
    /// Whether it refuses nothing.
    pub(super) audits: bool,
    /// Where the request counts; none where it is not reached.
    pub(super) counters: Vec<CounterRow>,
    /// Whether the caller is in more teams than it counts for.
    pub(super) is_cut: bool,
}

/// What a policy does with a request that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Its limits apply.
    Applies,
    /// Its budget decides, and counts.
    Decides,
    /// Its budget counts.
    Counts,
    /// Nothing: this one comes first.
    Behind(String),
}

/// A counter, and how much it lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CounterRow {
    /// What it is of; empty: all that match share it.
    pub(super) of: Vec<String>,
    /// Its limits.
    pub(super) limits: Vec<String>,
    /// Whether they are other limits than the policy's own.
    pub(super) is_exception: bool,
}

// === impl Question ===

impl Question<'_> {
    /// Asks.
    pub(super) fn shown(&self) -> Shown {
        let teams: Vec<EntryId> = self.caller.teams.iter().map(|(id, _)| *id).collect();
        let owner = self.caller.owner;
        let facts = Facts::supposed(owner, &teams, self.asked.wanted, self.metadata);
        let matching = self.rules.all(&facts);
        let first = self.rules.first(&facts);
        let rows = matching.iter().map(|rule| {
            let is_first = first.is_some_and(|first| first.id == rule.id);
            let part = match (self.sort, is_first, first) {
                (Sort::RateLimits, false, Some(first)) => Part::Behind(first.name.to_string()),
                (sort, is_first, _) => part(sort, is_first),
            };
            self.row(rule, part, &facts, self.model())
        });
        let request: Vec<Row> = rows.collect();
        let targets = self.asked.targets.iter().filter_map(|(ids, name)| {
            let rows = self.of_attempt(&facts.led_to(*ids), &facts, name);
            (!rows.is_empty()).then(|| (name.clone(), rows))
        });
        let targets: Vec<_> = targets.collect();
        let mut all = request
            .iter()
            .chain(targets.iter().flat_map(|(_, rows)| rows));
        Shown {
            edited_matches: self.edited.map(|_| all.any(|row| row.is_edited)),
            left_out: matching.left_out().map(|rule| rule.name.to_string()),
            request,
            targets,
        }
    }

    /// The policies that an attempt at a target is asked about beside those of the request.
    fn of_attempt(&self, attempt: &Facts<'_>, request: &Facts<'_>, target: &str) -> Vec<Row> {
        match self.sort {
            Sort::RateLimits => {
                let applies = self.rules.first(request).map(|rule| rule.id);
                let rule = self.rules.first_naming(attempt);
                let rule = rule.filter(|rule| applies != Some(rule.id));
                let row = rule.map(|rule| self.row(rule, Part::Applies, attempt, target));
                row.into_iter().collect()
            }
            Sort::Budgets => {
                let rules = self.rules.all_naming(attempt, request);
                let rows = rules.iter().enumerate();
                rows.map(|(at, rule)| self.row(rule, part(self.sort, at == 0), attempt, target))
                    .collect()
            }
        }
    }

    fn row(&self, rule: &Rule, part: Part, facts: &Facts<'_>, model: &str) -> Row {
        let counter = |it: Counter<'_>| CounterRow {
            of: it
                .of
                .iter()
                .map(|(segment, value)| self.of(segment, *value, model))
                .collect(),
            limits: rule.limits(&it.segment).iter().map(limit).collect(),
            is_exception: rule.has_other_limits(&it.segment),
        };
        let counters = match part {
            Part::Behind(_) => Vec::new(),
            Part::Applies | Part::Decides | Part::Counts => {
                rule.counters(facts).into_iter().map(counter).collect()
            }
        };
        Row {
            name: rule.name.to_string(),
            is_edited: self.edited == Some(rule.id),
            part,
            audits: rule.audits,
            counters,
            is_cut: rule.segments(facts).are_cut,
        }
    }

    /// What the request has of what has a counter of its own.
    fn of(&self, segment: &Segment, value: Value<'_>, model: &str) -> String {
        match (segment, value) {
            (Segment::User, Value::Absent) => "all that are no user's".to_owned(),
            (Segment::VirtualAccount, Value::Absent) => {
                "all that are no virtual account's".to_owned()
            }
            (Segment::User | Segment::VirtualAccount, Value::Id(_) | Value::Text(_)) => {
                self.caller.name.clone()
            }
            (Segment::Team, Value::Id(id)) => {
                let team = self.caller.teams.iter().find(|(team, _)| *team == id);
                let name = team.map_or_else(String::new, |(_, name)| name.clone());
                format!("team {name}")
            }
            (Segment::Team, Value::Absent | Value::Text(_)) => "all without a team".to_owned(),
            (Segment::Model, Value::Id(_) | Value::Absent | Value::Text(_)) => model.to_owned(),
            // Nobody says with which of the caller's keys: each has a counter of its own.
            (Segment::Key, Value::Id(_) | Value::Absent | Value::Text(_)) => "its key".to_owned(),
            (Segment::Metadata(key), Value::Text(text)) => format!("{key}={text}"),
            (Segment::Metadata(key), Value::Absent | Value::Id(_)) => format!("all without {key}"),
        }
    }

    fn model(&self) -> &str {
        &self.asked.name
    }
}

const fn part(sort: Sort, is_first: bool) -> Part {
    match (sort, is_first) {
        (Sort::RateLimits, _) => Part::Applies,
        (Sort::Budgets, true) => Part::Decides,
        (Sort::Budgets, false) => Part::Counts,
    }
}

/// Behind which policy one never is the first, whoever asks for what; `None`: it is for somebody, or is a budget that only
/// counts in any case.
pub(super) fn never_first(sort: Sort, rules: &Rules, policy: EntryId) -> Option<String> {
    let counts_alone = |rule: &Rule| sort == Sort::Budgets && rule.audits;
    let mut all = rules.unreachable();
    let found = all.find(|(rule, _)| rule.id == policy && !counts_alone(rule));
    found.map(|(_, before)| before.name.to_string())
}

/// `600 requests a minute`.
fn limit(limit: &RuleLimit) -> String {
    let RuleLimit {
        measure,
        period,
        most,
    } = *limit;
    let amount = match measure {
        Measure::Requests => format!("{} requests", format::count(most)),
        Measure::Tokens => format!("{} tokens", format::count(most)),
        Measure::Cost => format::usd(most),
    };
    let window = match period {
        Period::SlidingMinute | Period::Minute => "a minute",
        Period::Hour => "an hour",
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::Quarter => "a quarter",
        Period::AtATime => "at a time",
    };
    format!("{amount} {window}")
}

/// What a request is, in a sentence: whose, and for what.
pub(super) fn told(caller: &Caller, asked: &Asked) -> String {
    let teams: Vec<&str> = caller.teams.iter().map(|(_, name)| name.as_str()).collect();
    let whose = match (caller.owner, teams.as_slice()) {
        _ if caller.is_made_up() => caller.name.clone(),
        (Owner::VirtualAccount(_), _) => format!("the virtual account {}", caller.name),
        (Owner::User(_), []) => format!("the user {}, who is in no team", caller.name),
        (Owner::User(_), [one]) => format!("the user {}, in the team {one}", caller.name),
        (Owner::User(_), many) => {
            format!("the user {}, in the teams {}", caller.name, many.join(", "))
        }
    };
    let what = match asked.wanted {
        Wanted::Model(_) => "model",
        Wanted::VirtualModel { .. } => "virtual model",
    };
    format!("A request of {whose}, to the {what} {}:", asked.name)
}

#[cfg(test)]
mod tests;

//! Rate-limit policies, and what the rules of all policies have in common.

use std::collections::BTreeSet;

use events_schema::{
    api::declared::Action,
    events::{
        Choice, LimitMode, LimitSegment, LimitWindow, LimitedSubject, Override, Owner, RateLimit,
        RateLimitRule, SegmentValue, When,
    },
    id::{RateLimitPolicyId, UserId},
    names::Slug,
};
use gateway_policy::rules::fault::segment_name;

use super::{Fields, Planner, Wrong, access::model_told, twice, word};
use crate::{
    declared::{
        document::{self, RateLimitPolicy},
        export,
        read::Place,
    },
    domain::{Command, PolicyCommand},
    fresh,
};

/// A policy as a document has it.
pub(super) struct Declared<'p, R> {
    pub(super) place: Place,
    pub(super) what: &'static str,
    pub(super) name: &'p Slug,
    pub(super) order: u32,
    pub(super) disabled: bool,
    /// Its rule, unless it has that already; and what changes with it.
    pub(super) rule: Option<(R, Fields)>,
}

/// The policy of this name, as it is.
pub(super) struct Known {
    pub(super) order: u32,
    pub(super) disabled: bool,
}

/// What the rules of all policies have, as documents have it.
pub(super) struct Parts<'d, D> {
    pub(super) when: &'d document::When,
    pub(super) applies_per: &'d BTreeSet<LimitSegment>,
    pub(super) limits: &'d [D],
    pub(super) overrides: &'d [document::Override<D>],
    pub(super) mode: LimitMode,
}

/// A part of a rule, and what people are told of it.
pub(super) type Told = (&'static str, String);

impl Planner<'_> {
    pub(super) fn policy(&mut self, place: Place, it: &RateLimitPolicy) -> Result<(), Wrong> {
        let known = self.around.state.rate_limit_policy_named(&it.name);
        let id: RateLimitPolicyId = known.map_or_else(fresh::id, |known| known.id);
        if !self.policies.insert(it.name.clone()) {
            return Err((place.at("name"), twice("rate-limit policy", &it.name)));
        }
        let mut rule = self.rate_limit_rule(place, it)?;
        if let Some(known) = known {
            self.keep_erased_subjects(&known.rule.when, &mut rule.when);
            if known.rule.applies_per == rule.applies_per {
                let kept = self.of_erased(&known.rule.overrides);
                rule.overrides.extend(kept);
            }
        }
        let changes = known.is_none_or(|known| known.rule != rule);
        let rule = changes.then(|| {
            let names = export::Names::of(self.around.state, self.around.people);
            let before = known.and_then(|known| names.rate_limit_policy(known));
            let before = before.as_ref().map(rate_limit_told);
            let fields = rule_fields(before.as_deref(), rate_limit_told(it));
            (rule, fields)
        });
        let declared = Declared {
            place,
            what: "rate-limit policy",
            name: &it.name,
            order: it.order,
            disabled: it.disabled,
            rule,
        };
        let known = known.map(|known| Known {
            order: known.order,
            disabled: known.disabled,
        });
        self.declare(declared, known, |order| Command::RateLimitPolicy(id, order));
        Ok(())
    }

    fn rate_limit_rule(&self, place: Place, it: &RateLimitPolicy) -> Result<RateLimitRule, Wrong> {
        Ok(RateLimitRule {
            when: self.when(place, &it.when)?,
            applies_per: it.applies_per.clone(),
            limits: it.limits.iter().copied().collect(),
            overrides: self.overrides(place, &it.overrides, |limit| Ok(*limit))?,
            mode: it.mode,
            when_cut_off: it.when_cut_off,
        })
    }

    /// The orders that make a policy what the document says.
    pub(super) fn declare<R>(
        &mut self,
        it: Declared<'_, R>,
        known: Option<Known>,
        command: impl Fn(PolicyCommand<R>) -> Command,
    ) {
        let Declared {
            place,
            what,
            name,
            order,
            disabled,
            rule,
        } = it;
        let mut fields = Fields::default();
        let disable = |off| {
            command(if off {
                PolicyCommand::Disable
            } else {
                PolicyCommand::Enable
            })
        };
        let Some(known) = known else {
            let Some((rule, of_rule)) = rule else {
                return;
            };
            fields.made("order", &order);
            fields.0.extend(of_rule.0);
            fields.made_disabled(disabled);
            let create = PolicyCommand::Create {
                name: name.clone(),
                order,
                rule,
            };
            self.order(Some(place), command(create));
            if disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, what, name, fields);
            return;
        };
        if fields.set("order", Some(known.order), Some(order)) {
            self.order(
                Some(place.at("order")),
                command(PolicyCommand::Move { order }),
            );
        }
        if let Some((rule, of_rule)) = rule {
            fields.0.extend(of_rule.0);
            self.order(Some(place), command(PolicyCommand::ChangeRule { rule }));
        }
        self.switch(place, &mut fields, (known.disabled, disabled), disable);
        self.change(Action::Change, what, name, fields);
    }

    pub(super) fn when(&self, place: Place, it: &document::When) -> Result<When, Wrong> {
        let metadata = it.metadata.iter().map(|(key, values)| {
            let values = chosen(values, |value| Ok(value.clone()))?;
            Ok((key.clone(), values))
        });
        let when = || {
            Ok(When {
                subjects: chosen(&it.subjects, |it| self.limited(it))?,
                models: chosen(&it.models, |it| self.model_ref(it))?,
                metadata: metadata.collect::<Result<_, String>>()?,
            })
        };
        when().map_err(|message| (place.at("when"), message))
    }

    /// Limits for some alone.
    pub(super) fn overrides<D, L: Ord>(
        &self,
        place: Place,
        overrides: &[document::Override<D>],
        limit: impl Fn(&D) -> Result<L, String>,
    ) -> Result<BTreeSet<Override<L>>, Wrong> {
        let asked = overrides.iter().map(|it| {
            Ok(Override {
                of: self.counter(&it.of)?,
                limits: it.limits.iter().map(&limit).collect::<Result<_, _>>()?,
            })
        });
        asked
            .collect::<Result<_, String>>()
            .map_err(|message| (place.at("overrides"), message))
    }

    fn counter(&self, of: &[document::SegmentValue]) -> Result<BTreeSet<SegmentValue>, String> {
        let of = of.iter().map(|value| {
            Ok(match value {
                document::SegmentValue::User(email) => SegmentValue::User(self.user_named(email)?),
                document::SegmentValue::VirtualAccount(name) => {
                    match self.limited(&document::LimitedSubject::VirtualAccount(name.clone()))? {
                        LimitedSubject::VirtualAccount(id) => SegmentValue::VirtualAccount(id),
                        LimitedSubject::User(_) | LimitedSubject::Team(_) => {
                            return Err(format!("There is no virtual account '{name}'."));
                        }
                    }
                }
                document::SegmentValue::Model(name) => {
                    SegmentValue::Model(self.model_ref(&document::ModelRef::Model(name.clone()))?)
                }
                document::SegmentValue::VirtualModel(name) => SegmentValue::Model(
                    self.model_ref(&document::ModelRef::VirtualModel(name.clone()))?,
                ),
                document::SegmentValue::Metadata { key, value } => SegmentValue::Metadata {
                    key: key.clone(),
                    value: value.clone(),
                },
                document::SegmentValue::Team(name) => SegmentValue::Team(self.team_named(name)?),
            })
        });
        of.collect()
    }

    /// No document can name somebody who was erased: what a rule says of them stays.
    pub(super) fn keep_erased_subjects(&self, before: &When, after: &mut When) {
        let erased = |subjects: &BTreeSet<LimitedSubject>| {
            let erased = subjects
                .iter()
                .filter(|it| matches!(it, LimitedSubject::User(id) if self.is_erased(id)));
            erased.copied().collect::<Vec<_>>()
        };
        let (before, after) = (&before.subjects, &mut after.subjects);
        if !after.within.is_empty() {
            after.within.extend(erased(&before.within));
        }
        after.not_in.extend(erased(&before.not_in));
    }

    /// The exceptions for people who were erased, which stay.
    pub(super) fn of_erased<L: Ord + Clone>(
        &self,
        overrides: &BTreeSet<Override<L>>,
    ) -> Vec<Override<L>> {
        let of_erased = |it: &&Override<L>| {
            let mut of = it.of.iter();
            of.any(|value| matches!(value, SegmentValue::User(id) if self.is_erased(id)))
        };
        overrides.iter().filter(of_erased).cloned().collect()
    }

    fn is_erased(&self, id: &UserId) -> bool {
        !self.around.people.contains_key(&id.uuid())
    }

    pub(super) fn limited(&self, it: &document::LimitedSubject) -> Result<LimitedSubject, String> {
        Ok(match it {
            document::LimitedSubject::User(email) => LimitedSubject::User(self.user_named(email)?),
            document::LimitedSubject::Team(name) => LimitedSubject::Team(self.team_named(name)?),
            document::LimitedSubject::VirtualAccount(name) => {
                match self.owner_named(&document::Owner::VirtualAccount(name.clone()))? {
                    Owner::VirtualAccount(id) => LimitedSubject::VirtualAccount(id),
                    Owner::User(id) => LimitedSubject::User(id),
                }
            }
        })
    }
}

/// What people are told of the parts of a rule, whatever the order in which they were written.
pub(super) fn told<D, L: Ord>(
    rule: &Parts<'_, D>,
    limit: impl Fn(&D) -> Option<L>,
    limit_told: impl Fn(&L) -> String,
) -> Vec<Told> {
    let amounts = |limits: &[D]| {
        let limits: BTreeSet<L> = limits.iter().filter_map(&limit).collect();
        limits
            .iter()
            .map(&limit_told)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let metadata = rule.when.metadata.iter();
    let metadata = metadata.map(|(key, values)| {
        let values = choice_told(values, Clone::clone);
        format!("{key}: {values}")
    });
    let overrides = rule.overrides.iter().map(|it| {
        let of = in_order(it.of.iter().map(value_told), ", ");
        format!("{of}: {}", amounts(&it.limits))
    });
    vec![
        ("limits", amounts(rule.limits)),
        ("subjects", choice_told(&rule.when.subjects, subject_told)),
        ("models", choice_told(&rule.when.models, model_told)),
        ("metadata", in_order(metadata, ", ")),
        (
            "applies_per",
            in_order(rule.applies_per.iter().map(segment_name), ", "),
        ),
        ("overrides", in_order(overrides, "; ")),
        ("mode", word(&rule.mode)),
    ]
}

fn rate_limit_told(it: &RateLimitPolicy) -> Vec<Told> {
    let RateLimitPolicy {
        name: _,
        order: _,
        when,
        applies_per,
        limits,
        overrides,
        mode,
        when_cut_off,
        disabled: _,
    } = it;
    let parts = Parts {
        when,
        applies_per,
        limits,
        overrides,
        mode: *mode,
    };
    let mut told = told(&parts, |limit| Some(*limit), limit_told);
    told.push(("when_cut_off", word(when_cut_off)));
    told
}

/// Each part of a rule that changes.
pub(super) fn rule_fields(before: Option<&[Told]>, after: Vec<Told>) -> Fields {
    let mut fields = Fields::default();
    for (index, (field, after)) in after.into_iter().enumerate() {
        let before = before.map(|all| all[index].1.clone());
        if before.is_some() || !after.is_empty() {
            fields.set(field, before, Some(after));
        }
    }
    fields
}

fn chosen<T, C: Ord>(
    choice: &document::Choice<T>,
    of: impl Fn(&T) -> Result<C, String>,
) -> Result<Choice<C>, String> {
    Ok(Choice {
        within: choice.within.iter().map(&of).collect::<Result<_, _>>()?,
        not_in: choice.not_in.iter().map(&of).collect::<Result<_, _>>()?,
    })
}

/// `600 requests a minute`, or `20 requests at a time`.
fn limit_told(limit: &RateLimit) -> String {
    let unit = word(&limit.unit);
    let window = match limit.window {
        LimitWindow::Minute => "a minute",
        LimitWindow::Hour => "an hour",
        LimitWindow::Day => "a day",
        LimitWindow::AtATime => "at a time",
    };
    format!("{} {unit} {window}", limit.limit)
}

fn in_order(told: impl Iterator<Item = String>, between: &str) -> String {
    let mut told: Vec<_> = told.collect();
    told.sort();
    told.join(between)
}

/// `all but staging`.
fn choice_told<T>(choice: &document::Choice<T>, told: impl Fn(&T) -> String) -> String {
    let list = |items: &[T]| in_order(items.iter().map(&told), ", ");
    let within = if choice.within.is_empty() {
        "all".to_owned()
    } else {
        list(&choice.within)
    };
    if choice.not_in.is_empty() {
        within
    } else {
        format!("{within} but {}", list(&choice.not_in))
    }
}

fn value_told(value: &document::SegmentValue) -> String {
    match value {
        document::SegmentValue::User(name) | document::SegmentValue::Model(name) => name.clone(),
        document::SegmentValue::VirtualAccount(name) | document::SegmentValue::Team(name) => {
            name.to_string()
        }
        document::SegmentValue::VirtualModel(name) => name.to_string(),
        document::SegmentValue::Metadata { key, value } => format!("{key}={value}"),
    }
}

fn subject_told(subject: &document::LimitedSubject) -> String {
    match subject {
        document::LimitedSubject::User(email) => email.clone(),
        document::LimitedSubject::Team(name) | document::LimitedSubject::VirtualAccount(name) => {
            name.to_string()
        }
    }
}

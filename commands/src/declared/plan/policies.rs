//! Rate-limit policies.

use std::collections::BTreeSet;

use events_schema::{
    api::declared::Action,
    events::{
        Choice, LimitOverride, LimitedSubject, Owner, RateLimit, RateLimitRule, SegmentValue, When,
    },
    id::{RateLimitPolicyId, UserId},
};

use super::{Fields, Planner, Wrong, access::model_told, twice, word, words};
use crate::{
    declared::{
        document::{self, RateLimitPolicy},
        export,
        read::Place,
    },
    domain::{Command, RateLimitPolicyCommand},
    fresh,
};

impl<'a> Planner<'a> {
    pub(super) fn policy(&mut self, place: Place, it: &'a RateLimitPolicy) -> Result<(), Wrong> {
        let known = self.around.state.rate_limit_policy_named(&it.name);
        let id: RateLimitPolicyId = known.map_or_else(fresh::id, |known| known.id);
        if !self.policies.insert(it.name.clone()) {
            return Err((place.at("name"), twice("rate-limit policy", &it.name)));
        }
        let mut rule = self.rule(place, it)?;
        if let Some(known) = known {
            self.keep_erased(&known.rule, &mut rule);
        }
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                RateLimitPolicyCommand::Disable
            } else {
                RateLimitPolicyCommand::Enable
            };
            Command::RateLimitPolicy(id, order)
        };
        let Some(known) = known else {
            fields.made("order", &it.order);
            self.rule_fields(&mut fields, None, &rule);
            fields.made_disabled(it.disabled);
            let create = RateLimitPolicyCommand::Create {
                name: it.name.clone(),
                order: it.order,
                rule,
            };
            self.order(Some(place), Command::RateLimitPolicy(id, create));
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, "rate-limit policy", &it.name, fields);
            return Ok(());
        };
        if fields.set("order", Some(known.order), Some(it.order)) {
            let order = RateLimitPolicyCommand::Move { order: it.order };
            self.order(Some(place.at("order")), Command::RateLimitPolicy(id, order));
        }
        if known.rule != rule {
            self.rule_fields(&mut fields, Some(&known.rule), &rule);
            let order = RateLimitPolicyCommand::ChangeRule { rule };
            self.order(Some(place), Command::RateLimitPolicy(id, order));
        }
        self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
        self.change(Action::Change, "rate-limit policy", &it.name, fields);
        Ok(())
    }

    fn rule(&self, place: Place, it: &RateLimitPolicy) -> Result<RateLimitRule, Wrong> {
        let when = self
            .when(&it.when)
            .map_err(|message| (place.at("when"), message))?;
        let overrides = it.overrides.iter().map(|it| self.other_limits(it));
        let overrides: Result<BTreeSet<_>, String> = overrides.collect();
        Ok(RateLimitRule {
            when,
            applies_per: it.applies_per.clone(),
            limits: it.limits.clone(),
            overrides: overrides.map_err(|message| (place.at("overrides"), message))?,
            mode: it.mode,
        })
    }

    fn when(&self, it: &document::When) -> Result<When, String> {
        let metadata = it.metadata.iter().map(|(key, values)| {
            let values = chosen(values, |value| Ok(value.clone()))?;
            Ok((key.clone(), values))
        });
        Ok(When {
            subjects: chosen(&it.subjects, |it| self.limited(it))?,
            models: chosen(&it.models, |it| self.model_ref(it))?,
            metadata: metadata.collect::<Result<_, String>>()?,
        })
    }

    fn other_limits(&self, it: &document::LimitOverride) -> Result<LimitOverride, String> {
        let of = it.of.iter().map(|value| {
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
            })
        });
        Ok(LimitOverride {
            of: of.collect::<Result<_, String>>()?,
            limits: it.limits.clone(),
        })
    }

    /// No document can name somebody who was erased: what a rule says of them stays.
    fn keep_erased(&self, known: &RateLimitRule, rule: &mut RateLimitRule) {
        let is_erased = |id: &UserId| !self.around.people.contains_key(&id.uuid());
        let erased = |subjects: &BTreeSet<LimitedSubject>| {
            let erased = subjects
                .iter()
                .filter(|it| matches!(it, LimitedSubject::User(id) if is_erased(id)));
            erased.copied().collect::<Vec<_>>()
        };
        let (before, after) = (&known.when.subjects, &mut rule.when.subjects);
        if !after.within.is_empty() {
            after.within.extend(erased(&before.within));
        }
        after.not_in.extend(erased(&before.not_in));
        if known.applies_per == rule.applies_per {
            let of_erased = |it: &&LimitOverride| {
                let mut of = it.of.iter();
                of.any(|value| matches!(value, SegmentValue::User(id) if is_erased(id)))
            };
            let kept = known.overrides.iter().filter(of_erased).cloned();
            rule.overrides.extend(kept);
        }
    }

    fn limited(&self, it: &document::LimitedSubject) -> Result<LimitedSubject, String> {
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

    /// Notes each part of a rule that changes.
    fn rule_fields(
        &self,
        fields: &mut Fields,
        before: Option<&RateLimitRule>,
        after: &RateLimitRule,
    ) {
        let names = export::Names::of(self.around.state, self.around.people);
        let told = |rule: &RateLimitRule| {
            // Of a rule for people who were erased nothing can be said but that.
            let when = names.when(&rule.when).unwrap_or_default();
            let metadata: Vec<_> = when
                .metadata
                .iter()
                .map(|(key, values)| format!("{key}: {}", choice_told(values, Clone::clone)))
                .collect();
            let overrides = rule.overrides.iter();
            let overrides: Vec<_> = overrides
                .filter_map(|it| names.other_limits(it))
                .map(|it| format!("{}: {}", words(&it.of), amounts(&it.limits)))
                .collect();
            [
                ("limits", amounts(&rule.limits)),
                ("subjects", choice_told(&when.subjects, subject_told)),
                ("models", choice_told(&when.models, model_told)),
                ("metadata", metadata.join(", ")),
                ("applies_per", words(&rule.applies_per)),
                ("overrides", overrides.join("; ")),
                ("mode", word(&rule.mode)),
            ]
        };
        let before = before.map(told);
        for (index, (field, after)) in told(after).into_iter().enumerate() {
            let before = before.as_ref().map(|all| all[index].1.clone());
            if before.is_some() || !after.is_empty() {
                fields.set(field, before, Some(after));
            }
        }
    }
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

/// `600 requests a minute, 1000000 tokens a day`.
fn amounts(limits: &BTreeSet<RateLimit>) -> String {
    let told = limits.iter().map(|limit| {
        let (unit, window) = (word(&limit.unit), word(&limit.window));
        let article = if window == "hour" { "an" } else { "a" };
        format!("{} {unit} {article} {window}", limit.limit)
    });
    told.collect::<Vec<_>>().join(", ")
}

/// `all but staging`.
fn choice_told<T>(choice: &document::Choice<T>, told: impl Fn(&T) -> String) -> String {
    let list = |items: &[T]| items.iter().map(&told).collect::<Vec<_>>().join(", ");
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

fn subject_told(subject: &document::LimitedSubject) -> String {
    match subject {
        document::LimitedSubject::User(email) => email.clone(),
        document::LimitedSubject::Team(name) | document::LimitedSubject::VirtualAccount(name) => {
            name.to_string()
        }
    }
}

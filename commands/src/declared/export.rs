//! A state as a document. What is Sluice's own (the console's virtual account, with its key and grant) is left out: each
//! deployment makes its own.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
};

use events_schema::{
    events::{self, GrantedModels},
    state::{self, Organisation},
    time::Timestamp,
};
use uuid::Uuid;

use super::document::{
    BudgetLimit, BudgetPolicy, Choice, ConsoleSessions, Document, Grant, Key, KeyName, KnownSecret,
    LimitedSubject, Member, Model, ModelRef, Models, Operator, Override, Owner, PricePoint,
    ProviderAccount, RateLimitPolicy, Retention, SegmentValue, Settings, Subject, Team, User,
    Version, VirtualAccount, When,
};
use super::{
    labels::{self, SharedLabels},
    routing,
};
use crate::{console_key, control::Person, domain::full_name};

/// The virtual account that belongs to Sluice itself.
pub(super) const OWN_ACCOUNT: &str = console_key::ACCOUNT;

/// Whether keys' hashes stand in the document. With them, the keys go on working where the document is applied under the
/// same pepper; whoever has the document and the pepper can then check guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHashes {
    /// They do.
    Included,
    /// They do not.
    LeftOut,
}

/// The document, in YAML. Keys that have expired are left out, and so are grants to them.
///
/// # Errors
/// When two keys could not be told apart in it.
///
/// # Panics
/// Never: a document holds nothing that YAML cannot.
pub fn export(
    state: &Organisation,
    people: &HashMap<Uuid, Person>,
    hashes: KeyHashes,
    now: Timestamp,
) -> Result<String, SharedLabels> {
    labels::check(state, &Names::of(state, people), now)?;
    let document = document(state, people, hashes, now);
    Ok(serde_saphyr::to_string(&document).expect("a document is YAML"))
}

fn document(
    state: &Organisation,
    people: &HashMap<Uuid, Person>,
    hashes: KeyHashes,
    now: Timestamp,
) -> Document {
    let names = Names::of(state, people);
    Document {
        sluice: Version::V1,
        settings: Some(settings(state)),
        provider_accounts: Some(sorted(state.provider_accounts().values(), |it| {
            (
                it.name.to_string(),
                Some(ProviderAccount {
                    name: it.name.clone(),
                    provider: it.provider,
                    base_url: it.base_url.clone(),
                    credential: None,
                    allows_private_addresses: Some(it.allows_private_addresses),
                    disabled: it.disabled,
                }),
            )
        })),
        models: Some(sorted(state.models().values(), |it| {
            let name = full_name(state, it.id);
            (name.clone(), Some(model(it, name)))
        })),
        virtual_models: Some(sorted(state.virtual_models().values(), |it| {
            (it.name.to_string(), Some(routing::exported(state, it)))
        })),
        users: Some(sorted(state.users().values(), |it| {
            let person = people.get(&it.id.uuid());
            let user = person.and_then(|person| {
                Some(User {
                    email: person.email.clone(),
                    name: person.name.parse().ok()?,
                    disabled: it.disabled,
                })
            });
            (person.map_or_else(String::new, |it| it.email.clone()), user)
        })),
        teams: Some(sorted(state.teams().values(), |it| {
            let members = state.members_of(it.id).filter_map(|(user, membership)| {
                Some(Member {
                    user: people.get(&user.uuid())?.email.clone(),
                    role: membership.role,
                })
            });
            let mut members: Vec<_> = members.collect();
            members.sort_by(|one, other| one.user.cmp(&other.user));
            let team = Team {
                name: it.name.clone(),
                members,
                disabled: it.disabled,
            };
            (it.name.to_string(), Some(team))
        })),
        virtual_accounts: Some(sorted(state.virtual_accounts().values(), |it| {
            let account = VirtualAccount {
                name: it.name.clone(),
                disabled: it.disabled,
            };
            let is_own = it.name.as_str() == OWN_ACCOUNT;
            (it.name.to_string(), (!is_own).then_some(account))
        })),
        keys: Some(sorted(state.keys().values(), |it| {
            let owner = names
                .owner(it.owner)
                .filter(|_| !is_own(state, it.owner) && !has_expired(it, now));
            let key = owner.map(|owner| Key {
                owner,
                label: it.label.clone(),
                expires_at: it.expires_at,
                limits: it.limits,
                disabled: it.disabled,
                secret: (hashes == KeyHashes::Included).then(|| KnownSecret {
                    hash: it.hash.clone(),
                    hint: it.hint.clone(),
                }),
            });
            let by = key
                .as_ref()
                .map(|it| format!("{:?} {}", it.owner, it.label));
            (by.unwrap_or_default(), key)
        })),
        grants: Some(sorted(state.grants().values(), |it| {
            let subject = names
                .subject(it.subject)
                .filter(|_| !is_own_subject(state, it.subject))
                .filter(|_| match it.subject {
                    events::Subject::Key(id) => state
                        .keys()
                        .get(&id)
                        .is_none_or(|key| !has_expired(key, now)),
                    events::Subject::Everyone
                    | events::Subject::User(_)
                    | events::Subject::Team(_)
                    | events::Subject::VirtualAccount(_) => true,
                });
            let grant = subject.map(|to| Grant {
                to,
                models: models(state, &it.models),
            });
            (
                grant
                    .as_ref()
                    .map_or_else(String::new, |it| format!("{it:?}")),
                grant,
            )
        })),
        rate_limit_policies: Some(sorted(state.rate_limit_policies().values(), |it| {
            (it.name.to_string(), names.rate_limit_policy(it))
        })),
        budget_policies: Some(sorted(state.budget_policies().values(), |it| {
            (it.name.to_string(), names.budget_policy(it))
        })),
        operators: Some(sorted(state.operators().values(), |it| {
            let person = people.get(&it.id.uuid());
            let operator = person.and_then(|person| {
                Some(Operator {
                    email: person.email.clone(),
                    name: person.name.parse().ok()?,
                    role: it.role,
                    disabled: it.disabled,
                })
            });
            (
                person.map_or_else(String::new, |it| it.email.clone()),
                operator,
            )
        })),
    }
}

/// Items in the order of their names, so that the same configuration is always the same document.
fn sorted<T, I>(all: impl Iterator<Item = T>, item: impl Fn(T) -> (String, Option<I>)) -> Vec<I> {
    let mut items: Vec<_> = all
        .map(item)
        .filter_map(|(name, item)| Some((name, item?)))
        .collect();
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    items.into_iter().map(|(_, item)| item).collect()
}

fn settings(state: &Organisation) -> Settings {
    let state::Settings {
        life: _,
        organisation,
        retention,
        sessions,
    } = state.settings();
    Settings {
        organisation: organisation.clone(),
        retention: Some(Retention {
            requests_days: retention.requests_days,
            sums_days: retention.sums_days,
        }),
        console_sessions: Some(ConsoleSessions {
            idle_minutes: sessions.idle_minutes,
            longest_hours: sessions.longest_hours,
        }),
    }
}

fn has_expired(key: &events_schema::state::Key, now: Timestamp) -> bool {
    key.expires_at.is_some_and(|expires| expires <= now)
}

fn model(it: &events_schema::state::Model, name: String) -> Model {
    let prices = it.prices.iter().map(|point| PricePoint {
        from: Some(point.effective_at),
        input: point.price.input.to_dollars(),
        output: point.price.output.to_dollars(),
        cached_input: point.price.cached_input.map(|it| it.to_dollars()),
    });
    Model {
        name,
        upstream_name: Some(it.upstream_name.clone()).filter(|name| *name != it.name),
        types: it.model_types.clone(),
        prices: prices.collect(),
        disabled: it.disabled,
    }
}

fn budget_limit(limit: &events::BudgetLimit) -> BudgetLimit {
    let (cost, tokens) = match limit.amount {
        events::BudgetAmount::Cost(cost) => (Some(cost.to_dollars()), None),
        events::BudgetAmount::Tokens(tokens) => (None, Some(tokens)),
    };
    BudgetLimit {
        cost,
        tokens,
        window: limit.window,
    }
}

/// What a grant opens, by names.
pub(super) fn models(state: &Organisation, models: &GrantedModels) -> Models {
    match models {
        GrantedModels::All => Models::All,
        GrantedModels::Listed(listed) => Models::Listed(listed_models(state, listed)),
    }
}

fn listed_models(state: &Organisation, listed: &BTreeSet<events::ModelRef>) -> Vec<ModelRef> {
    let listed = listed.iter().filter_map(|it| match it {
        events::ModelRef::Model(id) => Some(ModelRef::Model(full_name(state, *id))),
        events::ModelRef::VirtualModel(id) => {
            let it = state.virtual_models().get(id)?;
            Some(ModelRef::VirtualModel(it.name.clone()))
        }
        events::ModelRef::ProviderAccount(id) => {
            let it = state.provider_accounts().get(id)?;
            Some(ModelRef::ProviderAccount(it.name.clone()))
        }
    });
    by_name(listed)
}

/// In an order that does not depend on ids, so that the same configuration is always the same document.
fn by_name<T: Debug>(named: impl Iterator<Item = T>) -> Vec<T> {
    let mut named: Vec<_> = named.collect();
    named.sort_by_cached_key(|it| format!("{it:?}"));
    named
}

/// Whether an owner is Sluice's own.
pub(super) fn is_own(state: &Organisation, owner: events::Owner) -> bool {
    let events::Owner::VirtualAccount(id) = owner else {
        return false;
    };
    let account = state.virtual_accounts().get(&id);
    account.is_some_and(|it| it.name.as_str() == OWN_ACCOUNT)
}

/// Whether a subject is Sluice's own.
pub(super) fn is_own_subject(state: &Organisation, subject: events::Subject) -> bool {
    match subject {
        events::Subject::VirtualAccount(id) => is_own(state, events::Owner::VirtualAccount(id)),
        events::Subject::Key(id) => {
            let key = state.keys().get(&id);
            key.is_some_and(|it| is_own(state, it.owner))
        }
        events::Subject::Everyone | events::Subject::User(_) | events::Subject::Team(_) => false,
    }
}

/// What a document calls owners and subjects; `None` for people who were erased.
pub(super) struct Names<'a> {
    state: &'a Organisation,
    people: &'a HashMap<Uuid, Person>,
}

impl<'a> Names<'a> {
    pub(super) const fn of(state: &'a Organisation, people: &'a HashMap<Uuid, Person>) -> Self {
        Self { state, people }
    }

    pub(super) fn owner(&self, owner: events::Owner) -> Option<Owner> {
        match owner {
            events::Owner::User(id) => {
                let person = self.people.get(&id.uuid())?;
                Some(Owner::User(person.email.clone()))
            }
            events::Owner::VirtualAccount(id) => {
                let it = self.state.virtual_accounts().get(&id)?;
                Some(Owner::VirtualAccount(it.name.clone()))
            }
        }
    }

    /// Which requests a policy matches; people who were erased are left out. `None`: it is for nobody else.
    pub(super) fn when(&self, when: &events::When) -> Option<When> {
        let metadata = when.metadata.iter();
        let subjects = Choice {
            within: self.limited(&when.subjects.within),
            not_in: self.limited(&when.subjects.not_in),
        };
        if subjects.within.is_empty() && !when.subjects.within.is_empty() {
            return None;
        }
        Some(When {
            subjects,
            models: Choice {
                within: listed_models(self.state, &when.models.within),
                not_in: listed_models(self.state, &when.models.not_in),
            },
            metadata: metadata
                .map(|(key, values)| {
                    let values = Choice {
                        within: values.within.iter().cloned().collect(),
                        not_in: values.not_in.iter().cloned().collect(),
                    };
                    (key.clone(), values)
                })
                .collect(),
        })
    }

    fn limited(&self, subjects: &BTreeSet<events::LimitedSubject>) -> Vec<LimitedSubject> {
        let named = subjects.iter().filter_map(|it| match it {
            events::LimitedSubject::User(id) => {
                let person = self.people.get(&id.uuid())?;
                Some(LimitedSubject::User(person.email.clone()))
            }
            events::LimitedSubject::Team(id) => {
                let it = self.state.teams().get(id)?;
                Some(LimitedSubject::Team(it.name.clone()))
            }
            events::LimitedSubject::VirtualAccount(id) => {
                let it = self.state.virtual_accounts().get(id)?;
                Some(LimitedSubject::VirtualAccount(it.name.clone()))
            }
        });
        by_name(named)
    }

    /// A rate-limit policy; `None`: it is for people alone who were erased.
    pub(super) fn rate_limit_policy(&self, it: &state::RateLimitPolicy) -> Option<RateLimitPolicy> {
        let rule = &it.rule;
        Some(RateLimitPolicy {
            name: it.name.clone(),
            order: it.order,
            when: self.when(&rule.when)?,
            applies_per: rule.applies_per.clone(),
            limits: rule.limits.iter().copied().collect(),
            overrides: self.overrides(&rule.overrides, |limit| *limit),
            mode: rule.mode,
            when_cut_off: rule.when_cut_off,
            disabled: it.disabled,
        })
    }

    /// A budget policy; `None`: it is for people alone who were erased.
    pub(super) fn budget_policy(&self, it: &state::BudgetPolicy) -> Option<BudgetPolicy> {
        let rule = &it.rule;
        Some(BudgetPolicy {
            name: it.name.clone(),
            order: it.order,
            when: self.when(&rule.when)?,
            applies_per: rule.applies_per.clone(),
            limits: rule.limits.iter().map(budget_limit).collect(),
            overrides: self.overrides(&rule.overrides, budget_limit),
            mode: rule.mode,
            when_cut_off: rule.when_cut_off,
            alerts: rule.alerts.clone(),
            disabled: it.disabled,
        })
    }

    /// Other limits, but for those of people who were erased.
    fn overrides<L: Ord, D: Debug>(
        &self,
        overrides: &BTreeSet<events::Override<L>>,
        limit: impl Fn(&L) -> D,
    ) -> Vec<Override<D>> {
        let named = overrides.iter().filter_map(|it| {
            Some(Override {
                of: self.counter(&it.of)?,
                limits: it.limits.iter().map(&limit).collect(),
            })
        });
        by_name(named)
    }

    /// For which counter other limits are; `None`: for somebody's who was erased.
    fn counter(&self, of: &BTreeSet<events::SegmentValue>) -> Option<Vec<SegmentValue>> {
        let of = of.iter().map(|value| {
            Some(match value {
                events::SegmentValue::User(id) => {
                    SegmentValue::User(self.people.get(&id.uuid())?.email.clone())
                }
                events::SegmentValue::VirtualAccount(id) => {
                    let it = self.state.virtual_accounts().get(id)?;
                    SegmentValue::VirtualAccount(it.name.clone())
                }
                events::SegmentValue::Model(events::ModelRef::Model(id)) => {
                    SegmentValue::Model(full_name(self.state, *id))
                }
                events::SegmentValue::Model(events::ModelRef::VirtualModel(id)) => {
                    let it = self.state.virtual_models().get(id)?;
                    SegmentValue::VirtualModel(it.name.clone())
                }
                // None of these has a counter.
                events::SegmentValue::Model(events::ModelRef::ProviderAccount(_)) => return None,
                events::SegmentValue::Metadata { key, value } => SegmentValue::Metadata {
                    key: key.clone(),
                    value: value.clone(),
                },
                events::SegmentValue::Team(id) => {
                    SegmentValue::Team(self.state.teams().get(id)?.name.clone())
                }
            })
        });
        of.collect()
    }

    pub(super) fn subject(&self, subject: events::Subject) -> Option<Subject> {
        Some(match subject {
            events::Subject::Everyone => Subject::Everyone,
            events::Subject::User(id) => match self.owner(events::Owner::User(id))? {
                Owner::User(email) => Subject::User(email),
                Owner::VirtualAccount(name) => Subject::VirtualAccount(name),
            },
            events::Subject::Team(id) => Subject::Team(self.state.teams().get(&id)?.name.clone()),
            events::Subject::VirtualAccount(id) => {
                let it = self.state.virtual_accounts().get(&id)?;
                Subject::VirtualAccount(it.name.clone())
            }
            events::Subject::Key(id) => {
                let key = self.state.keys().get(&id)?;
                Subject::Key(KeyName {
                    owner: self.owner(key.owner)?,
                    label: key.label.clone(),
                })
            }
        })
    }
}

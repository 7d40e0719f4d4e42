//! What the document's sections do not name is deleted, whatever refers to others first. Operators never are, what belongs
//! to Sluice itself neither, nor people who were erased, with what is theirs: no document can name them. Of the formats that
//! users bring, those whose documents list all policies of a kind are like a section.

use std::collections::HashSet;

use events_schema::api::declared::Action;

use super::{
    Fields, Planner,
    access::{key_told, models_told, subject_told},
};
use crate::{
    control::{Order, PersonChange, SideEffects},
    declared::export::{self, Names},
    domain::{
        BudgetPolicyCommand, Command, GrantCommand, KeyCommand, ModelCommand,
        ProviderAccountCommand, RateLimitPolicyCommand, TeamCommand, UserCommand,
        VirtualAccountCommand, VirtualModelCommand, full_name,
    },
};

/// What goes before what it refers to.
const ORDER: [&str; 10] = [
    "rate-limit policy",
    "budget policy",
    "grant",
    "key",
    "virtual account",
    "team",
    "user",
    "virtual model",
    "model",
    "provider account",
];

impl Planner<'_> {
    pub(super) fn prune(&mut self) {
        let around = self.around;
        let (state, sections) = (around.state, &self.sections);
        let names = Names::of(state, around.people);
        let mut gone: Vec<(&str, String, Fields, Order)> = Vec::new();
        let mut delete = |what, name: String, fields, order: Order| {
            gone.push((what, name, fields, order));
        };
        if !sections.grants.is_empty() {
            let unnamed = state.grants().values().filter(|it| {
                !self.grants.contains(&it.id) && !export::is_own_subject(state, it.subject)
            });
            for it in unnamed {
                let mut fields = Fields::default();
                let before = models_told(&export::models(state, &it.models));
                fields.set("models", Some(before), None);
                let Some(name) = names.subject(it.subject).map(|it| subject_told(&it)) else {
                    continue;
                };
                let order = Command::Grant(it.id, GrantCommand::Revoke).into();
                delete("grant", name, fields, order);
            }
        }
        // A configuration of rate limits, or of budgets, of another format is the list of them all.
        if !sections.rate_limit_policies.is_empty() || self.brings_rate_limits {
            let all = state.rate_limit_policies().values();
            let unnamed = all.filter(|it| {
                !self.policies.contains(&it.name) && names.when(&it.rule.when).is_some()
            });
            for it in unnamed {
                let order = RateLimitPolicyCommand::Delete;
                let order = Command::RateLimitPolicy(it.id, order).into();
                delete(
                    "rate-limit policy",
                    it.name.to_string(),
                    Fields::default(),
                    order,
                );
            }
        }
        if !sections.budget_policies.is_empty() || self.brings_budgets {
            let all = state.budget_policies().values();
            let unnamed = all.filter(|it| {
                !self.budgets.contains(&it.name) && names.when(&it.rule.when).is_some()
            });
            for it in unnamed {
                let order = Command::BudgetPolicy(it.id, BudgetPolicyCommand::Delete).into();
                delete(
                    "budget policy",
                    it.name.to_string(),
                    Fields::default(),
                    order,
                );
            }
        }
        if !sections.keys.is_empty() {
            let named: HashSet<_> = self.keys.values().collect();
            let unnamed = state
                .keys()
                .values()
                .filter(|it| !named.contains(&it.id) && !export::is_own(state, it.owner));
            for it in unnamed {
                let Some(owner) = names.owner(it.owner) else {
                    continue;
                };
                let name = key_told(&owner, &it.label);
                let order = Command::Key(it.id, KeyCommand::Revoke).into();
                delete("key", name, Fields::default(), order);
            }
        }
        if !sections.virtual_accounts.is_empty() {
            let unnamed = state.virtual_accounts().values().filter(|it| {
                !self.owners.contains_key(&it.name) && it.name.as_str() != export::OWN_ACCOUNT
            });
            for it in unnamed {
                let order = Command::VirtualAccount(it.id, VirtualAccountCommand::Delete).into();
                delete(
                    "virtual account",
                    it.name.to_string(),
                    Fields::default(),
                    order,
                );
            }
        }
        if !sections.teams.is_empty() {
            let named: HashSet<_> = self.teams.values().collect();
            for it in state.teams().values().filter(|it| !named.contains(&it.id)) {
                let order = Command::Team(it.id, TeamCommand::Delete).into();
                delete("team", it.name.to_string(), Fields::default(), order);
            }
        }
        if !sections.users.is_empty() {
            let named: HashSet<_> = self.users.values().collect();
            for it in state.users().values().filter(|it| !named.contains(&it.id)) {
                let Some(person) = around.people.get(&it.id.uuid()) else {
                    continue;
                };
                let name = person.email.clone();
                let order = Order {
                    command: Command::User(it.id, UserCommand::Delete),
                    side: SideEffects {
                        person: Some(PersonChange::Erase(it.id.uuid())),
                        ..SideEffects::default()
                    },
                };
                delete("user", name, Fields::default(), order);
            }
        }
        if !sections.virtual_models.is_empty() {
            let named: HashSet<_> = self.virtual_models.values().collect();
            let all = state.virtual_models().values();
            for it in all.filter(|it| !named.contains(&it.id)) {
                let order = Command::VirtualModel(it.id, VirtualModelCommand::Delete).into();
                delete(
                    "virtual model",
                    it.name.to_string(),
                    Fields::default(),
                    order,
                );
            }
        }
        if !sections.models.is_empty() {
            let named: HashSet<_> = self.models.values().collect();
            for it in state.models().values().filter(|it| !named.contains(&it.id)) {
                let order = Command::Model(it.id, ModelCommand::Delete).into();
                delete("model", full_name(state, it.id), Fields::default(), order);
            }
        }
        if !sections.provider_accounts.is_empty() {
            let named: HashSet<_> = self.accounts.values().collect();
            let all = state.provider_accounts().values();
            for it in all.filter(|it| !named.contains(&it.id)) {
                let order = Order {
                    command: Command::ProviderAccount(it.id, ProviderAccountCommand::Delete),
                    side: SideEffects {
                        shred: Some(it.id),
                        ..SideEffects::default()
                    },
                };
                delete(
                    "provider account",
                    it.name.to_string(),
                    Fields::default(),
                    order,
                );
            }
        }
        gone.sort_by_key(|(what, name, ..)| {
            let rank = ORDER.iter().position(|it| it == what);
            (rank, name.clone())
        });
        for (what, name, fields, order) in gone {
            self.order(None, order);
            self.change(Action::Delete, what, &name, fields);
        }
    }
}

//! Rate-limit policies.

use std::collections::BTreeSet;

use events_schema::{
    api::declared::Action,
    events::{LimitedModels, LimitedSubject, LimitedSubjects, Owner, RateLimitRule},
    id::RateLimitPolicyId,
};

use super::{Fields, Planner, Wrong, access::models_told, twice, word, words};
use crate::{
    declared::{
        document::{self, RateLimitPolicy, Subjects},
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
        let subjects = match &it.subjects {
            Subjects::All => Ok(LimitedSubjects::All),
            Subjects::Listed(listed) => {
                let listed: Result<BTreeSet<_>, String> =
                    listed.iter().map(|it| self.limited(it)).collect();
                listed.map(LimitedSubjects::Listed)
            }
        };
        let models = match &it.models {
            document::Models::All => Ok(LimitedModels::All),
            document::Models::Listed(listed) => {
                let listed: Result<BTreeSet<_>, String> =
                    listed.iter().map(|it| self.model_ref(it)).collect();
                listed.map(LimitedModels::Listed)
            }
        };
        Ok(RateLimitRule {
            subjects: subjects.map_err(|message| (place.at("subjects"), message))?,
            models: models.map_err(|message| (place.at("models"), message))?,
            metadata: it.metadata.clone(),
            applies_per: it.applies_per.clone(),
            unit: it.unit,
            window: it.window,
            limit: it.limit,
            mode: it.mode,
        })
    }

    /// No document can name somebody who was erased: such a subject stays.
    fn keep_erased(&self, known: &RateLimitRule, rule: &mut RateLimitRule) {
        let (LimitedSubjects::Listed(before), LimitedSubjects::Listed(after)) =
            (&known.subjects, &mut rule.subjects)
        else {
            return;
        };
        let is_erased = |it: &&LimitedSubject| match it {
            LimitedSubject::User(id) => !self.around.people.contains_key(&id.uuid()),
            LimitedSubject::Team(_) | LimitedSubject::VirtualAccount(_) => false,
        };
        after.extend(before.iter().filter(is_erased));
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
            let metadata: Vec<_> = rule
                .metadata
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            [
                ("limit", amount(rule)),
                ("subjects", subjects_told(&names.limited(&rule.subjects))),
                (
                    "models",
                    models_told(&export::limited_models(self.around.state, &rule.models)),
                ),
                ("metadata", metadata.join(", ")),
                ("applies_per", words(&rule.applies_per)),
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

/// `600 requests a minute`.
fn amount(rule: &RateLimitRule) -> String {
    let (unit, window) = (word(&rule.unit), word(&rule.window));
    let article = if window == "hour" { "an" } else { "a" };
    format!("{} {unit} {article} {window}", rule.limit)
}

fn subjects_told(subjects: &Subjects) -> String {
    let Subjects::Listed(listed) = subjects else {
        return "all".to_owned();
    };
    let told = listed.iter().map(|it| match it {
        document::LimitedSubject::User(email) => email.clone(),
        document::LimitedSubject::Team(name) | document::LimitedSubject::VirtualAccount(name) => {
            name.to_string()
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

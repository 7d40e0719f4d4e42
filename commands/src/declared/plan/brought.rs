//! What documents of other formats declare, planned like any other. What they cannot say of a thing that there is stays as it
//! is; and what is wrong with a target of a virtual model is told where that target stands.

use events_schema::names::Label;

use super::{Planner, words};
use crate::{
    declared::{
        brought::{At, BroughtAccount, BroughtModel, part},
        document::{Key, Owner, VirtualAccount, VirtualModel},
        read::Fault,
        routing,
    },
    domain::routing_fault,
};

/// The label of the key that is an account's token.
const TOKEN: &str = "token";

impl<'a> Planner<'a> {
    pub(super) fn brought_models(&mut self, models: &'a [BroughtModel<'a>]) {
        for it in models {
            let known = self.around.state.virtual_model_named(&it.name);
            let model = it.routing.called(it.name.clone(), known);
            let faults = self.target_faults(it, &model);
            if !faults.is_empty() {
                self.faults.extend(faults);
                continue;
            }
            let place = self.place_of(&it.origin);
            if let Err((place, message)) = self.virtual_model(place, &model) {
                self.wrong(place, message);
            }
        }
    }

    pub(super) fn brought_accounts(&mut self, accounts: &'a [BroughtAccount<'a>]) {
        for it in accounts {
            let known = self.around.state.virtual_account_named(&it.name);
            let account = VirtualAccount {
                name: it.name.clone(),
                disabled: known.is_some_and(|it| it.disabled),
            };
            let place = self.place_of(&it.origin);
            if let Err((place, message)) = self.virtual_account(place, &account) {
                self.wrong(place, message);
            }
        }
    }

    /// The token of each, as a key.
    pub(super) fn tokens(&mut self, accounts: &'a [BroughtAccount<'a>]) {
        for it in accounts {
            let owner = Owner::VirtualAccount(it.name.clone());
            let label: Label = TOKEN.parse().expect("a word is a label");
            let keys = self
                .owner_named(&owner)
                .map(|owner| self.keys_named(owner, &label))
                .unwrap_or_default();
            // Where several are called so, which is meant is refused like elsewhere.
            let known = keys.first();
            let token = Key {
                owner,
                label,
                expires_at: it.expires_at,
                limits: known.map(|it| it.limits).unwrap_or_default(),
                disabled: known.is_some_and(|it| it.disabled),
                secret: None,
            };
            let place = self.place_of(&it.token);
            if let Err((place, message)) = self.key(place, &token) {
                self.wrong(place, message);
            }
        }
    }

    fn target_faults(&self, it: &BroughtModel<'_>, model: &VirtualModel) -> Vec<Fault> {
        let targets = part(&it.routing_at, Some("targets")).items();
        let mut faults = Vec::new();
        for (target, at) in model.targets.iter().zip(&targets) {
            if let Err(message) = self.takes(&target.model, it) {
                faults.push(part(at, Some("model")).wrong(message));
            }
        }
        if !faults.is_empty() {
            return faults;
        }
        let routing = match routing::asked(model, |name| self.model_named(name)) {
            Ok(routing) => routing,
            Err(message) => return vec![it.origin.fault(Some("targets"), message)],
        };
        let fault = routing_fault(&routing, |model| self.model_told(model));
        let fault = fault.map(|(target, fault)| {
            let of = target.and_then(|target| targets.get(target));
            let at: At<'_> = part(of.unwrap_or(&it.routing_at), fault.part());
            at.wrong(format!("{fault}."))
        });
        fault.into_iter().collect()
    }

    /// That the model is there, and takes all that the virtual model must.
    fn takes(&self, model: &str, it: &BroughtModel<'_>) -> Result<(), String> {
        let id = self.model_named(model)?;
        let known = || {
            self.around
                .state
                .models()
                .get(&id)
                .map(|it| &it.model_types)
        };
        let types = self.types.get(&id).copied().or_else(known);
        let missing: Vec<_> = match types {
            Some(types) => it.types.difference(types).collect(),
            None => Vec::new(),
        };
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "The model '{model}' cannot be asked for {}, and the virtual model must take it.",
            words(missing)
        ))
    }
}

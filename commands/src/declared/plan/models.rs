//! Provider accounts, models and virtual models.

use events_schema::{
    api::declared::Action,
    events::{Routing, RoutingStrategy},
    id::{ModelId, ProviderAccountId},
    money::{NanoUsd, Price},
    names::{BaseUrl, ModelName, Slug},
    state,
    time::Timestamp,
};

use super::{Fields, Planner, Wrong, twice, word, words};
use crate::{
    control::{Order, SideEffects},
    declared::{
        document::{Model, PricePoint, ProviderAccount, VirtualModel},
        read::Place,
        routing,
    },
    domain::{
        Command, ModelCommand, ProviderAccountCommand, SealedCredential, VirtualModelCommand,
        full_name,
    },
    fresh,
    secrets::seal_credential,
};

/// What is shown of a credential.
const GIVEN: &str = "(given)";

impl<'a> Planner<'a> {
    pub(super) fn account(&mut self, place: Place, it: &'a ProviderAccount) -> Result<(), Wrong> {
        let known = self.around.state.provider_account_named(&it.name);
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.accounts.insert(it.name.clone(), id).is_some() {
            return Err((place.at("name"), twice("provider account", &it.name)));
        }
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                ProviderAccountCommand::Disable
            } else {
                ProviderAccountCommand::Enable
            };
            Command::ProviderAccount(id, order)
        };
        let Some(known) = known else {
            fields.made("provider", &word(&it.provider));
            fields.made("base_url", &it.base_url);
            let (credential, side) = self.sealed(place, id, &it.base_url, it)?;
            if credential.is_some() {
                fields.made("credential", GIVEN);
            }
            let allows_private_addresses = it.allows_private_addresses.unwrap_or(false);
            if allows_private_addresses {
                fields.made("allows_private_addresses", &true);
            }
            fields.made_disabled(it.disabled);
            let register = ProviderAccountCommand::Register {
                name: it.name.clone(),
                provider: it.provider,
                base_url: it.base_url.clone(),
                credential,
                allows_private_addresses,
            };
            let command = Command::ProviderAccount(id, register);
            self.order(Some(place), Order { command, side });
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, "provider account", &it.name, fields);
            return Ok(());
        };
        if known.provider != it.provider {
            let message = "The provider of an account cannot be changed: delete the account, and make it anew.";
            return Err((place.at("provider"), message.to_owned()));
        }
        let moves = fields.set("base_url", Some(&known.base_url), Some(&it.base_url));
        // A sealed credential cannot be compared with another: it is taken where the account needs one.
        let needs_one = moves || known.credential.is_none();
        if needs_one && it.credential.is_some() {
            fields.made("credential", GIVEN);
        }
        if moves || (needs_one && it.credential.is_some()) {
            let (credential, side) = self.sealed(place, id, &it.base_url, it)?;
            let order = if moves {
                ProviderAccountCommand::Move {
                    base_url: it.base_url.clone(),
                    credential,
                }
            } else {
                ProviderAccountCommand::ReplaceCredential { credential }
            };
            let command = Command::ProviderAccount(id, order);
            let field = if moves { "base_url" } else { "credential" };
            self.order(Some(place.at(field)), Order { command, side });
        }
        self.private_addresses(place, &mut fields, known, it);
        self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
        self.change(Action::Change, "provider account", &it.name, fields);
        Ok(())
    }

    /// A document that says nothing leaves it as it is: documents from before there was a choice go on.
    fn private_addresses(
        &mut self,
        place: Place,
        fields: &mut Fields,
        known: &state::ProviderAccount,
        it: &ProviderAccount,
    ) {
        let before = known.allows_private_addresses;
        let after = it.allows_private_addresses.unwrap_or(before);
        let field = "allows_private_addresses";
        if fields.set(field, Some(before), Some(after)) {
            let order = if after {
                ProviderAccountCommand::AllowPrivateAddresses
            } else {
                ProviderAccountCommand::ForbidPrivateAddresses
            };
            let command = Command::ProviderAccount(known.id, order);
            self.order(Some(place.at(field)), command);
        }
    }

    fn sealed(
        &self,
        place: Place,
        id: ProviderAccountId,
        base_url: &BaseUrl,
        it: &ProviderAccount,
    ) -> Result<(Option<SealedCredential>, SideEffects), Wrong> {
        let Some(credential) = &it.credential else {
            return Ok((None, SideEffects::default()));
        };
        let (sealed, row) = seal_credential(self.around.secrets, id, base_url, credential)
            .map_err(|error| (place.at("credential"), error.to_string()))?;
        let side = SideEffects {
            shred: Some(id),
            secret: Some(row),
            ..SideEffects::default()
        };
        Ok((Some(sealed), side))
    }

    pub(super) fn model(&mut self, place: Place, it: &'a Model) -> Result<(), Wrong> {
        let (account, name) = split(&it.name).map_err(|message| (place.at("name"), message))?;
        let account = self
            .account_named(&account)
            .map_err(|message| (place.at("name"), message))?;
        let known = self.around.state.model_named(account, &name);
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.models.insert(it.name.clone(), id).is_some() {
            return Err((place.at("name"), twice("model", &it.name)));
        }
        self.types.insert(id, &it.types);
        let prices = self
            .prices(known.map(|known| known.id), &it.prices)
            .map_err(|message| (place.at("prices"), message))?;
        let upstream_name = it.upstream_name.as_ref().unwrap_or(&name).clone();
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                ModelCommand::Disable
            } else {
                ModelCommand::Enable
            };
            Command::Model(id, order)
        };
        if let Some(known) = known {
            if known.model_types != it.types {
                let message =
                    "The types of a model cannot be changed: delete the model, and make it anew.";
                return Err((place.at("types"), message.to_owned()));
            }
            if fields.set(
                "upstream_name",
                Some(&known.upstream_name),
                Some(&upstream_name),
            ) {
                let order = ModelCommand::ChangeUpstreamName { upstream_name };
                self.order(Some(place.at("upstream_name")), Command::Model(id, order));
            }
        } else {
            fields.made("upstream_name", &upstream_name);
            fields.made("types", &words(&it.types));
            let add = ModelCommand::Add {
                account,
                name,
                upstream_name,
                model_types: it.types.clone(),
            };
            self.order(Some(place), Command::Model(id, add));
        }
        for (effective_at, price, before) in prices {
            let field = format!("price from {effective_at}");
            fields.set(&field, before.map(told), Some(told(price)));
            let order = ModelCommand::SetPrice {
                price,
                effective_at,
            };
            self.order(Some(place.at("prices")), Command::Model(id, order));
        }
        let action = if let Some(known) = known {
            self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
            Action::Change
        } else {
            fields.made_disabled(it.disabled);
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            Action::Create
        };
        self.change(action, "model", &it.name, fields);
        Ok(())
    }

    /// The prices that are not there yet: from when on, which, and which there is instead.
    fn prices(
        &self,
        model: Option<ModelId>,
        points: &[PricePoint],
    ) -> Result<Vec<(Timestamp, Price, Option<Price>)>, String> {
        let known = model.and_then(|id| self.around.state.models().get(&id));
        let mut missing = Vec::new();
        for point in points {
            let dollars = |text: &str| {
                NanoUsd::from_dollars(text).map_err(|error| format!("'{text}': {error}."))
            };
            let price = Price {
                input: dollars(&point.input)?,
                output: dollars(&point.output)?,
                cached_input: point.cached_input.as_deref().map(dollars).transpose()?,
            };
            let (from, before) = match point.from {
                Some(from) => {
                    let at = |known: &events_schema::state::PricePoint| known.effective_at == from;
                    let before = known.and_then(|it| it.prices.iter().find(|it| at(it)));
                    (from, before.map(|it| it.price))
                }
                None => {
                    let now = self.around.now;
                    (now, known.and_then(|it| it.price_at(now)))
                }
            };
            if before != Some(price) {
                missing.push((from, price, before));
            }
        }
        Ok(missing)
    }

    pub(super) fn virtual_model(&mut self, place: Place, it: &VirtualModel) -> Result<(), Wrong> {
        let known = self.around.state.virtual_model_named(&it.name);
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.virtual_models.insert(it.name.clone(), id).is_some() {
            return Err((place.at("name"), twice("virtual model", &it.name)));
        }
        let routing = routing::asked(it, |name| self.model_named(name))
            .map_err(|message| (place.at("targets"), message))?;
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                VirtualModelCommand::Disable
            } else {
                VirtualModelCommand::Enable
            };
            Command::VirtualModel(id, order)
        };
        let Some(known) = known else {
            self.routing_told(&mut fields, None, &routing);
            fields.made_disabled(it.disabled);
            let create = VirtualModelCommand::Create {
                name: it.name.clone(),
                routing,
            };
            self.order(Some(place), Command::VirtualModel(id, create));
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, "virtual model", &it.name, fields);
            return Ok(());
        };
        if known.routing != routing {
            self.routing_told(&mut fields, Some(&known.routing), &routing);
            let order = VirtualModelCommand::ChangeRouting { routing };
            self.order(Some(place.at("targets")), Command::VirtualModel(id, order));
        }
        self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
        self.change(Action::Change, "virtual model", &it.name, fields);
        Ok(())
    }

    pub(super) fn account_named(&self, name: &Slug) -> Result<ProviderAccountId, String> {
        let declared = self.accounts.get(name).copied();
        let known = || self.around.state.provider_account_named(name);
        declared
            .or_else(|| known().map(|it| it.id))
            .ok_or_else(|| format!("There is no provider account '{name}'."))
    }

    pub(super) fn model_named(&self, full_name: &str) -> Result<ModelId, String> {
        if let Some(declared) = self.models.get(full_name) {
            return Ok(*declared);
        }
        let (account, name) = split(full_name)?;
        let state = self.around.state;
        state
            .provider_account_named(&account)
            .and_then(|account| state.model_named(account.id, &name))
            .map(|it| it.id)
            .ok_or_else(|| format!("There is no model '{full_name}'."))
    }

    /// How a routing differs from the one before, for people.
    fn routing_told(&self, fields: &mut Fields, before: Option<&Routing>, after: &Routing) {
        let strategy = |it: &Routing| it.strategy.as_str();
        if before.is_some() || after.strategy != RoutingStrategy::WeightBased {
            fields.set("strategy", before.map(strategy), Some(strategy(after)));
        }
        fields.set(
            "targets",
            before.map(|it| self.targets_told(it)),
            Some(self.targets_told(after)),
        );
        let sticky = |it: &Routing| it.sticky.as_ref().map(routing::sticky_told);
        fields.set("sticky", before.and_then(sticky), sticky(after));
        let (deadline, hedge) = (
            |it: &Routing| it.deadline_ms,
            |it: &Routing| it.hedge_after_ms,
        );
        fields.set("deadline_ms", before.and_then(deadline), deadline(after));
        fields.set("hedge_after_ms", before.and_then(hedge), hedge(after));
    }

    fn targets_told(&self, routing: &Routing) -> String {
        let told = routing
            .targets
            .iter()
            .map(|target| routing::target_told(&self.model_told(target.model), target));
        told.collect::<Vec<_>>().join(", ")
    }

    /// What a model is called, in the documents or in the state.
    pub(super) fn model_told(&self, model: ModelId) -> String {
        let declared = self.models.iter().find(|(_, id)| **id == model);
        declared.map_or_else(
            || full_name(self.around.state, model),
            |(name, _)| name.clone(),
        )
    }
}

/// `account/name` in its parts.
fn split(full_name: &str) -> Result<(Slug, ModelName), String> {
    let wrong = || {
        format!(
            "'{full_name}' is no full name of a model: it is 'account/name', as in 'openai/gpt-5'."
        )
    };
    let (account, name) = full_name.split_once('/').ok_or_else(wrong)?;
    match (account.parse(), name.parse()) {
        (Ok(account), Ok(name)) => Ok((account, name)),
        _ => Err(wrong()),
    }
}

/// A price for people.
fn told(price: Price) -> String {
    let cached = price
        .cached_input
        .map(|cached| format!(", ${} cached", cached.to_dollars()));
    format!(
        "${} in, ${} out{} per million tokens",
        price.input.to_dollars(),
        price.output.to_dollars(),
        cached.unwrap_or_default()
    )
}

//! What each event does to the state.
//!
//! An event for a thing that is not there changes nothing but the position: the log's rules keep such events
//! out, and a fold must not fail on them.

use imbl::OrdMap;

use super::{
    FormerSecret, Grant, Key, Life, Model, Operator, OperatorToken, Organisation, PricePoint,
    ProviderAccount, Repricing, User, VirtualAccount, VirtualModel,
};
use crate::{
    envelope::{DecodedEnvelope, Envelope},
    events::{
        DecodeError, Event, GrantEvent, GrantedModels, KeyEvent, LogEvent, ModelEvent, ModelRef,
        OperatorEvent, ProviderAccountEvent, Routing, Stream, UserEvent, VirtualAccountEvent,
        VirtualModelEvent,
    },
    id::{
        GrantId, KeyId, ModelId, OperatorId, ProviderAccountId, UserId, VirtualAccountId,
        VirtualModelId,
    },
    secrets::KeyedHash,
    time::Timestamp,
};

/// When and where an event stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) position: u64,
    pub(super) at: Timestamp,
    pub(super) stream_version: u64,
}

impl Now {
    pub(super) const fn born(self) -> Life {
        Life {
            version: self.stream_version,
            created_at: self.at,
            changed_at: self.at,
            position: self.position,
        }
    }

    pub(super) const fn lived(self, life: Life) -> Life {
        Life {
            version: self.stream_version,
            created_at: life.created_at,
            changed_at: self.at,
            position: self.position,
        }
    }
}

impl Organisation {
    /// Folds in the next event of the log, still encoded.
    ///
    /// # Errors
    /// When this code cannot read the event; the state is then unchanged, and the caller must stop.
    pub fn apply(&mut self, envelope: &Envelope) -> Result<(), DecodeError> {
        let event = envelope.event()?;
        self.evolve(&DecodedEnvelope::new(envelope, &event));
        Ok(())
    }

    /// Folds in the next event of the log. Total: there is no event that it cannot take.
    pub fn evolve(&mut self, envelope: &DecodedEnvelope<'_>) {
        let DecodedEnvelope {
            position,
            recorded_at,
            stream_version,
            event,
        } = *envelope;
        let now = Now {
            position,
            at: recorded_at,
            stream_version,
        };
        self.position = position;
        match event {
            Event::Log(event) => self.log(now, event),
            Event::ProviderAccount(id, event) => self.provider_account(now, *id, event),
            Event::Model(id, event) => self.model(now, *id, event),
            Event::VirtualModel(id, event) => self.virtual_model(now, *id, event),
            Event::User(id, event) => self.user(now, *id, event),
            Event::VirtualAccount(id, event) => self.virtual_account(now, *id, event),
            Event::Key(id, event) => self.key(now, *id, event),
            Event::Grant(id, event) => self.grant(now, *id, event),
            Event::Operator(id, event) => self.operator(now, *id, event),
            Event::Team(id, event) => self.team(now, *id, event),
            Event::RateLimitPolicy(id, event) => self.rate_limit_policy(now, *id, event),
            Event::BudgetPolicy(id, event) => self.budget_policy(now, *id, event),
            Event::BudgetAlert(id, event) => self.budget_alert_event(now, *id, event),
            Event::Settings(event) => self.settings_changed(now, event),
        }
    }

    fn log(&mut self, now: Now, event: &LogEvent) {
        self.log_version = now.stream_version;
        match event {
            LogEvent::LogInitialised { epoch } | LogEvent::EpochStarted { epoch } => {
                self.epoch = Some(*epoch)
            }
        }
    }

    fn provider_account(&mut self, now: Now, id: ProviderAccountId, event: &ProviderAccountEvent) {
        use ProviderAccountEvent as E;
        match event {
            E::ProviderAccountRegistered {
                name,
                provider,
                base_url,
                credential,
                allows_private_addresses,
            } => {
                self.put_provider_account(ProviderAccount {
                    id,
                    life: now.born(),
                    name: name.clone(),
                    provider: *provider,
                    base_url: base_url.clone(),
                    credential: credential.clone(),
                    credential_shredded: false,
                    allows_private_addresses: *allows_private_addresses,
                    disabled: false,
                });
            }
            E::ProviderAccountRenamed { name } => {
                let Some(it) = self.provider_accounts.get(&id).cloned() else {
                    return;
                };
                self.put_provider_account(ProviderAccount {
                    life: now.lived(it.life),
                    name: name.clone(),
                    ..it
                });
            }
            E::ProviderAccountMoved {
                base_url,
                credential,
            } => {
                change(&mut self.provider_accounts, id, |it| {
                    it.life = now.lived(it.life);
                    it.base_url = base_url.clone();
                    it.credential_shredded &= it.credential == *credential;
                    it.credential.clone_from(credential);
                });
            }
            E::ProviderCredentialReplaced { credential } => {
                change(&mut self.provider_accounts, id, |it| {
                    it.life = now.lived(it.life);
                    it.credential_shredded = false;
                    it.credential.clone_from(credential);
                });
            }
            E::ProviderCredentialShredded {} => {
                change(&mut self.provider_accounts, id, |it| {
                    (it.life, it.credential_shredded) = (now.lived(it.life), true)
                });
            }
            E::ProviderPrivateAddressesAllowed {} => {
                change(&mut self.provider_accounts, id, |it| {
                    (it.life, it.allows_private_addresses) = (now.lived(it.life), true)
                });
            }
            E::ProviderPrivateAddressesForbidden {} => {
                change(&mut self.provider_accounts, id, |it| {
                    (it.life, it.allows_private_addresses) = (now.lived(it.life), false)
                });
            }
            E::ProviderAccountDisabled {} => {
                change(&mut self.provider_accounts, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::ProviderAccountEnabled {} => {
                change(&mut self.provider_accounts, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::ProviderAccountDeleted {} => {
                self.drop_provider_account(id);
                self.gone
                    .insert(Stream::ProviderAccount(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_provider_account(&mut self, it: ProviderAccount) {
        self.drop_provider_account(it.id);
        self.index
            .provider_accounts
            .insert((it.name.clone(), it.id));
        self.provider_accounts.insert(it.id, it);
    }

    fn drop_provider_account(&mut self, id: ProviderAccountId) {
        if let Some(old) = self.provider_accounts.remove(&id) {
            self.index.provider_accounts.remove(&(old.name, id));
        }
    }

    fn model(&mut self, now: Now, id: ModelId, event: &ModelEvent) {
        use ModelEvent as E;
        match event {
            E::ModelAdded {
                account,
                name,
                upstream_name,
                model_types,
            } => self.put_model(Model {
                id,
                life: now.born(),
                account: *account,
                name: name.clone(),
                upstream_name: upstream_name.clone(),
                model_types: model_types.clone(),
                prices: Vec::new(),
                repricings: Vec::new(),
                disabled: false,
            }),
            E::ModelRenamed { name } => {
                let Some(it) = self.models.get(&id).cloned() else {
                    return;
                };
                self.put_model(Model {
                    life: now.lived(it.life),
                    name: name.clone(),
                    ..it
                });
            }
            E::ModelUpstreamNameChanged { upstream_name } => change(&mut self.models, id, |it| {
                it.life = now.lived(it.life);
                it.upstream_name = upstream_name.clone();
            }),
            E::ModelPriced {
                price,
                effective_at,
            } => change(&mut self.models, id, |it| {
                it.life = now.lived(it.life);
                it.prices
                    .retain(|point| point.effective_at != *effective_at);
                it.prices.push(PricePoint {
                    effective_at: *effective_at,
                    price: *price,
                });
                it.prices.sort_by_key(|point| point.effective_at);
            }),
            E::UsageRepriced {
                from,
                until,
                price,
                shown,
            } => change(&mut self.models, id, |it| {
                it.life = now.lived(it.life);
                it.repricings.push(Repricing {
                    position: now.position,
                    recorded_at: now.at,
                    from: *from,
                    until: *until,
                    price: *price,
                    shown: *shown,
                });
            }),
            E::ModelDisabled {} => {
                change(&mut self.models, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::ModelEnabled {} => {
                change(&mut self.models, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::ModelDeleted {} => {
                self.drop_model(id);
                self.gone.insert(Stream::Model(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_model(&mut self, it: Model) {
        self.drop_model(it.id);
        self.index
            .models
            .insert(((it.account, it.name.clone()), it.id));
        self.models.insert(it.id, it);
    }

    fn drop_model(&mut self, id: ModelId) {
        if let Some(old) = self.models.remove(&id) {
            self.index.models.remove(&((old.account, old.name), id));
        }
    }

    fn virtual_model(&mut self, now: Now, id: VirtualModelId, event: &VirtualModelEvent) {
        use VirtualModelEvent as E;
        match event {
            E::VirtualModelCreated { name, routing } => self.put_virtual_model(VirtualModel {
                id,
                life: now.born(),
                name: name.clone(),
                routing: routing.clone(),
                disabled: false,
            }),
            E::VirtualModelRenamed { name } => {
                let Some(it) = self.virtual_models.get(&id).cloned() else {
                    return;
                };
                self.put_virtual_model(VirtualModel {
                    life: now.lived(it.life),
                    name: name.clone(),
                    ..it
                });
            }
            E::VirtualModelRoutingChanged { routing } => {
                let Some(it) = self.virtual_models.get(&id).cloned() else {
                    return;
                };
                self.put_virtual_model(VirtualModel {
                    life: now.lived(it.life),
                    routing: routing.clone(),
                    ..it
                });
            }
            E::VirtualModelDisabled {} => {
                change(&mut self.virtual_models, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::VirtualModelEnabled {} => {
                change(&mut self.virtual_models, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::VirtualModelDeleted {} => {
                self.drop_virtual_model(id);
                self.gone
                    .insert(Stream::VirtualModel(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_virtual_model(&mut self, it: VirtualModel) {
        self.drop_virtual_model(it.id);
        self.index.virtual_models.insert((it.name.clone(), it.id));
        for model in targets(&it.routing) {
            self.index.virtual_models_by_target.insert((model, it.id));
        }
        self.virtual_models.insert(it.id, it);
    }

    fn drop_virtual_model(&mut self, id: VirtualModelId) {
        if let Some(old) = self.virtual_models.remove(&id) {
            self.index.virtual_models.remove(&(old.name, id));
            for model in targets(&old.routing) {
                self.index.virtual_models_by_target.remove(&(model, id));
            }
        }
    }

    fn user(&mut self, now: Now, id: UserId, event: &UserEvent) {
        use UserEvent as E;
        match event {
            E::UserAdded { email } => {
                self.put_user(User {
                    id,
                    life: now.born(),
                    email: email.clone(),
                    disabled: false,
                    memberships_at: None,
                });
            }
            E::UserEmailChanged { email } => {
                let Some(it) = self.users.get(&id).cloned() else {
                    return;
                };
                self.put_user(User {
                    life: now.lived(it.life),
                    email: email.clone(),
                    ..it
                });
            }
            E::UserRenamed {} => {
                change(&mut self.users, id, |it| it.life = now.lived(it.life));
            }
            E::UserDisabled {} => {
                change(&mut self.users, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::UserEnabled {} => {
                change(&mut self.users, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::UserErased {} => {
                self.erased.insert(Stream::User(id));
                let Some(it) = self.users.get(&id).cloned() else {
                    return;
                };
                self.put_user(User {
                    life: now.lived(it.life),
                    ..it
                });
            }
            E::UserDeleted {} => {
                self.drop_memberships_of(id);
                self.drop_user(id);
                self.gone.insert(Stream::User(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_user(&mut self, it: User) {
        self.drop_user(it.id);
        // Whoever was erased may come again, as somebody else.
        if !self.is_erased(Stream::User(it.id)) {
            self.index.users.insert((it.email.clone(), it.id));
        }
        self.users.insert(it.id, it);
    }

    fn drop_user(&mut self, id: UserId) {
        if let Some(old) = self.users.remove(&id) {
            self.index.users.remove(&(old.email, id));
        }
    }

    fn virtual_account(&mut self, now: Now, id: VirtualAccountId, event: &VirtualAccountEvent) {
        use VirtualAccountEvent as E;
        match event {
            E::VirtualAccountCreated { name } => {
                self.put_virtual_account(VirtualAccount {
                    id,
                    life: now.born(),
                    name: name.clone(),
                    disabled: false,
                });
            }
            E::VirtualAccountRenamed { name } => {
                let Some(it) = self.virtual_accounts.get(&id).cloned() else {
                    return;
                };
                self.put_virtual_account(VirtualAccount {
                    life: now.lived(it.life),
                    name: name.clone(),
                    ..it
                });
            }
            E::VirtualAccountDisabled {} => {
                change(&mut self.virtual_accounts, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::VirtualAccountEnabled {} => {
                change(&mut self.virtual_accounts, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::VirtualAccountDeleted {} => {
                self.drop_virtual_account(id);
                self.gone
                    .insert(Stream::VirtualAccount(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_virtual_account(&mut self, it: VirtualAccount) {
        self.drop_virtual_account(it.id);
        self.index.virtual_accounts.insert((it.name.clone(), it.id));
        self.virtual_accounts.insert(it.id, it);
    }

    fn drop_virtual_account(&mut self, id: VirtualAccountId) {
        if let Some(old) = self.virtual_accounts.remove(&id) {
            self.index.virtual_accounts.remove(&(old.name, id));
        }
    }

    fn key(&mut self, now: Now, id: KeyId, event: &KeyEvent) {
        use KeyEvent as E;
        match event {
            E::KeyIssued {
                owner,
                label,
                hash,
                hint,
                expires_at,
                limits,
            } => self.put_key(Key {
                id,
                life: now.born(),
                owner: *owner,
                label: label.clone(),
                hash: hash.clone(),
                hint: hint.clone(),
                expires_at: *expires_at,
                limits: *limits,
                disabled: false,
                former: None,
            }),
            E::KeyRelabelled { label } => {
                let Some(it) = self.keys.get(&id).cloned() else {
                    return;
                };
                self.put_key(Key {
                    life: now.lived(it.life),
                    label: label.clone(),
                    ..it
                });
            }
            E::KeyLimitsChanged { limits } => {
                change(&mut self.keys, id, |it| {
                    (it.life, it.limits) = (now.lived(it.life), *limits)
                });
            }
            E::KeyExpiryChanged { expires_at } => {
                change(&mut self.keys, id, |it| {
                    (it.life, it.expires_at) = (now.lived(it.life), *expires_at)
                });
            }
            E::KeyRotated {
                hash,
                hint,
                former_works_until,
            } => {
                let Some(it) = self.keys.get(&id).cloned() else {
                    return;
                };
                let former = former_works_until.map(|works_until| FormerSecret {
                    hash: it.hash,
                    hint: it.hint,
                    works_until,
                    position: now.position,
                });
                self.put_key(Key {
                    life: now.lived(it.life),
                    hash: hash.clone(),
                    hint: hint.clone(),
                    former,
                    ..it
                });
            }
            E::KeyFormerSecretRevoked {} => {
                let Some(it) = self.keys.get(&id).cloned() else {
                    return;
                };
                self.put_key(Key {
                    life: now.lived(it.life),
                    former: None,
                    ..it
                });
            }
            E::KeyDisabled {} => {
                change(&mut self.keys, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::KeyEnabled {} => {
                change(&mut self.keys, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::KeyRevoked {} => {
                self.drop_key(id);
                self.gone.insert(Stream::Key(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_key(&mut self, it: Key) {
        self.drop_key(it.id);
        for hash in hashes(&it) {
            self.index.key_hashes.insert((hash.clone(), it.id));
        }
        self.index.keys_by_owner.insert((it.owner, it.id));
        self.index
            .key_labels
            .insert(((it.owner, it.label.clone()), it.id));
        self.keys.insert(it.id, it);
    }

    fn drop_key(&mut self, id: KeyId) {
        if let Some(old) = self.keys.remove(&id) {
            for hash in hashes(&old) {
                self.index.key_hashes.remove(&(hash.clone(), id));
            }
            self.index.keys_by_owner.remove(&(old.owner, id));
            self.index.key_labels.remove(&((old.owner, old.label), id));
        }
    }

    fn grant(&mut self, now: Now, id: GrantId, event: &GrantEvent) {
        use GrantEvent as E;
        match event {
            E::AccessGranted { subject, models } => {
                self.put_grant(Grant {
                    id,
                    life: now.born(),
                    subject: *subject,
                    models: models.clone(),
                });
            }
            E::GrantedModelsChanged { models } => {
                let Some(it) = self.grants.get(&id).cloned() else {
                    return;
                };
                self.put_grant(Grant {
                    life: now.lived(it.life),
                    models: models.clone(),
                    ..it
                });
            }
            E::AccessRevoked {} => {
                self.drop_grant(id);
                self.gone.insert(Stream::Grant(id), now.stream_version);
            }
        }
    }

    pub(super) fn put_grant(&mut self, it: Grant) {
        self.drop_grant(it.id);
        self.index.grants_by_subject.insert((it.subject, it.id));
        for model in listed(&it.models) {
            self.index.grants_by_model.insert((model, it.id));
        }
        self.grants.insert(it.id, it);
    }

    fn drop_grant(&mut self, id: GrantId) {
        if let Some(old) = self.grants.remove(&id) {
            self.index.grants_by_subject.remove(&(old.subject, id));
            for model in listed(&old.models) {
                self.index.grants_by_model.remove(&(model, id));
            }
        }
    }

    fn operator(&mut self, now: Now, id: OperatorId, event: &OperatorEvent) {
        use OperatorEvent as E;
        match event {
            E::OperatorAdded { role, email } => self.put_operator(Operator {
                id,
                life: now.born(),
                role: *role,
                email: email.clone(),
                disabled: false,
                tokens: Vec::new(),
            }),
            E::OperatorRoleChanged { role } => {
                change(&mut self.operators, id, |it| {
                    (it.life, it.role) = (now.lived(it.life), *role)
                });
            }
            E::OperatorEmailChanged { email } => {
                let Some(it) = self.operators.get(&id).cloned() else {
                    return;
                };
                self.put_operator(Operator {
                    life: now.lived(it.life),
                    email: email.clone(),
                    ..it
                });
            }
            E::OperatorRenamed {} | E::OperatorPasswordChanged {} => {
                change(&mut self.operators, id, |it| it.life = now.lived(it.life));
            }
            E::OperatorDisabled {} => {
                change(&mut self.operators, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), true)
                });
            }
            E::OperatorEnabled {} => {
                change(&mut self.operators, id, |it| {
                    (it.life, it.disabled) = (now.lived(it.life), false)
                });
            }
            E::OperatorRemoved {} => {
                self.drop_operator(id);
                self.gone.insert(Stream::Operator(id), now.stream_version);
            }
            E::OperatorErased {} => {
                self.erased.insert(Stream::Operator(id));
                match self.operators.get(&id).cloned() {
                    Some(it) => self.put_operator(Operator {
                        life: now.lived(it.life),
                        ..it
                    }),
                    None => {
                        self.gone.insert(Stream::Operator(id), now.stream_version);
                    }
                }
            }
            E::OperatorTokenIssued {
                token,
                label,
                expires_at,
            } => change(&mut self.operators, id, |it| {
                it.life = now.lived(it.life);
                it.tokens.retain(|known| known.id != *token);
                it.tokens.push(OperatorToken {
                    id: *token,
                    label: label.clone(),
                    created_at: now.at,
                    expires_at: *expires_at,
                });
            }),
            E::OperatorTokenRevoked { token } => change(&mut self.operators, id, |it| {
                it.life = now.lived(it.life);
                it.tokens.retain(|known| known.id != *token);
            }),
        }
    }

    pub(super) fn put_operator(&mut self, it: Operator) {
        self.drop_operator(it.id);
        if !self.is_erased(Stream::Operator(it.id)) {
            self.index.operators.insert((it.email.clone(), it.id));
        }
        self.operators.insert(it.id, it);
    }

    fn drop_operator(&mut self, id: OperatorId) {
        if let Some(old) = self.operators.remove(&id) {
            self.index.operators.remove(&(old.email, id));
        }
    }
}

/// Changes the thing in place, if it is there.
fn change<I: Ord + Copy, T: Clone>(map: &mut OrdMap<I, T>, id: I, with: impl FnOnce(&mut T)) {
    if let Some(it) = map.get_mut(&id) {
        with(it);
    }
}

/// The hashes of the secrets by which a key may be known.
fn hashes(key: &Key) -> impl Iterator<Item = &KeyedHash> {
    std::iter::once(&key.hash).chain(key.former.as_ref().map(|former| &former.hash))
}

fn targets(routing: &Routing) -> impl Iterator<Item = ModelId> + '_ {
    routing.targets.iter().map(|target| target.model)
}

fn listed(models: &GrantedModels) -> impl Iterator<Item = ModelRef> + '_ {
    let listed = match models {
        GrantedModels::All => None,
        GrantedModels::Listed(models) => Some(models),
    };
    listed.into_iter().flatten().copied()
}

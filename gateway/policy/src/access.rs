//! What a caller may use: names resolved to models, and grants that open them.

use events_schema::{
    events::ModelRef,
    id::{GrantId, ModelId, VirtualModelId},
    snapshot::entries::{
        ArchivedGrantEntry, ArchivedModelEntry, ArchivedModelRefEntry,
        ArchivedProviderAccountEntry, ArchivedVirtualModelEntry,
    },
};

use crate::{Caller, Configuration, Denial};

/// What a model's name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Resolved<'c> {
    /// A virtual model.
    Virtual(&'c ArchivedVirtualModelEntry),
    /// A model of a provider account, by its full name.
    Direct(Target<'c>),
}

/// A model and the account that has it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'c> {
    /// The account.
    pub account: &'c ArchivedProviderAccountEntry,
    /// The model.
    pub model: &'c ArchivedModelEntry,
}

impl Resolved<'_> {
    /// The thing, as records have it.
    #[must_use]
    pub fn model_ref(&self) -> ModelRef {
        match self {
            Self::Virtual(it) => ModelRef::VirtualModel(VirtualModelId::from_bytes(it.id)),
            Self::Direct(target) => ModelRef::Model(ModelId::from_bytes(target.model.id)),
        }
    }
}

/// What the name stands for: a virtual model, or else `account/model`, split at the first slash. So a virtual model that is
/// called like a model decides where the requests for that model go.
///
/// # Errors
/// [`Denial::UnknownModel`].
pub fn resolve<'c>(config: &'c impl Configuration, name: &str) -> Result<Resolved<'c>, Denial> {
    config
        .virtual_model_by_name(name)
        .map(Resolved::Virtual)
        .or_else(|| direct(config, name).map(Resolved::Direct))
        .ok_or(Denial::UnknownModel)
}

/// The model of this full name, whether or not a virtual model stands before it.
fn direct<'c>(config: &'c impl Configuration, name: &str) -> Option<Target<'c>> {
    let (account, model) = name.split_once('/')?;
    let account = config.account_by_name(account)?;
    let model = config.model_by_name(&account.id, model)?;
    Some(Target { account, model })
}

/// The model that a virtual model stands before, since it is called the same.
pub(crate) fn behind<'c>(
    config: &'c impl Configuration,
    resolved: Resolved<'_>,
) -> Option<Resolved<'c>> {
    match resolved {
        Resolved::Virtual(it) => direct(config, it.name.as_str()).map(Resolved::Direct),
        Resolved::Direct(_) => None,
    }
}

/// The grant that opens the model to the caller: the one with the smallest id, whichever order they come in.
///
/// A team's grant opens the model to its members, with all of their keys; a disabled team's opens nothing. A virtual
/// model's targets need no grant of their own, and a grant of a whole account does not open the virtual models
/// that lead to it. What opens a model opens as well the virtual model that stands before it: who may ask for a name does
/// not change when its requests are led elsewhere.
///
/// # Errors
/// [`Denial::NotGranted`].
pub fn authorize(
    config: &impl Configuration,
    caller: Caller<'_>,
    resolved: Resolved<'_>,
) -> Result<GrantId, Denial> {
    let behind = behind(config, resolved);
    caller
        .subjects(config)
        .flat_map(|subject| config.grants(subject))
        .filter(|grant| opens(grant, resolved) || behind.is_some_and(|it| opens(grant, it)))
        .map(|grant| GrantId::from_bytes(grant.id))
        .min()
        .ok_or(Denial::NotGranted)
}

fn opens(grant: &ArchivedGrantEntry, resolved: Resolved<'_>) -> bool {
    grant.models.iter().any(|opened| match (opened, resolved) {
        (ArchivedModelRefEntry::All, _) => true,
        (ArchivedModelRefEntry::VirtualModel(id), Resolved::Virtual(it)) => *id == it.id,
        (ArchivedModelRefEntry::Model(id), Resolved::Direct(target)) => *id == target.model.id,
        (ArchivedModelRefEntry::ProviderAccount(id), Resolved::Direct(target)) => {
            *id == target.account.id
        }
        (ArchivedModelRefEntry::VirtualModel(_), Resolved::Direct(_))
        | (
            ArchivedModelRefEntry::Model(_) | ArchivedModelRefEntry::ProviderAccount(_),
            Resolved::Virtual(_),
        ) => false,
    })
}

/// The virtual models that the caller may use now, in the order of their names.
#[must_use]
pub fn usable_virtual_models<'c>(
    config: &'c impl Configuration,
    caller: Caller<'_>,
) -> Vec<&'c ArchivedVirtualModelEntry> {
    let usable = |it: &&ArchivedVirtualModelEntry| {
        !it.disabled && authorize(config, caller, Resolved::Virtual(it)).is_ok()
    };
    let mut models: Vec<_> = config.virtual_models().filter(usable).collect();
    models.sort_unstable_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    models
}

/// The models of provider accounts that the caller may use now, in the order of their full names; those before which a
/// virtual model stands are not among them.
#[must_use]
pub fn usable_models<'c>(config: &'c impl Configuration, caller: Caller<'_>) -> Vec<Target<'c>> {
    let target = |model: &'c ArchivedModelEntry| {
        let target = Target {
            account: config.account(&model.account)?,
            model,
        };
        let enabled = !target.account.disabled && !model.disabled;
        let name = format!("{}/{}", target.account.name, model.name);
        let enabled = enabled && config.virtual_model_by_name(&name).is_none();
        (enabled && authorize(config, caller, Resolved::Direct(target)).is_ok()).then_some(target)
    };
    let mut models: Vec<_> = config.models().filter_map(target).collect();
    models.sort_unstable_by(|one, other| full_name(one).cmp(&full_name(other)));
    models
}

fn full_name<'c>(target: &Target<'c>) -> (&'c str, &'c str) {
    (target.account.name.as_str(), target.model.name.as_str())
}

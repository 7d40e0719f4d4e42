//! The sections of all documents of Sluice's own in a file, each kind of thing together: what one document makes, another can
//! refer to, in whichever order they stand.

use super::super::{
    document::{
        BudgetPolicy, Document, Grant, Key, Model, Operator, ProviderAccount, RateLimitPolicy,
        Settings, Team, User, VirtualAccount, VirtualModel,
    },
    read::{Of, Place, Read},
};

/// A section of a document.
#[derive(Debug)]
pub(super) struct Section<'a, T: ?Sized> {
    document: usize,
    name: &'static str,
    pub(super) of: &'a T,
}

/// All of them; a kind that no document has is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Sections<'a> {
    pub(super) settings: Vec<Section<'a, Settings>>,
    pub(super) provider_accounts: Vec<Section<'a, [ProviderAccount]>>,
    pub(super) models: Vec<Section<'a, [Model]>>,
    pub(super) virtual_models: Vec<Section<'a, [VirtualModel]>>,
    pub(super) users: Vec<Section<'a, [User]>>,
    pub(super) teams: Vec<Section<'a, [Team]>>,
    pub(super) virtual_accounts: Vec<Section<'a, [VirtualAccount]>>,
    pub(super) keys: Vec<Section<'a, [Key]>>,
    pub(super) grants: Vec<Section<'a, [Grant]>>,
    pub(super) rate_limit_policies: Vec<Section<'a, [RateLimitPolicy]>>,
    pub(super) budget_policies: Vec<Section<'a, [BudgetPolicy]>>,
    pub(super) operators: Vec<Section<'a, [Operator]>>,
}

impl<'a> Sections<'a> {
    pub(super) fn of(read: &'a Read) -> Self {
        let mut all = Self::default();
        for (document, it) in read.own() {
            let Document {
                sluice: _,
                settings,
                provider_accounts,
                models,
                virtual_models,
                users,
                teams,
                virtual_accounts,
                keys,
                grants,
                rate_limit_policies,
                budget_policies,
                operators,
            } = it;
            all.settings.extend(settings.as_ref().map(|of| Section {
                document,
                name: "settings",
                of,
            }));
            all.provider_accounts
                .extend(section(document, "provider_accounts", provider_accounts));
            all.models.extend(section(document, "models", models));
            all.virtual_models
                .extend(section(document, "virtual_models", virtual_models));
            all.users.extend(section(document, "users", users));
            all.teams.extend(section(document, "teams", teams));
            all.virtual_accounts
                .extend(section(document, "virtual_accounts", virtual_accounts));
            all.keys.extend(section(document, "keys", keys));
            all.grants.extend(section(document, "grants", grants));
            all.rate_limit_policies.extend(section(
                document,
                "rate_limit_policies",
                rate_limit_policies,
            ));
            all.budget_policies
                .extend(section(document, "budget_policies", budget_policies));
            all.operators
                .extend(section(document, "operators", operators));
        }
        all
    }
}

fn section<'a, T>(
    document: usize,
    name: &'static str,
    items: &'a Option<Vec<T>>,
) -> Option<Section<'a, [T]>> {
    items.as_deref().map(|of| Section { document, name, of })
}

impl<'a, T> Section<'a, [T]> {
    /// Its items, each with its place.
    pub(super) fn items(&self) -> impl Iterator<Item = (Place, &'a T)> + use<'a, T> {
        let Self { document, name, of } = *self;
        of.iter().enumerate().map(move |(index, it)| {
            let of = Of::Item {
                document,
                section: name,
                index,
            };
            (Place::whole(of), it)
        })
    }
}

impl Section<'_, Settings> {
    /// Its place.
    pub(super) const fn place(&self) -> Place {
        Place::whole(Of::Section {
            document: self.document,
            section: self.name,
        })
    }
}

impl<T: ?Sized> Clone for Section<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Section<'_, T> {}

//! What of a request rules look at, by plain ids: of one that came, or of one that is only supposed, so that whoever writes a
//! rule sees what it would do.

use std::collections::BTreeMap;

use events_schema::events::Owner;

use super::{ACCOUNT, Facts, MODEL, Tagged, USER, VIRTUAL_ACCOUNT, VIRTUAL_MODEL};
use crate::{Configuration, EntryId, Resolved, Target, access::behind};

/// A model of a provider account, by its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelIds {
    /// The model.
    pub model: EntryId,
    /// The account that has it.
    pub account: EntryId,
}

/// What a request asks for, by its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A model.
    Model(ModelIds),
    /// A virtual model.
    VirtualModel {
        /// It.
        id: EntryId,
        /// The model before which it stands, since it is called the same.
        before: Option<ModelIds>,
    },
}

// === impl ModelIds ===

impl ModelIds {
    pub(super) const fn of(target: Target<'_>) -> Self {
        Self {
            model: target.model.id,
            account: target.account.id,
        }
    }

    const fn tagged(self) -> (Tagged, Tagged) {
        ((MODEL, self.model), (ACCOUNT, self.account))
    }
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn of(config: &impl Configuration, resolved: Resolved<'_>) -> Self {
        match resolved {
            Resolved::Direct(target) => Self::Model(ModelIds::of(target)),
            Resolved::Virtual(it) => Self::VirtualModel {
                id: it.id,
                before: match behind(config, resolved) {
                    Some(Resolved::Direct(target)) => Some(ModelIds::of(target)),
                    Some(Resolved::Virtual(_)) | None => None,
                },
            },
        }
    }

    /// What rules may call it: the first is what has a counter of its own.
    pub(super) fn models(self) -> [Option<Tagged>; 3] {
        match self {
            Self::Model(ids) => {
                let (model, account) = ids.tagged();
                [Some(model), Some(account), None]
            }
            Self::VirtualModel { id, before } => {
                let before = before.map(ModelIds::tagged);
                let own = Some((VIRTUAL_MODEL, id));
                [own, before.map(|it| it.0), before.map(|it| it.1)]
            }
        }
    }
}

// === impl Facts ===

impl<'r> Facts<'r> {
    /// A request that somebody might make: with a key of this owner, who is in these teams.
    #[must_use]
    pub fn supposed(
        owner: Owner,
        teams: &'r [EntryId],
        wanted: Wanted,
        metadata: &'r BTreeMap<String, String>,
    ) -> Self {
        let owner = match owner {
            Owner::User(id) => (USER, id.bytes()),
            Owner::VirtualAccount(id) => (VIRTUAL_ACCOUNT, id.bytes()),
        };
        Self {
            owner,
            teams,
            key: None,
            models: wanted.models(),
            metadata,
        }
    }

    /// The same request, with this key.
    #[must_use]
    pub const fn with_key(self, key: EntryId) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    /// An attempt of the same request at a model, as [`Facts::at`].
    #[must_use]
    pub const fn led_to(self, ids: ModelIds) -> Self {
        let (model, account) = ids.tagged();
        Self {
            models: [Some(model), Some(account), None],
            ..self
        }
    }
}

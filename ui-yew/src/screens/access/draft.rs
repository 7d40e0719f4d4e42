//! A grant while it is being put together. Pure.

use std::collections::BTreeSet;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::GrantItem;
use events_schema::events::{GrantedModels, ModelRef};
use events_schema::id::GrantId;

use crate::widgets::reference;

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantDraft {
    /// Who, as a [`reference`]; empty: nobody yet.
    pub(super) subject: String,
    /// Whether it opens everything.
    pub(super) all: bool,
    /// What it opens otherwise.
    pub(super) models: BTreeSet<ModelRef>,
}

// === impl GrantDraft ===

impl GrantDraft {
    /// A new one.
    pub(super) fn new() -> Self {
        Self {
            subject: String::new(),
            all: false,
            models: BTreeSet::new(),
        }
    }

    /// One that is there already.
    pub(super) fn of(grant: &GrantItem) -> Self {
        let models = grant.models.iter().map(|granted| granted.model).collect();
        Self {
            subject: String::new(),
            all: grant.all_models,
            models,
        }
    }

    /// Opens a model, or closes it again.
    pub(super) fn choose(&mut self, model: ModelRef, chosen: bool) {
        if chosen {
            self.models.insert(model);
        } else {
            self.models.remove(&model);
        }
    }

    fn granted(&self) -> Option<GrantedModels> {
        if self.all {
            return Some(GrantedModels::All);
        }
        (!self.models.is_empty()).then(|| GrantedModels::Listed(self.models.clone()))
    }

    /// The command, when enough is filled in to send it; `existing` is the grant to change.
    pub(super) fn command(&self, existing: Option<GrantId>) -> Option<NewCommand> {
        let models = self.granted()?;
        match existing {
            Some(grant) => Some(NewCommand::ChangeGrantedModels { grant, models }),
            None => Some(NewCommand::GrantAccess {
                subject: reference::subject(&self.subject)?,
                models,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use events_schema::events::Subject;
    use events_schema::id::ModelId;

    use super::*;

    const MODEL: ModelRef = ModelRef::Model(ModelId::from_bytes([1; 16]));

    #[test]
    fn a_grant_needs_a_subject_and_something_to_open() {
        let mut draft = GrantDraft::new();
        draft.subject = reference::EVERYONE.to_owned();
        assert!(draft.command(None).is_none());
        draft.choose(MODEL, true);
        assert!(matches!(
            draft.command(None),
            Some(NewCommand::GrantAccess {
                subject: Subject::Everyone,
                ..
            })
        ));
        draft.choose(MODEL, false);
        draft.all = true;
        let Some(NewCommand::GrantAccess { models, .. }) = draft.command(None) else {
            unreachable!("it opens everything");
        };
        assert_eq!(models, GrantedModels::All);
    }
}

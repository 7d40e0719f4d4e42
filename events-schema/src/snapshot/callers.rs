//! How the entries follow from the state that say what else belongs to callers: former secrets, teams, grants.

use super::entries::{FormerSecretEntry, GrantEntry, ModelRefEntry, SubjectEntry, TeamEntry};
use crate::{
    events::{GrantedModels, ModelRef, Subject},
    state::{FormerSecret, Grant, Key, Team},
};

pub(super) fn former_secret(key: &Key, former: &FormerSecret) -> FormerSecretEntry {
    let FormerSecret {
        hash,
        hint: _,
        works_until,
        position: _,
    } = former;
    FormerSecretEntry {
        key: key.id.bytes(),
        hash: hash.hash,
        pepper: hash.key.to_string(),
        works_until_us: works_until.micros(),
    }
}

pub(super) fn team(it: &Team) -> TeamEntry {
    let Team {
        id,
        life: _,
        name,
        disabled,
        members: _,
        own_position: _,
    } = it;
    TeamEntry {
        id: id.bytes(),
        name: name.to_string(),
        disabled: *disabled,
    }
}

pub(super) fn grant(it: &Grant) -> GrantEntry {
    let Grant {
        id,
        life: _,
        subject,
        models,
    } = it;
    GrantEntry {
        id: id.bytes(),
        subject: match subject {
            Subject::Everyone => SubjectEntry::Everyone,
            Subject::User(id) => SubjectEntry::User(id.bytes()),
            Subject::VirtualAccount(id) => SubjectEntry::VirtualAccount(id.bytes()),
            Subject::Key(id) => SubjectEntry::Key(id.bytes()),
            Subject::Team(id) => SubjectEntry::Team(id.bytes()),
        },
        models: match models {
            GrantedModels::All => vec![ModelRefEntry::All],
            GrantedModels::Listed(models) => models
                .iter()
                .map(|model| match model {
                    ModelRef::Model(id) => ModelRefEntry::Model(id.bytes()),
                    ModelRef::VirtualModel(id) => ModelRefEntry::VirtualModel(id.bytes()),
                    ModelRef::ProviderAccount(id) => ModelRefEntry::ProviderAccount(id.bytes()),
                })
                .collect(),
        },
    }
}

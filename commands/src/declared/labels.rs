//! Keys that no document can tell apart. Rules keep labels unique within an owner; in a log from before that rule, two keys
//! of one owner may share a label. A document would then name both, and nobody could say which it means.

use std::{collections::BTreeMap, fmt};

use events_schema::{names::Label, state::Organisation, time::Timestamp};

use super::{
    document::Owner,
    export::{Names, is_own},
    plan::key_told,
};

/// So many shared labels are named; of more, how many they are.
const MOST_NAMED: usize = 20;

/// What keeps a document from being written: labels that several keys of one owner have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLabels {
    /// What the keys are called, and what tells each of them from the others.
    shared: Vec<(String, Vec<String>)>,
}

impl std::error::Error for SharedLabels {}

impl fmt::Display for SharedLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("In a document a key is known by its owner and label. Give these keys labels of their own first: ")?;
        for (nth, (name, keys)) in self.shared.iter().take(MOST_NAMED).enumerate() {
            let before = if nth == 0 { "" } else { "; " };
            write!(f, "{before}'{name}' ({})", keys.join(", "))?;
        }
        match self.shared.len().saturating_sub(MOST_NAMED) {
            0 => f.write_str("."),
            more => write!(f, "; and {more} more."),
        }
    }
}

/// That no two keys that a document can name share a label.
///
/// # Errors
/// The labels that are shared, and by which keys.
pub(super) fn check(
    state: &Organisation,
    names: &Names<'_>,
    now: Timestamp,
) -> Result<(), SharedLabels> {
    let mut by_label: BTreeMap<(events_schema::events::Owner, &Label), Vec<_>> = BTreeMap::new();
    for key in state.keys().values().filter(|it| !is_own(state, it.owner)) {
        by_label
            .entry((key.owner, &key.label))
            .or_default()
            .push(key);
    }
    let mut shared = Vec::new();
    for ((owner, label), keys) in by_label {
        let owner: Option<Owner> = names.owner(owner).filter(|_| keys.len() > 1);
        let Some(owner) = owner else {
            continue;
        };
        let told = keys.iter().map(|key| {
            let expired = key.expires_at.is_some_and(|end| end <= now);
            let expired = if expired { ", expired" } else { "" };
            format!("…{} with the id {}{expired}", key.hint, key.id)
        });
        shared.push((key_told(&owner, label), told.collect()));
    }
    if shared.is_empty() {
        Ok(())
    } else {
        Err(SharedLabels { shared })
    }
}

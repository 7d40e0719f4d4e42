//! The configuration as YAML documents: what those of a file change, made as one submission; and what there is, written as
//! a document.
//!
//! Things are known by the names that people know them by: provider accounts, virtual models and virtual accounts by
//! their names, models by `account/name`, users and operators by their e-mail addresses, keys by owner and label, grants
//! by their subject. A document that is applied twice changes nothing the second time; a section that it does not have is
//! left alone, and so is, unless pruning is asked for, what a section does not name.
//!
//! - `document`: what stands in a document of Sluice's own;
//! - `read`: from YAML, and from a place in a document back to its line;
//! - `pieces`: a file cut into its documents;
//! - `node`: a document as it stands, whatever it means;
//! - `brought`: documents of the formats that users bring, as what they are in Sluice;
//! - `plan`: the difference to a state, and the orders that make it;
//! - `export`: a state as a document;
//! - `taken`: its policies as documents of the formats that users bring;
//! - `labels`: whether each key can be told from the others in it.

mod brought;
mod document;
mod export;
mod labels;
mod node;
mod pieces;
mod plan;
mod read;
mod routing;
mod taken;

use std::collections::HashMap;

use events_schema::{state::Organisation, time::Timestamp};
use uuid::Uuid;

pub use self::{
    export::{KeyHashes, export},
    labels::SharedLabels,
    plan::Plan,
    read::Fault,
    taken::{budgets, rate_limits},
};
use crate::{control::Person, secrets::Secrets};

/// What a plan is made from, beside the document.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The state that the document is compared with.
    pub state: &'a Organisation,
    /// Who the users and operators are.
    pub people: &'a HashMap<Uuid, Person>,
    /// Fingerprints, seals and hashes.
    pub secrets: &'a Secrets,
    /// The time now.
    pub now: Timestamp,
    /// Whether what the document's sections do not name is deleted.
    pub prune: bool,
}

/// What the documents, in YAML, change.
///
/// # Errors
/// All that is wrong with the documents, by line.
pub fn plan(documents: &str, surroundings: Surroundings<'_>) -> Result<Plan, Vec<Fault>> {
    let read = read::read(documents)?;
    let (brought, faults) = brought::read(&read.brought);
    plan::plan(&read, (&brought, faults), surroundings)
}

/// The users and operators of a state, whose names and addresses are needed.
#[must_use]
pub fn people_of(state: &Organisation) -> Vec<Uuid> {
    let users = state.users().keys().map(|id| id.uuid());
    users
        .chain(state.operators().keys().map(|id| id.uuid()))
        .collect()
}

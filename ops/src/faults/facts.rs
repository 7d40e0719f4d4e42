//! What the control plane and the gateways have promised so far, and what was found broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use events_schema::id::{CommandId, KeyId};
use serde_json::{Map, Value};
use tokio::time::Instant;

/// Fields of a thing, as the API's lists tell them.
pub(super) type Fields = Map<String, Value>;

/// What was acknowledged, over all rounds.
#[derive(Default)]
pub(super) struct Facts {
    /// Each command that was answered.
    pub(super) commands: BTreeMap<CommandId, Acknowledged>,
    /// What there is, by its id, as the last acknowledged command left it.
    pub(super) things: BTreeMap<String, Thing>,
    /// What is gone for ever, and in which list it stood.
    pub(super) gone: BTreeMap<String, &'static str>,
    /// What documents declared, by list and name: ids are not theirs to know.
    pub(super) declared: BTreeMap<(&'static str, String), Fields>,
    /// The settings that were changed.
    pub(super) settings: Fields,
    /// The secrets of keys that were not revoked.
    pub(super) keys: BTreeMap<KeyId, Secrets>,
    /// The accounts that may use everything, whatever is drawn.
    pub(super) members: BTreeSet<String>,
    /// Keys that had a grant which was taken away.
    pub(super) shut_keys: BTreeSet<String>,
    /// What opens nothing any more.
    pub(super) doors: Vec<Door>,
    /// The requests that gateways answered, by their ids, and through which gateway.
    pub(super) requests: BTreeMap<String, &'static str>,
    /// The highest position that each gateway is known to have served.
    pub(super) served: BTreeMap<&'static str, u64>,
    /// The budget and the limit of this round that are small.
    pub(super) tight: Tight,
}

/// What a command was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) position: u64,
    /// Position, kind and stream of each of its events.
    pub(super) events: Vec<(u64, String, String)>,
}

/// Something that an acknowledged command made, and none has deleted.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    /// The API's list in which it stands.
    pub(super) list: &'static str,
    /// Whose it is: writers never touch each other's things.
    pub(super) writer: usize,
    /// What its list must tell of it.
    pub(super) fields: Fields,
}

/// A key's secrets, as far as they are known: each is shown once, and its answer may be lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    pub(super) current: Option<String>,
    pub(super) former: Option<Former>,
}

/// The secret from before a rotation.
#[derive(Clone, Debug)]
pub(super) struct Former {
    pub(super) secret: String,
    /// Until then it must work, if its key does.
    pub(super) works_until: Instant,
    /// From then on it must not.
    pub(super) refused_from: Instant,
}

/// Something that was closed for ever.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// What it was, for people.
    pub(super) what: String,
    pub(super) secret: String,
    /// The model's name; `None`: the key itself is refused.
    pub(super) model: Option<String>,
    /// The position from which on it is closed.
    pub(super) closed_at: u64,
}

/// The small budget and the small limit of a round, and what was seen of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tight {
    /// What is in the metadata of this round's requests.
    pub(super) round: String,
    /// The policies' ids.
    pub(super) budget: String,
    pub(super) limit: String,
    /// The most that the budget was of late, in nano-dollars: noted before it is raised.
    pub(super) budget_nanos: u64,
    /// What answers said that they used, at their price, in nano-dollars.
    pub(super) spent_nanos: u64,
    /// The most that the limit was, in requests: noted before it is raised.
    pub(super) limit_requests: u64,
    /// Requests that the limit let through.
    pub(super) admitted: u64,
    /// Requests for the one and the other of which nobody knows what became.
    pub(super) unknown_spends: u64,
    pub(super) unknown_asks: u64,
}

/// Facts and findings, shared by everything that runs at once.
#[derive(Default)]
pub(super) struct Notebook {
    facts: Mutex<Facts>,
    findings: Mutex<BTreeSet<String>>,
}

// === impl Notebook ===

impl Notebook {
    /// The facts, for a moment.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what must not be. The same words are noted once a round.
    pub(super) fn found(&self, what: impl Into<String>) {
        self.findings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.into());
    }

    /// The findings since this was last asked.
    pub(super) fn take_findings(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.findings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Facts ===

impl Facts {
    /// A field of a thing that there is.
    pub(super) fn field(&self, id: &str, field: &str) -> Option<&Value> {
        self.things.get(id)?.fields.get(field)
    }

    /// Whether it is there and disabled.
    pub(super) fn is_disabled(&self, id: &str) -> bool {
        self.field(id, "disabled") == Some(&Value::Bool(true))
    }

    /// Whether anything names it.
    pub(super) fn is_named(&self, id: &str) -> bool {
        self.is_named_beyond("", id)
    }

    /// Whether anything names it that does not stand in this list.
    pub(super) fn is_named_beyond(&self, list: &str, id: &str) -> bool {
        let names = |thing: &Thing| thing.fields.values().any(|field| mentions(field, id));
        let mut others = self.things.values().filter(|thing| thing.list != list);
        others.any(names)
    }
}

/// Whether an id stands anywhere in a value.
fn mentions(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Array(items) => items.iter().any(|item| mentions(item, id)),
        Value::Object(fields) => fields.values().any(|field| mentions(field, id)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

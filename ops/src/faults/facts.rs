//! What the control plane and the gateways have promised so far, and what was found broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use events_schema::id::{CommandId, KeyId, VirtualAccountId};

/// What was acknowledged, over all rounds.
#[derive(Default)]
pub(super) struct Facts {
    /// Each command that was answered.
    pub(super) commands: BTreeMap<CommandId, Acknowledged>,
    /// Each key that was issued.
    pub(super) keys: BTreeMap<KeyId, KnownKey>,
    /// The requests that gateways answered, by their ids, and through which gateway.
    pub(super) requests: BTreeMap<String, &'static str>,
    /// The highest position that each gateway is known to have served.
    pub(super) served: BTreeMap<&'static str, u64>,
}

/// What a command was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) position: u64,
    pub(super) events: usize,
}

/// A key as its last acknowledged command left it.
#[derive(Clone, Debug)]
pub(super) struct KnownKey {
    pub(super) owner: VirtualAccountId,
    /// Unknown when the answer that showed it was lost: it is shown once.
    pub(super) secret: Option<String>,
    pub(super) state: KeyState,
    /// The position at which it was revoked.
    pub(super) revoked_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    Works,
    Disabled,
    Revoked,
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
    /// The keys in this state that were shown.
    pub(super) fn secrets(&self, state: KeyState) -> Vec<(KeyId, String)> {
        self.keys
            .iter()
            .filter(|(_, key)| key.state == state)
            .filter_map(|(id, key)| Some((*id, key.secret.clone()?)))
            .collect()
    }
}

//! Which target a session's requests stay with: bounded, and forgotten when a session has been silent for its time.
//!
//! A session's first request is planned with a seed that follows from the session itself, so that gateways that do not
//! know of each other choose alike as long as their targets fare alike.

use std::time::{Duration, Instant};

use events_schema::snapshot::routing::ArchivedStickyEntry;
use gateway_policy::EntryId;
use http::HeaderMap;
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

use std::collections::BTreeMap;

/// How many sessions are remembered: those that were silent longest go first. About 100 bytes each.
const MOST_SESSIONS: u64 = 200_000;

/// A session: a hash of what tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session([u8; 16]);

impl Session {
    /// The session of a request for a virtual model; `None`: it has none of the identifiers.
    #[must_use]
    pub fn of(
        virtual_model: &EntryId,
        sticky: &ArchivedStickyEntry,
        headers: &HeaderMap,
        metadata: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(virtual_model);
        let mut is_named = false;
        for identifier in sticky.identifiers.iter() {
            let key = identifier.key.as_str();
            let value = if identifier.is_header {
                headers.get(key).map(http::HeaderValue::as_bytes)
            } else {
                metadata.get(key).map(String::as_bytes)
            };
            is_named |= value.is_some();
            let length = value.map_or(u64::MAX, |value| value.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(value.unwrap_or_default());
        }
        let mut hash = [0; 16];
        hasher.finalize_xof().fill(&mut hash);
        is_named.then_some(Self(hash))
    }

    /// The seed of the session's first choice.
    #[must_use]
    pub fn seed(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// To which target a session is bound, and for how long.
#[derive(Debug, Clone, Copy)]
struct Binding {
    model: EntryId,
    lasts: Duration,
}

/// Bindings last as long as each says.
struct AsBound;

impl Expiry<Session, Binding> for AsBound {
    fn expire_after_create(&self, _: &Session, binding: &Binding, _: Instant) -> Option<Duration> {
        Some(binding.lasts)
    }

    fn expire_after_update(
        &self,
        _: &Session,
        binding: &Binding,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(binding.lasts)
    }
}

/// All sessions. Clones share them.
#[derive(Clone)]
pub struct Sessions(Cache<Session, Binding>);

impl Default for Sessions {
    fn default() -> Self {
        let builder = Cache::builder()
            .max_capacity(MOST_SESSIONS)
            .eviction_policy(EvictionPolicy::lru());
        Self(builder.expire_after(AsBound).build())
    }
}

impl Sessions {
    /// The model to which a session is bound.
    #[must_use]
    pub fn bound(&self, session: Session) -> Option<EntryId> {
        self.0.get(&session).map(|binding| binding.model)
    }

    /// The model that answered a request of the session, which is to stay with it for so many seconds.
    pub fn bind(&self, session: Session, model: EntryId, seconds: u32) {
        let binding = Binding {
            model,
            lasts: Duration::from_secs(u64::from(seconds)),
        };
        self.0.insert(session, binding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_bound_until_its_time_is_over() {
        let sessions = Sessions::default();
        let [one, other] = [Session([1; 16]), Session([2; 16])];
        sessions.bind(one, [7; 16], 3_600);
        assert_eq!(sessions.bound(one), Some([7; 16]));
        assert_eq!(sessions.bound(other), None);
        sessions.bind(one, [8; 16], 3_600);
        assert_eq!(sessions.bound(one), Some([8; 16]));
        sessions.bind(other, [7; 16], 0);
        assert_eq!(sessions.bound(other), None);
    }
}

//! Callers who proved who they are a moment ago, so that a burst of requests asks the database once and not each time.
//!
//! What an operator may do is looked up in the state at every request, and whatever ends sessions together with an event
//! (a new password, a token that is revoked, an operator who is disabled) makes the operator's place in the history
//! another one, which is compared. What ends a session without an event, signing out, forgets everything here; at other
//! replicas of this service such a session ends within [`FOR`].

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use events_schema::{
    state::{Organisation, SessionBounds},
    time::Timestamp,
};
use moka::sync::Cache;

use super::{Caller, Shown, Via};

/// For how long a proof is enough.
pub const FOR: Duration = Duration::from_secs(1);

/// Callers that are remembered: more than are active in one second.
const MOST: u64 = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Recent {
    proven: Cache<(bool, [u8; 32]), Proven>,
    /// How often everybody was forgotten.
    forgotten: AtomicU64,
}

/// What was found out, and what it depends on.
#[derive(Debug, Clone)]
struct Proven {
    caller: Caller,
    /// The position of the operator's last event.
    position: u64,
    bounds: SessionBounds,
}

impl Default for Recent {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_live(FOR);
        Self {
            proven: cache.build(),
            forgotten: AtomicU64::new(0),
        }
    }
}

impl Recent {
    /// Who showed this a moment ago, if nothing happened to them since.
    #[must_use]
    pub fn find(&self, shown: &Shown, state: &Organisation, now: Timestamp) -> Option<Caller> {
        let Proven {
            caller,
            position,
            bounds,
        } = self.proven.get(&shown.remembered_by()?)?;
        let operator = state.operators().get(&caller.operator)?;
        let ends = match &caller.via {
            Via::Session(session) => Some(
                session
                    .expires_at
                    .min(session.last_used_at.plus_micros(bounds.idle_us())),
            ),
            Via::Token { expires_at, .. } => *expires_at,
        };
        let same = operator.life.position == position && state.settings().sessions == bounds;
        (same && ends.is_none_or(|end| now < end)).then_some(caller)
    }

    /// Before the database is asked: what is found out is kept only if nobody was forgotten meanwhile.
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    /// Remembers who showed this. `state` is the one with which that was found out, `asked` the [`Recent::moment`] before.
    pub fn keep(&self, shown: &Shown, caller: &Caller, state: &Organisation, asked: u64) {
        let operator = state.operators().get(&caller.operator);
        if self.moment() != asked {
            return;
        }
        if let (Some(key), Some(operator)) = (shown.remembered_by(), operator) {
            let proven = Proven {
                caller: caller.clone(),
                position: operator.life.position,
                bounds: state.settings().sessions,
            };
            self.proven.insert(key, proven);
        }
    }

    /// Forgets everybody: a session was ended.
    pub fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.proven.invalidate_all();
    }
}

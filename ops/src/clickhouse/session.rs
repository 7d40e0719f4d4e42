//! Sessions that a client names (`session_id`): a connection kept between requests, with what
//! `SET`, `USE` and temporary tables left in it.
//!
//! One request at a time may use a session. A setting in a URL holds for that request only: when the
//! next one does not bring it, it goes back to its default, also if a `SET` had changed it before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ask::SessionAsk;
use super::engine::{Engine, set};
use super::exception::{Exception, Kind};
use super::ffi::Connection;

/// Sessions kept at once. A connection costs about 100 KiB; a client library makes one session.
const MAX_SESSIONS: usize = 1024;

/// All sessions of the server.
#[derive(Default)]
pub(super) struct Sessions {
    slots: Mutex<HashMap<Key, Slot>>,
}

/// A session's user and name.
type Key = (String, String);

enum Slot {
    Busy,
    Idle { session: Session, expires: Instant },
}

/// A connection with the settings that the last request brought.
pub(super) struct Session {
    pub(super) connection: Connection,
    url_settings: BTreeMap<String, String>,
}

/// The right to use a session; given back when it is dropped.
pub(super) struct Lease<'s> {
    sessions: &'s Sessions,
    key: Key,
    timeout: Duration,
    session: Option<Session>,
}

// === impl Sessions ===

impl Sessions {
    /// Takes a session, or makes it.
    pub(super) fn take(&self, ask: &SessionAsk, engine: &Engine) -> Result<Lease<'_>, Exception> {
        let session = self.occupy(ask)?;
        let mut lease = Lease {
            sessions: self,
            key: (ask.user.clone(), ask.id.clone()),
            timeout: ask.timeout,
            session,
        };
        if lease.session.is_none() {
            lease.session = Some(Session {
                connection: engine.connect(&[])?,
                url_settings: BTreeMap::new(),
            });
        }
        Ok(lease)
    }

    /// Ends every idle session whose time is over; returns how many are left.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        let mut slots = self.slots();
        slots.retain(|_, slot| match slot {
            Slot::Busy => true,
            Slot::Idle { expires, .. } => *expires > now,
        });
        slots.len()
    }

    /// Ends every idle session.
    pub(super) fn clear(&self) {
        self.slots().clear();
    }

    fn occupy(&self, ask: &SessionAsk) -> Result<Option<Session>, Exception> {
        let key = (ask.user.clone(), ask.id.clone());
        let mut slots = self.slots();
        match slots.remove(&key) {
            Some(Slot::Busy) => {
                slots.insert(key, Slot::Busy);
                let message = format!("Session {} is locked by a concurrent client.", ask.id);
                Err(Exception::new(Kind::SessionIsLocked, message))
            }
            Some(Slot::Idle { session, .. }) => {
                slots.insert(key, Slot::Busy);
                Ok(Some(session))
            }
            None if ask.check => Err(Exception::new(
                Kind::SessionNotFound,
                format!("Session {} not found.", ask.id),
            )),
            None if slots.len() >= MAX_SESSIONS => {
                let message = format!("Too many sessions. Maximum: {MAX_SESSIONS}.");
                Err(Exception::new(Kind::TooManySimultaneousQueries, message))
            }
            None => {
                slots.insert(key, Slot::Busy);
                Ok(None)
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lease ===

impl Lease<'_> {
    /// The connection, with exactly these settings on top of what the session itself set.
    pub(super) fn connection(
        &mut self,
        engine: &Engine,
        settings: &[(String, String)],
    ) -> Result<&mut Connection, Exception> {
        engine.check_names(settings)?;
        let session = self
            .session
            .as_mut()
            .ok_or_else(|| Exception::new(Kind::SessionNotFound, "The session is gone."))?;
        let wanted: BTreeMap<String, String> = settings.iter().cloned().collect();
        let gone: Vec<String> = session
            .url_settings
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .map(|name| format!("{name} = DEFAULT"))
            .collect();
        let new: Vec<(String, String)> = wanted
            .iter()
            .filter(|(name, value)| session.url_settings.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let reset = (!gone.is_empty()).then(|| format!("SET {}", gone.join(", ")));
        let change = (!new.is_empty()).then(|| set(&new));
        for statement in [reset, change].into_iter().flatten() {
            let done = session.connection.query(statement.as_bytes(), "Null", &[]);
            done.map_err(|error| Exception::of_engine(&error))?;
        }
        session.url_settings = wanted;
        Ok(&mut session.connection)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut slots = self.sessions.slots();
        match self.session.take() {
            Some(session) => {
                let expires = Instant::now() + self.timeout;
                slots.insert(
                    std::mem::take(&mut self.key),
                    Slot::Idle { session, expires },
                );
            }
            None => {
                slots.remove(&self.key);
            }
        }
    }
}

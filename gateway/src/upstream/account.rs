//! A provider account as one worker thread reaches it: where it is, its credential, and its connections.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    str::FromStr,
    time::Duration,
};

use events_schema::{
    keyring::KeyRing, names::BaseUrl, snapshot::entries::ArchivedProviderAccountEntry,
};
use gateway_policy::EntryId;
use http::{HeaderValue, Uri, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    addresses::Scope,
    connect::Connector,
    credential::{self, Credential},
    pool::Pool,
};

/// How long an account is remembered that nobody asks for.
const UNUSED: Duration = Duration::from_secs(600);

/// The account.
pub struct Account {
    made_from: MadeFrom,
    /// How to reach the provider, and the connections to it.
    way: Option<(Reach, Rc<Pool>)>,
    used_at: Cell<Instant>,
    /// Whether the log says that its host has no address that it may have.
    is_told: Cell<bool>,
}

/// The parts of the entry that the rest was made from: when they change, it is made anew.
#[derive(PartialEq, Eq)]
struct MadeFrom {
    base_url: String,
    scope: Scope,
    sealed: Option<(String, Vec<u8>)>,
}

/// How to reach the provider.
pub struct Reach {
    /// Scheme and authority.
    pub origin: Uri,
    /// Which addresses it may have.
    pub scope: Scope,
    /// For the header `host`.
    pub host: HeaderValue,
    /// What it asks for; `None`: nothing.
    pub credential: Option<Credential>,
    /// What stands before the path of every endpoint: the path of the base URL.
    pub prefix: String,
}

impl MadeFrom {
    fn of(entry: &ArchivedProviderAccountEntry, scope: Scope) -> Self {
        let sealed = entry
            .credential
            .as_ref()
            .map(|it| (it.key.to_string(), it.sealed.to_vec()));
        Self {
            base_url: entry.base_url.to_string(),
            scope,
            sealed,
        }
    }

    fn still_holds(&self, entry: &ArchivedProviderAccountEntry, scope: Scope) -> bool {
        let same_credential = match (&self.sealed, entry.credential.as_ref()) {
            (None, None) => true,
            (Some((key, sealed)), Some(now)) => now.key == key.as_str() && *now.sealed == **sealed,
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_credential && scope == self.scope && entry.base_url == self.base_url.as_str()
    }
}

impl Account {
    fn new(
        entry: &ArchivedProviderAccountEntry,
        scope: Scope,
        ring: &KeyRing,
        connector: &Rc<Connector>,
    ) -> Self {
        let reach = Reach::of(entry, scope, ring);
        if let Err(why) = &reach {
            tracing::warn!(
                account = entry.name.as_str(),
                why,
                "a provider account cannot be used"
            );
        }
        Self {
            made_from: MadeFrom::of(entry, scope),
            way: reach.ok().map(|reach| {
                let pool = Pool::new(reach.origin.clone(), scope, Rc::clone(connector));
                (reach, Rc::new(pool))
            }),
            used_at: Cell::new(Instant::now()),
            is_told: Cell::new(false),
        }
    }

    /// How to reach the provider, and the connections to it; `None`: its credential is missing or cannot be opened.
    #[must_use]
    pub const fn way(&self) -> Option<&(Reach, Rc<Pool>)> {
        self.way.as_ref()
    }

    /// Says in the log, once, that its host has no address that it may have.
    pub fn tell_of_addresses(&self) {
        if !self.is_told.replace(true) {
            tracing::warn!(
                base_url = self.made_from.base_url.as_str(),
                "a provider account leads to private or local addresses and does not allow them: nothing goes to it"
            );
        }
    }

    /// Closes what has been idle for too long; whether a connection is left.
    fn sweep(&self) -> bool {
        self.way.as_ref().is_some_and(|(_, pool)| {
            pool.sweep();
            !pool.is_empty()
        })
    }
}

impl Reach {
    fn of(
        entry: &ArchivedProviderAccountEntry,
        scope: Scope,
        ring: &KeyRing,
    ) -> Result<Self, String> {
        let base = BaseUrl::from_str(&entry.base_url).map_err(|error| error.to_string())?;
        let credential =
            credential::of_account(ring, entry, &base).map_err(|error| error.to_string())?;
        let uri = Uri::from_str(&base).map_err(|error| error.to_string())?;
        let authority = uri.authority().ok_or("the base URL names no host")?;
        let prefix = base.get(base.origin().len()..).unwrap_or_default();
        PathAndQuery::from_maybe_shared(format!("{prefix}/").into_bytes())
            .map_err(|error| error.to_string())?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
        let scheme = uri.scheme_str().unwrap_or("https");
        let origin = Uri::from_str(&format!("{scheme}://{authority}/"))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            origin,
            scope,
            host,
            credential,
            prefix: prefix.to_owned(),
        })
    }
}

/// All accounts that a thread has used lately.
pub struct Accounts {
    connector: Rc<Connector>,
    by_id: RefCell<HashMap<EntryId, Rc<Account>, foldhash::fast::RandomState>>,
}

impl Accounts {
    /// None yet; their connections are made by this.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self {
            connector: Rc::new(connector),
            by_id: RefCell::default(),
        }
    }

    /// The account of an entry, whose host may have addresses within `scope`; made anew, its credential opened, when either
    /// has changed: connections to where it may not lead any more are closed.
    #[must_use]
    pub fn of(
        &self,
        entry: &ArchivedProviderAccountEntry,
        scope: Scope,
        ring: &KeyRing,
    ) -> Rc<Account> {
        let mut by_id = self.by_id.borrow_mut();
        if let Some(account) = by_id.get(&entry.id)
            && account.made_from.still_holds(entry, scope)
        {
            return Rc::clone(account);
        }
        let account = Rc::new(Account::new(entry, scope, ring, &self.connector));
        by_id.insert(entry.id, Rc::clone(&account));
        account
    }

    /// Closes what has been idle for too long: to be called from time to time.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.by_id.borrow_mut().retain(|_, account| {
            if account.sweep() || Rc::strong_count(account) > 1 {
                account.used_at.set(now);
            }
            now.duration_since(account.used_at.get()) < UNUSED
        });
    }
}

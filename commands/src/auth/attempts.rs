//! How often a password may be wrong: ten times a quarter of an hour for one e-mail address, sixty for one network
//! address. Kept in memory: each replica counts for itself.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;

/// For how long failures are counted, from the first.
const WINDOW: Duration = Duration::from_mins(15);
/// Failures for one e-mail address.
const PER_EMAIL: u32 = 10;
/// Failures from one network address.
const PER_ADDRESS: u32 = 60;
/// How many addresses of each kind are remembered: a bound on memory, about 10 MB.
const REMEMBERED: u64 = 50_000;

/// Counts failed sign-ins.
#[derive(Clone)]
pub struct Attempts {
    emails: Cache<[u8; 32], Arc<Failures>>,
    addresses: Cache<IpAddr, Arc<Failures>>,
}

struct Failures {
    since: Instant,
    count: AtomicU32,
}

/// Too many failures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many failed sign-ins; try again in {} s", .retry_after.as_secs().max(1))]
pub struct TooMany {
    /// How long to wait.
    pub retry_after: Duration,
}

/// A sign-in under way: counted as failed until [`Attempt::succeeded`].
#[must_use]
pub struct Attempt {
    email: Arc<Failures>,
    address: Option<Arc<Failures>>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            emails: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(WINDOW)
                .build(),
            addresses: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(WINDOW)
                .build(),
        }
    }
}

impl Attempts {
    /// Begins a check of the password of whoever goes by this name (its hash is remembered, not the name), from this
    /// network address; `None`: from a session, which no network address needs to vouch for.
    ///
    /// # Errors
    /// When either has failed too often.
    pub fn begin(
        &self,
        name: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Attempt, TooMany> {
        let fresh = || {
            Arc::new(Failures {
                since: now,
                count: AtomicU32::new(0),
            })
        };
        let email = self
            .emails
            .get_with(*blake3::hash(name.as_bytes()).as_bytes(), fresh);
        let address = address.map(|address| self.addresses.get_with(address, fresh));
        email.check(PER_EMAIL, now)?;
        if let Some(address) = &address {
            address.check(PER_ADDRESS, now)?;
            address.count.fetch_add(1, Ordering::Relaxed);
        }
        email.count.fetch_add(1, Ordering::Relaxed);
        Ok(Attempt { email, address })
    }
}

impl Attempt {
    /// The password was right: the address has a clean record again.
    pub fn succeeded(self) {
        self.email.count.store(0, Ordering::Relaxed);
        if let Some(address) = self.address {
            address.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Failures {
    fn check(&self, most: u32, now: Instant) -> Result<(), TooMany> {
        if self.count.load(Ordering::Relaxed) < most {
            return Ok(());
        }
        Err(TooMany {
            retry_after: WINDOW.saturating_sub(now.saturating_duration_since(self.since)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn the_eleventh_failure_of_an_address_is_refused_and_others_are_not() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..PER_EMAIL {
            let _failed = attempts
                .begin("a@example.com", HERE, now)
                .expect("not yet too many");
        }
        let refused = attempts
            .begin("a@example.com", HERE, now + Duration::from_mins(5))
            .err();
        assert_eq!(
            refused,
            Some(TooMany {
                retry_after: Duration::from_mins(10)
            })
        );
        assert!(attempts.begin("b@example.com", HERE, now).is_ok());
    }

    #[test]
    fn a_success_clears_the_record_of_the_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..3 * PER_EMAIL {
            attempts
                .begin("a@example.com", HERE, now)
                .expect("never too many")
                .succeeded();
        }
    }

    #[test]
    fn one_place_cannot_try_many_addresses() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..PER_ADDRESS {
            let _failed = attempts
                .begin(&format!("{number}@example.com"), HERE, now)
                .expect("not yet too many");
        }
        assert!(attempts.begin("new@example.com", HERE, now).is_err());
    }
}

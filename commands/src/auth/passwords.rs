//! Passwords: argon2id, on threads of their own, never more at a time than there are cores.
//!
//! The parameters are those of OWASP's Password Storage Cheat Sheet (argon2id, 19 MiB, two passes, one lane):
//! about 20 ms of one core a password. A hash names its parameters, so they can be raised without a migration.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::phc::PasswordHash as Phc,
};
use tokio::sync::Semaphore;

/// Memory of one hash, in KiB (19 MiB).
const MEMORY_KIB: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// The shortest password, in characters.
const SHORTEST: usize = 12;
/// The longest password, in bytes: argon2 reads all of it.
const LONGEST_BYTES: usize = 1024;
/// How long a password waits for its turn before the caller is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// A password that nobody has: checked in the place of an unknown address's, so that both take as long.
const NOBODYS: &str = "the password of nobody at all";

/// A password of a length that is allowed, in plain text.
#[derive(Clone)]
pub struct NewPassword(String);

/// A text that is too short or too long for a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a password has at least 12 characters and at most 1,024 bytes")]
pub struct InvalidPassword;

/// Too many passwords are being checked at this moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at this moment; try again in a few seconds")]
pub struct Busy;

impl NewPassword {
    /// Checks the length.
    ///
    /// # Errors
    /// See [`InvalidPassword`].
    pub fn parse(text: String) -> Result<Self, InvalidPassword> {
        if text.chars().count() >= SHORTEST && text.len() <= LONGEST_BYTES {
            Ok(Self(text))
        } else {
            Err(InvalidPassword)
        }
    }
}

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    nobodys: Arc<str>,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            nobodys: hash(NOBODYS).into(),
        }
    }
}

impl Passwords {
    /// The hash of a new password, in PHC format.
    ///
    /// # Errors
    /// When no turn came within five seconds.
    pub async fn hash(&self, password: NewPassword) -> Result<String, Busy> {
        self.in_turn(move || hash(&password.0)).await
    }

    /// Whether this is the password of the hash. Takes as long without a hash, and is then false.
    ///
    /// # Errors
    /// When no turn came within five seconds.
    pub async fn verify(&self, password: String, known: Option<String>) -> Result<bool, Busy> {
        let nobodys = Arc::clone(&self.nobodys);
        self.in_turn(move || {
            let good_length = password.len() <= LONGEST_BYTES;
            let password = if good_length { password } else { String::new() };
            let matches = matches(&password, known.as_deref().unwrap_or(&nobodys));
            matches && good_length && known.is_some()
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| Busy)
    }
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("OWASP's parameters are allowed");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    let hash: Phc = argon2()
        .hash_password(password.as_bytes())
        .expect("a password of an allowed length, a random salt");
    hash.to_string()
}

/// A hash that cannot be read matches nothing.
fn matches(password: &str, hash: &str) -> bool {
    Phc::new(hash).is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_only() {
        let passwords = Passwords::default();
        let password = NewPassword::parse("correct horse battery".into()).expect("long enough");
        let hash = passwords.hash(password).await.expect("a turn");
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let check = async |text: &str, hash: Option<&str>| {
            passwords
                .verify(text.to_owned(), hash.map(str::to_owned))
                .await
                .expect("a turn")
        };
        assert!(check("correct horse battery", Some(&hash)).await);
        assert!(!check("correct horse batterz", Some(&hash)).await);
        assert!(!check("correct horse battery", Some("no hash")).await);
        assert!(!check(NOBODYS, None).await);
    }

    #[test]
    fn a_password_has_twelve_characters() {
        assert!(NewPassword::parse("elevenchars".into()).is_err());
        assert!(NewPassword::parse("twelve chars".into()).is_ok());
        assert!(NewPassword::parse("x".repeat(1025)).is_err());
    }
}

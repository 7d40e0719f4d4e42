//! What `commands` does with secrets: it seals providers' credentials (and cannot open them), makes keys and
//! tokens, and hashes them. The key rings come from `config`; nothing here reads a file.

mod credential;
mod seal;
mod text;

use events_schema::{id::ProviderAccountId, keyring::KeyRing, names::BaseUrl, secrets::KeyedHash};

pub use self::{
    credential::{BadCredential, seal_credential},
    seal::{SealError, Sealed},
    text::{API_KEY_PREFIX, SecretText, TOKEN_PREFIX},
};
use crate::{auth::Email, domain::Fingerprints};

/// The key rings of this service.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Keys under which API keys are hashed; shared with the gateways.
    pub pepper: KeyRing,
    /// Public keys of the gateways, to seal providers' credentials to.
    pub sealing_public: KeyRing,
    /// Keys under which e-mail addresses are hashed.
    pub fingerprint: KeyRing,
}

impl Secrets {
    /// The hash under which an API key stands in the log.
    #[must_use]
    pub fn api_key_hash(&self, key: &SecretText) -> KeyedHash {
        let (id, pepper) = self.pepper.active();
        KeyedHash::of(id, pepper, key.reveal().as_bytes())
    }

    /// Every hash under which the key may stand in the log: one for each key of the ring.
    pub fn api_key_hashes(&self, key: &SecretText) -> impl Iterator<Item = KeyedHash> {
        self.pepper
            .iter()
            .map(move |(id, pepper)| KeyedHash::of(id, pepper, key.reveal().as_bytes()))
    }

    /// The fingerprints of an address: the one that it gets now, and those that it may have been given before.
    #[must_use]
    pub fn fingerprints(&self, email: &Email) -> Fingerprints {
        let of = |(id, key): (&str, &[u8; 32])| KeyedHash::of(id, key, email.as_str().as_bytes());
        let (active, _) = self.fingerprint.active();
        Fingerprints {
            active: of(self.fingerprint.active()),
            former: (self.fingerprint.iter())
                .filter(|(id, _)| *id != active)
                .map(of)
                .collect(),
        }
    }

    /// The hash under which a request's body is remembered. Keyed: a body may hold a password, which a plain hash
    /// would let anyone who reads the database try to guess.
    #[must_use]
    pub fn request_hash(&self, body: &[u8]) -> [u8; 32] {
        let (_, key) = self.fingerprint.active();
        *blake3::keyed_hash(
            &blake3::derive_key("sluice 2026-11 hash of a command's body", key),
            body,
        )
        .as_bytes()
    }

    /// Seals a provider's credential to the active key, for this account at this URL's origin.
    ///
    /// # Errors
    /// When the public key in the ring is none.
    pub fn seal_credential(
        &self,
        account: ProviderAccountId,
        base_url: &BaseUrl,
        credential: &str,
    ) -> Result<Sealed, SealError> {
        let (id, public) = self.sealing_public.active();
        seal::seal(id, public, account, &base_url.origin(), credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_by_every_key_of_the_ring() {
        let ring = |active: &str| {
            let keys = format!(
                "\"k1\": \"{}\", \"k2\": \"{}\"",
                "01".repeat(32),
                "02".repeat(32)
            );
            KeyRing::parse(&format!(
                "{{\"active\": \"{active}\", \"keys\": {{{keys}}}}}"
            ))
            .expect("a ring")
        };
        let secrets = |active| Secrets {
            pepper: ring(active),
            sealing_public: ring(active),
            fingerprint: ring(active),
        };
        let email: Email = "bob@example.com".parse().expect("an address");
        let (before, after) = (
            secrets("k1").fingerprints(&email),
            secrets("k2").fingerprints(&email),
        );
        assert_eq!((&*before.active.key, &*after.active.key), ("k1", "k2"));
        assert_eq!(after.former, [before.active]);
    }
}

//! How events and entries refer to secrets without holding them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ProviderAccountId, SecretId};

/// Refers to a ciphertext in the table `sealed_secrets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SealedRef {
    /// The secret.
    pub id: SecretId,
    /// Which version of it, from 1.
    pub version: u32,
}

/// A keyed BLAKE3 hash, with the id of the key that made it.
///
/// Of an API key (with the pepper), or of an e-mail address in lower case (as its fingerprint).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyedHash {
    /// The id of the key in its ring; shared, since there are as many hashes as keys.
    pub key: Arc<str>,
    /// The hash: 64 hexadecimal digits in JSON.
    #[serde(with = "hex_32")]
    pub hash: [u8; 32],
}

impl KeyedHash {
    /// Hashes `data` with the key of this id.
    #[must_use]
    pub fn of(key_id: &str, key: &[u8; 32], data: &[u8]) -> Self {
        Self {
            key: key_id.into(),
            hash: *blake3::keyed_hash(key, data).as_bytes(),
        }
    }
}

/// The associated data under which a provider's credential is sealed: it names the account and the
/// origin of its base URL, so a ciphertext is of no use at any other account or address.
#[must_use]
pub fn credential_aad(account: ProviderAccountId, origin: &str) -> Vec<u8> {
    format!("sluice provider credential\n{account}\n{origin}").into_bytes()
}

/// The `info` of HPKE (RFC 9180) for provider credentials: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
pub const CREDENTIAL_INFO: &[u8] = b"sluice provider credential v1";

/// Thirty-two bytes as 64 hexadecimal digits.
pub mod hex_32 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes the digits.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    /// Reads the digits.
    ///
    /// # Errors
    /// When the text is not 64 hexadecimal digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes)
            .map_err(|_| de::Error::custom("not 64 hexadecimal digits"))?;
        Ok(bytes)
    }
}

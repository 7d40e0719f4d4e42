//! Key rings: named 256-bit keys of which one is active.
//!
//! Whatever was made with a key names the key's id, so a key is rotated by distributing the new one
//! beside the old, switching `active`, publishing again, and removing the old one. The file format is
//! JSON: `{"active": "k1", "keys": {"k1": "<64 hexadecimal digits>"}}`. Reading files is the business of the shells.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// Named keys, one of them active.
#[derive(Clone)]
pub struct KeyRing {
    active: String,
    keys: BTreeMap<String, [u8; 32]>,
}

/// Why a text is no key ring. Never quotes the text, which holds secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyRing {
    /// Not the JSON that a key ring is.
    #[error(
        "a key ring is JSON: {{\"active\": \"k1\", \"keys\": {{\"k1\": \"<64 hexadecimal digits>\"}}}}"
    )]
    NotJson,
    /// A key that is not 64 hexadecimal digits.
    #[error("the key '{0}' is not 64 hexadecimal digits")]
    Key(String),
    /// An id that is not 1 to 16 characters of a-z and 0-9.
    #[error("the key id '{0}' is not 1 to 16 characters of a-z and 0-9")]
    Id(String),
    /// The active key is not among the keys.
    #[error("the active key '{0}' is not in the ring")]
    ActiveIsMissing(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    active: String,
    keys: BTreeMap<String, String>,
}

impl KeyRing {
    /// Reads a key ring from the text of its file.
    ///
    /// # Errors
    /// See [`InvalidKeyRing`].
    pub fn parse(text: &str) -> Result<Self, InvalidKeyRing> {
        let File { active, keys } =
            serde_json::from_str(text).map_err(|_| InvalidKeyRing::NotJson)?;
        let mut read = BTreeMap::new();
        for (id, digits) in keys {
            let good_id = (1..=16).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if !good_id {
                return Err(InvalidKeyRing::Id(id));
            }
            let mut key = [0; 32];
            hex::decode_to_slice(&digits, &mut key).map_err(|_| InvalidKeyRing::Key(id.clone()))?;
            read.insert(id, key);
        }
        if read.contains_key(&active) {
            Ok(Self { active, keys: read })
        } else {
            Err(InvalidKeyRing::ActiveIsMissing(active))
        }
    }

    /// The id and the bytes of the active key.
    #[must_use]
    pub fn active(&self) -> (&str, &[u8; 32]) {
        let key = self
            .keys
            .get(&self.active)
            .expect("checked when the ring was read");
        (&self.active, key)
    }

    /// The key of this id, active or not.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&[u8; 32]> {
        self.keys.get(id)
    }

    /// All keys in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8; 32])> {
        self.keys.iter().map(|(id, key)| (id.as_str(), key))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeyRing({} keys, active '{}')",
            self.keys.len(),
            self.active
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_gives_its_active_key_and_keeps_the_old_ones() {
        let text = format!(
            r#"{{"active":"k2","keys":{{"k1":"{}","k2":"{}"}}}}"#,
            "01".repeat(32),
            "02".repeat(32)
        );
        let ring = KeyRing::parse(&text).expect("a good ring");
        assert_eq!(ring.active(), ("k2", &[2; 32]));
        assert_eq!(ring.get("k1"), Some(&[1; 32]));
        assert!(!format!("{ring:?}").contains("0202"));
    }

    #[test]
    fn a_bad_ring_is_refused_without_quoting_its_keys() {
        let check =
            |text: &str, error: InvalidKeyRing| assert_eq!(KeyRing::parse(text).err(), Some(error));
        check("secret", InvalidKeyRing::NotJson);
        check(
            r#"{"active":"k1","keys":{"k1":"ab"}}"#,
            InvalidKeyRing::Key("k1".into()),
        );
        check(
            r#"{"active":"k1","keys":{}}"#,
            InvalidKeyRing::ActiveIsMissing("k1".into()),
        );
        check(
            &format!(r#"{{"active":"K","keys":{{"K":"{}"}}}}"#, "01".repeat(32)),
            InvalidKeyRing::Id("K".into()),
        );
    }
}

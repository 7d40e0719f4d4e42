//! One hash over the whole state, to prove that two of them are the same.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{FOLD_VERSION, Organisation};
use crate::secrets::hex_32;

/// BLAKE3 over the version of the fold and the state's canonical JSON (the checkpoint's, things in the order of their ids).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateDigest(#[serde(with = "hex_32")] pub [u8; 32]);

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for StateDigest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// Hashes a checkpoint's JSON, piece by piece, to the digest of the state that it holds.
#[derive(Debug, Clone)]
pub struct StateHasher(blake3::Hasher);

impl Default for StateHasher {
    fn default() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"sluice state digest v1");
        hasher.update(&FOLD_VERSION.to_le_bytes());
        Self(hasher)
    }
}

impl StateHasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest, if the pieces were the JSON of a whole state as this version writes it.
    #[must_use]
    pub fn digest(&self) -> StateDigest {
        StateDigest(*self.0.finalize().as_bytes())
    }
}

impl Organisation {
    /// The digest of this state. Takes time in proportion to the state.
    #[must_use]
    pub fn state_digest(&self) -> StateDigest {
        let mut hasher = StateHasher::default();
        serde_json::to_writer(&mut hasher.0, self)
            .expect("the state holds nothing that JSON cannot");
        hasher.digest()
    }
}

//! Secrets that are shown once: API keys, tokens, sessions. 256 random bits as text.

use std::fmt;

use crate::fresh;

/// What every API key begins with.
pub const API_KEY_PREFIX: &str = "sk-sluice-";
/// What every automation token begins with.
pub const TOKEN_PREFIX: &str = "slt-";

/// 62^43 > 2^256: this many characters hold 256 random bits.
const CHARACTERS: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret in plain text. Never printed by `Debug`; whoever needs the text says [`SecretText::reveal`].
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// A new API key: `sk-sluice-` and 43 characters.
    #[must_use]
    pub fn new_api_key() -> Self {
        Self(format!("{API_KEY_PREFIX}{}", random()))
    }

    /// A new automation token: `slt-` and 43 characters.
    #[must_use]
    pub fn new_token() -> Self {
        Self(format!("{TOKEN_PREFIX}{}", random()))
    }

    /// A new session's secret: 43 characters.
    #[must_use]
    pub fn new_session() -> Self {
        Self(random())
    }

    /// A secret that somebody showed us.
    #[must_use]
    pub fn shown(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its last four characters, to recognise it by.
    #[must_use]
    pub fn hint(&self) -> String {
        self.0
            .get(self.0.len().saturating_sub(4)..)
            .unwrap_or_default()
            .to_owned()
    }

    /// Its hash. Enough for 256 random bits, which nobody can guess; not for passwords.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.0.as_bytes()).as_bytes()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// 43 characters, each chosen evenly: bytes past the largest multiple of 62 are thrown away.
fn random() -> String {
    let mut text = String::with_capacity(CHARACTERS);
    while text.len() < CHARACTERS {
        let bytes: [u8; 64] = fresh::bytes();
        let fair = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| char::from(ALPHABET[usize::from(*byte % 62)]));
        text.extend(fair.take(CHARACTERS - text.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_and_43_characters_and_no_two_are_alike() {
        let (one, two) = (SecretText::new_api_key(), SecretText::new_api_key());
        assert_eq!(one.reveal().len(), API_KEY_PREFIX.len() + CHARACTERS);
        assert!(
            one.reveal()[API_KEY_PREFIX.len()..]
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
        assert_ne!(one.reveal(), two.reveal());
        assert!(one.reveal().ends_with(&one.hint()) && one.hint().len() == 4);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(
            format!("{:?}", SecretText::shown("sk-sluice-x")),
            "SecretText(…)"
        );
    }
}

//! E-mail addresses, as far as Sluice needs to know them.

use std::{fmt, str::FromStr};

/// An e-mail address in lower case: something, an `@`, something with no blank in it; at most 254 characters.
/// Whether it takes mail is not for us to know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

/// Text that is not an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address looks like name@example.com and has at most 254 characters")]
pub struct InvalidEmail;

impl Email {
    /// The address in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let good = |part: &str| {
            !part.is_empty()
                && !part
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || "@<>,;\"".contains(c))
        };
        if text.len() <= 254 && good(local) && good(domain) {
            Ok(Self(text.to_lowercase()))
        } else {
            Err(InvalidEmail)
        }
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_lower_case() {
        assert_eq!(
            " Bob@Example.COM "
                .parse::<Email>()
                .expect("an address")
                .as_str(),
            "bob@example.com"
        );
    }

    #[test]
    fn other_text_is_no_address() {
        for text in [
            "",
            "bob",
            "@example.com",
            "bob@",
            "a b@example.com",
            "a@b@c",
            "<a@b>",
        ] {
            assert_eq!(text.parse::<Email>().err(), Some(InvalidEmail), "{text}");
        }
    }
}

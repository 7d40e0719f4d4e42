//! Names that people give to things, checked once where they enter.

use std::{fmt, ops::Deref, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de};

/// A short name for an account, a team or a policy: 1 to 63 characters of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

/// A model's name within its account: 1 to 128 characters of `A-Z a-z 0-9 . _ : / @ -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ModelName(String);

/// What callers ask for to be led on to other models: a [`Slug`], or one followed by `/` and a [`ModelName`], as models of
/// provider accounts are asked for. A virtual model that is called like one of these stands before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VirtualModelName(String);

/// A one-line text for people: 1 to 200 characters, none of them a control character, no blanks at the ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Label(Arc<str>);

/// The base URL of a provider: `http` or `https`, a host, perhaps a port and a path, no query, no fragment,
/// no user and no trailing slash; at most 500 characters. Paths of the API (`/chat/completions`) are appended to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BaseUrl(String);

/// A key of requests' metadata: 1 to 64 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MetadataKey(String);

/// The name of an HTTP header that may be set or left out on the way to a provider, in lower case: 1 to 64 characters of
/// `a-z 0-9 -  _ .`, and none of those that belong to the connection, to the body's form or to the account's credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HeaderName(String);

/// The value of an HTTP header: 1 to 1,024 printable ASCII characters, without blanks at its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HeaderText(String);

/// A text that is not a name of the wanted type; says what the type allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not a [`Slug`].
    #[error(
        "a name here has 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit"
    )]
    Slug,
    /// Not a [`ModelName`].
    #[error(
        "a model's name has 1 to 128 characters of A-Z, a-z, 0-9 and . _ : / @ -, and begins with a letter or digit"
    )]
    ModelName,
    /// Not a [`VirtualModelName`].
    #[error(
        "a virtual model's name has 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit; \
         '/' and a model's name may follow"
    )]
    VirtualModelName,
    /// Not a [`Label`].
    #[error("a label has 1 to 200 characters on one line, without blanks at its ends")]
    Label,
    /// Not a [`MetadataKey`].
    #[error("a key of metadata has 1 to 64 characters, none of them a control character")]
    MetadataKey,
    /// Not a [`HeaderName`].
    #[error(
        "a header's name has 1 to 64 characters of a-z, 0-9, '-', '_' and '.', and is none that belongs to the connection, \
         the body's form or the credential"
    )]
    HeaderName,
    /// Not a [`HeaderText`].
    #[error(
        "a header's value has 1 to 1,024 printable ASCII characters, without blanks at its ends"
    )]
    HeaderText,
    /// Not a [`BaseUrl`].
    #[error(
        "a base URL is http:// or https://, a host, perhaps a port and a path; without user, query, fragment and trailing slash"
    )]
    BaseUrl,
}

fn begins_well(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
}

impl FromStr for Slug {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if text.len() <= 63 && begins_well(text) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Slug)
        }
    }
}

impl FromStr for ModelName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte);
        if text.len() <= 128 && begins_well(text) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::ModelName)
        }
    }
}

impl FromStr for VirtualModelName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (first, model) = match text.split_once('/') {
            Some((first, model)) => (first, Some(model)),
            None => (text, None),
        };
        let is_good = first.parse::<Slug>().is_ok()
            && model.is_none_or(|model| model.parse::<ModelName>().is_ok());
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::VirtualModelName)
        }
    }
}

impl FromStr for Label {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let length = text.chars().count();
        if (1..=200).contains(&length) && text.trim() == text && !text.chars().any(char::is_control)
        {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::Label)
        }
    }
}

impl FromStr for MetadataKey {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::MetadataKey)
        }
    }
}

/// Headers that no routing may set or leave out.
const RESERVED_HEADERS: [&str; 21] = [
    "accept-encoding",
    "anthropic-version",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
];

impl FromStr for HeaderName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let name = text.to_ascii_lowercase();
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let is_good = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        if is_good && !RESERVED_HEADERS.contains(&name.as_str()) {
            Ok(Self(name))
        } else {
            Err(InvalidName::HeaderName)
        }
    }
}

impl FromStr for HeaderText {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if (1..=1_024).contains(&text.len()) && is_printable && text.trim() == text {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::HeaderText)
        }
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let authority = rest
            .and_then(|rest| rest.split('/').next())
            .ok_or(InvalidName::BaseUrl)?;
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\\"'<>{}|^`".contains(&byte);
        if is_authority(authority)
            && text.len() <= 500
            && !text.ends_with('/')
            && text.bytes().all(allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::BaseUrl)
        }
    }
}

/// Whether this is a host with, perhaps, a port.
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            begins_well(host)
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    };
    host_is_good && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

impl BaseUrl {
    /// The origin (scheme, host and port as written, in lower case): what a sealed credential is bound to.
    #[must_use]
    pub fn origin(&self) -> String {
        let after_scheme = self.0.find("://").map_or(0, |at| at + 3);
        let end = self.0[after_scheme..]
            .find('/')
            .map_or(self.0.len(), |at| after_scheme + at);
        self.0[..end].to_ascii_lowercase()
    }
}

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ModelName {
    /// Not a name: sorts before every name, to begin a range with.
    pub(crate) const fn least() -> Self {
        Self(String::new())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VirtualModelName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BaseUrl {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err = InvalidName>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for VirtualModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for MetadataKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VirtualModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MetadataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Deref for Slug {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for VirtualModelName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for BaseUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_url(text: &str, origin: Option<&str>) {
        assert_eq!(
            text.parse::<BaseUrl>()
                .ok()
                .map(|url| url.origin())
                .as_deref(),
            origin,
            "{text}"
        );
    }

    #[test]
    fn a_base_url_is_a_scheme_a_host_and_perhaps_a_port_and_a_path() {
        check_url("https://api.openai.com/v1", Some("https://api.openai.com"));
        check_url("http://127.0.0.1:7705/v1", Some("http://127.0.0.1:7705"));
        check_url("http://[::1]:7705", Some("http://[::1]:7705"));
        check_url("HTTP://a", None);
        check_url("ftp://a", None);
        check_url("https://", None);
        check_url("https://a/", None);
        check_url("https://user@a/v1", None);
        check_url("https://a:0", None);
        check_url("https://a:65536", None);
        check_url("https://a?x=1", None);
        check_url("https://a b", None);
    }

    #[test]
    fn slugs_are_lower_case_and_short() {
        assert!("openai-main".parse::<Slug>().is_ok());
        for text in ["", "-a", "A", "a b", "a/b", &"a".repeat(64)] {
            assert_eq!(text.parse::<Slug>(), Err(InvalidName::Slug), "{text}");
        }
    }

    #[test]
    fn virtual_models_are_called_as_one_likes_or_like_models_of_an_account() {
        for text in ["chat", "openai/gpt-4o", "router/meta/Llama-3.1:free"] {
            assert_eq!(
                text.parse().map(|it: VirtualModelName| it.to_string()),
                Ok(text.into())
            );
        }
        for text in [
            "",
            "/",
            "chat/",
            "/gpt",
            "Open/gpt",
            "a b",
            "a/b c",
            &"a".repeat(64),
        ] {
            let found = text.parse::<VirtualModelName>();
            assert_eq!(found, Err(InvalidName::VirtualModelName), "{text}");
        }
    }

    #[test]
    fn labels_are_one_line() {
        assert!("Bob's laptop ☕".parse::<Label>().is_ok());
        for text in ["", " a", "a\nb"] {
            assert_eq!(text.parse::<Label>(), Err(InvalidName::Label), "{text}");
        }
    }
}

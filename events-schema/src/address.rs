//! The address of a server as an operator writes it, `scheme://[user:password@]host[:port][/path]`: who connects to
//! what, and whether what is said on the way can be read.
//!
//! As text it is scheme, host and port alone, so that it can stand in a log line or an error.

use std::{fmt, net::IpAddr, str::FromStr};

/// Schemes of connections that are encrypted, to a server whose certificate is verified.
const ENCRYPTED: [&str; 2] = ["tls", "https"];

/// An address.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    scheme: String,
    credentials: Option<Credentials>,
    host: String,
    port: Option<u16>,
}

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// Its password; empty when there is none.
    pub password: String,
}

/// A text is no address. The text is not quoted: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address is scheme://[user:password@]host[:port]")]
pub struct InvalidAddress;

// === impl Credentials ===

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)
    }
}

// === impl Address ===

impl Address {
    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Who connects, when the address says it.
    #[must_use]
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The host; one in IPv6 has its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        ENCRYPTED.contains(&self.scheme.as_str())
    }

    /// Whether others than this machine can read what is sent there.
    #[must_use]
    pub fn is_readable_on_the_way(&self) -> bool {
        !self.is_encrypted() && !is_this_machine(&self.host)
    }
}

/// What protects a connection to Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It does not leave this machine.
    ThisMachine,
    /// It is encrypted, and the server's certificate is verified.
    Verified,
    /// It is encrypted, to whoever answers.
    Unverified,
    /// It may be readable on the way.
    None,
}

/// A URL of Postgres that does not say by itself where it leads. It is not quoted: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPostgresUrl {
    /// The server would be whatever the environment says (`PGHOST`), and so would what protects the connection.
    #[error(
        "a Postgres URL names its host: postgres://user:password@host/database, or for a socket \
         postgres://user@/database?host=/its/folder"
    )]
    NoHost,
    /// What follows a `#` is not read, an `sslmode` for instance.
    #[error("a Postgres URL has no #: write %23 for one in a password or a path")]
    Fragment,
}

/// A URL of Postgres with what protects the connection: to another machine it asks for `sslmode=verify-full` unless it
/// says something else itself, and it names `ca_file` unless it names its own `sslrootcert`.
///
/// # Errors
/// When it names no host, or has a `#`.
pub fn postgres(
    url: &str,
    ca_file: Option<&str>,
) -> Result<(String, Protection), InvalidPostgresUrl> {
    if url.contains('#') {
        return Err(InvalidPostgresUrl::Fragment);
    }
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let said = |names: &[&str]| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values =
            pairs.filter(|(name, _)| decoded(name).is_ok_and(|name| names.contains(&&*name)));
        values.next_back().map(|(_, value)| value)
    };
    let host = said(&["hostaddr", "host"]).unwrap_or_else(|| host_of(before));
    let host = decoded(host).unwrap_or_default();
    if host.is_empty() {
        return Err(InvalidPostgresUrl::NoHost);
    }
    let is_local = is_this_machine(&host);

    let mut url = url.to_owned();
    let mut add = |name: &str, value: &str| {
        let sign = if url.contains('?') { '&' } else { '?' };
        url = format!("{url}{sign}{name}={}", encoded(value));
    };
    let mode = said(&["sslmode", "ssl-mode"]).map(str::to_ascii_lowercase);
    if mode.is_none() && !is_local {
        add("sslmode", "verify-full");
    }
    if let (Some(file), None) = (ca_file, said(&["sslrootcert", "ssl-root-cert", "ssl-ca"])) {
        add("sslrootcert", file);
    }
    let protection = match mode.as_deref() {
        _ if is_local => Protection::ThisMachine,
        None | Some("verify-full") => Protection::Verified,
        Some("require" | "verify-ca") => Protection::Unverified,
        Some(_) => Protection::None,
    };
    Ok((url, protection))
}

/// The host between `scheme://[user:password@]` and `[:port][/path]`, as it is written.
fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => place,
    }
}

/// Whether a host is the machine that asks: a loopback address, `localhost`, or the folder of a socket.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost") || bare.starts_with('/'),
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidAddress)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            // A colon within brackets belongs to the host.
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| InvalidAddress)?))
            }
            _ => (place, None),
        };
        let letter = |letter: char| {
            letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | ':' | '[' | ']')
        };
        let is_host = !host.is_empty() && host.chars().all(letter);
        let is_scheme = !scheme.is_empty() && scheme.chars().all(|it| it.is_ascii_alphanumeric());
        if !is_host || !is_scheme {
            return Err(InvalidAddress);
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            credentials: credentials.map(read_credentials).transpose()?,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn read_credentials(text: &str) -> Result<Credentials, InvalidAddress> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(Credentials {
        user: decoded(user)?,
        password: decoded(password)?,
    })
}

/// With percent-encoding, for a value in a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Without percent-encoding.
fn decoded(text: &str) -> Result<String, InvalidAddress> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let digits = piece.get(..2).ok_or(InvalidAddress)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| InvalidAddress)?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| InvalidAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_where_it_leads_and_never_who_connects() {
        let check = |text: &str, shown: &str, user: Option<(&str, &str)>| {
            let address: Address = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), shown);
            let found = address
                .credentials()
                .map(|Credentials { user, password }| (user.as_str(), password.as_str()));
            assert_eq!(found, user, "{text}");
            assert!(!format!("{address:?} {:?}", address.credentials()).contains("secret"));
        };
        check("nats://h:4222", "nats://h:4222", None);
        check(
            "TLS://a:secret@h.example.com",
            "tls://h.example.com",
            Some(("a", "secret")),
        );
        check(
            "https://a@[::1]:8443/x?password=secret",
            "https://[::1]:8443",
            Some(("a", "")),
        );
        check(
            "http://a:s%40e%3Acret@h",
            "http://h",
            Some(("a", "s@e:cret")),
        );
        check("http://a:b@secret@h", "http://h", Some(("a", "b@secret")));
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_quoted() {
        for text in [
            "",
            "h:4222",
            "://h",
            "nats://",
            "nats://a:secret@",
            "nats://h:port",
            "nats://h:99999",
            "http://a:sec%zzret@h",
            "http://a:secret@h x",
        ] {
            let said = text.parse::<Address>().expect_err(text).to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_connection_to_postgres_on_another_machine_is_verified_unless_its_url_says_otherwise() {
        let check = |url: &str, secured: &str, protection: Protection| {
            let expected = (secured.to_owned(), protection);
            assert_eq!(postgres(url, None), Ok(expected), "{url}");
        };
        for url in [
            "postgres://a:b@127.0.0.1:5432/d",
            "postgres://a@/d?host=/run/postgresql",
            "postgres://a@localhost/d",
            "postgres://a@[::1]:5432/d",
            "postgres:///d?host=/run/postgresql",
            "postgres://a@%2Frun%2Fpostgresql/d",
        ] {
            check(url, url, Protection::ThisMachine);
        }
        let away = "postgres://a:b@db.example.com/d";
        check(
            away,
            &format!("{away}?sslmode=verify-full"),
            Protection::Verified,
        );
        let more = "postgres://a:b@127.0.0.1/d?application_name=x&host=db";
        check(
            more,
            &format!("{more}&sslmode=verify-full"),
            Protection::Verified,
        );
        for (mode, protection) in [
            ("verify-full", Protection::Verified),
            ("VERIFY-CA", Protection::Unverified),
            ("require", Protection::Unverified),
            ("prefer", Protection::None),
            ("allow", Protection::None),
            ("disable", Protection::None),
        ] {
            let url = format!("{away}?sslmode={mode}");
            check(&url, &url, protection);
        }
    }

    #[test]
    fn a_connection_to_postgres_that_the_environment_would_lead_away_is_refused() {
        for url in [
            "",
            "postgres://",
            "postgres:///d",
            "postgres://a:secret@/d",
            "postgres://a:secret@:5432/d",
            "postgres:///d?application_name=x",
            "postgres://db/d?host=",
        ] {
            assert_eq!(
                postgres(url, None),
                Err(InvalidPostgresUrl::NoHost),
                "{url}"
            );
        }
    }

    #[test]
    fn nothing_that_is_asked_of_postgres_hides_behind_a_fragment() {
        for url in [
            "postgres://a@db/d#",
            "postgres://a@db/d?sslmode=verify-full#x",
            "postgres://a:sec#ret@db/d",
            "postgres://a@127.0.0.1/d#x",
        ] {
            let expected = Err(InvalidPostgresUrl::Fragment);
            assert_eq!(postgres(url, Some("/ca.pem")), expected, "{url}");
        }
    }

    #[test]
    fn a_parameter_counts_however_its_name_is_written() {
        let (_, protection) = postgres("postgres://localhost/d?h%6Fst=db", None).expect("a host");
        assert_eq!(protection, Protection::Verified);
    }

    #[test]
    fn the_own_authority_is_named_unless_the_url_names_another() {
        let file = Some("/etc/sluice/our ca.pem");
        let secured = |url: &str| postgres(url, file).expect("it has a host").0;
        let url = secured("postgres://a@db/d?sslmode=verify-full");
        let named = "&sslrootcert=/etc/sluice/our%20ca.pem";
        assert_eq!(url, format!("postgres://a@db/d?sslmode=verify-full{named}"));
        let own = "postgres://a@127.0.0.1/d?sslrootcert=/x.pem";
        assert_eq!(secured(own), own);
    }

    #[test]
    fn only_plain_text_to_another_machine_can_be_read_on_the_way() {
        let check = |text: &str, readable: bool| {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.is_readable_on_the_way(), readable, "{text}");
        };
        for text in [
            "nats://127.0.0.1:4222",
            "http://127.9.9.9",
            "http://localhost:1",
            "http://[::1]:1",
            "tls://nats.example.com",
            "https://10.0.0.1",
        ] {
            check(text, false);
        }
        for text in [
            "nats://nats.example.com",
            "http://10.0.0.1:8123",
            "http://[fd00::1]:1",
            "http://localhost.example.com",
            "ws://10.0.0.1",
        ] {
            check(text, true);
        }
    }
}

//! Which addresses a provider's host may have: public ones, and private and local ones only where its account says so. Who
//! may name a URL could otherwise let a gateway ask what only a gateway can scope: its own machine, the network around it,
//! a cloud's metadata at `169.254.169.254`.
//!
//! Names are looked at where they are resolved, before each connection: one that leads elsewhere by then is not believed.
//! Of the addresses of a name only those are tried that it may have.

use std::{
    error::Error,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Where a provider account may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To public addresses.
    Public,
    /// To any address.
    Anywhere,
}

/// All addresses of a host are such as its account may not lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has private or local addresses only, and its account does not allow those")]
pub struct NotAllowed;

impl Scope {
    /// Whether a connection may be made to the address.
    #[must_use]
    pub fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Anywhere => true,
        }
    }

    /// Looks at a host that is an address as it is written. Names are the [`Resolver`]'s.
    ///
    /// # Errors
    /// [`NotAllowed`].
    pub fn check_literal(self, origin: &Uri) -> Result<(), NotAllowed> {
        let host = origin.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        match host.parse() {
            Ok(address) if !self.includes(address) => Err(NotAllowed),
            // What only the system's resolver takes for an address (`127.1`, `0x7f000001`) comes by it.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Whether an error, or what led to it, is [`NotAllowed`].
#[must_use]
pub fn is_not_allowed(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotAllowed>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Looks names up with the system's resolver, and gives of their addresses those that may be connected to.
#[derive(Debug, Clone)]
pub struct Resolver {
    system: GaiResolver,
    scope: Scope,
}

impl Resolver {
    /// For accounts that may lead so far.
    #[must_use]
    pub fn within(scope: Scope) -> Self {
        Self {
            system: GaiResolver::new(),
            scope,
        }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.system.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, scope) = (self.system.call(name), self.scope);
        Box::pin(async move { Ok(among(scope, found.await?)?.into_iter()) })
    }
}

/// Those of the addresses that may be connected to.
fn among(
    scope: Scope,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, NotAllowed> {
    let mut found = found.peekable();
    let is_known = found.peek().is_some();
    let allowed: Vec<_> = found.filter(|it| scope.includes(it.ip())).collect();
    if is_known && allowed.is_empty() {
        return Err(NotAllowed);
    }
    Ok(allowed)
}

/// Whether the address is one of the public internet: globally reachable unicast, by IANA's registries of special-purpose
/// addresses (RFC 6890). An address of IPv6 that stands for one of IPv4 is what that one is.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(embedded) => is_public_v4(embedded),
            None => is_public_v6(address),
        },
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // This network, and this host on it (RFC 1122), loopback, link-local.
        [0 | 127, ..] | [169, 254, ..]
        // Private networks (RFC 1918), and those behind carriers' translators (RFC 6598).
        | [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..]
        // Protocol assignments, the former relays of 6to4, benchmarks, documentation.
        | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _]
        // Azure's host, which only its guests can reach, under an address of the public internet.
        | [168, 63, 129, 16]
        // Multicast, reserved, broadcast.
        | [224..=255, ..]
    )
}

/// Of 2000::/3 all but the special-purpose blocks; nothing else of IPv6 is global unicast: not loopback and the unspecified
/// address, not unique local (RFC 4193), link-local, site-local and multicast addresses.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments, among them Teredo; documentation, old and new (RFC 9637).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => matches!(first, 0x2000..=0x3fff),
    }
}

/// The address of IPv4 to which a packet goes in the end: mapped (`::ffff:0:0/96`, RFC 4291), translated (`::ffff:0:0:0/96`,
/// RFC 2765), by NAT64 (`64:ff9b::/96`, RFC 6052), by 6to4 (`2002::/16`, RFC 3056). The prefix of a translator of one's own
/// (RFC 8215's among them) is not known here: an address under it is what its own block is.
const fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], is_public: bool) {
        for text in addresses {
            let address = text.parse().expect("an address");
            assert_eq!(Scope::Public.includes(address), is_public, "{text}");
            assert!(Scope::Anywhere.includes(address), "{text}");
        }
    }

    #[test]
    fn public_addresses_may_be_connected_to() {
        check(
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.167.255.255",
                "192.0.1.0",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2001:200::1",
                "2001:4860:4860::8888",
                "::ffff:1.1.1.1",
                "::ffff:0:1.1.1.1",
                "64:ff9b::1.1.1.1",
                "2002:101:101::1",
            ],
            true,
        );
    }

    #[test]
    fn private_and_local_addresses_may_not() {
        check(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "10.0.0.1",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.254",
                "169.254.169.254",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.170",
                "192.168.1.1",
                "198.19.0.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "100::1",
                "2001::1",
                "2001:db8::1",
                "3fff::1",
                "5f00::1",
                "64:ff9b:1::1.1.1.1",
                "fd00:ec2::254",
            ],
            false,
        );
    }

    #[test]
    fn an_address_that_stands_for_a_private_one_is_private() {
        check(
            &[
                "::127.0.0.1",
                "::ffff:127.0.0.1",
                "::ffff:169.254.169.254",
                "::ffff:0:10.0.0.1",
                "64:ff9b::10.0.0.1",
                "64:ff9b::a9fe:a9fe",
                "2002:7f00:1::1",
                "2002:c0a8:101::",
            ],
            false,
        );
    }

    #[test]
    fn a_host_that_is_an_address_is_looked_at_as_it_is_written() {
        let check = |origin: &'static str, expected| {
            let told = Scope::Public.check_literal(&Uri::from_static(origin));
            assert_eq!(told, expected, "{origin}");
        };
        check("http://127.0.0.1:80/", Err(NotAllowed));
        check("https://[::1]/", Err(NotAllowed));
        check("https://[::ffff:7f00:1]:443/", Err(NotAllowed));
        check("https://1.1.1.1/", Ok(()));
        check("https://[2606:4700::1111]/", Ok(()));
        check("https://localhost/", Ok(()));
    }

    #[test]
    fn of_a_names_addresses_the_public_ones_are_tried() {
        let addresses = |texts: &[&str]| {
            let parse = |text: &&str| text.parse().expect("an address");
            texts.iter().map(parse).collect::<Vec<SocketAddr>>()
        };
        let among = |scope, texts| among(scope, addresses(texts).into_iter());
        let both = &["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"];
        assert_eq!(among(Scope::Public, both), Ok(addresses(&["1.1.1.1:0"])));
        assert_eq!(among(Scope::Anywhere, both), Ok(addresses(both)));
        assert_eq!(among(Scope::Public, &["[::1]:0"]), Err(NotAllowed));
        assert_eq!(
            among(Scope::Public, &[]),
            Ok(Vec::new()),
            "nothing is known of it"
        );
    }

    #[tokio::test]
    async fn names_that_lead_to_this_machine_are_not_allowed_however_they_are_written() {
        let mut resolver = Resolver::within(Scope::Public);
        for name in [
            "localhost",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
        ] {
            let name: Name = name.parse().expect("a name");
            let error = resolver.call(name.clone()).await.expect_err("it is local");
            assert!(is_not_allowed(&*error), "{name}: {error}");
        }
    }
}

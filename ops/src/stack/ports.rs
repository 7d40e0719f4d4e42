//! The block of ports of one stack, counted from its base.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::failure::{Failure, Outcome};

/// The base when none was named.
pub(crate) const DEFAULT_BASE: u16 = 7700;

/// The gateway's distance from the base.
const GATEWAY_OFFSET: u16 = 100;

/// Where the search for a free block begins, and where it ends: below the range from which Linux
/// takes the ports of outgoing connections.
const SEARCH: std::ops::Range<u16> = 20_000..32_000;

/// The ports of a stack: `base` is the console's and the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    base: u16,
}

// === impl Ports ===

impl Ports {
    /// The block that begins at `base`.
    pub(crate) fn from_base(base: u16) -> Outcome<Self> {
        if base == 0 || base.checked_add(GATEWAY_OFFSET + 1).is_none() {
            return Err(Failure::new(format!(
                "--port-base {base} leaves no room for the gateways' ports from base + {GATEWAY_OFFSET}"
            )));
        }
        Ok(Self { base })
    }

    /// A block that is free now. `draw` spreads stacks that start at the same time.
    pub(crate) fn free(draw: u16) -> Outcome<Self> {
        let blocks = (SEARCH.end - SEARCH.start) / 10;
        (0..blocks)
            .map(|step| Self {
                base: SEARCH.start + (draw.wrapping_add(step) % blocks) * 10,
            })
            .find(|ports| ports.taken().is_empty())
            .ok_or_else(|| Failure::new("no free block of ports was found: say --port-base"))
    }

    pub(crate) fn base(self) -> u16 {
        self.base
    }

    pub(crate) fn console(self) -> u16 {
        self.base
    }

    pub(crate) fn postgres(self) -> u16 {
        self.base + 1
    }

    pub(crate) fn nats(self) -> u16 {
        self.base + 2
    }

    pub(crate) fn nats_monitoring(self) -> u16 {
        self.base + 3
    }

    pub(crate) fn clickhouse(self) -> u16 {
        self.base + 4
    }

    pub(crate) fn mock_provider(self) -> u16 {
        self.base + 5
    }

    pub(crate) fn projections(self) -> u16 {
        self.base + 6
    }

    pub(crate) fn gateway(self) -> u16 {
        self.base + GATEWAY_OFFSET
    }

    /// Where a second control plane listens, in a stack that has one.
    pub(crate) fn second_console(self) -> u16 {
        self.base + 7
    }

    /// Where its projections listen.
    pub(crate) fn second_projections(self) -> u16 {
        self.base + 8
    }

    /// Where a second gateway listens, in a stack that has one.
    pub(crate) fn second_gateway(self) -> u16 {
        self.gateway() + 1
    }

    /// Where TLS ends in front of the gateway, in a stack whose parts talk over TLS.
    pub(crate) fn gateway_tls(self) -> u16 {
        self.base + 9
    }

    /// Every port with what it is for.
    pub(crate) fn all(self) -> [(u16, &'static str); 12] {
        [
            (self.console(), "the console"),
            (self.postgres(), "Postgres"),
            (self.nats(), "NATS"),
            (self.nats_monitoring(), "NATS' monitoring"),
            (self.clickhouse(), "ClickHouse"),
            (self.mock_provider(), "the mock provider"),
            (self.projections(), "the projections' status"),
            (self.second_console(), "a second control plane"),
            (self.second_projections(), "second projections"),
            (self.gateway_tls(), "the gateway over TLS"),
            (self.gateway(), "the gateway"),
            (self.second_gateway(), "a second gateway"),
        ]
    }

    /// The ports that somebody else listens on.
    pub(crate) fn taken(self) -> Vec<(u16, &'static str)> {
        self.all()
            .into_iter()
            .filter(|(port, _)| {
                TcpListener::bind((Ipv4Addr::LOCALHOST, *port))
                    .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
            })
            .collect()
    }

    /// One sentence when a port is taken.
    pub(crate) fn must_be_free(self) -> Outcome {
        let taken = self.taken();
        let Some((port, purpose)) = taken.first() else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "port {port}, for {purpose}, is taken by another program: stop it, or choose other ports \
             with --port-base (and --data, for a second stack)"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_purpose() {
        let ports = Ports::free(7).unwrap();
        let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.clickhouse())).unwrap();
        let said = ports.must_be_free().unwrap_err().to_string();
        assert!(said.contains(&ports.clickhouse().to_string()), "{said}");
        assert!(said.contains("ClickHouse"), "{said}");
    }

    #[test]
    fn a_base_without_room_for_the_gateway_is_refused() {
        assert!(Ports::from_base(65_500).is_err());
        assert_eq!(Ports::from_base(DEFAULT_BASE).unwrap().gateway(), 7800);
    }
}

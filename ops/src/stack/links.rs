//! The ways on which a stack's processes reach one another. They are straight, unless somebody who
//! wants to cut them off puts a proxy of its own into each (`sluice test faults`).

use super::ports::Ports;

/// One process's way to another. The order is that of the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    CommandsPostgres,
    CommandsNats,
    CommandsClickhouse,
    CommandsGateway,
    ProjectionsPostgres,
    ProjectionsNats,
    ProjectionsClickhouse,
    GatewayNats,
    SecondGatewayNats,
    /// Both gateways' way to the mock provider. It stands in the history, not in the plan.
    GatewaysProvider,
    SecondCommandsPostgres,
    SecondCommandsNats,
    SecondCommandsClickhouse,
    SecondProjectionsPostgres,
    SecondProjectionsNats,
    SecondProjectionsClickhouse,
}

/// Where the ways of a stack begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    ports: Ports,
    /// The first port of the proxies, in the order of [`Link::ALL`]; none: straight.
    proxies: Option<u16>,
}

// === impl Link ===

impl Link {
    pub(crate) const ALL: [Self; 16] = [
        Self::CommandsPostgres,
        Self::CommandsNats,
        Self::CommandsClickhouse,
        Self::CommandsGateway,
        Self::ProjectionsPostgres,
        Self::ProjectionsNats,
        Self::ProjectionsClickhouse,
        Self::GatewayNats,
        Self::SecondGatewayNats,
        Self::GatewaysProvider,
        Self::SecondCommandsPostgres,
        Self::SecondCommandsNats,
        Self::SecondCommandsClickhouse,
        Self::SecondProjectionsPostgres,
        Self::SecondProjectionsNats,
        Self::SecondProjectionsClickhouse,
    ];

    /// Its place among the proxies.
    const fn offset(self) -> u16 {
        self as u16
    }

    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CommandsPostgres => "commands → postgres",
            Self::CommandsNats => "commands → nats",
            Self::CommandsClickhouse => "commands → clickhouse",
            Self::CommandsGateway => "commands → gateway",
            Self::ProjectionsPostgres => "projections → postgres",
            Self::ProjectionsNats => "projections → nats",
            Self::ProjectionsClickhouse => "projections → clickhouse",
            Self::GatewayNats => "gateway → nats",
            Self::SecondGatewayNats => "gateway-2 → nats",
            Self::GatewaysProvider => "gateways → mock-provider",
            Self::SecondCommandsPostgres => "commands-2 → postgres",
            Self::SecondCommandsNats => "commands-2 → nats",
            Self::SecondCommandsClickhouse => "commands-2 → clickhouse",
            Self::SecondProjectionsPostgres => "projections-2 → postgres",
            Self::SecondProjectionsNats => "projections-2 → nats",
            Self::SecondProjectionsClickhouse => "projections-2 → clickhouse",
        }
    }

    /// The port at which the other process listens.
    pub(crate) fn target(self, ports: Ports) -> u16 {
        match self {
            Self::CommandsPostgres
            | Self::ProjectionsPostgres
            | Self::SecondCommandsPostgres
            | Self::SecondProjectionsPostgres => ports.postgres(),
            Self::CommandsNats
            | Self::ProjectionsNats
            | Self::GatewayNats
            | Self::SecondGatewayNats
            | Self::SecondCommandsNats
            | Self::SecondProjectionsNats => ports.nats(),
            Self::CommandsClickhouse
            | Self::ProjectionsClickhouse
            | Self::SecondCommandsClickhouse
            | Self::SecondProjectionsClickhouse => ports.clickhouse(),
            Self::CommandsGateway => ports.gateway(),
            Self::GatewaysProvider => ports.mock_provider(),
        }
    }
}

// === impl Links ===

impl Links {
    pub(crate) const fn new(ports: Ports, proxies: Option<u16>) -> Self {
        Self { ports, proxies }
    }

    /// The port by which a process is to reach the other.
    pub(crate) fn port(self, link: Link) -> u16 {
        match self.proxies {
            Some(first) => first + link.offset(),
            None => link.target(self.ports),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_link_has_a_proxy_of_its_own() {
        let ports = Ports::from_base(7700).unwrap();
        let links = Links::new(ports, Some(9000));
        let taken: BTreeSet<u16> = Link::ALL.map(|link| links.port(link)).into();
        assert_eq!(taken, (9000..9016).collect());
    }
}

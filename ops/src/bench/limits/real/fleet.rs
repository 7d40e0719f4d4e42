//! The gateways under a load, with the stack behind them: NATS, and two workers of which one deals out the shares of limits.
//! Each can be struck.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use events_schema::api::status::GatewayItem;
use gateway_policy::limits::message::Incarnation;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use super::super::super::api::{Account, Api};
use super::super::super::say;
use super::super::super::stack::{Seat, Server, Stack};
use super::super::super::wire::{self, Connection};
use crate::failure::{Doing as _, Failure, Outcome};
use crate::faults::proxy::{Proxy, Way};

/// Where the gateways' ports are looked for: below the range of outgoing connections, since callers come back to a port at
/// which nothing listens for a while.
const PORTS: std::ops::Range<u16> = 32_000..32_700;

/// The two that may deal out the shares of limits.
const WORKERS: [&str; 2] = ["projections", "projections-2"];

/// What their metrics call the term in which they do.
const TERM: &str = "sluice_limits_term ";

/// How long everything may take to be back, and how often it is looked at.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where the stack's own gateway says that it runs. Nobody asks it anything.
const IDLE_REGION: &str = "default";

/// All of it, running.
pub(super) struct Fleet {
    gateways: Vec<Gateway>,
    /// The last gateway's way to NATS.
    way: Proxy,
    /// The stack behind them. It goes last.
    pub(super) stack: Stack,
}

struct Gateway {
    address: SocketAddr,
    data: PathBuf,
    region: String,
    nats_url: String,
    /// `None`: it was killed.
    server: Option<Server>,
}

/// Who deals out the shares of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InOffice {
    /// The worker.
    pub(super) worker: &'static str,
    /// Its term.
    pub(super) term: u64,
}

// === impl Fleet ===

impl Fleet {
    /// Starts the stack and so many gateways.
    pub(super) async fn up(many: u16) -> Outcome<Self> {
        let stack = Stack::up_with_standby()?;
        let (first, listeners) = free_ports(many)?;
        // Their ports are theirs from now on.
        drop(listeners);
        let nats = stack.service_port("nats")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.doing(|| "listening before NATS".to_owned())?;
        let address = listener.local_addr();
        let port = address.doing(|| "listening before NATS".to_owned())?.port();
        let way = Proxy::start(port, listener, nats);
        let around = stack
            .ready
            .nats
            .replace(&format!(":{nats}"), &format!(":{port}"));
        let gateways = (0..many).map(|at| Gateway {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, first + at)),
            data: stack.scratch(&format!("limited-{at}")),
            region: format!("limited-{at}"),
            nats_url: if at + 1 == many {
                around.clone()
            } else {
                stack.ready.nats.clone()
            },
            server: None,
        });
        let mut fleet = Self {
            gateways: gateways.collect(),
            way,
            stack,
        };
        say(&format!("starting {many} gateways"));
        for at in 0..fleet.gateways.len() {
            fleet.start(at)?;
        }
        fleet.wait_until_whole().await?;
        Ok(fleet)
    }

    /// How many gateways there are.
    pub(super) fn len(&self) -> usize {
        self.gateways.len()
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.gateways.iter().map(|it| it.address)
    }

    /// The control plane, signed in.
    pub(super) async fn api(&self) -> Outcome<Api> {
        let operator = &self.stack.ready.operator;
        let account = Account::sign_in(self.stack.api()?, &operator.email, &operator.password);
        account.await?.open().await
    }

    /// The life that a gateway lives now.
    pub(super) async fn life(&self, at: usize, api: &mut Api) -> Outcome<Incarnation> {
        life_in(&self.gateways[at].region, api).await
    }

    /// The life of the stack's own gateway.
    pub(super) async fn idle_life(&self, api: &mut Api) -> Outcome<Incarnation> {
        life_in(IDLE_REGION, api).await
    }

    /// Waits until every gateway serves a position; one that has just been cut off is not left out.
    pub(super) async fn wait_until_served(&self, position: u64, api: &mut Api) -> Outcome {
        let begun = Instant::now();
        loop {
            let gateways = gateways(api).await?;
            let serves = |region: &str| {
                let mut there = gateways.iter().filter(|it| it.report.region == region);
                there.any(|it| it.live && it.report.position >= position)
            };
            let mut regions = self.gateways.iter().map(|it| it.region.as_str());
            let Some(lacking) = regions.find(|region| !serves(region)) else {
                return Ok(());
            };
            if begun.elapsed() > WHOLE_WITHIN {
                let seconds = WHOLE_WITHIN.as_secs();
                return Err(Failure::new(format!(
                    "after {seconds} s the gateway in {lacking} does not serve position {position}"
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Who deals out the shares of limits; `None`: nobody does.
    pub(super) async fn in_office(&self) -> Outcome<Option<InOffice>> {
        for worker in WORKERS {
            let address = (Ipv4Addr::LOCALHOST, self.stack.service_port(worker)?);
            // Who cannot be asked holds no office for long.
            let term = term_of(address.into()).await.unwrap_or(0);
            if term > 0 {
                return Ok(Some(InOffice { worker, term }));
            }
        }
        Ok(None)
    }

    /// Kills (with SIGKILL) whoever deals out the shares of limits.
    pub(super) fn kill_aggregator(&self, it: InOffice) -> Outcome {
        self.stack.signal(it.worker, Signal::SIGKILL)
    }

    /// Stops NATS, which is started again.
    pub(super) fn restart_nats(&self) -> Outcome {
        self.stack.signal("nats", Signal::SIGTERM)
    }

    /// Kills a gateway (with SIGKILL).
    pub(super) fn kill(&mut self, at: usize) {
        self.gateways[at].server = None;
    }

    /// Starts the one that comes in the place of one that was killed, with the same data folder and the same port.
    pub(super) fn start(&mut self, at: usize) -> Outcome {
        let Gateway {
            address,
            data,
            region,
            nats_url,
            server,
        } = &mut self.gateways[at];
        let started = self.stack.start_gateway_at(&Seat {
            address: *address,
            data,
            nats_url,
            region,
            flags: &[],
        })?;
        *server = Some(started);
        Ok(())
    }

    /// Waits until a gateway takes requests.
    pub(super) async fn ready(&mut self, at: usize) -> Outcome {
        match &mut self.gateways[at].server {
            Some(server) => server.ready().await.map(drop),
            None => Err(Failure::new("a gateway was killed, and not started again")),
        }
    }

    /// Cuts the last gateway off from NATS, or no longer.
    pub(super) fn cut_off(&self, is_cut: bool) {
        self.way.set(if is_cut { Way::Cut } else { Way::Open });
    }

    /// Waits until every process is there, and somebody deals out shares.
    pub(super) async fn wait_until_whole(&mut self) -> Outcome {
        for at in 0..self.gateways.len() {
            self.ready(at).await?;
        }
        let begun = Instant::now();
        loop {
            let missing = self.stack.missing()?;
            let in_office = self.in_office().await?;
            if missing.is_none() && in_office.is_some() {
                return Ok(());
            }
            if begun.elapsed() > WHOLE_WITHIN {
                let who = missing.unwrap_or_else(|| "who deals out shares of limits".to_owned());
                let seconds = WHOLE_WITHIN.as_secs();
                return Err(Failure::new(format!(
                    "after {seconds} s {who} is not there"
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Ports in a row, and what listens on them.
fn free_ports(many: u16) -> Outcome<(u16, Vec<std::net::TcpListener>)> {
    for first in PORTS.step_by(usize::from(many.max(1))) {
        let bound = (first..first + many)
            .map(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        if let Ok(listeners) = bound.collect() {
            return Ok((first, listeners));
        }
    }
    Err(Failure::new("no free ports for the gateways were found"))
}

async fn gateways(api: &mut Api) -> Outcome<Vec<GatewayItem>> {
    api.get("/api/v1/gateways").await
}

/// The life of the one gateway that runs in a region.
async fn life_in(region: &str, api: &mut Api) -> Outcome<Incarnation> {
    let gateways = gateways(api).await?;
    let there = gateways.iter().filter(|it| it.report.region == region);
    let newest = there.max_by_key(|it| it.report.started_at);
    let newest = newest.ok_or_else(|| Failure::new(format!("no gateway reports from {region}")))?;
    Ok(Incarnation(newest.report.incarnation.into_bytes()))
}

/// The term in which a worker deals out shares, as its metrics say; 0: it stands by.
async fn term_of(address: SocketAddr) -> std::io::Result<u64> {
    let mut connection = Connection::open(address).await?;
    let request = wire::request("GET", "/metrics", &[], "");
    let body = connection.exchange(&request).await?.whole_body();
    let metrics = String::from_utf8_lossy(&body);
    let mut terms = metrics.lines().filter_map(|line| line.strip_prefix(TERM));
    Ok(terms
        .next()
        .and_then(|term| term.trim().parse().ok())
        .unwrap_or(0))
}

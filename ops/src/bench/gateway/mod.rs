//! What the gateway costs beside plain reverse proxies: all take turns on one core, in front of the
//! same mock provider, under the same load from the other core.
//!
//! The gateway authenticates, authorises, chooses a target, counts against two limits and records
//! each request, with 100,000 keys loaded; the proxies do nothing but pass bytes on. Everything else
//! of the stack lies on the load's core. ClickHouse, which would be on another machine, stands still
//! meanwhile: the records wait in JetStream.

mod figures;
mod soak;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use events_schema::api::status::GatewayItem;
use events_schema::report::GatewayReport;

use super::api::{Account, Api};
use super::cpu::{self, Cores};
use super::field::{Candidate, Field, Models, Who};
use super::provider::{self, Provider};
use super::proxy::peers::{self, Peer};
use super::proxy::{Proxy, Yardstick};
use super::scene::{PACED_VIRTUAL_MODEL, Scene, VIRTUAL_MODEL};
use super::stack::{REGION, Server, Stack};
use super::{Figures, cache, open, say};
use crate::failure::{Failure, Outcome};

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The nginx to use, instead of an installed one or Debian's package.
    #[arg(long, env = "SLUICE_NGINX", value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// The HAProxy to use, instead of an installed one or Debian's package.
    #[arg(long, env = "SLUICE_HAPROXY", value_name = "FILE")]
    haproxy: Option<PathBuf>,
    /// Rounds of each server and load, in turns; the figures are their medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds a round.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Keys that are loaded beside the one that is used.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Rate-limit policies that are loaded.
    #[arg(long, default_value_t = 1_000)]
    policies: u32,
    /// Seconds of full load at the end, over which the memory is watched.
    #[arg(long, default_value_t = 0)]
    soak_seconds: u64,
    /// Measures LiteLLM and Portkey beside it, out of PyPI and npm.
    #[arg(long)]
    peers: bool,
    /// Streams that a gateway of its own holds open at once, at the end.
    #[arg(long, default_value_t = 10_000)]
    open_streams: u32,
}

/// What is measured, running.
struct Servers {
    nginx: Proxy,
    haproxy: Proxy,
    gateway: Server,
    without_nats: Server,
    small: Server,
}

/// Sets everything up and lets them take turns.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let cores = Cores::choose()?;
    let yardsticks = [
        Yardstick::Nginx.find(args.nginx.as_deref(), &cache()?)?,
        Yardstick::Haproxy.find(args.haproxy.as_deref(), &cache()?)?,
    ];
    let stack = Stack::up()?;
    let operator = &stack.ready.operator;
    let account = Account::sign_in(stack.api()?, &operator.email, &operator.password).await?;
    let mut api = account.open().await?;
    let upstream = Provider::start()?;
    let scene = Scene::set(&mut api, upstream.address).await?;
    let key = scene
        .issue_key(&mut api, "the measured key".to_owned())
        .await?;
    api.wait_until_served(key.position).await?;
    let starting = Starting {
        stack: &stack,
        cores,
        secret: &key.secret,
    };
    let small = starting.with_stream("small").await?;
    small.stop().await?;
    scene.make_policies(&mut api, args.policies).await?;
    if args.keys > 0 {
        let batch = scene.issue_keys(&account, "loaded", args.keys).await?;
        api.wait_until_served(batch.newest()?.position).await?;
    }
    starting.with_stream("cut-off").await?.stop().await?;

    let [nginx, haproxy] = yardsticks.map(|program| {
        let address = provider::free_address()?;
        let folder = stack.scratch("proxies");
        program.start(&folder, cores.server, address, upstream.address)
    });
    let servers = Servers {
        nginx: nginx?,
        haproxy: haproxy?,
        gateway: starting.with_stream("measured").await?,
        without_nats: starting.with_disk("cut-off").await?,
        small: starting.with_disk("small").await?,
    };
    cpu::pin(&stack.processes()?, cores.load)?;
    cpu::pin(&[upstream.pid()], cores.load)?;
    let mut field = servers.field(cores, &upstream, &key.secret);
    let paused = stack.pause("clickhouse")?;
    let time = Duration::from_secs_f64(args.seconds);
    let mut figures = figures::compare(&field, args.rounds, time, &servers.gateway).await?;
    if args.soak_seconds > 0 {
        let time = Duration::from_secs(args.soak_seconds);
        figures.extend(soak::soak(&field, &servers.gateway, time).await?);
    }
    if args.peers {
        // Not before: what they do while nobody asks them would be in the others' figures.
        let _peers = with_peers(&mut field, &stack, &upstream)?;
        figures.extend(figures::beside_peers(&field, args.rounds, time).await?);
    }
    drop(paused);
    let report = own_report(&mut api).await?;
    figures.insert("requests".to_owned(), report.requests.into());
    figures.insert("records_dropped".to_owned(), report.records_dropped.into());
    figures.insert("entries".to_owned(), report.entries.into());
    drop(servers);
    figures.extend(open::streams(&stack, &upstream, &key.secret, args.open_streams).await?);
    Ok(figures)
}

/// Starts LLM gateways of others, and lets them take turns.
fn with_peers(field: &mut Field, stack: &Stack, upstream: &Provider) -> Outcome<Vec<Proxy>> {
    let models = Models {
        at_once: provider::MODEL,
        paced: provider::PACED_MODEL,
    };
    let mut proxies = Vec::new();
    for peer in Peer::ALL {
        say(&format!("starting {} {}", peer.name(), peer.version()));
        let address = provider::free_address()?;
        let folder = stack.scratch(peer.name());
        let behind = (upstream.address, &[models.at_once, models.paced][..]);
        let proxy = peer.start(&cache()?, &folder, field.cores.server, address, behind)?;
        let candidate = Candidate {
            pids: proxy.pids(),
            address,
            key: peers::KEY.to_owned(),
            headers: peer.headers(upstream.address),
            models,
        };
        field.candidates.insert(Who::Peer(peer), candidate);
        proxies.push(proxy);
    }
    Ok(proxies)
}

/// How gateways are started for the measurement.
struct Starting<'a> {
    stack: &'a Stack,
    cores: Cores,
    secret: &'a str,
}

// === impl Starting ===

impl Starting<'_> {
    /// A gateway that reads the stream, once it has answered.
    async fn with_stream(&self, folder: &str) -> Outcome<Server> {
        self.start(folder, &self.stack.ready.nats).await
    }

    /// A gateway that finds nothing where NATS should be, once it has answered.
    async fn with_disk(&self, folder: &str) -> Outcome<Server> {
        let nowhere = format!("nats://{}", provider::free_address()?);
        self.start(folder, &nowhere).await
    }

    async fn start(&self, folder: &str, nats_url: &str) -> Outcome<Server> {
        say(&format!("starting the gateway '{folder}'"));
        cpu::pin_here(self.cores.server)?;
        let started = self
            .stack
            .start_gateway(&self.stack.scratch(folder), nats_url);
        cpu::pin_here(self.cores.load)?;
        let mut gateway = started?;
        let question = provider::question(gateway.address, VIRTUAL_MODEL, self.secret);
        gateway.first_answer(&question.request).await?;
        Ok(gateway)
    }
}

// === impl Servers ===

impl Servers {
    fn field(&self, cores: Cores, upstream: &Provider, key: &str) -> Field {
        let plain = Models {
            at_once: provider::MODEL,
            paced: provider::PACED_MODEL,
        };
        let virtually = Models {
            at_once: VIRTUAL_MODEL,
            paced: PACED_VIRTUAL_MODEL,
        };
        let candidate = |pids, address, models| Candidate {
            pids,
            address,
            key: key.to_owned(),
            headers: Vec::new(),
            models,
        };
        let proxy = |it: &Proxy| candidate(it.pids(), it.address, plain);
        let gateway = |it: &Server| candidate(vec![it.pid()], it.address, virtually);
        let candidates = BTreeMap::from([
            (Who::Direct, candidate(Vec::new(), upstream.address, plain)),
            (Who::Nginx, proxy(&self.nginx)),
            (Who::Haproxy, proxy(&self.haproxy)),
            (Who::Gateway, gateway(&self.gateway)),
            (Who::WithoutNats, gateway(&self.without_nats)),
            (Who::Small, gateway(&self.small)),
        ]);
        Field { cores, candidates }
    }
}

/// What the measured gateway says about itself.
async fn own_report(api: &mut Api) -> Outcome<GatewayReport> {
    let gateways: Vec<GatewayItem> = api.get("/api/v1/gateways").await?;
    let mut reports = gateways
        .into_iter()
        .filter(|it| it.live)
        .map(|it| it.report);
    let own = reports.find(|report| report.region == REGION);
    own.ok_or_else(|| Failure::new("the measured gateway does not report"))
}

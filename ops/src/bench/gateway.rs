//! What the gateway costs beside nginx: both take turns on one core, in front of the same mock
//! provider, under the same load from the other core.
//!
//! The gateway authenticates, authorises, chooses a target, counts against two limits and records
//! each request; nginx does nothing but pass bytes on. Everything else of the stack lies on the
//! load's core. ClickHouse, which would be on another machine, stands still meanwhile: the records
//! wait in JetStream.

use std::path::PathBuf;
use std::time::Duration;

use events_schema::api::status::GatewayItem;
use events_schema::report::GatewayReport;

use super::api::{Account, Api};
use super::cpu::{self, Cores};
use super::load::{Shape, Target};
use super::nginx::{self, Nginx};
use super::provider::{self, Provider};
use super::round::{Round, measure, middle};
use super::scene::{Scene, VIRTUAL_MODEL};
use super::stack::{Gateway, REGION, Stack};
use super::{Figures, cache, rounded, say};
use crate::failure::{Failure, Outcome};

/// Requests a second of the paced load: every server bears it without a queue.
const PACE: u32 = 250;

/// Connections of the paced load.
const PACED_CONNECTIONS: u32 = 8;

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The nginx to use, instead of an installed one or Debian's package.
    #[arg(long, env = "SLUICE_NGINX", value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// Rounds of each server and load, in turns; the figures are their medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds a round.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

/// A server that takes its turns.
struct Candidate {
    pids: Vec<u32>,
    target: Target,
}

/// The candidates, in the order of their turns.
struct Field {
    cores: Cores,
    direct: Candidate,
    nginx: Candidate,
    gateway: Candidate,
}

/// Rounds of the three under one load.
#[derive(Default)]
struct Rounds {
    direct: Vec<Round>,
    nginx: Vec<Round>,
    gateway: Vec<Round>,
}

/// Sets everything up and lets them take turns.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args {
        nginx,
        rounds,
        seconds,
    } = args;
    let cores = Cores::choose()?;
    let program = nginx::find(nginx.as_deref(), &cache()?)?;
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

    cpu::pin_here(cores.server)?;
    let mut gateway = stack.start_gateway(&stack.scratch("measured-gateway"), &stack.ready.nats)?;
    cpu::pin_here(cores.load)?;
    let question = provider::question(gateway.address, VIRTUAL_MODEL, &key.secret);
    gateway.first_answer(&question.request).await?;
    let address = provider::free_address()?;
    let folder = stack.scratch("nginx");
    let nginx = Nginx::start(&program, &folder, cores.server, address, upstream.address)?;
    cpu::pin(&stack.processes()?, cores.load)?;
    cpu::pin(&[upstream.pid()], cores.load)?;
    let ask = |address| provider::question(address, provider::MODEL, &key.secret);
    let field = Field {
        cores,
        direct: Candidate {
            pids: Vec::new(),
            target: ask(upstream.address),
        },
        nginx: Candidate {
            pids: nginx.pids(),
            target: ask(nginx.address),
        },
        gateway: Candidate {
            pids: vec![gateway.pid()],
            target: question,
        },
    };
    let paused = stack.pause("clickhouse")?;
    let time = Duration::from_secs_f64(seconds);
    let mut figures = field.figures(rounds, time, &gateway).await?;
    drop(paused);
    let report = own_report(&mut api).await?;
    figures.insert("requests".to_owned(), report.requests.into());
    figures.insert("records_dropped".to_owned(), report.records_dropped.into());
    Ok(figures)
}

// === impl Field ===

impl Field {
    async fn figures(&self, rounds: u32, time: Duration, gateway: &Gateway) -> Outcome<Figures> {
        let closed = |connections| Shape {
            connections,
            rate: None,
            time,
        };
        let paced = Shape {
            connections: PACED_CONNECTIONS,
            rate: Some(PACE),
            time,
        };
        say("warming up");
        self.turns(1, closed(32)).await?;
        let c32 = self.turns(rounds, closed(32)).await?;
        let c1 = self.turns(rounds.div_ceil(2), closed(1)).await?;
        let c128 = self.turns(rounds.div_ceil(2), closed(128)).await?;
        let paced = self.turns(rounds, paced).await?;
        let rss = cpu::resident_mib(gateway.pid())?;

        let mut figures = Figures::new();
        let mut put = |name: &str, value: f64| {
            figures.insert(name.to_owned(), rounded(value));
        };
        let cpu_us = |rounds: &[Round]| middle(rounds, |round| round.cpu_us);
        let rate = |rounds: &[Round]| middle(rounds, |round| round.rate);
        let p50 = |rounds: &[Round]| middle(rounds, |round| round.p50_ms);
        let p99 = |rounds: &[Round]| middle(rounds, |round| round.p99_ms);
        put("cpu_ratio", cpu_us(&c32.gateway) / cpu_us(&c32.nginx));
        put("rps_ratio_c32", rate(&c32.gateway) / rate(&c32.nginx));
        put(
            "load_core_busy_pct",
            middle(&c32.gateway, |round| round.load_core_busy_pct),
        );
        put("added_p50_ms", p50(&paced.gateway) - p50(&paced.direct));
        put("added_p99_ms", p99(&paced.gateway) - p99(&paced.direct));
        put("rss_mib", rss);
        put("cpu_us", cpu_us(&c32.gateway));
        put("cpu_us_at_250_per_s", cpu_us(&paced.gateway));
        put(
            "server_core_busy_pct",
            middle(&c32.gateway, |round| round.server_core_busy_pct),
        );
        put("nginx_cpu_us", cpu_us(&c32.nginx));
        put("nginx_cpu_us_at_250_per_s", cpu_us(&paced.nginx));
        put("nginx_added_p50_ms", p50(&paced.nginx) - p50(&paced.direct));
        put("nginx_added_p99_ms", p99(&paced.nginx) - p99(&paced.direct));
        put(
            "nginx_load_core_busy_pct",
            middle(&c32.nginx, |round| round.load_core_busy_pct),
        );
        for (connections, rounds) in [(1, &c1), (32, &c32), (128, &c128)] {
            put(&format!("direct_rps_c{connections}"), rate(&rounds.direct));
            put(&format!("nginx_rps_c{connections}"), rate(&rounds.nginx));
            put(&format!("rps_c{connections}"), rate(&rounds.gateway));
        }
        put("p99_ms_c32", p99(&c32.gateway));
        put("nginx_p99_ms_c32", p99(&c32.nginx));
        Ok(figures)
    }

    /// Lets each have so many turns, one after the other, so that all meet the same conditions.
    async fn turns(&self, turns: u32, shape: Shape) -> Outcome<Rounds> {
        let mut rounds = Rounds::default();
        for turn in 1..=turns {
            let load = match shape.rate {
                Some(rate) => format!("{rate} requests a second"),
                None => format!("{} connections", shape.connections),
            };
            say(&format!("{load}, turn {turn} of {turns}"));
            rounds
                .direct
                .push(self.round("the mock provider", &self.direct, shape).await?);
            rounds
                .nginx
                .push(self.round("nginx", &self.nginx, shape).await?);
            rounds
                .gateway
                .push(self.round("the gateway", &self.gateway, shape).await?);
        }
        Ok(rounds)
    }

    async fn round(&self, name: &str, candidate: &Candidate, shape: Shape) -> Outcome<Round> {
        let round = measure(self.cores, &candidate.pids, &candidate.target, shape).await;
        round.map_err(|failure| Failure::new(format!("{name}: {failure}")))
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

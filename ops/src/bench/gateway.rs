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
use super::field::{Candidate, Field, Kind};
use super::load::Shape;
use super::nginx::{self, Nginx};
use super::provider::{self, Provider};
use super::round::Round;
use super::scene::{Scene, VIRTUAL_MODEL};
use super::stack::{REGION, Server, Stack};
use super::{Figures, cache, rounded, say};
use crate::failure::{Failure, Outcome};

/// Requests a second of the paced load: every server bears it without a queue.
const PACE: u32 = 250;

/// Streams a second of the paced load.
const STREAM_PACE: u32 = 50;

/// Connections of the paced loads.
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
    let candidate = |pids, address, model| Candidate {
        pids,
        whole: provider::question(address, model, &key.secret),
        streamed: provider::streamed_question(address, model, &key.secret),
    };
    let field = Field {
        cores,
        direct: candidate(Vec::new(), upstream.address, provider::MODEL),
        nginx: candidate(nginx.pids(), nginx.address, provider::MODEL),
        gateway: candidate(vec![gateway.pid()], gateway.address, VIRTUAL_MODEL),
    };
    let paused = stack.pause("clickhouse")?;
    let time = Duration::from_secs_f64(seconds);
    let mut figures = compare(&field, rounds, time, &gateway).await?;
    drop(paused);
    let report = own_report(&mut api).await?;
    figures.insert("requests".to_owned(), report.requests.into());
    figures.insert("records_dropped".to_owned(), report.records_dropped.into());
    Ok(figures)
}

/// Lets them take turns under each load, and compares.
async fn compare(field: &Field, rounds: u32, time: Duration, gateway: &Server) -> Outcome<Figures> {
    let closed = |connections| Shape {
        connections,
        rate: None,
        time,
    };
    let paced = |rate| Shape {
        connections: PACED_CONNECTIONS,
        rate: Some(rate),
        time,
    };
    let fewer = rounds.div_ceil(2);
    say("warming up");
    field.turns(1, closed(32), Kind::Whole).await?;
    let c32 = field.turns(rounds, closed(32), Kind::Whole).await?;
    let c1 = field.turns(fewer, closed(1), Kind::Whole).await?;
    let c128 = field.turns(fewer, closed(128), Kind::Whole).await?;
    let slow = field.turns(rounds, paced(PACE), Kind::Whole).await?;
    let bursts = field.turns(fewer, closed(32), Kind::Stream).await?;
    let streams = field.turns(fewer, paced(STREAM_PACE), Kind::Stream).await?;

    let mut figures = Figures::new();
    let mut put = |name: &str, value: f64| {
        figures.insert(name.to_owned(), rounded(value));
    };
    put("rss_mib", cpu::resident_mib(gateway.pid())?);
    put("cpu_ratio", c32.gateway(cpu_us) / c32.nginx(cpu_us));
    put("rps_ratio_c32", c32.gateway(rate) / c32.nginx(rate));
    put(
        "load_core_busy_pct",
        c32.gateway(|round| round.load_core_busy_pct),
    );
    put(
        "nginx_load_core_busy_pct",
        c32.nginx(|round| round.load_core_busy_pct),
    );
    put(
        "server_core_busy_pct",
        c32.gateway(|round| round.server_core_busy_pct),
    );
    put("cpu_us", c32.gateway(cpu_us));
    put("nginx_cpu_us", c32.nginx(cpu_us));
    put("cpu_us_at_250_per_s", slow.gateway(cpu_us));
    put("nginx_cpu_us_at_250_per_s", slow.nginx(cpu_us));
    put("added_p50_ms", slow.gateway(p50) - slow.direct(p50));
    put("added_p99_ms", slow.gateway(p99) - slow.direct(p99));
    put("nginx_added_p50_ms", slow.nginx(p50) - slow.direct(p50));
    put("nginx_added_p99_ms", slow.nginx(p99) - slow.direct(p99));
    for (connections, rounds) in [(1, &c1), (32, &c32), (128, &c128)] {
        put(&format!("rps_c{connections}"), rounds.gateway(rate));
        put(&format!("nginx_rps_c{connections}"), rounds.nginx(rate));
        put(&format!("direct_rps_c{connections}"), rounds.direct(rate));
    }
    put(
        "stream_cpu_ratio",
        bursts.gateway(cpu_us) / bursts.nginx(cpu_us),
    );
    put("stream_cpu_us", bursts.gateway(cpu_us));
    put("nginx_stream_cpu_us", bursts.nginx(cpu_us));
    put("streams_per_s_c32", bursts.gateway(rate));
    put("nginx_streams_per_s_c32", bursts.nginx(rate));
    put(
        "stream_added_first_bytes_p50_ms",
        streams.gateway(first_bytes) - streams.direct(first_bytes),
    );
    Ok(figures)
}

fn cpu_us(round: &Round) -> f64 {
    round.cpu_us
}

fn rate(round: &Round) -> f64 {
    round.rate
}

fn p50(round: &Round) -> f64 {
    round.p50_ms
}

fn p99(round: &Round) -> f64 {
    round.p99_ms
}

fn first_bytes(round: &Round) -> f64 {
    round.first_bytes_p50_ms
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

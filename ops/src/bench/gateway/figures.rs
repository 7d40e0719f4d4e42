//! The loads under which the servers take turns, and what is made of them.

use std::time::Duration;

use super::super::cpu;
use super::super::field::{Field, Kind, Rounds, Who};
use super::super::load::Shape;
use super::super::proxy::peers::Peer;
use super::super::round::Round;
use super::super::stack::Server;
use super::super::{Figures, rounded, say};
use crate::failure::Outcome;

/// Connections of loads that come at a rate of their own.
const PACED_CONNECTIONS: u32 = 8;
/// Streams at once where their chunks come one by one: about 400 end each second.
const STREAMS: u32 = 128;
/// So few at once that no core is busy: what is added to the first byte is not the wait for others.
const FEW_STREAMS: u32 = 8;

const PROXIES: &[Who] = &[Who::Direct, Who::Nginx, Who::Haproxy, Who::Gateway];
const LATENCY: &[Who] = &[Who::Direct, Who::Nginx, Who::Gateway, Who::WithoutNats];
const ALL: &[Who] = &[
    Who::Direct,
    Who::Nginx,
    Who::Haproxy,
    Who::Gateway,
    Who::WithoutNats,
    Who::Small,
];

/// Lets them take turns under each load, and compares.
pub(super) async fn compare(
    field: &Field,
    rounds: u32,
    time: Duration,
    gateway: &Server,
) -> Outcome<Figures> {
    let closed = |connections| Shape {
        connections,
        rate: None,
        time,
    };
    let open = |rate| Shape {
        connections: PACED_CONNECTIONS,
        rate: Some(rate),
        time,
    };
    let fewer = rounds.div_ceil(2);
    say("warming up");
    field.turns(ALL, 1, closed(32), Kind::Whole).await?;
    let mut table = Table(Figures::new());
    let c32 = field.turns(ALL, rounds, closed(32), Kind::Whole).await?;
    table.throughput("c32", &c32);
    table.full_load(&c32);
    let c1 = field.turns(LATENCY, rounds, closed(1), Kind::Whole).await?;
    table.throughput("c1", &c1);
    table.added("", &c1);
    let c128 = field
        .turns(PROXIES, fewer, closed(128), Kind::Whole)
        .await?;
    table.throughput("c128", &c128);
    for rate in [250, 1_000] {
        let paced = field.turns(LATENCY, fewer, open(rate), Kind::Whole).await?;
        table.open_loop(rate, &paced);
    }
    let large = field.turns(PROXIES, fewer, closed(32), Kind::Large).await?;
    table.ratio("large_cpu_ratio", &large, Who::Nginx, cpu_us);
    table.ratio("large_rps_ratio", &large, Who::Nginx, rate);
    let bursts = field.turns(PROXIES, fewer, closed(32), Kind::Burst).await?;
    table.ratio("stream_burst_cpu_ratio", &bursts, Who::Nginx, cpu_us);
    table.absolute("stream_burst_cpu_us", &bursts, cpu_us);
    let streams = field
        .turns(PROXIES, fewer, closed(STREAMS), Kind::Paced)
        .await?;
    table.ratio("stream_cpu_ratio", &streams, Who::Nginx, cpu_us);
    table.ratio("stream_haproxy_cpu_ratio", &streams, Who::Haproxy, cpu_us);
    table.absolute("stream_cpu_us", &streams, cpu_us);
    table.absolute("streams_per_s", &streams, rate);
    table.first_byte("_at_128", &streams);
    let few = field
        .turns(PROXIES, fewer, closed(FEW_STREAMS), Kind::Paced)
        .await?;
    table.first_byte("", &few);
    table.put("rss_mib", Some(cpu::resident_mib(gateway.pid())?));
    Ok(table.0)
}

/// The same load on LLM gateways of others, which are in the field.
pub(super) async fn beside_peers(field: &Field, rounds: u32, time: Duration) -> Outcome<Figures> {
    let mut table = Table(Figures::new());
    let fewer = rounds.div_ceil(2);
    let peers = Peer::ALL.map(Who::Peer);
    let who = [&[Who::Direct, Who::Gateway], &peers[..]].concat();
    let closed = |connections| Shape {
        connections,
        rate: None,
        time,
    };
    say("warming the peers up");
    field.turns(&peers, 1, closed(32), Kind::Whole).await?;
    let c32 = field.turns(&who, fewer, closed(32), Kind::Whole).await?;
    let c1 = field.turns(&who, fewer, closed(1), Kind::Whole).await?;
    let bursts = field.turns(&who, fewer, closed(32), Kind::Burst).await?;
    for peer in Peer::ALL {
        let (it, name) = (Who::Peer(peer), peer.name());
        table.put(&format!("{name}_rps_c32"), c32.of(it, rate));
        table.put(&format!("{name}_cpu_us"), c32.of(it, cpu_us));
        table.put(
            &format!("{name}_cpu_ratio"),
            c32.ratio(it, Who::Gateway, cpu_us),
        );
        table.difference(&format!("{name}_added_p50_ms"), &c1, it, p50);
        table.difference(&format!("{name}_added_p99_ms"), &c1, it, p99);
        table.put(
            &format!("{name}_stream_burst_cpu_us"),
            bursts.of(it, cpu_us),
        );
    }
    Ok(table.0)
}

/// Figures by name.
struct Table(Figures);

// === impl Table ===

impl Table {
    fn put(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), rounded(value));
        }
    }

    /// The gateway's figure, and `nginx_` and `haproxy_` before theirs.
    fn absolute(&mut self, name: &str, rounds: &Rounds, figure: fn(&Round) -> f64) {
        self.put(name, rounds.of(Who::Gateway, figure));
        self.put(&format!("nginx_{name}"), rounds.of(Who::Nginx, figure));
        self.put(&format!("haproxy_{name}"), rounds.of(Who::Haproxy, figure));
    }

    /// The gateway's figure divided by another's.
    fn ratio(&mut self, name: &str, rounds: &Rounds, to: Who, figure: fn(&Round) -> f64) {
        self.put(name, rounds.ratio(Who::Gateway, to, figure));
    }

    /// What somebody adds to the mock provider's own time.
    fn difference(&mut self, name: &str, rounds: &Rounds, of: Who, figure: fn(&Round) -> f64) {
        let added = rounds
            .of(of, figure)
            .zip(rounds.of(Who::Direct, figure))
            .map(|(with, without)| with - without);
        self.put(name, added);
    }

    fn throughput(&mut self, load: &str, rounds: &Rounds) {
        self.ratio(&format!("rps_ratio_{load}"), rounds, Who::Nginx, rate);
        self.absolute(&format!("rps_{load}"), rounds, rate);
        self.put(&format!("direct_rps_{load}"), rounds.of(Who::Direct, rate));
    }

    fn full_load(&mut self, c32: &Rounds) {
        self.ratio("cpu_ratio", c32, Who::Nginx, cpu_us);
        self.ratio("haproxy_cpu_ratio", c32, Who::Haproxy, cpu_us);
        self.absolute("cpu_us", c32, cpu_us);
        self.absolute("load_core_busy_pct", c32, |round| round.load_core_busy_pct);
        self.absolute("server_core_busy_pct", c32, |round| {
            round.server_core_busy_pct
        });
        let nats_down = c32.ratio(Who::WithoutNats, Who::Gateway, cpu_us);
        self.put("nats_down_cpu_ratio", nats_down);
        // Neither of the two has NATS: they differ in what is loaded.
        let loaded = c32.ratio(Who::WithoutNats, Who::Small, cpu_us);
        self.put("loaded_cpu_ratio", loaded);
    }

    /// What is added to a request's time, over the direct call.
    fn added(&mut self, suffix: &str, rounds: &Rounds) {
        for (quantile, figure) in [("p50", p50 as fn(&Round) -> f64), ("p99", p99)] {
            let name = format!("added_{quantile}_ms{suffix}");
            self.difference(&name, rounds, Who::Gateway, figure);
            self.difference(&format!("nginx_{name}"), rounds, Who::Nginx, figure);
        }
        // NATS has the load's core: what it does there is in the gateway's own tail.
        let tail = format!("without_nats_added_p99_ms{suffix}");
        self.difference(&tail, rounds, Who::WithoutNats, p99);
        let nats_down = rounds.ratio(Who::WithoutNats, Who::Gateway, p50);
        self.put(&format!("nats_down_latency_ratio{suffix}"), nats_down);
    }

    fn first_byte(&mut self, suffix: &str, rounds: &Rounds) {
        let name = format!("added_first_byte_ms{suffix}");
        self.difference(&name, rounds, Who::Gateway, first_bytes);
        self.difference(&format!("nginx_{name}"), rounds, Who::Nginx, first_bytes);
    }

    fn open_loop(&mut self, rate: u32, rounds: &Rounds) {
        let suffix = format!("_at_{rate}");
        self.added(&suffix, rounds);
        self.absolute(&format!("cpu_us{suffix}"), rounds, cpu_us);
    }
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

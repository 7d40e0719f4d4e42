//! What the yardsticks cost: the mock provider alone, and nginx in front of it.

use std::path::PathBuf;
use std::time::Duration;

use super::cpu::{self, Cores};
use super::load::{Shape, Target};
use super::provider::{self, Provider};
use super::proxy::Yardstick;
use super::round::{Round, measure, middle};
use super::{Figures, cache, rounded, say};
use crate::failure::{Doing as _, Outcome};

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The nginx to use, instead of an installed one or Debian's package.
    #[arg(long, env = "SLUICE_NGINX", value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// Rounds of each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds a round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// Measures the mock on the server's core, then nginx there with the mock beside the load.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args {
        nginx,
        rounds,
        seconds,
    } = args;
    let cores = Cores::choose()?;
    cpu::pin_here(cores.load)?;
    let shape = Shape {
        connections: 32,
        rate: None,
        time: Duration::from_secs_f64(seconds),
    };
    let provider = Provider::start()?;
    let direct = provider::question(provider.address, provider::MODEL, "unused");

    say("the mock provider alone on the server's core");
    cpu::pin(&[provider.pid()], cores.server)?;
    let alone = turns(rounds, cores, &[provider.pid()], &direct, shape).await?;

    say("nginx on the server's core, the mock provider beside the load");
    cpu::pin(&[provider.pid()], cores.load)?;
    let folder = tempfile::tempdir().doing(|| "making a folder for nginx".to_owned())?;
    let program = Yardstick::Nginx.find(nginx.as_deref(), &cache()?)?;
    let address = provider::free_address()?;
    let nginx = program.start(folder.path(), cores.server, address, provider.address)?;
    let proxied = provider::question(nginx.address, provider::MODEL, "unused");
    let proxy = turns(rounds, cores, &nginx.pids(), &proxied, shape).await?;

    let mut figures = Figures::new();
    for (name, rounds) in [("mock", &alone), ("nginx", &proxy)] {
        let mut put = |figure: &str, value: f64| {
            figures.insert(format!("{name}_{figure}"), rounded(value));
        };
        put("cpu_us", middle(rounds, |round| round.cpu_us));
        put("rps_c32", middle(rounds, |round| round.rate));
        put(
            "load_core_busy_pct",
            middle(rounds, |round| round.load_core_busy_pct),
        );
        put(
            "server_core_busy_pct",
            middle(rounds, |round| round.server_core_busy_pct),
        );
    }
    Ok(figures)
}

async fn turns(
    turns: u32,
    cores: Cores,
    pids: &[u32],
    target: &Target,
    shape: Shape,
) -> Outcome<Vec<Round>> {
    let mut rounds = Vec::new();
    for _ in 0..turns {
        rounds.push(measure(cores, pids, target, shape).await?);
    }
    Ok(rounds)
}

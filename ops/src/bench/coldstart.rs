//! How long a gateway that knows nothing takes until it answers an authenticated request: from the
//! stream, from its disk while NATS is away, and in an organisation that holds almost nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use events_schema::api::status::GatewayItem;

use super::api::{Account, Api};
use super::scene::{Scene, VIRTUAL_MODEL};
use super::stack::{Server, Stack};
use super::{Figures, median, provider, rounded, say};
use crate::failure::{Doing as _, Failure, Outcome};

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Keys in the organisation.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Starts of each kind; the figures are their medians.
    #[arg(long, default_value_t = 5)]
    starts: u32,
}

/// One start: when it answered, and what it then took of memory.
struct Start {
    ready: Duration,
    resident_mib: f64,
}

/// Starts gateways beside a private stack.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args { keys, starts } = args;
    let stack = Stack::up()?;
    let operator = &stack.ready.operator;
    let account = Account::sign_in(stack.api()?, &operator.email, &operator.password).await?;
    let mut api = account.open().await?;
    let upstream = provider::Provider::start()?;
    let scene = Scene::set(&mut api, upstream.address).await?;

    let first = scene
        .issue_key(&mut api, "the first key".to_owned())
        .await?;
    let trial = Trial {
        stack: &stack,
        secret: first.secret,
    };
    api.wait_until_served(first.position).await?;
    say("starting gateways in a small organisation");
    let empty = trial.starts_from_stream(starts).await?;

    let batch = scene.issue_keys(&account, "bench", keys).await?;
    let newest = batch.newest()?;
    api.wait_until_served(newest.position).await?;
    let entries = held_entries(&mut api).await?;
    let trial = Trial {
        stack: &stack,
        secret: newest.secret.clone(),
    };
    say("starting gateways from the stream");
    let stream = trial.starts_from_stream(starts).await?;
    say("starting gateways from their disk, with NATS away");
    let disk = trial.starts_from_disk(starts).await?;

    let mut figures = Figures::new();
    figures.insert("keys".to_owned(), keys.into());
    figures.insert("entries".to_owned(), entries.into());
    for (name, starts) in [("stream", &stream), ("disk", &disk), ("empty", &empty)] {
        let milliseconds = |start: &Start| start.ready.as_secs_f64() * 1_000.0;
        figures.insert(
            format!("{name}_ready_ms"),
            rounded(median(starts.iter().map(milliseconds).collect())),
        );
    }
    let resident =
        |starts: &[Start]| median(starts.iter().map(|start| start.resident_mib).collect());
    figures.insert("rss_mib".to_owned(), rounded(resident(&stream)));
    figures.insert("empty_rss_mib".to_owned(), rounded(resident(&empty)));
    figures.insert("issue_keys_per_s".to_owned(), rounded(batch.rate()));
    Ok(figures)
}

/// Starts of gateways that must then answer with one key.
struct Trial<'a> {
    stack: &'a Stack,
    secret: String,
}

// === impl Trial ===

impl Trial<'_> {
    /// Starts gateways that have no disk.
    async fn starts_from_stream(&self, starts: u32) -> Outcome<Vec<Start>> {
        let mut measured = Vec::new();
        for _ in 0..starts {
            let data = self.fresh_folder()?;
            let (gateway, start) = self.start(data, &self.stack.ready.nats).await?;
            gateway.stop().await?;
            measured.push(start);
        }
        Ok(measured)
    }

    /// Starts gateways on the disk that an earlier one left, with nothing where NATS should be.
    async fn starts_from_disk(&self, starts: u32) -> Outcome<Vec<Start>> {
        let data = self.fresh_folder()?;
        let (gateway, _) = self.start(data.clone(), &self.stack.ready.nats).await?;
        gateway.stop().await?;
        let nowhere = format!("nats://{}", provider::free_address()?);
        let mut measured = Vec::new();
        for _ in 0..starts {
            let (gateway, start) = self.start(data.clone(), &nowhere).await?;
            drop(gateway);
            measured.push(start);
        }
        Ok(measured)
    }

    async fn start(&self, data: PathBuf, nats_url: &str) -> Outcome<(Server, Start)> {
        let mut gateway = self.stack.start_gateway(&data, nats_url)?;
        let question = question(gateway.address, &self.secret);
        let ready = gateway.first_answer(&question).await?;
        let resident_mib = gateway.resident_mib()?;
        Ok((
            gateway,
            Start {
                ready,
                resident_mib,
            },
        ))
    }

    fn fresh_folder(&self) -> Outcome<PathBuf> {
        let folder = self.stack.scratch("cold-gateway");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).doing(|| format!("deleting {}", folder.display()))?;
        }
        Ok(folder)
    }
}

fn question(gateway: SocketAddr, secret: &str) -> Vec<u8> {
    provider::question(gateway, VIRTUAL_MODEL, secret)
        .request
        .to_vec()
}

/// How many entries the stack's own gateway holds.
async fn held_entries(api: &mut Api) -> Outcome<u64> {
    let gateways: Vec<GatewayItem> = api.get("/api/v1/gateways").await?;
    let held = gateways
        .iter()
        .filter(|it| it.live)
        .map(|it| it.report.entries)
        .max();
    held.ok_or_else(|| Failure::new("no gateway is alive"))
}

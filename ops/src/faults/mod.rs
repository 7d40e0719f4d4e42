//! `test faults`: a whole stack with two of each service and a proxy on every way between its processes; round after
//! round something goes wrong while commands and requests run, and after each round everything that was promised is
//! checked.
//!
//! The seed draws the faults and the work, so a run can be repeated; what the machine makes of it differs. What is found
//! is printed with seed and round, and the stack's data is kept.

mod check;
mod draw;
mod facts;
mod orders;
pub(crate) mod proxy;
mod strike;
mod work;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::{ModelItem, ProviderAccountItem};
use events_schema::api::status::Status;
use events_schema::events::{GrantedModels, KeyLimits, Owner, Subject};
use events_schema::id::VirtualAccountId;
use events_schema::keyring::KeyRing;
use futures_util::future::try_join_all;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::api::{Api, SignedIn};
use crate::dice::Dice;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::ledger;
use crate::parts::Cache;
use crate::stack::DataDir;
use crate::stack::binaries::Binaries;
use crate::stack::links::Link;
use crate::stack::ports::Ports;
use crate::stack::secrets::{self, Operator};
use check::{Checker, Folded};
use draw::Excuses;
use facts::Notebook;
use orders::Plot;
use proxy::Proxy;
use strike::Striker;
use work::tight::{Purse, cost_of, short_question};
use work::{Place, Work, Worker};

/// Where the proxies' ports are looked for: between the stacks' own and the range of outgoing connections.
const PROXY_PORTS: std::ops::Range<u16> = 32_000..32_700;

/// Commands and requests that must be answered before a round's end, after everything is back.
const SOME: u64 = 10;

/// How long those may take.
const GOES_ON_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked how far they are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Two writers, who never touch each other's things.
const WRITERS: [&str; 2] = ["fault-writer-1", "fault-writer-2"];

/// Why the run does things of its own.
const WHY: &str = "the fault run";

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Draws everything.
    pub(crate) seed: u64,
    /// No round begins after this.
    pub(crate) lasts: Duration,
}

/// The line with which `sluice up --detach` ends, as far as it is needed here.
#[derive(Deserialize)]
struct Ready {
    console: String,
    postgres: String,
    nats: String,
    clickhouse: String,
    api_key: String,
    operator: Operator,
}

/// A stack with proxies; it is taken down when dropped, and deleted unless something was found.
struct Stack {
    folder: Option<tempfile::TempDir>,
    data: DataDir,
    ports: Ports,
    ready: Ready,
    proxies: BTreeMap<Link, Proxy>,
}

/// Runs rounds until the time is over, and fails when anything was found.
pub(crate) fn run(plan: Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing(|| "starting the fault run's runtime".into())?;
    runtime.block_on(rounds(plan))
}

async fn rounds(plan: Plan) -> Outcome {
    let Plan { seed, lasts } = plan;
    let mut stack = Stack::up().await?;
    let mut dice = Dice::new(seed);
    let (place, mut checker) = stack.prepare().await?;
    let striker = Striker {
        data: stack.data.clone(),
        proxies: std::mem::take(&mut stack.proxies),
        jetstream: checker.jetstream.clone(),
    };
    let begun = Instant::now();
    let (mut round, mut findings) = (0, 0);
    while begun.elapsed() < lasts {
        round += 1;
        let blows = draw::round(&mut dice);
        let words: Vec<String> = blows.iter().map(ToString::to_string).collect();
        eprintln!("seed {seed} round {round}: {}", words.join("; "));
        let ended = one_round(&blows, &striker, &place, &mut checker, &mut dice).await;
        for finding in place.notebook.take_findings() {
            findings += 1;
            println!("FINDING seed {seed} round {round}: {finding}");
        }
        match ended {
            Ok(said) => eprintln!("  {said}"),
            Err(failure) => {
                findings += 1;
                println!("FINDING seed {seed} round {round}: {failure}");
                break;
            }
        }
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    println!("{round} rounds in {minutes:.1} min with seed {seed}, {findings} findings");
    if findings == 0 {
        return Ok(());
    }
    stack.keep();
    Err(Failure::told())
}

async fn one_round(
    blows: &[draw::Blow],
    striker: &Striker,
    place: &Place,
    checker: &mut Checker,
    dice: &mut Dice,
) -> Outcome<String> {
    let excuses = Arc::new(Excuses::of(blows));
    Worker::alone(place).open(dice).await?;
    let restarts = striker.restarts()?;
    let begun = Instant::now();
    let work = Work::start(place, &excuses, dice);
    try_join_all(blows.iter().map(|blow| striker.strike(*blow))).await?;
    striker.everything_is_back().await?;
    let back = begun.elapsed();
    goes_on(&work).await?;
    let (commands, requests) = work.finish().await?;
    let position = checker.check(&excuses, dice).await?;
    for (name, now) in striker.restarts()? {
        let before = restarts.get(&name).copied().unwrap_or_default();
        if now > before && !excuses.ended(&name) {
            place
                .notebook
                .found(format!("{name} ended {} times by itself", now - before));
        }
    }
    Ok(format!(
        "all back after {:.1} s, agreed after {:.1} s at position {position}; {commands} commands, {requests} requests",
        back.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ))
}

/// Waits until commands and requests are answered again.
async fn goes_on(work: &Work) -> Outcome {
    let before = work.done();
    let deadline = Instant::now() + GOES_ON_WITHIN;
    while Instant::now() < deadline {
        let now = work.done();
        if now.0 >= before.0 + SOME && now.1 >= before.1 + SOME {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    Err(Failure::new(format!(
        "everything is back, but of {SOME} commands and requests only {:?} were answered in {} s",
        work.done(),
        GOES_ON_WITHIN.as_secs()
    )))
}

// === impl Stack ===

impl Stack {
    async fn up() -> Outcome<Self> {
        let (first, listeners) = proxy_ports().await?;
        let ports = Ports::free(u16::from_le_bytes(secrets::random()?))?;
        let proxies = Link::ALL
            .into_iter()
            .zip((first..).zip(listeners))
            .map(|(link, (port, listener))| {
                (link, Proxy::start(port, listener, link.target(ports)))
            })
            .collect();
        let folder = tempfile::Builder::new()
            .prefix("sluice-faults-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .doing(|| "making a folder for the stack".into())?;
        let data = DataDir::locate(Some(&folder.path().join("data")))?;
        let mut command = Command::new(tool()?);
        command
            .args(["up", "--detach", "--no-build", "--no-console"])
            .args(["--second-gateway", "--second-control"])
            .args(["--proxies-from", &first.to_string()])
            .args(["--port-base", &ports.base().to_string()])
            .args(["--bound-to", &std::process::id().to_string()])
            .arg("--data")
            .arg(data.root())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        // The proxies must go on meanwhile.
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .doing(|| "starting sluice up".into())?
            .doing(|| "starting sluice up".into())?;
        if !output.status.success() {
            return Err(Failure::new("the stack for the fault run did not come up"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let ready = serde_json::from_str(text.lines().last().unwrap_or_default())
            .doing(|| "reading what sluice up says at its end".into())?;
        Ok(Self {
            folder: Some(folder),
            data,
            ports,
            ready,
            proxies,
        })
    }

    /// The scene: writers' accounts, and the provider behind its proxy.
    async fn prepare(&self) -> Outcome<(Place, Checker)> {
        let operator = &self.ready.operator;
        let SignedIn::Yes(api) = Api::sign_in(&self.ready.console, None, operator).await? else {
            return Err(Failure::new("the first owner cannot sign in"));
        };
        self.move_the_provider(&api).await?;
        let mut plots = Vec::new();
        for (writer, name) in WRITERS.into_iter().enumerate() {
            plots.push(self.plot(&api, writer, name).await?);
        }
        let purse = self.purse(&api, plots.len()).await?;
        let notebook = Notebook::default();
        notebook.facts().members = plots.iter().map(|it| it.member.to_string()).collect();
        let status: Status = api.get("/status").await?;
        let second = format!("http://127.0.0.1:{}", self.ports.second_console());
        let SignedIn::Yes(second) = Api::sign_in(&second, None, operator).await? else {
            return Err(Failure::new("the first owner cannot sign in at commands-2"));
        };
        let place = Place {
            apis: [Arc::new(api), Arc::new(second)],
            ports: self.ports,
            notebook: Arc::new(notebook),
            plots: plots.into(),
            purse,
            steady_key: self.ready.api_key.clone().into(),
        };
        let postgres = sqlx::PgPool::connect_lazy(&self.ready.postgres)
            .doing(|| "reading Postgres' URL".into())?;
        let nats = secrets::nats_passwords(&self.data)?;
        let nats = async_nats::ConnectOptions::new()
            .user_and_password("admin".to_owned(), nats.admin)
            .ping_interval(Duration::from_secs(2))
            .connect(&self.ready.nats)
            .await
            .doing(|| "connecting to NATS".into())?;
        let ring = self.data.secrets().join("snapshot-mac.json");
        let ring =
            std::fs::read_to_string(&ring).doing(|| format!("reading {}", ring.display()))?;
        let checker = Checker {
            place: place.clone(),
            postgres,
            clickhouse: ledger::client(&self.ready.clickhouse, None)?,
            jetstream: async_nats::jetstream::new(nats),
            ring: KeyRing::parse(&ring).doing(|| "reading the MAC ring".into())?,
            base: status.position,
            folded: Folded::default(),
            killed: false,
        };
        Ok((place, checker))
    }

    /// What a writer works with.
    async fn plot(&self, api: &Api, writer: usize, name: &str) -> Outcome<Plot> {
        let stranger = account(api, &format!("{name}-stranger")).await?;
        Ok(Plot {
            writer,
            member: member(api, name).await?,
            stranger,
            provider: mock(api).await?.id,
            steady_key: self.ready.api_key.clone(),
        })
    }

    /// Who spends more than is allowed, and what a request costs.
    async fn purse(&self, api: &Api, writer: usize) -> Outcome<Purse> {
        let plot = self.plot(api, writer, "fault-spender").await?;
        let fast = |item: &ModelItem| item.full_name == "mock/fast";
        let price = api.find("/models", fast).await?.and_then(|it| it.price);
        let price = price.ok_or_else(|| Failure::new("the example's model has no price"))?;
        let issue = NewCommand::IssueKey {
            owner: Owner::VirtualAccount(plot.member),
            label: "spender".to_owned(),
            expires_at: None,
            limits: KeyLimits::default(),
        };
        let key = api.command(WHY, issue).await?.secret;
        let key = key.ok_or_else(|| Failure::new("a new key is not shown"))?;
        let gateway = crate::stack::services::url(self.ports.gateway());
        let path = "/v1/chat/completions";
        let steady = &self.ready.api_key;
        let answer = work::call(&gateway, path, steady, Some(&short_question())).await?;
        Ok(Purse {
            plot,
            key: key.into(),
            price,
            one: cost_of(&answer, price),
        })
    }

    async fn move_the_provider(&self, api: &Api) -> Outcome {
        let account = mock(api).await?;
        let proxied = self.proxy_port(Link::GatewaysProvider)?;
        let moved = NewCommand::MoveProviderAccount {
            account: account.id,
            base_url: format!("http://127.0.0.1:{proxied}/v1"),
            credential: Some("mock-provider-key".to_owned()),
        };
        api.command(WHY, moved).await.map(|_| ())
    }

    fn proxy_port(&self, link: Link) -> Outcome<u16> {
        let proxy = self.proxies.get(&link);
        proxy
            .map(Proxy::port)
            .ok_or_else(|| Failure::new(format!("there is no proxy for {}", link.name())))
    }

    /// Leaves data and logs for whoever looks into the findings.
    fn keep(&mut self) {
        if let Some(folder) = self.folder.take() {
            eprintln!("Data and logs are kept in {}.", folder.keep().display());
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Of a long run the program's file may have been built anew meanwhile.
        let down = Command::new("/proc/self/exe")
            .arg("down")
            .arg("--data")
            .arg(self.data.root())
            .stdin(Stdio::null())
            .status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("sluice down did not take the fault run's stack down");
        }
        // The copies of the programs that `up` made for this data folder serve nothing else.
        if let Ok(cache) = Cache::open()
            && let Some(copies) = Binaries::of(&cache, &self.data).program("sluice").parent()
        {
            let _ = std::fs::remove_dir_all(copies);
        }
    }
}

/// The account that the example's models are of.
async fn mock(api: &Api) -> Outcome<ProviderAccountItem> {
    let found = api
        .find("/provider-accounts", |item: &ProviderAccountItem| {
            item.name == "mock"
        })
        .await?;
    found.ok_or_else(|| Failure::new("the example has no provider account"))
}

/// An owner of keys who may use every model.
async fn member(api: &Api, name: &str) -> Outcome<VirtualAccountId> {
    let made = account(api, name).await?;
    let grant = NewCommand::GrantAccess {
        subject: Subject::VirtualAccount(made),
        models: GrantedModels::All,
    };
    api.command(WHY, grant).await?;
    Ok(made)
}

/// An owner of keys who may use nothing.
async fn account(api: &Api, name: &str) -> Outcome<VirtualAccountId> {
    let create = NewCommand::CreateVirtualAccount { name: name.into() };
    let made = api.command(WHY, create).await?.id;
    let made = made.and_then(|id| id.parse().ok());
    made.ok_or_else(|| Failure::new(format!("{name} was made and has no id")))
}

/// Ports in a row for all proxies, and what listens on them.
async fn proxy_ports() -> Outcome<(u16, Vec<TcpListener>)> {
    let many = u16::try_from(Link::ALL.len()).unwrap_or(u16::MAX);
    for first in PROXY_PORTS.step_by(usize::from(many)) {
        let bound =
            (first..first + many).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        if let Ok(listeners) = try_join_all(bound).await {
            return Ok((first, listeners));
        }
    }
    Err(Failure::new("no free ports for the proxies were found"))
}

/// This program, which is also the tool that brings stacks up.
fn tool() -> Outcome<std::path::PathBuf> {
    std::env::current_exe().doing(|| "finding this program".into())
}

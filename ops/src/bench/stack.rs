//! A private stack for one measurement: `sluice up` with data and ports of its own, and gateways
//! beside it that the measurement starts and stops as it likes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::cpu;
use super::provider::free_address;
use super::wire::{self, Connection};
use crate::failure::{Doing as _, Failure, Outcome};
use crate::parts::Cache;
use crate::stack::DataDir;
use crate::stack::binaries::Binaries;
use crate::supervise::process::{self, ProcessId};
use crate::supervise::state::StackState;

/// How long a server may take to be ready.
const READY_TIME: Duration = Duration::from_secs(60);

/// How long one may take to stop.
const STOP_TIME: Duration = Duration::from_secs(20);

/// How often one is asked whether it is ready: what that adds to a figure is half of it.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// The region of the measurement's own gateways, by which the control plane tells them apart.
pub(super) const REGION: &str = "bench";

/// A running stack, taken down and deleted when dropped.
pub(super) struct Stack {
    tool: PathBuf,
    folder: tempfile::TempDir,
    /// Where everything is.
    pub(super) ready: Ready,
}

/// The line with which `sluice up --detach` ends.
#[derive(Deserialize)]
pub(super) struct Ready {
    /// The console's and the API's URL.
    pub(super) console: String,
    /// The gateway's URL.
    pub(super) gateway: String,
    /// NATS' URL.
    pub(super) nats: String,
    /// ClickHouse's URL.
    pub(super) clickhouse: String,
    /// Postgres' URL.
    pub(super) postgres: String,
    /// Who may use the console.
    pub(super) operator: Operator,
}

/// The first operator.
#[derive(Deserialize)]
pub(super) struct Operator {
    /// E-mail address.
    pub(super) email: String,
    /// Password.
    pub(super) password: String,
}

/// A gateway or a control plane of the measurement's own, killed when dropped.
pub(super) struct Server {
    what: &'static str,
    child: Child,
    started: Instant,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// Where a gateway of the measurement's own lives, however often it is started.
pub(super) struct Seat<'a> {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its data folder.
    pub(super) data: &'a Path,
    /// How it reaches NATS.
    pub(super) nats_url: &'a str,
    /// Where it says that it runs.
    pub(super) region: &'a str,
    /// More flags.
    pub(super) flags: &'a [&'a str],
}

/// A process that stands still until this is dropped.
pub(super) struct Paused {
    process: ProcessId,
}

// === impl Stack ===

impl Stack {
    /// Brings a stack up, of the programs that lie beside this one, and without the console's pages.
    pub(super) fn up() -> Outcome<Self> {
        Self::up_as(&["--no-console"])
    }

    /// Brings a stack up with a second control plane: of its workers one deals out the shares of limits, one stands by.
    pub(super) fn up_with_standby() -> Outcome<Self> {
        Self::up_as(&["--no-console", "--second-control"])
    }

    /// Brings a stack up with the console's pages, as they were last built.
    pub(super) fn up_with_console() -> Outcome<Self> {
        Self::up_as(&[])
    }

    fn up_as(flags: &[&str]) -> Outcome<Self> {
        let tool = std::env::current_exe().doing(|| "finding this program".to_owned())?;
        // Postgres runs as somebody else when this is root, and must be able to enter.
        let folder = tempfile::Builder::new()
            .prefix("sluice-bench-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .doing(|| "making a folder for the stack".to_owned())?;
        let mut command = Command::new(&tool);
        command.args(["up", "--detach", "--no-build", "--port-base", "0"]);
        command.args(flags);
        // However this process ends, the stack does, too.
        command.args(["--bound-to", &std::process::id().to_string()]);
        // The programs of the stack are of the same build as this one.
        if tool
            .parent()
            .is_some_and(|folder| folder.ends_with("release"))
        {
            command.arg("--release");
        }
        let output = command
            .arg("--data")
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .doing(|| "starting sluice up".to_owned())?;
        if !output.status.success() {
            return Err(Failure::new("the private stack did not come up"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let ready = serde_json::from_str(text.lines().last().unwrap_or_default())
            .doing(|| "reading what sluice up says at its end".to_owned())?;
        Ok(Self {
            tool,
            folder,
            ready,
        })
    }

    /// The stack's data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder that disappears with the stack.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The control plane's address.
    pub(super) fn api(&self) -> Outcome<SocketAddr> {
        address(&self.ready.console)
    }

    /// The address of the stack's own gateway.
    pub(super) fn gateway(&self) -> Outcome<SocketAddr> {
        address(&self.ready.gateway)
    }

    /// All processes of the stack.
    pub(super) fn processes(&self) -> Outcome<Vec<u32>> {
        Ok(process::family(self.state()?.supervisor.pid.unsigned_abs()))
    }

    /// Lets one process of the stack stand still.
    pub(super) fn pause(&self, name: &str) -> Outcome<Paused> {
        let process = self.process(name)?;
        process.signal(Signal::SIGSTOP);
        Ok(Paused { process })
    }

    /// Sends a signal to one process of the stack, which is started again when it ends.
    pub(super) fn signal(&self, name: &str, signal: Signal) -> Outcome {
        let reached = self.process(name)?.signal(signal);
        let missed = || Failure::new(format!("{name} had just ended"));
        reached.then_some(()).ok_or_else(missed)
    }

    /// The port of one of its services.
    pub(super) fn service_port(&self, name: &str) -> Outcome<u16> {
        let port = self.state()?.service(name).map(|service| service.port);
        port.ok_or_else(|| Failure::new(format!("the stack has no {name}")))
    }

    /// A service that does not run, or is not ready; `None`: all are.
    pub(super) fn missing(&self) -> Outcome<Option<String>> {
        let mut services = self.state()?.services.into_iter();
        let missing = services.find(|service| {
            let runs = service.process.as_ref().is_some_and(ProcessId::is_running);
            !runs || !service.ready
        });
        Ok(missing.map(|service| service.name))
    }

    fn process(&self, name: &str) -> Outcome<ProcessId> {
        let state = self.state()?;
        let process = state
            .service(name)
            .and_then(|service| service.process.clone());
        process.ok_or_else(|| Failure::new(format!("{name} does not run")))
    }

    fn state(&self) -> Outcome<StackState> {
        let file = self.data().join("stack.json");
        let state = StackState::read(&file)?;
        state.ok_or_else(|| Failure::new(format!("there is no {}", file.display())))
    }

    /// The program of that name beside this one.
    fn program(&self, name: &str) -> PathBuf {
        self.tool.with_file_name(name)
    }

    /// Starts another gateway with a data folder of its own; it inherits the calling thread's core.
    pub(super) fn start_gateway(&self, data: &Path, nats_url: &str) -> Outcome<Server> {
        self.start_gateway_with(data, nats_url, &[])
    }

    /// The same with these flags.
    pub(super) fn start_gateway_with(
        &self,
        data: &Path,
        nats_url: &str,
        flags: &[&str],
    ) -> Outcome<Server> {
        self.start_gateway_at(&Seat {
            address: free_address()?,
            data,
            nats_url,
            region: REGION,
            flags,
        })
    }

    /// Starts the gateway that has this seat.
    pub(super) fn start_gateway_at(&self, seat: &Seat<'_>) -> Outcome<Server> {
        let Seat {
            address,
            data,
            nats_url,
            region,
            flags,
        } = *seat;
        std::fs::create_dir_all(data).doing(|| format!("making {}", data.display()))?;
        let mut command = Command::new(self.program("sluice-gateway"));
        command
            .args(["--listen", &address.to_string()])
            .env("SLUICE_NATS_URL", nats_url)
            .args(["--worker-threads", "1", "--region", region])
            .args(flags)
            .arg("--data-dir")
            .arg(data)
            .arg("--secrets-dir")
            .arg(self.data().join("secrets"))
            .stdin(Stdio::null())
            .stdout(log_file(data, "gateway")?);
        Server::spawn("a gateway", command, address)
    }

    /// Starts another replica of the control plane.
    pub(super) fn start_commands(&self) -> Outcome<Server> {
        let address = free_address()?;
        let mut command = Command::new(self.program("sluice-commands"));
        command
            .args(["serve", "--listen", &address.to_string()])
            .args(["--clickhouse-url", &self.ready.clickhouse])
            .args(["--gateway-url", &self.ready.gateway])
            .env("SLUICE_NATS_URL", &self.ready.nats)
            .env("SLUICE_POSTGRES_URL", &self.ready.postgres)
            .arg("--secrets-dir")
            .arg(self.data().join("secrets"))
            .stdin(Stdio::null())
            .stdout(log_file(self.folder.path(), "commands")?);
        Server::spawn("a control plane", command, address)
    }

    /// The resident memory of one of the stack's own services.
    pub(super) fn resident_mib(&self, name: &str) -> Outcome<f64> {
        let process = self.process(name)?;
        cpu::resident_mib(process.pid.unsigned_abs())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.process.signal(Signal::SIGCONT);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let mut down = Command::new(&self.tool);
        let down = down
            .arg("down")
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null());
        if !down.status().is_ok_and(|status| status.success()) {
            eprintln!("bench: sluice down did not take the private stack down");
        }
        // The copies of the programs that `up` made for this data folder serve nothing else.
        if let Ok(copies) = copies_of_the_programs(&self.data()) {
            let _ = std::fs::remove_dir_all(copies);
        }
    }
}

fn copies_of_the_programs(data: &Path) -> Outcome<PathBuf> {
    let binaries = Binaries::of(&Cache::open()?, &DataDir::locate(Some(data))?);
    let folder = binaries
        .program("sluice")
        .parent()
        .and_then(Path::parent)
        .map(Path::to_owned);
    folder.ok_or_else(|| Failure::new("the programs lie in no folder"))
}

// === impl Server ===

impl Server {
    fn spawn(what: &'static str, mut command: Command, address: SocketAddr) -> Outcome<Self> {
        let started = Instant::now();
        let child = command.spawn().doing(|| format!("starting {what}"))?;
        Ok(Self {
            what,
            child,
            started,
            address,
        })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for 200 from `/readyz` and then for a 200 to `question`; the time since the start.
    pub(super) async fn first_answer(&mut self, question: &[u8]) -> Outcome<Duration> {
        self.ready().await?;
        self.wait_for_200(question).await?;
        Ok(self.started.elapsed())
    }

    /// Waits for 200 from `/readyz`; the time since the start.
    pub(super) async fn ready(&mut self) -> Outcome<Duration> {
        self.wait_for_200(&wire::request("GET", "/readyz", &[], ""))
            .await?;
        Ok(self.started.elapsed())
    }

    /// The memory that it takes now.
    pub(super) fn resident_mib(&self) -> Outcome<f64> {
        cpu::resident_mib(self.pid())
    }

    async fn wait_for_200(&mut self, request: &[u8]) -> Outcome {
        let mut last = String::from("nothing");
        // It may have been started long ago, and be asked once more.
        let asked_since = Instant::now();
        while asked_since.elapsed() < READY_TIME {
            if let Ok(Some(status)) = self.child.try_wait() {
                let what = self.what;
                return Err(Failure::new(format!(
                    "{what} stopped at its start ({status})"
                )));
            }
            match ask(self.address, request).await {
                Ok(200) => return Ok(()),
                Ok(status) => last = format!("status {status}"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let (what, address, seconds) = (self.what, self.address, READY_TIME.as_secs());
        Err(Failure::new(format!(
            "{what} at {address} is not ready after {seconds} s: {last}"
        )))
    }

    /// Stops it as a deployment would: it finishes what it does and writes what it knows.
    pub(super) async fn stop(mut self) -> Outcome {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        kill(pid, Signal::SIGTERM).doing(|| format!("stopping {}", self.what))?;
        let deadline = Instant::now() + STOP_TIME;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let what = self.what;
        Err(Failure::new(format!(
            "{what} did not stop when it was told to"
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill; else its data is thrown away anyway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ask(address: SocketAddr, request: &[u8]) -> std::io::Result<u16> {
    Ok(Connection::open(address)
        .await?
        .exchange(request)
        .await?
        .status)
}

fn log_file(folder: &Path, of: &str) -> Outcome<std::fs::File> {
    let path = folder.join(format!("bench-{of}.log"));
    std::fs::File::create(&path).doing(|| format!("making {}", path.display()))
}

fn address(url: &str) -> Outcome<SocketAddr> {
    let authority = url
        .split("://")
        .last()
        .unwrap_or_default()
        .trim_end_matches('/');
    authority
        .parse()
        .doing(|| format!("reading the address in {url}"))
}

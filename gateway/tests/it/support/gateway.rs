//! The gateway's process.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

use events_schema::usage::UsageRecord;
use http::Method;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::explained::decides_the_same;

use super::{
    client::{Answer, Client},
    eventually, free_address,
    nats::Nats,
    provider::Provider,
    snapshots::{KEY, RING, Snapshots},
};

/// A gateway that can be killed and started again.
pub(crate) struct Gateway {
    process: Option<Child>,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    nats_url: String,
    flags: Vec<String>,
    /// A file with the authorities that it trusts beside the system's.
    roots: Option<std::path::PathBuf>,
    /// Whether it shares limits with others: most tests have one gateway.
    pub(crate) together: bool,
}

impl Gateway {
    /// One that does not run yet.
    pub(crate) fn prepare(nats: &Nats, flags: &[&str]) -> Self {
        Self::prepare_at(nats.url(), flags)
    }

    /// One that does not run yet, and reaches NATS at this URL.
    pub(crate) fn prepare_at(nats_url: String, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = folder.path().join("secrets");
        fs::create_dir(&secrets).expect("a folder for secrets");
        for name in [
            "api-key-pepper.json",
            "snapshot-mac.json",
            "sealing-private.json",
        ] {
            let path = secrets.join(name);
            fs::write(&path, RING).expect("a key ring");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
        Self {
            process: None,
            folder,
            address: free_address(),
            nats_url,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            roots: None,
            together: false,
        }
    }

    /// Trusts this certificate, in PEM.
    pub(crate) fn trust(&mut self, pem: &str) {
        let path = self.folder.path().join("roots.pem");
        fs::write(&path, pem).expect("writable");
        self.roots = Some(path);
    }

    /// One that serves.
    pub(crate) async fn start(nats: &Nats, flags: &[&str]) -> Self {
        let mut gateway = Self::prepare(nats, flags);
        gateway.run();
        gateway.ready().await;
        gateway
    }

    /// Starts the process.
    pub(crate) fn run(&mut self) {
        self.run_into(Stdio::null());
    }

    /// Starts the process, with its log there.
    pub(crate) fn run_into(&mut self, log: Stdio) {
        let child = Command::new(env!("CARGO_BIN_EXE_sluice-gateway"))
            .args(["--listen", &self.address.to_string()])
            .args(["--nats-url", &self.nats_url])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .arg("--secrets-dir")
            .arg(self.folder.path().join("secrets"))
            .args(["--worker-threads", "2"])
            .args((!self.together).then_some("--alone"))
            .args(&self.flags)
            .envs(self.roots.iter().map(|path| ("SLUICE_CA_FILE", path)))
            .stdout(log)
            .spawn()
            .expect("the gateway starts");
        self.process = Some(child);
    }

    /// Waits until it can answer requests.
    pub(crate) async fn ready(&self) {
        eventually("the gateway is ready", async || {
            (self.status("/readyz").await? == 200).then_some(())
        })
        .await;
    }

    /// Waits until it answers at all.
    pub(crate) async fn alive(&self) {
        eventually("the gateway is alive", async || {
            (self.status("/healthz").await? == 200).then_some(())
        })
        .await;
    }

    /// The status of a path; `None`: nobody listens.
    pub(crate) async fn status(&self, path: &str) -> Option<u16> {
        tokio::net::TcpStream::connect(self.address).await.ok()?;
        let mut client = Client::connect(self.address).await;
        let answer = client.send(Method::GET, path, &[], "").await;
        Some(answer.status.as_u16())
    }

    /// A caller's connection.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One chat with the working key.
    pub(crate) async fn chat(&self, body: &str) -> Answer {
        self.chat_as(KEY, body).await
    }

    /// One chat.
    pub(crate) async fn chat_as(&self, key: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let mut client = self.client().await;
        client
            .send(Method::POST, "/v1/chat/completions", &headers, body)
            .await
    }

    /// A metric's value.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let answer = self
            .client()
            .await
            .send(Method::GET, "/metrics", &[], "")
            .await;
        let line = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("no {name} in {}", answer.body));
        line.parse().expect("a whole number")
    }

    /// The sum of a metric's values over all labels.
    pub(crate) async fn sum(&self, name: &str) -> u64 {
        let mut client = self.client().await;
        let answer = client.send(Method::GET, "/metrics", &[], "").await;
        let values = answer.body.lines().filter_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('{')?;
            value.rsplit(' ').next()?.parse::<u64>().ok()
        });
        values.sum()
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it runs");
            process.wait().expect("it was started here");
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let process = self.process.as_ref().expect("it runs");
        let pid = i32::try_from(process.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    }

    /// Waits for its end after [`Self::terminate`]; whether it ended well.
    pub(crate) async fn ended(&mut self) -> bool {
        let status = eventually("the gateway ends", async || {
            let process = self.process.as_mut().expect("it was started");
            process.try_wait().expect("it was started here")
        })
        .await;
        self.process = None;
        status.success()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// NATS with a configuration, two providers that answer well, and a gateway that serves.
pub(crate) struct Scene {
    pub(crate) nats: Nats,
    pub(crate) one: Provider,
    pub(crate) two: Provider,
    pub(crate) snapshots: Snapshots,
    pub(crate) gateway: Gateway,
}

impl Scene {
    pub(crate) async fn set(flags: &[&str]) -> Self {
        Self::set_as(flags, |snapshots, _, _| snapshots).await
    }

    /// With another configuration than usual.
    pub(crate) async fn set_as(
        flags: &[&str],
        change: impl FnOnce(Snapshots, &Provider, &Provider) -> Snapshots,
    ) -> Self {
        let nats = Nats::start().await;
        let one = Provider::start(super::provider::answer()).await;
        let two = Provider::start(super::provider::answer()).await;
        let snapshots = change(Snapshots::of(&one, &two), &one, &two);
        snapshots.publish(&nats.jetstream().await).await;
        let gateway = Gateway::start(&nats, flags).await;
        Self {
            nats,
            one,
            two,
            snapshots,
            gateway,
        }
    }

    /// The record of a request, once it has arrived in the stream.
    pub(crate) async fn record_of(&self, answer: &Answer) -> UsageRecord {
        let id = answer.header("x-request-id").to_owned();
        let arrives = self.record("the request's record arrives", |record| {
            record.request.to_string() == id
        });
        let record = arrives.await;
        decides_the_same(&record);
        record
    }

    /// The first record that is like this, once it has arrived in the stream.
    pub(crate) async fn record(
        &self,
        what: &str,
        like: impl Fn(&UsageRecord) -> bool,
    ) -> UsageRecord {
        eventually(what, async || {
            let batches = self.nats.batches().await;
            let mut records = batches.into_iter().flat_map(|batch| batch.records);
            records.find(|record| like(record))
        })
        .await
    }
}

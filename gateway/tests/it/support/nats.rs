//! A NATS server with JetStream, which can be stopped, stand still, and come back.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream,
};
use events_schema::{subjects, usage::UsageBatch};
use futures_util::StreamExt as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{eventually, free_address, variable};

/// The server.
pub(crate) struct Nats {
    process: Option<Child>,
    folder: TempDir,
    address: SocketAddr,
}

impl Nats {
    /// A place for a server that does not run yet.
    pub(crate) fn away() -> Self {
        Self {
            process: None,
            folder: tempfile::tempdir().expect("a folder"),
            address: free_address(),
        }
    }

    /// Starts one, with the streams that a gateway needs.
    pub(crate) async fn start() -> Self {
        let mut nats = Self::away();
        nats.resume().await;
        let jetstream = nats.jetstream().await;
        for (name, subjects, per_subject) in [
            (subjects::SNAPSHOTS, subjects::SNAPSHOTS_SUBJECTS, 1),
            (subjects::USAGE, subjects::USAGE_SUBJECTS, -1),
        ] {
            jetstream
                .create_stream(config(name, subjects, per_subject, None))
                .await
                .expect("a stream is made");
        }
        nats
    }

    /// Starts it, on the same port and data as before.
    pub(crate) async fn resume(&mut self) {
        let child = Command::new(variable("SLUICE_TEST_NATS_SERVER"))
            .args(["-a", "127.0.0.1", "-js", "-p"])
            .arg(self.address.port().to_string())
            .arg("-sd")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        self.process = Some(child);
        eventually("NATS answers", async || {
            let client = async_nats::connect(self.url()).await.ok()?;
            jetstream::new(client).query_account().await.ok()
        })
        .await;
    }

    /// Deletes the stream of snapshots, and makes it anew behind where it was.
    pub(crate) async fn renew_snapshots(&self) {
        let jetstream = self.jetstream().await;
        jetstream
            .delete_stream(subjects::SNAPSHOTS)
            .await
            .expect("it is there");
        let (name, subjects) = (subjects::SNAPSHOTS, subjects::SNAPSHOTS_SUBJECTS);
        jetstream
            .create_stream(config(name, subjects, 1, Some(1_000_000)))
            .await
            .expect("a stream is made");
    }

    /// How many readers of the snapshots have been sent all that there is.
    pub(crate) async fn readers_at_the_end(&self) -> usize {
        let jetstream = self.jetstream().await;
        let stream = jetstream.get_stream(subjects::SNAPSHOTS).await;
        let consumers = stream.expect("it is there");
        let at_the_end = consumers.consumers().filter(|info| {
            let is_there = info.as_ref().is_ok_and(|info| info.num_pending == 0);
            std::future::ready(is_there)
        });
        at_the_end.count().await
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it runs");
            process.wait().expect("it was started here");
        }
    }

    /// Lets it stand still: it keeps its connections and says nothing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = i32::try_from(process.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.expect("NATS answers"))
    }

    /// All batches of request records in the stream.
    pub(crate) async fn batches(&self) -> Vec<UsageBatch> {
        let jetstream = self.jetstream().await;
        let stream = jetstream
            .get_stream(subjects::USAGE)
            .await
            .expect("the stream is there");
        let count = stream.cached_info().state.messages;
        if count == 0 {
            return Vec::new();
        }
        let consumer = stream
            .create_consumer(pull::Config {
                ack_policy: AckPolicy::None,
                deliver_policy: DeliverPolicy::All,
                ..pull::Config::default()
            })
            .await
            .expect("a consumer is made");
        let messages = consumer.messages().await.expect("messages");
        let count = usize::try_from(count).expect("few");
        messages
            .take(count)
            .map(|message| {
                serde_json::from_slice(&message.expect("a message").payload)
                    .expect("what the ledger reads")
            })
            .collect()
            .await
    }
}

fn config(
    name: &str,
    subjects: &str,
    per_subject: i64,
    first_sequence: Option<u64>,
) -> stream::Config {
    stream::Config {
        name: name.into(),
        subjects: vec![subjects.into()],
        max_messages_per_subject: per_subject,
        allow_direct: true,
        allow_message_ttl: true,
        first_sequence,
        ..stream::Config::default()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

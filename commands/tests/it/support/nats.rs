//! A private NATS server with JetStream for each test.

use std::{path::PathBuf, time::Duration};

use async_nats::jetstream;

use super::{
    PATIENCE, eventually,
    server::{Server, free_port, make_folder, setting},
};

/// A running NATS server.
#[derive(Debug)]
pub(crate) struct Nats {
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!(
            "sluice-test-{}",
            commands::fresh::uuid().as_simple()
        ));
        make_folder(&folder);
        let mut nats = Self {
            folder,
            port: free_port(),
            server: None,
        };
        nats.resume().await;
        nats
    }

    /// Starts it (again) and waits until JetStream answers.
    pub(crate) async fn resume(&mut self) {
        let program = setting("SLUICE_TEST_NATS_SERVER", "the binary nats-server");
        let store = self.folder.join("store").display().to_string();
        let arguments = [
            "-a",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-js",
            "-sd",
            &store,
        ];
        self.server = Some(Server::start(
            &self.folder,
            &program,
            &arguments.map(str::to_owned),
        ));
        let jetstream = self.jetstream().await;
        eventually("JetStream answers", || async {
            jetstream.query_account().await.is_ok()
        })
        .await;
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        self.server.take().expect("it runs").end("kill");
    }

    /// Removes everything that it stored; it must not run.
    pub(crate) fn forget_everything(&self) {
        assert!(self.server.is_none(), "it runs");
        std::fs::remove_dir_all(self.folder.join("store")).expect("it has stored something");
    }

    /// Keeps a copy of what it stored; it must not run.
    pub(crate) fn copy_store(&self, from: &str, to: &str) {
        assert!(self.server.is_none(), "it runs");
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        let _ = std::fs::remove_dir_all(&to);
        let status = super::server::unprivileged("cp")
            .arg("-R")
            .arg(from)
            .arg(to)
            .status()
            .expect("cp starts");
        assert!(status.success());
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A client as the services use it: it connects whenever the server is there. Where it is, it has.
    pub(crate) async fn client(&self) -> async_nats::Client {
        let client = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .ping_interval(Duration::from_secs(2))
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(format!("127.0.0.1:{}", self.port))
            .await
            .expect("it connects later, if not now");
        if self.server.is_some() {
            let connected = tokio::time::timeout(PATIENCE, client.flush()).await;
            connected.expect("NATS answers").expect("it is connected");
        }
        client
    }

    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::context::ContextBuilder::new()
            .timeout(Duration::from_secs(1))
            .build(self.client().await)
    }

    /// The last sequence of `EVENTS`; `None` when it is not there.
    pub(crate) async fn last_sequence(&self) -> Option<u64> {
        let jetstream = self.jetstream().await;
        let stream = tokio::time::timeout(PATIENCE, jetstream.get_stream("EVENTS"))
            .await
            .expect("NATS answers");
        stream
            .ok()
            .map(|stream| stream.cached_info().state.last_sequence)
    }
}

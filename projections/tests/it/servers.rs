//! Server processes for one test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use events_schema::subjects;
use projections::{trust::Trust, warehouse::Warehouse};
use tempfile::TempDir;

/// Servers start and workers notice things within seconds; a slow machine gets more.
const DEADLINE: Duration = Duration::from_secs(30);

/// A process that is killed when it is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A NATS server with JetStream.
pub(crate) struct Nats {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
}

impl Nats {
    /// Starts one on an empty folder.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut nats = Self {
            process: None,
            folder,
            port: free_port(),
        };
        nats.resume().await;
        nats
    }

    /// Starts it again, on the same port and data.
    pub(crate) async fn resume(&mut self) {
        let child = Command::new(variable("SLUICE_TEST_NATS_SERVER"))
            .args([
                "-a",
                "127.0.0.1",
                "-js",
                "-p",
                &self.port.to_string(),
                "-sd",
            ])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        self.process = Some(Process(child));
        eventually("NATS answers", async || {
            let client = async_nats::connect(self.url()).await.ok()?;
            jetstream::new(client).query_account().await.ok()
        })
        .await;
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// A copy of its data, taken while it runs: what a power cut would leave.
    pub(crate) fn copy_data(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    /// Puts a copy of its data in place of what it has; it must not be running.
    pub(crate) fn put_back(&mut self, copy: TempDir) {
        assert!(self.process.is_none(), "the server still runs");
        self.folder = copy;
    }

    /// A connection that comes back by itself.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(
            async_nats::connect(self.url())
                .await
                .expect("NATS is there"),
        )
    }

    /// `EVENTS`, empty where it was not there.
    pub(crate) async fn events(&self) {
        let config = jetstream::stream::Config {
            name: subjects::EVENTS.into(),
            subjects: vec![subjects::EVENTS_SUBJECTS.into()],
            ..jetstream::stream::Config::default()
        };
        let context = self.jetstream().await;
        let made = context.get_or_create_stream(config).await;
        made.expect("EVENTS is there");
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The same, as the service wants it.
    pub(crate) fn server(&self) -> projections::nats::Server {
        projections::nats::Server::new(&self.url(), Trust::default()).expect("a good URL")
    }
}

/// The embedded ClickHouse.
pub(crate) struct ClickHouse {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
}

impl ClickHouse {
    /// Starts one on an empty folder.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut clickhouse = Self {
            process: None,
            folder,
            port: free_port(),
        };
        clickhouse.resume();
        clickhouse
    }

    /// Starts it again, on the same port and data.
    pub(crate) fn resume(&mut self) {
        let mut child = Command::new(sluice())
            .args([
                "clickhouse",
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--path",
            ])
            .arg(self.folder.path().join("data"))
            .arg("--lib")
            .arg(variable("SLUICE_TEST_CHDB"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the embedded ClickHouse starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says where it listens");
        self.process = Some(Process(child));
        assert!(
            line.contains("http://"),
            "ClickHouse did not start: {line:?}"
        );
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A connection.
    pub(crate) fn warehouse(&self) -> Warehouse {
        Warehouse::new(&self.url(), &Trust::default()).expect("a good URL")
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: &str) {
        self.warehouse()
            .client()
            .query(sql)
            .execute()
            .await
            .expect(sql);
    }

    /// One number; `None` while it cannot be told.
    pub(crate) async fn number(&self, sql: &str) -> Option<u64> {
        self.warehouse()
            .client()
            .query(sql)
            .fetch_one::<u64>()
            .await
            .ok()
    }

    /// Waits until a query gives this number.
    pub(crate) async fn becomes(&self, sql: &str, expected: u64) {
        let mut last = None;
        let started = Instant::now();
        while last != Some(expected) {
            assert!(
                started.elapsed() < DEADLINE,
                "{sql}: {last:?} instead of {expected}"
            );
            last = self.number(sql).await;
            tokio::task::yield_now().await;
        }
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "waited too long: {what}");
        tokio::task::yield_now().await;
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The tool, built beside the tests.
fn sluice() -> PathBuf {
    let mut path = std::env::current_exe().expect("this program has a path");
    path.pop();
    path.pop();
    path.push("sluice");
    assert!(
        path.exists(),
        "{} is missing: build the package ops, or run `cargo ops test`",
        path.display()
    );
    path
}

/// A new database on the Postgres that the test command has started; its URL.
pub(crate) async fn new_database() -> String {
    use sqlx::{ConnectOptions as _, Executor as _, postgres::PgConnectOptions};
    let server = variable("SLUICE_TEST_POSTGRES");
    let server: PgConnectOptions = server
        .to_str()
        .and_then(|url| url.parse().ok())
        .expect("a URL");
    let name = format!("projections_{}_{}", std::process::id(), free_port());
    let mut connection = server.connect().await.expect("Postgres is there");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    connection.execute(create).await.expect("a new database");
    server.database(&name).to_url_lossy().to_string()
}

/// A path or a URL that the test command names.
#[expect(
    clippy::disallowed_methods,
    reason = "what the test command prepared is told by its environment"
)]
fn variable(name: &str) -> PathBuf {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: run `cargo ops test`"))
        .into()
}

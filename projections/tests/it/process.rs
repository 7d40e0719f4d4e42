//! The program itself, as an operator starts it, asks it and kills it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::{
    history::History,
    ledger::{REQUESTS, ROLLED, publish},
    servers::{ClickHouse, Nats, Process, eventually, free_port},
    snapshots::told,
};

/// A folder with the ring of MAC keys.
fn secrets() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = format!(r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#, "01".repeat(32));
    let path = folder.path().join("snapshot-mac.json");
    fs::write(&path, ring).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    folder
}

fn program(nats: &Nats, secrets: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sluice-projections"));
    program
        .env_clear()
        .args(["--nats-url", &nats.url()])
        // Nobody listens there: Postgres is away.
        .args(["--postgres-url", "postgres://nobody@127.0.0.1:1/none"])
        .arg("--secrets-dir")
        .arg(secrets);
    program
}

/// All of it, on a port of its own.
struct Projections {
    process: Process,
    port: u16,
}

impl Projections {
    fn start(nats: &Nats, clickhouse: &ClickHouse, secrets: &Path) -> Self {
        let port = free_port();
        let child = program(nats, secrets)
            .args(["--clickhouse-url", &clickhouse.url()])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        Self {
            process: Process(child),
            port,
        }
    }

    /// Sends it a signal.
    fn signal(&self, name: &str) {
        let pid = self.process.0.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.expect("kill starts").success(), "kill {name} {pid}");
    }

    /// Status line, headers and body; `None` while nobody answers.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The same over TLS, by whoever trusts this certificate.
    async fn get_over_tls(&self, certificate: &[u8], path: &str) -> Option<String> {
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate.to_vec().into());
        added.expect("a good certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = ("127.0.0.1", self.port);
        let stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let mut stream = connected.await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Waits for this text in the answer.
    async fn says(&self, path: &str, text: &str) {
        eventually(&format!("{path} says {text:?}"), async || {
            self.get(path).filter(|answer| answer.contains(text))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_lives_whether_it_works_and_how_far_it_is() {
    let (nats, clickhouse, secrets) = (Nats::start().await, ClickHouse::start(), secrets());
    let projections = Projections::start(&nats, &clickhouse, secrets.path());
    projections.says("/healthz", "HTTP/1.1 200 OK").await;
    // There is no history yet.
    projections
        .says("/readyz", "HTTP/1.1 503 Service Unavailable")
        .await;
    let mut history = History::new();
    history.issue_key(1);
    let jetstream = nats.jetstream().await;
    history.relay(&jetstream).await;
    publish(&jetstream, 1, 1..4).await;
    projections.says("/readyz", "HTTP/1.1 200 OK").await;
    projections
        .says("/metrics", "\nsluice_publisher_told_position 3\n")
        .await;
    projections
        .says("/metrics", "\nsluice_audit_position 3\n")
        .await;
    projections
        .says("/metrics", "\nsluice_ledger_rows_total 3\n")
        .await;
    // What needs Postgres says that it waits, and is not in the way of the others.
    projections
        .says("/metrics", "\nsluice_corrections_working 0\n")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_says_so_over_tls_and_nothing_in_plain_text() {
    let (nats, secrets) = (Nats::start().await, secrets());
    let place = |name: &str| secrets.path().join(name);
    let renew = || {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(place("key.pem"), signing_key.serialize_pem()).expect("written");
        fs::write(place("cert.pem"), cert.pem()).expect("written");
        cert.der().to_vec()
    };
    let first = renew();
    let port = free_port();
    let child = program(&nats, secrets.path())
        .args(["--clickhouse-url", "http://127.0.0.1:1"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .arg("--tls-cert")
        .arg(place("cert.pem"))
        .arg("--tls-key")
        .arg(place("key.pem"))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let projections = Projections {
        process: Process(child),
        port,
    };
    let alive = async |certificate: &[u8]| -> Option<()> {
        let answer = projections.get_over_tls(certificate, "/healthz").await?;
        answer.starts_with("HTTP/1.1 200 OK").then_some(())
    };
    eventually("it answers over TLS", async || alive(&first).await).await;
    let plain = projections.get("/healthz");
    assert!(
        !plain.is_some_and(|it| it.contains("HTTP")),
        "in plain text"
    );
    let second = renew();
    eventually("another certificate is shown", async || {
        alive(&second).await
    })
    .await;
    assert_eq!(alive(&first).await, None);
    projections.signal("-TERM");
    let mut projections = projections;
    let ended = tokio::task::spawn_blocking(move || projections.process.0.wait()).await;
    assert!(ended.expect("no panic").expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_counts_each_request_once() {
    let (nats, clickhouse, secrets) = (Nats::start().await, ClickHouse::start(), secrets());
    let jetstream = nats.jetstream().await;
    let mut projections = Projections::start(&nats, &clickhouse, secrets.path());
    for round in 0..6 {
        let first = 1 + 40 * round;
        for batch in 0..20 {
            publish(&jetstream, 1, first + 2 * batch..first + 2 * batch + 2).await;
        }
        eventually("some of it is there", async || {
            let there = clickhouse.number(REQUESTS).await?;
            (there > 40 * round).then_some(())
        })
        .await;
        // The one before is killed when the next one is there, perhaps in the middle of a batch.
        projections = Projections::start(&nats, &clickhouse, secrets.path());
    }
    clickhouse.becomes(ROLLED, 240).await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(240));
    drop(projections);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_revives_nothing_and_counts_nothing_twice_when_it_wakes() {
    let (nats, clickhouse, secrets) = (Nats::start().await, ClickHouse::start(), secrets());
    let jetstream = nats.jetstream().await;
    let mut history = History::new();
    history.issue_key(1);
    history.relay(&jetstream).await;
    let frozen = Projections::start(&nats, &clickhouse, secrets.path());
    told(&jetstream, history.position()).await;
    publish(&jetstream, 1, 1..11).await;
    clickhouse.becomes(ROLLED, 10).await;
    let other = Projections::start(&nats, &clickhouse, secrets.path());
    other.says("/readyz", "HTTP/1.1 200 OK").await;
    other
        .says("/metrics", "\nsluice_publisher_leader 0\n")
        .await;

    frozen.signal("-STOP");
    other
        .says("/metrics", "\nsluice_publisher_leader 1\n")
        .await;
    history.revoke_key(1);
    history.relay(&jetstream).await;
    told(&jetstream, history.position()).await;
    publish(&jetstream, 1, 11..21).await;
    clickhouse.becomes(ROLLED, 20).await;

    frozen.signal("-CONT");
    frozen
        .says("/metrics", "\nsluice_publisher_leader 0\n")
        .await;
    history.issue_key(2);
    history.relay(&jetstream).await;
    let shelf = told(&jetstream, history.position()).await;
    assert!(shelf.has_key(2) && !shelf.has_key(1));
    publish(&jetstream, 1, 21..31).await;
    clickhouse.becomes(ROLLED, 30).await;
    assert_eq!(clickhouse.number(REQUESTS).await, Some(30));
    other
        .says("/metrics", "\nsluice_publisher_leader 1\n")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_started_by_hand_ends_with_the_reason() {
    let (nats, clickhouse, secrets) = (Nats::start().await, ClickHouse::start(), secrets());
    let jetstream = nats.jetstream().await;
    History::new().relay(&jetstream).await;
    let projections = Projections::start(&nats, &clickhouse, secrets.path());
    projections
        .says("/metrics", "\nsluice_publisher_leader 1\n")
        .await;
    let program = program(&nats, secrets.path()).arg("publish").output();
    let ended = program.expect("it starts, and ends");
    assert!(!ended.status.success());
    let reason = String::from_utf8_lossy(&ended.stderr);
    assert!(
        reason.contains("another publisher, of generation")
            && reason.contains("this one stops and has changed nothing"),
        "{reason}"
    );
}

//! NATS over TLS: at a server that asks whoever connects for a certificate, and with somebody on the way who would like to
//! be the server.

use std::{
    fs,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::{Message, Subscriber};
use events_schema::subjects;
use futures_util::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::support::{eventually, free_address, gateway::Gateway, variable};

/// How many connections are refused after the others were cut. The gateway has fewer clients than this, so one of them
/// came more than once, and whoever knows of another server turns there in between.
const REFUSED: usize = 12;

/// A server, an authority, and a certificate for it and for its clients.
struct Server {
    process: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        make_certificates(folder.path());
        let address = free_address();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "listen: \"{address}\"
tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}
",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        );
        let configuration = folder.path().join("nats.conf");
        fs::write(&configuration, text).expect("it can be written");
        let process = Command::new(variable("SLUICE_TEST_NATS_SERVER"))
            .arg("-c")
            .arg(configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts");
        Self {
            process,
            folder,
            address,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn client(&self) -> async_nats::Client {
        eventually("NATS answers", async || {
            async_nats::ConnectOptions::new()
                .add_root_certificates(self.file("ca.pem"))
                .add_client_certificate(self.file("client.pem"), self.file("client.key"))
                .connect(self.url())
                .await
                .ok()
        })
        .await
    }

    fn url(&self) -> String {
        format!("tls://{}", self.address)
    }
}

/// Somebody on the way to a server, who tells of another one and cuts connections.
struct OnTheWay {
    server: SocketAddr,
    other: SocketAddr,
    /// Whether connections are passed on; those that there are, are cut when they are not.
    passes: watch::Sender<bool>,
    refused: AtomicUsize,
}

// === impl OnTheWay ===

impl OnTheWay {
    /// Begins to listen; everything goes to `server`, and `other` is told of.
    async fn start(server: SocketAddr, other: SocketAddr) -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let it = Arc::new(Self {
            server,
            other,
            passes: watch::Sender::new(true),
            refused: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&it);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *serving.passes.borrow() {
                    tokio::spawn(Arc::clone(&serving).pass_on(stream));
                } else {
                    serving.refused.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        (address, it)
    }

    async fn pass_on(self: Arc<Self>, mut client: TcpStream) {
        let mut passes = self.passes.subscribe();
        let mut server = TcpStream::connect(self.server).await.expect("it listens");
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(server.read_u8().await.expect("it says what it is"));
        }
        let line = String::from_utf8(line).expect("text");
        let told = line.strip_prefix("INFO ").expect("that comes first");
        let mut told: Value = serde_json::from_str(told).expect("JSON");
        told["connect_urls"] = json!([self.other.to_string()]);
        let line = format!("INFO {told}\r\n");
        // Either end may go away at any time.
        let _ = client.write_all(line.as_bytes()).await;
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            _ = passes.wait_for(|passes| !passes) => {}
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_certificates(folder: &Path) {
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("it can be written");
    };
    let key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("a certificate");
    write("ca.pem", certificate.pem());
    let issuer = Issuer::new(authority, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_asks_for_a_certificate_is_shown_the_gateways() {
    let server = Server::start();
    let client = server.client().await;
    let mut reports = client
        .subscribe(subjects::GATEWAY_REPORTS)
        .await
        .expect("the server takes it");
    client.flush().await.expect("the server has it");
    let path = |name: &str| server.file(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let trusting = ["--ca-file", &ca];
    let own = [
        "--nats-client-cert",
        &certificate,
        "--nats-client-key",
        &key,
    ];

    let log = server.file("log");
    let mut stranger = Gateway::prepare_at(server.url(), &trusting);
    stranger.run_into(File::create(&log).expect("a log").into());
    eventually("the gateway says why it is refused", async || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let said = |line: &str| {
            line.contains("NATS cannot be reached") && line.contains("CertificateRequired")
        };
        text.lines().any(said).then_some(())
    })
    .await;
    drop(stranger);

    let mut gateway = Gateway::prepare_at(server.url(), &[trusting.as_slice(), &own].concat());
    gateway.run();
    let heard = reported(&mut reports).await;
    assert!(!heard.payload.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_of_in_plain_text_is_never_turned_to() {
    let server = Server::start();
    let client = server.client().await;
    let mut reports = client
        .subscribe(subjects::GATEWAY_REPORTS)
        .await
        .expect("the server takes it");
    client.flush().await.expect("the server has it");
    let trap = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("it can be asked");
    let other = trap.local_addr().expect("bound");
    let (address, on_the_way) = OnTheWay::start(server.address, other).await;

    let path = |name: &str| server.file(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let flags = [
        "--ca-file",
        &ca,
        "--nats-client-cert",
        &certificate,
        "--nats-client-key",
        &key,
    ];
    let mut gateway = Gateway::prepare_at(format!("tls://{address}"), &flags);
    gateway.run();
    reported(&mut reports).await;

    on_the_way.passes.send_replace(false);
    eventually("the gateway tries to connect again", async || {
        let refused = on_the_way.refused.load(Ordering::SeqCst);
        (refused >= REFUSED).then_some(())
    })
    .await;
    on_the_way.passes.send_replace(true);
    // What was reported before the cut is read first, or never.
    while let Ok(Some(_)) = timeout(Duration::ZERO, reports.next()).await {}
    reported(&mut reports).await;
    let turned_to = trap.accept();
    let nobody = turned_to
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(nobody, "{turned_to:?}");
}

/// Waits for a report of the gateway's.
async fn reported(reports: &mut Subscriber) -> Message {
    eventually("the gateway reports", async || {
        let next = timeout(Duration::from_secs(1), reports.next()).await;
        next.ok().flatten()
    })
    .await
}

//! NATS over TLS, at a server that asks whoever connects for a certificate.

use std::{
    fs,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use events_schema::subjects;
use futures_util::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{eventually, free_address, gateway::Gateway, variable};

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
    let heard = eventually("the gateway reports", async || {
        let next = timeout(Duration::from_secs(1), reports.next()).await;
        next.ok().flatten()
    })
    .await;
    assert!(!heard.payload.is_empty());
}

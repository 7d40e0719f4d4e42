//! The console's port where it speaks TLS itself: whom it answers, how browsers sign in, and a certificate that changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    eventually,
    server::free_port,
    service::{OWNER, PASSWORD, Service, secrets_folder},
};

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A Postgres and a NATS that are away: the port answers all the same.
const AWAY: [&str; 2] = ["postgres://nobody@127.0.0.1:1/none", "nats://127.0.0.1:1"];

/// The program that serves, with a certificate in a folder of its own. It ends when this is dropped.
struct Console {
    folder: tempfile::TempDir,
    secrets: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Console {
    fn prepare() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            secrets: secrets_folder(),
            port: free_port(),
            process: None,
        }
    }

    fn command(&self, [postgres, nats]: [&str; 2]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-commands"));
        command
            .env_clear()
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--postgres-url", postgres, "--nats-url", nats])
            .arg("--secrets-dir")
            .arg(&self.secrets)
            .arg("--tls-cert")
            .arg(self.path("cert.pem"))
            .arg("--tls-key")
            .arg(self.path("key.pem"))
            .stdin(Stdio::null());
        command
    }

    /// Starts it; gives its certificate.
    fn start(servers: [&str; 2]) -> (Self, Vec<u8>) {
        let mut console = Self::prepare();
        let certificate = console.renew();
        let mut command = console.command(servers);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        console.process = Some(process.expect("the program starts"));
        (console, certificate)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another certificate for 127.0.0.1; gives it in DER.
    fn renew(&self) -> Vec<u8> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        replace(&self.path("key.pem"), &signing_key.serialize_pem());
        replace(&self.path("cert.pem"), &cert.pem());
        cert.der().to_vec()
    }

    /// A connection that trusts this certificate, and asks for this version of HTTP.
    async fn connect(&self, certificate: &[u8], protocol: &[u8]) -> Option<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate.to_vec().into());
        added.expect("a good certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connected.await.ok()
    }

    async fn is_up(&self, certificate: &[u8]) {
        eventually("it answers under TLS", || async {
            self.connect(certificate, HTTP1).await.is_some()
        })
        .await;
    }

    /// As a browser would sign in, from a page of this console.
    fn sign_in(&self) -> Request<Full<Bytes>> {
        let origin = format!("https://127.0.0.1:{}", self.port);
        let body = json!({ "email": OWNER, "password": PASSWORD }).to_string();
        Request::post(format!("{origin}/api/v1/sessions"))
            .header(header::ORIGIN, &origin)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .expect("a request")
    }

    fn pid(&self) -> Pid {
        let id = self.process.as_ref().expect("it runs").id();
        Pid::from_raw(i32::try_from(id).expect("a process id"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.secrets);
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("writable");
    fs::rename(&new, path).expect("writable");
}

/// One request over HTTP/2.
async fn over_http2(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Response<hyper::body::Incoming> {
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, driver) = handshake.await.expect("it speaks HTTP/2");
    tokio::spawn(driver);
    sender.send_request(request).await.expect("an answer")
}

/// One request over HTTP/1.1, with the header that names its host and the path alone, as browsers send it.
async fn over_http1(
    stream: TlsStream<TcpStream>,
    mut request: Request<Full<Bytes>>,
) -> Response<hyper::body::Incoming> {
    let authority = request.uri().authority().expect("it has one").to_string();
    let host = authority.parse().expect("a header's value");
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = request.uri().path().parse().expect("a path");
    let handshake = http1::handshake(TokioIo::new(stream));
    let (mut sender, driver) = handshake.await.expect("it speaks HTTP/1.1");
    tokio::spawn(driver);
    sender.send_request(request).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_one_signs_in_with_a_cookie_that_is_sent_over_tls_only_in_either_version_of_http()
{
    let service = Service::start_with_nats().await;
    let postgres = service.postgres.url("sluice_service");
    let nats = service.nats.as_ref().expect("it runs").url();
    let (console, certificate) = Console::start([&postgres, &nats]);
    eventually("the log is open", || async {
        let Some(stream) = console.connect(&certificate, HTTP2).await else {
            return false;
        };
        let ready = Request::get(format!("https://127.0.0.1:{}/readyz", console.port));
        let ready = ready.body(Full::default()).expect("a request");
        over_http2(stream, ready).await.status() == StatusCode::OK
    })
    .await;
    for (protocol, version) in [(HTTP2, Version::HTTP_2), (HTTP1, Version::HTTP_11)] {
        let stream = console.connect(&certificate, protocol).await;
        let stream = stream.expect("a connection");
        let answer = if protocol == HTTP2 {
            over_http2(stream, console.sign_in()).await
        } else {
            over_http1(stream, console.sign_in()).await
        };
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        assert_eq!(
            (parts.status, parts.version),
            (StatusCode::OK, version),
            "{body:?}"
        );
        let cookie = parts.headers[header::SET_COOKIE].to_str().expect("text");
        assert!(cookie.ends_with("; Secure"), "{cookie}");
        let told = &parts.headers[header::STRICT_TRANSPORT_SECURITY];
        assert_eq!(told, "max-age=31536000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_nobody_is_answered_in_plain_text_and_nobody_holds_up_others() {
    let (console, certificate) = Console::start(AWAY);
    console.is_up(&certificate).await;
    // Connections that say nothing: each waits for its own time to be over.
    let mut silent = Vec::new();
    for _ in 0..50 {
        let stream = TcpStream::connect(("127.0.0.1", console.port)).await;
        silent.push(stream.expect("it listens"));
    }
    let mut plain = TcpStream::connect(("127.0.0.1", console.port))
        .await
        .expect("it listens");
    let sent = plain
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    sent.expect("it is open");
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ended = plain.read_to_end(&mut heard).await;
    assert!(
        !String::from_utf8_lossy(&heard).contains("HTTP"),
        "{heard:?}"
    );
    let stream = console.connect(&certificate, HTTP1).await;
    let healthy = Request::get(format!("https://127.0.0.1:{}/healthz", console.port));
    let healthy = healthy.body(Full::default()).expect("a request");
    let answer = over_http1(stream.expect("a connection"), healthy).await;
    assert_eq!(answer.status(), StatusCode::OK);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_shown_to_the_next_who_connects() {
    let (console, first) = Console::start(AWAY);
    console.is_up(&first).await;
    let second = console.renew();
    console.is_up(&second).await;
    assert!(console.connect(&first, HTTP1).await.is_none());
    // One that cannot be used leaves the one before.
    replace(&console.path("cert.pem"), "no certificate");
    let third = console.renew();
    console.is_up(&third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_it_lets_go_of_who_waits_and_ends() {
    let (mut console, certificate) = Console::start(AWAY);
    console.is_up(&certificate).await;
    let idle = console.connect(&certificate, HTTP1).await;
    let mut idle = idle.expect("a connection");
    let shaking = TcpStream::connect(("127.0.0.1", console.port)).await;
    kill(console.pid(), Signal::SIGTERM).expect("it runs");
    let mut heard = Vec::new();
    let _ended = idle.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{heard:?}");
    let mut process = console.process.take().expect("it runs");
    let ended = tokio::task::spawn_blocking(move || process.wait()).await;
    assert!(ended.expect("no panic").expect("it ends").success());
    drop(shaking);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_and_nothing_starts() {
    let console = Console::prepare();
    console.renew();
    replace(&console.path("key.pem"), "no key");
    let output: Output = console.command(AWAY).output().expect("it starts, and ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("key.pem cannot be used") && said.contains("no keys"),
        "{said}"
    );
}

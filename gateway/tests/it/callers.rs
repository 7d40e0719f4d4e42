//! How callers come in: TLS with a certificate that may change, HTTP/2 and HTTP/1.1, and the end of a gateway over HTTP/2.

use std::{fs, path::Path, sync::Arc};

use events_schema::usage::Outcome;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    client::{chat, http2_over, text},
    eventually,
    gateway::{Gateway, Scene},
    provider::{End, Reply, word},
    snapshots::KEY,
};

const QUESTION: &str = r#"{"model":"one/first","messages":[]}"#;
const STREAM: &str = r#"{"model":"one/first","stream":true,"messages":[]}"#;
const DONE: &str = "data: [DONE]\n\n";

/// A certificate for 127.0.0.1, written where a gateway reads it.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another certificate; gives it in DER.
    fn renew(&self) -> Vec<u8> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        // Key first: until both are there they do not belong together, and the one from before stays.
        replace(&self.path("key.pem"), &signing_key.serialize_pem());
        replace(&self.path("cert.pem"), &cert.pem());
        cert.der().to_vec()
    }

    fn flags(&self) -> [String; 4] {
        let path = |name| self.path(name).to_str().expect("text").to_owned();
        [
            "--tls-cert".to_owned(),
            path("cert.pem"),
            "--tls-key".to_owned(),
            path("key.pem"),
        ]
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("writable");
    fs::rename(&new, path).expect("writable");
}

/// A TLS connection that trusts this certificate and asks for these protocols.
async fn connect(
    gateway: &Gateway,
    certificate: &[u8],
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate.to_vec().into())
        .expect("a good certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let stream = TcpStream::connect(gateway.address).await?;
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn under_tls() -> (Scene, Files, Vec<u8>) {
    let files = Files::new();
    let certificate = files.renew();
    let mut scene = Scene::set(&[]).await;
    let flags = files.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    scene.gateway = Gateway::prepare(&scene.nats, &flags);
    scene.gateway.run();
    eventually("the gateway answers under TLS", async || {
        let stream = connect(&scene.gateway, &certificate, &[b"h2"]).await.ok()?;
        let mut http2 = http2_over(stream).await;
        let ready = Request::get("https://127.0.0.1/readyz").body(Full::default());
        let ready = http2.send_request(ready.expect("a request")).await.ok()?;
        (ready.status() == StatusCode::OK).then_some(())
    })
    .await;
    (scene, files, certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_a_caller_speaks_http2_or_http1_as_it_likes() {
    let (scene, _files, certificate) = under_tls().await;
    let stream = connect(&scene.gateway, &certificate, &[b"h2", b"http/1.1"]).await;
    let http2 = http2_over(stream.expect("a connection")).await;
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let mut http2 = http2.clone();
            tokio::spawn(async move { http2.send_request(chat(QUESTION)).await })
        })
        .collect();
    for answer in asked {
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!(
            (answer.status(), answer.version()),
            (StatusCode::OK, Version::HTTP_2)
        );
        assert!(text(answer).await.contains("usage"));
    }
    assert_eq!(scene.one.requests().len(), 50);

    for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
        let stream = connect(&scene.gateway, &certificate, protocols).await;
        let stream = TokioIo::new(stream.expect("a connection"));
        let (mut http1, driver) = http1::handshake(stream).await.expect("it speaks HTTP/1.1");
        tokio::spawn(driver);
        for _ in 0..2 {
            http1.ready().await.expect("the connection goes on");
            let answer = http1.send_request(chat(QUESTION)).await.expect("an answer");
            assert_eq!(
                (answer.status(), answer.version()),
                (StatusCode::OK, Version::HTTP_11)
            );
            text(answer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_an_answer_that_breaks_off_does_not_end_like_a_whole_one() {
    // More than is held.
    const SENT: usize = 1_500_000;
    let (scene, _files, certificate) = under_tls().await;
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let broken = format!("{head}{SENT:x}\r\n{}\r\n", "x".repeat(SENT));
    let whole = format!("{broken}0\r\n\r\n");
    let length = QUESTION.len();
    // In a version in which nothing but the end of the connection says that an answer is whole.
    let question = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{QUESTION}"
    );
    for (reply, is_whole) in [(whole, true), (broken, false)] {
        scene.one.replies(Reply::Bytes(reply.into_bytes()));
        let stream = connect(&scene.gateway, &certificate, &[b"http/1.1"]).await;
        let mut stream = stream.expect("a connection");
        let sent = stream.write_all(question.as_bytes()).await;
        sent.expect("it is open");
        let mut read = Vec::new();
        let ended = stream.read_to_end(&mut read).await;
        assert!(read.starts_with(b"HTTP/1.0 200 OK\r\n"));
        assert!(read.ends_with(b"xxx"));
        assert_eq!(ended.is_ok(), is_whole, "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_over_http2_and_one_that_is_left_is_cancelled_at_the_provider() {
    // One at a time: each leaves its place to the next, also one that is left.
    let scene = Scene::set(&["--max-requests-per-key", "1"]).await;
    // In plain text, with prior knowledge.
    let stream = TcpStream::connect(scene.gateway.address).await;
    let mut http2 = http2_over(stream.expect("it listens")).await;
    let pieces = vec![word("a"), word("b"), DONE.to_owned()];
    scene.one.replies(Reply::Stream(pieces, End::Well));
    let answer = http2.send_request(chat(STREAM)).await.expect("an answer");
    let id = answer.headers()["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        text(answer).await,
        [word("a"), word("b"), DONE.to_owned()].concat()
    );
    let record = scene
        .record("its record arrives", |it| it.request.to_string() == id)
        .await;
    assert_eq!(record.outcome, Outcome::Success);

    scene
        .one
        .replies(Reply::Stream(vec![word("a")], End::Never));
    let left = http2.send_request(chat(STREAM)).await.expect("an answer");
    drop(left);
    scene.one.cancelled(1).await;
    scene
        .record("the caller went away", |it| {
            it.outcome == Outcome::ClientGone
        })
        .await;
    // The connection goes on.
    scene.one.replies(crate::support::provider::answer());
    let answer = http2.send_request(chat(QUESTION)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_lets_http2_finish_and_tells_what_it_cannot_wait_for() {
    let mut scene = Scene::set(&["--drain-timeout-ms", "500"]).await;
    let stream = TcpStream::connect(scene.gateway.address).await;
    let mut http2 = http2_over(stream.expect("it listens")).await;
    scene
        .one
        .replies(Reply::Stream(vec![word("a")], End::Never));
    let answer = http2.send_request(chat(STREAM)).await.expect("an answer");
    scene.gateway.terminate();
    let told = text(answer).await;
    assert!(
        told.starts_with(&word("a")) && told.contains("gateway_stopping"),
        "{told}"
    );
    assert!(scene.gateway.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_shown_to_the_next_caller() {
    let (scene, files, first) = under_tls().await;
    let mut before = http2_over(
        connect(&scene.gateway, &first, &[b"h2"])
            .await
            .expect("trusted"),
    )
    .await;
    let second = files.renew();
    eventually("the new certificate is shown", async || {
        connect(&scene.gateway, &second, &[b"h2"]).await.ok()
    })
    .await;
    assert!(connect(&scene.gateway, &first, &[b"h2"]).await.is_err());
    let answer = before
        .send_request(chat(QUESTION))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "connections go on");
    // One that cannot be used leaves the one before.
    replace(&files.path("cert.pem"), "no certificate");
    let third = files.renew();
    eventually("a good one is shown again", async || {
        connect(&scene.gateway, &third, &[b"h2"]).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_certificate_cannot_be_used_does_not_start() {
    let files = Files::new();
    files.renew();
    replace(&files.path("key.pem"), "no key");
    let scene = Scene::set(&[]).await;
    let flags = files.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut gateway = Gateway::prepare(&scene.nats, &flags);
    gateway.run();
    assert!(!gateway.ended().await, "it says why, and ends");
}

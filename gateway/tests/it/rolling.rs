//! A rolling restart: one gateway after the other ends and begins again while callers go on over connections that they keep, and
//! no request fails.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::support::{
    eventually,
    gateway::{Gateway, Scene},
    provider::{ROW, Reply, word},
    snapshots::KEY,
};

/// Longer than any of the answers here takes: by its end every connection in use has had one that says "close".
const LAME_DUCK: [&str; 2] = ["--lame-duck-ms", "3000"];
/// How long a provider takes for an answer.
const WHOLE: Duration = Duration::from_millis(20);
/// How long it takes for a stream, once it has begun.
const STREAM: Duration = Duration::from_millis(200);
/// Callers of each kind.
const CALLERS: usize = 4;
/// So many answers must have come between two restarts.
const SOME: usize = 40;

/// What came of the requests.
#[derive(Default)]
struct Load {
    /// The ids of those that were answered well.
    answered: Mutex<BTreeSet<String>>,
    /// What went wrong with the others.
    failed: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Load {
    fn count(&self) -> usize {
        self.answered.lock().expect("not poisoned").len()
    }

    async fn goes_on(&self) {
        let before = self.count();
        eventually("requests are answered", async || {
            (self.count() >= before + SOME).then_some(())
        })
        .await;
    }
}

/// Asks one question after the other over a connection that is kept until the gateway ends it. What fails is not tried again.
async fn keep_asking(load: Arc<Load>, gateways: [SocketAddr; 2], first: usize, streams: bool) {
    let mut next = first;
    while !load.over.load(Relaxed) {
        let mut sender = connect(gateways, &mut next).await;
        while !load.over.load(Relaxed) && sender.ready().await.is_ok() {
            match ask(&mut sender, streams).await {
                Ok(id) => drop(load.answered.lock().expect("not poisoned").insert(id)),
                Err(why) => load.failed.lock().expect("not poisoned").push(why),
            }
        }
    }
}

/// Connects to one gateway or the other, whichever is ready, as a load balancer does: one of them always is. The other one is
/// tried first the next time.
async fn connect(gateways: [SocketAddr; 2], next: &mut usize) -> SendRequest<Full<Bytes>> {
    for _ in gateways {
        let at = *next % gateways.len();
        *next += 1;
        if let Some(sender) = connect_if_ready(gateways[at]).await {
            return sender;
        }
    }
    panic!("no gateway is ready");
}

/// A connection to a gateway that says that it is ready.
async fn connect_if_ready(gateway: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(gateway).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(async move {
        // What broke shows at the request.
        let _ended = connection.await;
    });
    let request = Request::get("/readyz").header("host", "gateway");
    let request = request.body(Full::default()).expect("a good request");
    let answer = sender.send_request(request).await.ok()?;
    let is_ready = answer.status() == StatusCode::OK;
    answer.into_body().collect().await.ok()?;
    is_ready.then_some(sender)
}

/// One question; gives the id of a request that was answered well, to its end.
async fn ask(sender: &mut SendRequest<Full<Bytes>>, streams: bool) -> Result<String, String> {
    let row = if streams { "stream" } else { "whole" };
    let body = format!(r#"{{"model":"one/first","stream":{streams},"messages":[]}}"#);
    let request = Request::post("/v1/chat/completions")
        .header("host", "gateway")
        .header("authorization", format!("Bearer {KEY}"))
        .header(ROW, row)
        .body(Full::from(body))
        .expect("a good request");
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| format!("{row}: {error:?}"))?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| format!("{row} broke off: {error:?}"))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let is_whole = if streams {
        text.ends_with("data: [DONE]\n\n")
    } else {
        text == WORDS
    };
    if head.status != StatusCode::OK || !is_whole {
        return Err(format!("{row}: {} {text}", head.status));
    }
    let id = head.headers["x-request-id"].to_str();
    Ok(id.expect("an id is text").to_owned())
}

const WORDS: &str = r#"{"choices":[]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request() {
    let mut scene = Scene::set(&LAME_DUCK).await;
    scene
        .one
        .replies_to("whole", Reply::LateWhole(WHOLE, WORDS.into()));
    let stream = [&word("a"), &word("b"), "data: [DONE]\n\n"].concat();
    scene
        .one
        .replies_to("stream", Reply::LateStream(STREAM, stream));
    let mut other = Gateway::start(&scene.nats, &LAME_DUCK).await;

    let load = Arc::new(Load::default());
    let gateways = [scene.gateway.address, other.address];
    let callers: Vec<_> = (0..2 * CALLERS)
        .map(|at| {
            let asking = keep_asking(Arc::clone(&load), gateways, at / 2, at % 2 == 0);
            tokio::spawn(asking)
        })
        .collect();
    for _ in 0..2 {
        for gateway in [&mut scene.gateway, &mut other] {
            load.goes_on().await;
            gateway.terminate();
            assert!(gateway.ended().await, "it ends well");
            load.goes_on().await;
            gateway.run();
            gateway.ready().await;
        }
    }
    load.goes_on().await;
    load.over.store(true, Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }

    assert_eq!(
        *load.failed.lock().expect("not poisoned"),
        Vec::<String>::new()
    );
    let answered = load.answered.lock().expect("not poisoned").clone();
    let records = eventually("every request is recorded", async || {
        let batches = scene.nats.batches().await;
        let records = batches.into_iter().flat_map(|batch| batch.records);
        let ids: Vec<String> = records.map(|it| it.request.to_string()).collect();
        (ids.len() >= answered.len()).then_some(ids)
    })
    .await;
    assert_eq!(records.len(), answered.len(), "each once");
    assert_eq!(BTreeSet::from_iter(records), answered);
}

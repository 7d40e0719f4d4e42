//! The head of a caller's request: what the gateway's server takes for a request is what a second reader takes for one, where
//! it begins and ends and what its body is; and the head that goes to a provider says nothing that was smuggled in.

use std::{
    cell::RefCell,
    future::{Future as _, pending, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use events_schema::usage::Endpoint;
use gateway::{
    endpoint::describe,
    server::{
        http1,
        incoming::Incoming,
        response::{self, Answer},
    },
    upstream::{
        account::Reach,
        addresses::Scope,
        headers::{FromCaller, Outgoing},
    },
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, request::Parts};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

use crate::{
    pieces,
    reference::{self, Body, Length},
};

/// How long a head may take: longer than anything here.
const PATIENCE: Duration = Duration::from_secs(75);
/// How often a connection is polled at most: it would be going round in circles.
const MOST_POLLS: usize = 100_000;

/// A request as the server served it.
struct Served {
    head: Parts,
    /// `None`: the body has not come to its end.
    body: Option<Bytes>,
}

/// The first byte chooses the pieces; the rest is what the caller sends.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let [seed, text @ ..] = data else {
        return;
    };
    let served = serve(text, *seed);
    let mut at = 0;
    let served = served.borrow();
    let mut requests = served.iter();
    for Served { head, body } in requests.by_ref() {
        let rest = &text[at..];
        let second = reference::request(rest).expect("a second reader finds a request as well");
        assert_eq!(head.method.as_str().as_bytes(), second.method);
        let target = second.target.split(|byte| *byte == b'#').next();
        if second.target.starts_with(b"/") {
            assert_eq!(Some(head.uri.to_string().as_bytes()), target);
        }
        same_fields(&head.headers, &second.fields);
        let rest = &rest[second.ends_at..];
        match (reference::body(rest, second.length), body) {
            (Body::Whole { bytes, ends_at }, Some(body)) => {
                assert_eq!(*body, bytes);
                at += second.ends_at + ends_at;
            }
            (Body::Cut { .. } | Body::Malformed, None) => break,
            // Bounds of its own, as on extensions and trailers.
            (Body::Whole { .. }, None) if second.length == Length::Chunked => break,
            (read, body) => panic!("{read:?} is read as {body:?}"),
        }
        for endpoint in Endpoint::ALL {
            passed_on(endpoint, head);
        }
    }
    let after = requests.next();
    assert!(after.is_none(), "no request follows a body without an end");
}

/// All headers are there, in their order, and none is added. How long the body is the server has settled.
fn same_fields(headers: &HeaderMap, fields: &[reference::Field]) {
    let counts = |name: &[u8]| !matches!(name, b"content-length" | b"transfer-encoding");
    let mut names: Vec<&[u8]> = fields.iter().map(|(name, _)| name.as_slice()).collect();
    names.retain(|name| counts(name));
    for name in &names {
        let text = std::str::from_utf8(name).expect("a token is text");
        let values: Vec<&[u8]> = headers
            .get_all(text)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        let of_the_name = fields.iter().filter(|(it, _)| it == name);
        let second: Vec<&[u8]> = of_the_name.map(|(_, value)| value.as_slice()).collect();
        assert_eq!(values, second, "{text}");
    }
    let there = headers.keys().map(|name| name.as_str());
    let there = there.filter(|name| counts(name.as_bytes()));
    let there: usize = there.map(|name| headers.get_all(name).iter().count()).sum();
    assert_eq!(there, names.len(), "none is added");
}

/// The head for a provider is one head, of one request with one length, without what names the caller.
fn passed_on(endpoint: Endpoint, head: &Parts) {
    const BODY_BYTES: u64 = 7;
    let reach = Reach {
        origin: Uri::from_static("http://provider.example/"),
        scope: Scope::Public,
        host: HeaderValue::from_static("provider.example"),
        credential: None,
        prefix: "/prefix/v1".to_owned(),
    };
    let from_caller = FromCaller {
        headers: &head.headers,
        query: head.uri.query(),
    };
    let mut out = Vec::new();
    let description = describe(endpoint);
    let outgoing = Outgoing {
        endpoint: description,
        from_caller,
        routed: None,
        told: None,
        body_bytes: BODY_BYTES,
    };
    outgoing.write(&mut out, &reach);
    let read = reference::request(&out).expect("it is a request");
    assert_eq!(read.ends_at, out.len(), "nothing follows");
    assert_eq!(read.method, b"POST");
    let path = ["/prefix/v1", description.path].concat();
    assert!(read.target.starts_with(path.as_bytes()));
    assert_eq!(read.length, Length::Bytes(BODY_BYTES));
    let values = |name: &str| {
        let of_the_name = read.fields.iter().filter(|(it, _)| it == name.as_bytes());
        of_the_name
            .map(|(_, value)| value.as_slice())
            .collect::<Vec<_>>()
    };
    assert_eq!(values("host"), [b"provider.example"]);
    assert_eq!(values("content-length"), [b"7"]);
    for name in [
        "authorization",
        "x-api-key",
        "cookie",
        "connection",
        "transfer-encoding",
        "upgrade",
        "te",
        "expect",
        "x-sluice-metadata",
    ] {
        assert!(values(name).is_empty(), "{name} goes to the provider");
    }
}

thread_local! {
    /// For its clock alone, which nobody waits for.
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
}

/// Has the gateway's server read `text`; gives the requests that it served.
fn serve(text: &[u8], seed: u8) -> Rc<RefCell<Vec<Served>>> {
    let served = Rc::new(RefCell::new(Vec::new()));
    RUNTIME.with(|runtime| {
        let _clock = runtime.enter();
        let service = |request| answer(Rc::clone(&served), request);
        let wire = Wire {
            pieces: pieces(text, seed)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
                .into_iter(),
        };
        let mut connection = pin!(http1::serve(wire, PATIENCE, pending(), service));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..MOST_POLLS {
            let ended = connection.as_mut().poll(&mut cx).is_ready();
            // What nobody wakes waits for more of the text, and there is none.
            if ended || !woken.0.swap(false, Relaxed) {
                return;
            }
        }
        panic!("the server goes round in circles");
    });
    served
}

async fn answer(served: Rc<RefCell<Vec<Served>>>, request: Request<Incoming>) -> Answer {
    let (head, mut body) = request.into_parts();
    let at = served.borrow().len();
    served.borrow_mut().push(Served { head, body: None });
    let mut whole = BytesMut::new();
    let is_whole = loop {
        match poll_fn(|cx| body.poll_piece(cx)).await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(piece)) => whole.extend_from_slice(&piece),
        }
    };
    if let Some(it) = served.borrow_mut().get_mut(at) {
        it.body = is_whole.then(|| whole.freeze());
    }
    response::text(StatusCode::OK, String::new())
}

/// Whether a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A connection that brings pieces, stays open after them, and takes everything.
struct Wire {
    pieces: std::vec::IntoIter<Vec<u8>>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.pieces.next() {
            // A piece is smaller than any buffer that is read into.
            Some(piece) => {
                buffer.put_slice(&piece);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

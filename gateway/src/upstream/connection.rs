//! One HTTP/1.1 connection to a provider, driven by whoever waits for its answer.
//!
//! There is no task beside it: the future of the request, and later the body of its answer, polls the connection itself.
//! That saves two wake-ups a request, and a request that is dropped closes its connection, which cancels it at the
//! provider. Only the connection is polled with a real waker: the answer's head and body make progress through it alone.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};

use crate::{failure::UpstreamFailure, request::Body};

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection that serves one request at a time.
pub struct Connection {
    sender: SendRequest<Body>,
    driver: Pin<Box<http1::Connection<Stream, Body>>>,
    /// Whether the driver has ended: no more may be asked of it.
    ended: bool,
    /// A clock for the request under way, kept from one to the next: setting it anew is cheaper than making it.
    clock: Pin<Box<Sleep>>,
    /// Whether it has answered a request before.
    pub reused: bool,
    /// When it was put aside.
    pub idle_since: Instant,
}

/// A request that brought no answer.
#[derive(Debug)]
pub struct NotSent {
    /// Why.
    pub failure: UpstreamFailure,
    /// The request, when nothing of it has been sent.
    pub unsent: Option<Request<Body>>,
}

impl Connection {
    /// Begins HTTP on a stream.
    ///
    /// # Errors
    /// Hyper's, when the stream is not usable.
    pub async fn over(stream: Stream) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(stream).await?;
        let now = Instant::now();
        Ok(Self {
            sender,
            driver: Box::pin(driver),
            ended: false,
            clock: Box::pin(tokio::time::sleep_until(now)),
            reused: false,
            idle_since: now,
        })
    }

    /// Makes what progress can be made.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = self.driver.as_mut().poll(cx).is_ready();
        }
    }

    /// Whether it can take a request now.
    pub fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.ended && self.sender.is_ready()
    }

    /// Sets the clock to ring after `wait`.
    pub fn wind(&mut self, wait: Duration) {
        self.clock.as_mut().reset(Instant::now() + wait);
    }

    /// Ready when the clock has rung.
    pub fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.clock.as_mut().poll(cx)
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// [`UpstreamFailure::Timeout`] after `wait`; [`UpstreamFailure::Broken`] when the connection ends.
    pub async fn send(
        &mut self,
        request: Request<Body>,
        wait: Duration,
    ) -> Result<Response<Incoming>, NotSent> {
        let mut answer = pin!(self.sender.try_send_request(request));
        self.wind(wait);
        std::future::poll_fn(|cx| {
            self.drive(cx);
            if let Poll::Ready(answer) = answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                return Poll::Ready(answer.map_err(broken));
            }
            ready!(self.poll_rung(cx));
            Poll::Ready(Err(NotSent {
                failure: UpstreamFailure::Timeout,
                unsent: None,
            }))
        })
        .await
    }
}

fn broken(mut error: TrySendError<Request<Body>>) -> NotSent {
    let unsent = error.take_message();
    tracing::debug!(error = %error.into_error(), "a provider's connection broke");
    NotSent {
        failure: UpstreamFailure::Broken,
        unsent,
    }
}

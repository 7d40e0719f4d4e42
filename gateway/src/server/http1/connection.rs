//! A caller's connection: a request's head is read, the request is served while its body comes in and while the caller is
//! watched, its answer is written, and then it is the next one's turn.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, Method, Request, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    answer::{self, Asked, Said, write_head},
    head::{Head, HeadReader, Refused},
    outbox::Outbox,
};
use crate::{
    server::{
        incoming::{Broken, Inbox, Incoming},
        passing::Passing,
        response::{Answer, Body},
    },
    upstream::wire::Framing,
};

/// How much is read at a time, where nothing is known of what comes.
const READ_BYTES: usize = 16 * 1024;
/// With less room than that for what comes, more is made.
const MIN_ROOM: usize = 4 * 1024;
/// How much of a body is read at a time.
const MAX_READ_BYTES: usize = 128 * 1024;

/// Serves one request after the other until the caller has enough, a connection has to end, or `drain` is ready and nothing was
/// asked. `idle` is how long a connection may be idle, and a request's head may take to come.
///
/// # Errors
/// Those of the stream, when the caller goes away in the middle of a request, and when an answer broke off.
pub async fn serve<S, F>(
    stream: S,
    idle: Duration,
    drain: impl Future<Output = ()>,
    mut service: impl FnMut(Request<Incoming>) -> F,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Answer>,
{
    let mut connection = Connection::over(stream, idle);
    let mut drain = pin!(drain);
    while let Some(next) = connection.next_head(drain.as_mut()).await? {
        let goes_on = match next {
            Ok(head) => connection.exchange(head, &mut service).await?,
            Err(refused) => connection.refuse(refused).await?,
        };
        if !goes_on {
            break;
        }
    }
    connection.shut_down().await
}

struct Connection<S> {
    stream: S,
    /// What was read and not yet taken.
    read: BytesMut,
    /// Whether more memory was taken for that than an idle connection needs; part of it may be taken already.
    is_wide: bool,
    heads: HeadReader,
    out: Outbox,
    /// Whether the caller says that nothing more will come.
    is_finished: bool,
    idle: Duration,
    /// When it has been idle for too long.
    due: Instant,
    /// Rings then or before: it is set anew only when it has rung.
    clock: Pin<Box<Sleep>>,
}

/// A request's body on its way in.
struct Receiving {
    framing: Framing,
    inbox: Rc<Inbox>,
    /// Whether the caller waits to be told to send it.
    expects_continue: bool,
    /// Whether nothing more of it comes: it is whole, or broken.
    is_over: bool,
}

impl Receiving {
    /// Leaves what there is of the body for whoever reads it; whether that is anything.
    fn take(&mut self, read: &mut BytesMut) -> bool {
        match self.framing.take(read) {
            Ok(piece) => {
                let is_new = !piece.is_empty();
                self.inbox.leave(piece);
                if self.framing.is_done() {
                    self.end(Ok(()));
                }
                is_new || self.is_over
            }
            Err(_) => {
                self.end(Err(Broken::Malformed));
                true
            }
        }
    }

    fn end(&mut self, how: Result<(), Broken>) {
        self.inbox.end(how);
        self.is_over = true;
    }

    /// How much of it is to come, as far as that is known.
    fn left(&self) -> usize {
        match self.framing {
            Framing::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Framing::Chunked(_) | Framing::UntilClose => READ_BYTES,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn over(stream: S, idle: Duration) -> Self {
        let due = Instant::now() + idle;
        Self {
            stream,
            read: BytesMut::new(),
            is_wide: false,
            heads: HeadReader::default(),
            out: Outbox::default(),
            is_finished: false,
            idle,
            due,
            clock: Box::pin(sleep_until(due)),
        }
    }

    /// Waits for the next request's head; `None`: there will be none, and nobody waits for an answer.
    async fn next_head(
        &mut self,
        mut drain: Pin<&mut impl Future<Output = ()>>,
    ) -> io::Result<Option<Result<Head, Refused>>> {
        self.due = Instant::now() + self.idle;
        poll_fn(|cx| {
            loop {
                if let Some(next) = self.heads.take(&mut self.read).transpose() {
                    return Poll::Ready(Ok(Some(next)));
                }
                match self.poll_read(READ_BYTES, cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            // What has begun to ask is heard to the end.
            if self.read.is_empty() {
                if drain.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                self.rest();
            }
            self.poll_idle(cx).map(|()| Ok(None))
        })
        .await
    }

    /// Nothing is asked: gives back what was needed for more than the usual.
    fn rest(&mut self) {
        if std::mem::take(&mut self.is_wide) {
            self.read = BytesMut::new();
        }
        self.out.rest();
    }

    /// Ready when nothing was asked for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.clock.as_mut().poll(cx));
            if Instant::now() >= self.due {
                return Poll::Ready(());
            }
            self.clock.as_mut().reset(self.due);
        }
    }

    /// Serves a request; whether another one may follow.
    async fn exchange<F: Future<Output = Answer>>(
        &mut self,
        head: Head,
        service: &mut impl FnMut(Request<Incoming>) -> F,
    ) -> io::Result<bool> {
        let Head {
            method,
            uri,
            version,
            headers,
            framing,
            keeps_alive,
            expects_continue,
        } = head;
        let inbox = Rc::<Inbox>::default();
        let is_head = method == Method::HEAD;
        let mut request = Request::new(Incoming::Http1(Rc::clone(&inbox)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        let mut receiving = Receiving {
            framing,
            inbox,
            expects_continue,
            is_over: false,
        };
        receiving.take(&mut self.read);
        let answer = {
            let served = pin!(service(request));
            self.while_receiving(&mut receiving, served).await?
        };
        let Answer {
            status,
            headers,
            own,
            body,
            mut told_behind,
        } = answer;
        // Also where the connection ends: one that is closed before all that has come was read is reset.
        let is_drained = self.is_drained(&mut receiving).await;
        let asked = Asked {
            version,
            is_head,
            keeps_alive: is_drained && keeps_alive,
        };
        let length = match &body {
            Body::Whole(bytes) => Some(bytes.len() as u64),
            Body::Passing(_) => None,
        };
        let head = Said {
            status,
            headers: &headers,
            own: own.as_ref(),
        };
        let mut sending = write_head(self.out.text(), head, length, asked);
        let is_whole = match body {
            Body::Whole(whole) => {
                sending.framing.add(whole, &mut self.out);
                poll_fn(|cx| {
                    let written = self.poll_write(cx);
                    if written.is_pending() {
                        // What waits for a caller that reads slowly does not wait for that.
                        told_behind = None;
                    }
                    written
                })
                .await?;
                true
            }
            Body::Passing(passing) => self.pass(sending.framing, passing).await?,
        };
        drop(told_behind);
        if !is_whole {
            // Under TLS, a connection that is shut down says that the answer is whole.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(sending.keeps_alive)
    }

    /// Waits for the answer, while the body comes in as it is read; gives up when the caller goes away.
    async fn while_receiving<F: Future>(
        &mut self,
        receiving: &mut Receiving,
        mut served: Pin<&mut F>,
    ) -> io::Result<F::Output> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = served.as_mut().poll(cx) {
                    return Poll::Ready(Ok(answer));
                }
                if !receiving.inbox.is_wanted() {
                    break;
                }
                ready!(self.poll_receive(receiving, cx))?;
            }
            if receiving.is_over {
                self.poll_gone(cx).map(Err)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Leaves the next of the body for whoever reads it.
    fn poll_receive(
        &mut self,
        receiving: &mut Receiving,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !receiving.take(&mut self.read) {
            if std::mem::take(&mut receiving.expects_continue) {
                let told = b"HTTP/1.1 100 Continue\r\n\r\n";
                self.out.text().extend_from_slice(told);
            }
            ready!(self.poll_write(cx))?;
            match ready!(self.poll_read(receiving.left(), cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    // The answer says so, should somebody still read it.
                    self.is_finished = true;
                    receiving.end(Err(Broken::Gone));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the caller has gone. One that asks for more before it has its answer has not.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.is_finished || !self.read.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_read(READ_BYTES, cx)) {
            Ok(0) => Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    /// Whether the next request begins where the connection is read next: what nobody has read of a body is passed over, as far
    /// as it has come. Behind one that is broken nobody knows.
    async fn is_drained(&mut self, receiving: &mut Receiving) -> bool {
        if receiving.is_over {
            return receiving.framing.is_done() && !self.is_finished;
        }
        poll_fn(|cx| {
            loop {
                match receiving.framing.take(&mut self.read) {
                    Ok(_) if receiving.framing.is_done() => return Poll::Ready(true),
                    Ok(piece) if !piece.is_empty() => continue,
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(false),
                }
                match self.poll_read(receiving.left(), cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Ok(0) | Err(_)) | Poll::Pending => return Poll::Ready(false),
                }
            }
        })
        .await
    }

    /// Writes the pieces of an answer as they come; whether it came to its end. Gives up when the caller goes away.
    async fn pass(
        &mut self,
        mut framing: answer::Framing,
        mut passing: Box<Passing>,
    ) -> io::Result<bool> {
        let mut ended = None;
        poll_fn(|cx| {
            loop {
                let mut waits = false;
                while ended.is_none() && !waits && self.out.has_room() {
                    match passing.poll_next(cx) {
                        Poll::Ready(Some(Ok(piece))) => framing.add(piece, &mut self.out),
                        Poll::Ready(Some(Err(_))) => ended = Some(false),
                        Poll::Ready(None) => ended = Some(framing.end(&mut self.out)),
                        Poll::Pending => waits = true,
                    }
                }
                ready!(self.poll_write(cx))?;
                if let Some(is_whole) = ended {
                    return Poll::Ready(Ok(is_whole));
                }
                if waits {
                    return self.poll_gone(cx).map(Err);
                }
            }
        })
        .await
    }

    /// Tells the caller that what it said is no request; the connection ends.
    async fn refuse(&mut self, refused: Refused) -> io::Result<bool> {
        let asked = Asked {
            version: Version::HTTP_11,
            is_head: false,
            keeps_alive: false,
        };
        let head = Said {
            status: refused.status(),
            headers: &HeaderMap::new(),
            own: None,
        };
        write_head(self.out.text(), head, Some(0), asked);
        self.write().await.map(|()| false)
    }

    async fn write(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Writes all that is to be written. Under TLS, what was written may still wait until it is flushed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.out.poll_write(&mut self.stream, cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }

    /// Reads some bytes, where so many are expected; `0`: the caller says that nothing more will come.
    fn poll_read(&mut self, expected: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.read.capacity() - self.read.len();
        if room < MIN_ROOM.min(expected) {
            self.read
                .reserve(expected.clamp(READ_BYTES, MAX_READ_BYTES));
            self.is_wide |= self.read.capacity() > READ_BYTES;
        }
        let mut buffer = ReadBuf::uninit(self.read.spare_capacity_mut());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let filled = buffer.filled().len();
        self.commit(filled);
        Poll::Ready(Ok(filled))
    }

    #[expect(
        unsafe_code,
        reason = "zeroing the buffer before each read would cost more than reading"
    )]
    fn commit(&mut self, filled: usize) {
        // SAFETY: `poll_read` has just initialised so many bytes behind the buffer's end: `ReadBuf` vouches for them.
        unsafe { self.read.set_len(self.read.len() + filled) };
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http::StatusCode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::server::response::text;

    const LARGE: usize = 1024 * 1024;

    /// The next head of which all has come.
    async fn next(connection: &mut Connection<DuplexStream>) -> Option<Head> {
        let drain = pin!(pending());
        let mut next = pin!(connection.next_head(drain));
        match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
            Poll::Ready(next) => next.expect("it is open")?.ok(),
            Poll::Pending => None,
        }
    }

    /// Reads all of the body, and answers with as much.
    async fn echo(request: Request<Incoming>) -> Answer {
        let mut body = request.into_body();
        let mut whole = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            whole.extend_from_slice(&piece.expect("it is whole"));
        }
        let whole = String::from_utf8(whole).expect("text");
        text(StatusCode::OK, whole)
    }

    #[tokio::test]
    async fn an_idle_connection_holds_little_whatever_it_was_used_for() {
        let (mut caller, stream) = duplex(4 * LARGE);
        let mut connection = Connection::over(stream, Duration::from_secs(75));
        for length in [LARGE, 10_000, 0, LARGE] {
            let body = "x".repeat(length);
            let request = format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}");
            let sent = caller.write_all(request.as_bytes()).await;
            sent.expect("it is open");
            let head = next(&mut connection).await.expect("a head");
            let goes_on = connection.exchange(head, &mut echo).await;
            assert!(goes_on.expect("it is open"));
            let mut answer = Vec::new();
            while !answer.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
                let read = caller.read_buf(&mut answer).await;
                assert!(read.expect("it is open") > 0);
            }
            assert!(next(&mut connection).await.is_none());
            assert!(!connection.is_wide);
            assert!(connection.read.capacity() <= READ_BYTES);
            let held = connection.out.text().capacity();
            assert!(held <= 4 * 1024, "{held} bytes after {length}");
        }
    }
}

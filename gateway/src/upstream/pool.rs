//! A thread's connections to one provider account, and which of them a request goes over.
//!
//! In HTTP/1.1 a connection has one request at a time: one that is idle is taken, or another one made. In HTTP/2 many
//! requests share one; where all are full, requests wait in a line for a place that gets free or for connections that are
//! being made, as many as the line needs. Under TLS the provider chooses; until it has, requests wait for its choice.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use http::Uri;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    addresses::Scope,
    connect::{Connected, Connector, Protocol},
    connection::Connection,
    http2::link::{Link, MOST_STREAMS, Room},
};
use crate::failure::UpstreamFailure;

/// How many idle connections of HTTP/1.1 a thread keeps for one account.
const MAX_IDLE: usize = 256;

/// How long a connection may be idle: below the 60 seconds after which many servers close.
const IDLE: Duration = Duration::from_secs(50);

/// After a connection could not be made, no other one is tried for so long where there are some that serve.
const PAUSE: Duration = Duration::from_millis(200);

/// The connections.
pub struct Pool {
    origin: Uri,
    /// Which addresses it may have.
    scope: Scope,
    connector: Rc<Connector>,
    /// What the provider speaks; `None`: it has not been asked yet.
    speaks: Cell<Option<Protocol>>,
    /// Of HTTP/1.1.
    idle: RefCell<Vec<Connection>>,
    /// Of HTTP/2.
    links: RefCell<Vec<Rc<Link>>>,
    /// Requests that wait for a place on a connection of HTTP/2, in the order of their arrival. As many as there are
    /// requests under way.
    line: RefCell<VecDeque<oneshot::Sender<Turn>>>,
    /// How many connections are being made for those.
    making: Cell<usize>,
    /// When the last one of them could not be made.
    failed_at: Cell<Option<Instant>>,
    /// How many requests a connection of HTTP/2 is expected to take: as many as the last one.
    expected: Cell<usize>,
}

/// The way that a request takes.
pub enum Way {
    /// A connection of its own.
    Alone(Connection),
    /// A place on one that it shares.
    Shared(Slot),
}

/// What becomes of a request in the line.
enum Turn {
    Goes(Way),
    /// The provider speaks HTTP/1.1: there is nothing to share.
    GoesAlone,
    Fails(UpstreamFailure),
}

/// A place for one request on a connection of HTTP/2. Dropped, it is the next one's.
pub struct Slot {
    link: Rc<Link>,
    pool: Rc<Pool>,
}

impl Slot {
    fn on(link: &Rc<Link>, pool: &Rc<Pool>) -> Self {
        link.enter();
        Self {
            link: Rc::clone(link),
            pool: Rc::clone(pool),
        }
    }

    /// The connection.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.link.leave();
        self.pool.serve_the_line();
    }
}

impl Pool {
    /// Without any connection yet.
    #[must_use]
    pub fn new(origin: Uri, scope: Scope, connector: Rc<Connector>) -> Self {
        Self {
            speaks: Cell::new(connector.known(&origin)),
            origin,
            scope,
            connector,
            idle: RefCell::default(),
            links: RefCell::default(),
            line: RefCell::default(),
            making: Cell::new(0),
            failed_at: Cell::new(None),
            expected: Cell::new(MOST_STREAMS),
        }
    }

    /// A way to the provider; a new connection unless it `may_reuse` another.
    ///
    /// # Errors
    /// [`UpstreamFailure::Connect`]; [`UpstreamFailure::Address`] when it has no address that it may have;
    /// [`UpstreamFailure::Timeout`] when it takes too long.
    pub async fn way(self: &Rc<Self>, may_reuse: bool) -> Result<Way, UpstreamFailure> {
        if may_reuse {
            let speaks = self.speaks.get();
            if speaks != Some(Protocol::Http2)
                && let Some(connection) = self.take_idle().await
            {
                return Ok(Way::Alone(connection));
            }
            if speaks != Some(Protocol::Http1)
                && let Some(way) = self.shared().await?
            {
                return Ok(way);
            }
        }
        Ok(
            match self.connector.connect(&self.origin, self.scope).await? {
                Connected::Http1(connection) => {
                    self.speaks.set(Some(Protocol::Http1));
                    Way::Alone(connection)
                }
                Connected::Http2(link) => {
                    let slot = Slot::on(&self.add(link), self);
                    self.serve_the_line();
                    Way::Shared(slot)
                }
            },
        )
    }

    /// The connection that was put aside last and still can be used.
    async fn take_idle(&self) -> Option<Connection> {
        let now = Instant::now();
        poll_fn(|cx| {
            let mut idle = self.idle.borrow_mut();
            while let Some(mut connection) = idle.pop() {
                if now.duration_since(connection.idle_since) < IDLE && connection.is_ready(cx) {
                    return Poll::Ready(Some(connection));
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    /// Puts a connection aside for the next request.
    pub fn put_idle(&self, mut connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            connection.reused = true;
            connection.idle_since = Instant::now();
            idle.push(connection);
        }
    }

    /// A place on a connection of HTTP/2, at once or after waiting; `None`: the provider speaks HTTP/1.1.
    async fn shared(self: &Rc<Self>) -> Result<Option<Way>, UpstreamFailure> {
        if let Some(slot) = self.take_slot() {
            return Ok(Some(Way::Shared(slot)));
        }
        let (sender, turn) = oneshot::channel();
        self.line.borrow_mut().push_back(sender);
        self.connect_as_needed();
        match timeout(self.connector.wait(), turn).await {
            Ok(Ok(Turn::Goes(way))) => Ok(Some(way)),
            Ok(Ok(Turn::GoesAlone)) => Ok(None),
            Ok(Ok(Turn::Fails(failure))) => Err(failure),
            // Nobody is left who could make a connection.
            Ok(Err(_)) => Err(UpstreamFailure::Connect),
            Err(_) => Err(UpstreamFailure::Timeout),
        }
    }

    /// A place on the first connection that has one; forgets those that never will again.
    fn take_slot(self: &Rc<Self>) -> Option<Slot> {
        let mut links = self.links.borrow_mut();
        let mut at = 0;
        while let Some(link) = links.get(at) {
            let room = if link.is_idle(IDLE) {
                Room::Gone
            } else {
                link.room(self.expected.get())
            };
            match room {
                Room::Free => return Some(Slot::on(link, self)),
                Room::Full(most) => {
                    self.expected.set(most.max(1));
                    at += 1;
                }
                Room::Gone => drop(links.remove(at)),
            }
        }
        None
    }

    fn add(&self, link: Link) -> Rc<Link> {
        self.speaks.set(Some(Protocol::Http2));
        let link = Rc::new(link);
        self.links.borrow_mut().push(Rc::clone(&link));
        link
    }

    /// Gives what places there are to those who wait, and makes connections for the rest.
    fn serve_the_line(self: &Rc<Self>) {
        while self.is_waited_for() {
            let Some(slot) = self.take_slot() else {
                return self.connect_as_needed();
            };
            self.call(Turn::Goes(Way::Shared(slot)));
        }
    }

    /// Whether anybody waits; forgets who has gone.
    fn is_waited_for(&self) -> bool {
        let mut line = self.line.borrow_mut();
        while line.front().is_some_and(oneshot::Sender::is_closed) {
            line.pop_front();
        }
        !line.is_empty()
    }

    /// Tells the first in the line what becomes of it.
    fn call(&self, turn: Turn) {
        let first = self.line.borrow_mut().pop_front();
        if let Some(first) = first {
            // Who has gone in between drops it, and with it the place.
            let _gone = first.send(turn);
        }
    }

    fn connect_as_needed(self: &Rc<Self>) {
        let each = match self.speaks.get() {
            Some(Protocol::Http1 | Protocol::Http2) => self.expected.get(),
            None => usize::MAX,
        };
        let needs_more = || self.making.get() < self.line.borrow().len().div_ceil(each);
        if !needs_more() {
            return;
        }
        let has_just_failed = |at: Instant| at.elapsed() < PAUSE;
        if self.can_serve() && self.failed_at.get().is_some_and(has_just_failed) {
            return;
        }
        // Only now it matters who has gone.
        self.line.borrow_mut().retain(|it| !it.is_closed());
        // A provider that lets nothing begin on a connection without requests lets nothing begin on another one.
        if self.links.borrow().iter().any(|link| link.open() == 0) {
            return;
        }
        while needs_more() {
            self.making.set(self.making.get() + 1);
            let pool = Rc::clone(self);
            tokio::task::spawn_local(async move {
                let made = pool.connector.connect(&pool.origin, pool.scope).await;
                pool.making.set(pool.making.get().saturating_sub(1));
                pool.was_made(made, each);
            });
        }
    }

    /// A connection was made, or could not be, for so many of those who wait.
    fn was_made(self: &Rc<Self>, made: Result<Connected, UpstreamFailure>, each: usize) {
        match made {
            Ok(Connected::Http2(link)) => {
                self.add(link);
                self.serve_the_line();
            }
            Ok(Connected::Http1(connection)) => {
                self.speaks.set(Some(Protocol::Http1));
                if self.is_waited_for() {
                    self.call(Turn::Goes(Way::Alone(connection)));
                } else {
                    self.put_idle(connection);
                }
                while self.is_waited_for() {
                    self.call(Turn::GoesAlone);
                }
            }
            // Places get free, or another connection is on its way: each of them waits for as long as it may.
            Err(_) if self.can_serve() => self.failed_at.set(Some(Instant::now())),
            Err(failure) => {
                let mut left = each;
                while left > 0 && self.is_waited_for() {
                    self.call(Turn::Fails(failure));
                    left -= 1;
                }
            }
        }
    }

    /// Whether those who wait may be served without another connection.
    fn can_serve(&self) -> bool {
        self.making.get() > 0 || self.links.borrow().iter().any(|link| link.open() > 0)
    }

    /// Whether there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.links.borrow().is_empty()
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        let now = Instant::now();
        let is_fresh = |it: &mut Connection| now.duration_since(it.idle_since) < IDLE;
        self.idle.borrow_mut().retain_mut(is_fresh);
        let is_of_use = |it: &Rc<Link>| !it.is_idle(IDLE) && it.room(1) != Room::Gone;
        self.links.borrow_mut().retain(is_of_use);
    }
}

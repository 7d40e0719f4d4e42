//! A way between two processes that can be cut off, stand still, or be slow.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// Bytes that are carried at once.
const PIECE_BYTES: usize = 64 << 10;

/// How a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Connections are reset, and so is whoever connects.
    Cut,
    /// Connections stay and carry nothing; new ones are taken and hear nothing.
    Hung,
    /// Each piece waits for this long.
    Slow(Duration),
}

/// The proxy on one way. It ends with the runtime.
pub(crate) struct Proxy {
    port: u16,
    way: watch::Sender<Way>,
}

// === impl Proxy ===

impl Proxy {
    /// Carries whatever comes to `listener`, on `port`, to `target` on this machine.
    pub(crate) fn start(port: u16, listener: TcpListener, target: u16) -> Self {
        let (way, watched) = watch::channel(Way::Open);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
        tokio::spawn(accept(listener, target, watched));
        Self { port, way }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes it so.
    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, way: watch::Receiver<Way>) {
    loop {
        match listener.accept().await {
            Ok((near, _)) => drop(tokio::spawn(carry(near, target, way.clone()))),
            // Out of file handles, for example: the next may do better.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection, until either side ends it or it is cut.
async fn carry(mut near: TcpStream, target: SocketAddr, way: watch::Receiver<Way>) {
    let mut cut = way.clone();
    let mut far = None;
    let ended = tokio::select! {
        _ = cut.wait_for(|way| *way == Way::Cut) => Err(io::ErrorKind::ConnectionReset.into()),
        ended = both_ways(&mut near, &mut far, target, way) => ended,
    };
    // What broke on one side breaks on the other: a reset, not an orderly end.
    if ended.is_err() {
        let _ = near.set_zero_linger();
        if let Some(far) = &far {
            let _ = far.set_zero_linger();
        }
    }
}

async fn both_ways(
    near: &mut TcpStream,
    far: &mut Option<TcpStream>,
    target: SocketAddr,
    way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut passes = way.clone();
    passable(&mut passes).await;
    let far = far.insert(TcpStream::connect(target).await?);
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_near, to_near) = near.split();
    let (from_far, to_far) = far.split();
    tokio::try_join!(
        one_way(from_near, to_far, way.clone()),
        one_way(from_far, to_near, way),
    )
    .map(|_| ())
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        passable(&mut way).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

/// Waits until something may pass.
async fn passable(way: &mut watch::Receiver<Way>) {
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Open | Way::Cut => return,
            Way::Slow(by) => return sleep(by).await,
            // The sender lives as long as anybody watches.
            Way::Hung => drop(way.changed().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) -> io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.map(|_| back)
    }

    #[tokio::test]
    async fn a_way_carries_stands_still_carries_on_and_is_cut() {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let server = listen().await.unwrap();
        let target = server.local_addr().unwrap().port();
        tokio::spawn(echo(server));
        let front = listen().await.unwrap();
        let address = front.local_addr().unwrap();
        let proxy = Proxy::start(address.port(), front, target);

        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(&say(&mut stream, b"ping").await.unwrap(), b"ping");

        proxy.set(Way::Hung);
        let late = tokio::time::timeout(Duration::from_millis(50), say(&mut stream, b"hung")).await;
        assert!(late.is_err(), "{late:?}");
        proxy.set(Way::Open);
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hung");

        proxy.set(Way::Slow(Duration::from_millis(5)));
        assert_eq!(&say(&mut stream, b"slow").await.unwrap(), b"slow");

        proxy.set(Way::Cut);
        assert!(say(&mut stream, b"lost").await.is_err());
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert!(say(&mut refused, b"lost").await.is_err());

        proxy.set(Way::Open);
        let mut again = TcpStream::connect(address).await.unwrap();
        assert_eq!(&say(&mut again, b"back").await.unwrap(), b"back");
    }
}

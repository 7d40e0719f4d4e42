//! TLS in front of a server that speaks plain text on this machine: what a deployment has a proxy of its own for.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::failure::{Doing, Failure, Outcome};
use crate::tls::ServerTls;

/// A connection that has not agreed on keys for so long is closed.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The server behind it.
    #[arg(long)]
    to: SocketAddr,
    #[command(flatten)]
    tls: ServerTls,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &Args) -> Outcome {
    let Args { listen, to, tls } = args;
    let acceptor = tls
        .acceptor()?
        .ok_or_else(|| Failure::new("give --tls-cert and --tls-key"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the proxy's runtime".into())?;
    runtime.block_on(async {
        let doing = || format!("listening on {listen}");
        let listener = TcpListener::bind(listen).await.doing(doing)?;
        let mut terminate =
            signal(SignalKind::terminate()).doing(|| "waiting for SIGTERM".into())?;
        println!("listening on {listen}, for {to}");
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            never = accept(&listener, &acceptor, *to) => never,
        }
    })
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor, to: SocketAddr) -> Outcome {
    loop {
        let (stream, peer) = listener
            .accept()
            .await
            .doing(|| "accepting a connection".into())?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(failure) = pass(stream, &acceptor, to).await {
                eprintln!("{peer}: {failure}");
            }
        });
    }
}

async fn pass(stream: TcpStream, acceptor: &TlsAcceptor, to: SocketAddr) -> Outcome {
    let doing = || "passing a connection on".to_owned();
    stream.set_nodelay(true).doing(doing)?;
    let outer = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream))
        .await
        .doing(|| "agreeing on keys".into())?;
    let mut outer = outer.doing(|| "agreeing on keys".into())?;
    let mut inner = TcpStream::connect(to)
        .await
        .doing(|| format!("connecting to {to}"))?;
    inner.set_nodelay(true).doing(doing)?;
    copy_bidirectional(&mut outer, &mut inner)
        .await
        .doing(doing)?;
    Ok(())
}

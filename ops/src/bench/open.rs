//! How many streams may be open at once through one gateway, and what memory that takes: callers with a connection each
//! (HTTP/1.1), all of them multiplexed to the provider (HTTP/2).
//!
//! The mock provider sends the beginning of each stream and then nothing, so that all stay open. They are counted twice: by
//! the callers, each of which has read its first bytes and not seen its end, and by the mock provider.

use std::io;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;

use super::load::Target;
use super::provider::{self, Provider, Question};
use super::scene::VIRTUAL_MODEL;
use super::stack::Stack;
use super::wire::Connection;
use super::{Figures, cpu, rounded, say};
use crate::failure::{Doing as _, Failure, Outcome};

/// File descriptors beside those of callers: of the program itself, and of connections to the provider.
const OTHER_DESCRIPTORS: u64 = 512;

/// Callers that connect and ask at once: a listening socket has no more places for those who wait.
const AT_ONCE: usize = 256;

/// How long a stream may take to begin.
const BEGIN_TIME: Duration = Duration::from_secs(60);

/// The mock provider's script: a stream that begins, and never ends.
const SCRIPT: (&str, &str) = ("x-mock-script", "stall_after=2");

/// Opens so many streams through a gateway of its own, and measures it while all are open.
pub(super) async fn streams(
    stack: &Stack,
    upstream: &Provider,
    key: &str,
    streams: u32,
) -> Outcome<Figures> {
    raise_descriptors(streams)?;
    let origin = format!("http://{}", upstream.address);
    let most = streams.saturating_add(64).to_string();
    let flags = [
        "--upstream-http2-plain",
        &origin,
        "--max-connections",
        &most,
        "--max-requests",
        &most,
        "--max-requests-per-key",
        &most,
    ];
    let data = stack.scratch("gateway-of-streams");
    let mut gateway = stack.start_gateway_with(&data, &stack.ready.nats, &flags)?;
    let question = provider::question(gateway.address, VIRTUAL_MODEL, key);
    gateway.first_answer(&question.request).await?;
    let before = gateway.resident_mib()?;

    say(&format!("opening {streams} streams at once"));
    let target = provider::ask_with(
        gateway.address,
        VIRTUAL_MODEL,
        key,
        Question::Streamed,
        &[SCRIPT],
    );
    let opening = (0..streams).map(|_| open(&target));
    let mut callers: Vec<Connection> = stream::iter(opening)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let at_provider = upstream.stats().await?.open;
    let rss = gateway.resident_mib()?;
    let connections = cpu::sockets_to(gateway.pid(), upstream.address)?;
    let mut at_callers = 0;
    for caller in &mut callers {
        let is_open = caller.is_open();
        at_callers += u64::from(is_open.doing(|| "reading a stream".to_owned())?);
    }
    say(&format!(
        "{at_callers} streams are open at callers, {at_provider} at the provider over {connections} connections"
    ));
    let open = at_callers.min(at_provider);
    if open < u64::from(streams) {
        return Err(Failure::new(format!(
            "{open} of {streams} streams were open at once ({at_callers} at callers, {at_provider} at the provider)"
        )));
    }
    let mut figures = Figures::new();
    figures.insert("open_streams".to_owned(), open.into());
    figures.insert("open_streams_rss_mib".to_owned(), rounded(rss));
    figures.insert("open_streams_idle_rss_mib".to_owned(), rounded(before));
    figures.insert("open_streams_connections".to_owned(), connections.into());
    Ok(figures)
}

/// A caller that has read the beginning of its stream.
async fn open(target: &Target) -> Outcome<Connection> {
    let opening = async {
        let mut connection = Connection::open(target.address).await?;
        match connection.begin(&target.request).await? {
            200 => Ok(connection),
            status => Err(io::Error::other(format!("the answer has status {status}"))),
        }
    };
    let opened = timeout(BEGIN_TIME, opening).await;
    opened
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .doing(|| format!("opening a stream at {}", target.address))
}

/// Raises the limit of open files as far as it goes; what is started later inherits it.
fn raise_descriptors(streams: u32) -> Outcome {
    let doing = || "asking for the limit of open files".to_owned();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing(doing)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .doing(|| format!("raising the limit of open files to {hard}"))?;
    say(&format!(
        "RLIMIT_NOFILE: {soft}, raised to the hard limit of {hard}"
    ));
    if hard < u64::from(streams) + OTHER_DESCRIPTORS {
        return Err(Failure::new(format!(
            "{streams} streams need as many open files at their callers and {OTHER_DESCRIPTORS} more, and the hard limit is \
             {hard}: raise it (ulimit -Hn), or ask for fewer with --open-streams"
        )));
    }
    Ok(())
}

//! The load generator: connections on one pinned thread, each with one request on its way at most.
//!
//! A closed loop sends the next request when the answer is there, and finds what a server can do.
//! A paced one sends at a fixed rate that every server can bear, and finds what it adds to the
//! time of a request; a request that must wait for its connection counts from when it was due.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::cpu::{self, ratio};
use super::wire::{Connection, Reply};
use super::{histogram, milliseconds};
use crate::failure::{Doing as _, Failure, Outcome};

/// What to send to whom.
#[derive(Clone)]
pub(super) struct Target {
    /// The server.
    pub(super) address: SocketAddr,
    /// The whole request.
    pub(super) request: Arc<[u8]>,
}

/// How much of a refusal is kept, in bytes.
const REFUSAL_BYTES: usize = 500;

/// How to send it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Connections at once.
    pub(super) connections: u32,
    /// Requests a second of all connections together; `None` is a closed loop.
    pub(super) rate: Option<u32>,
    /// For how long.
    pub(super) time: Duration,
}

/// What came back.
pub(super) struct Report {
    /// Answers with status 200.
    pub(super) answers: u64,
    /// Answers with another status.
    pub(super) refused: u64,
    /// What one of these said.
    pub(super) refusal: Option<String>,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    times: Histogram<u64>,
    first_bytes: Histogram<u64>,
}

// === impl Report ===

impl Report {
    /// Good answers a second.
    pub(super) fn rate(&self) -> f64 {
        ratio(self.answers, 1) / self.elapsed.as_secs_f64()
    }

    /// The time that this share of the requests took at most, in milliseconds.
    pub(super) fn milliseconds(&self, quantile: f64) -> f64 {
        milliseconds(&self.times, quantile)
    }

    /// The time that this share of the requests waited for the first bytes at most, in milliseconds.
    pub(super) fn first_bytes_milliseconds(&self, quantile: f64) -> f64 {
        milliseconds(&self.first_bytes, quantile)
    }

    fn empty() -> Self {
        Self {
            answers: 0,
            refused: 0,
            refusal: None,
            elapsed: Duration::ZERO,
            times: histogram(),
            first_bytes: histogram(),
        }
    }

    fn record(&mut self, reply: &Reply<'_>, first_bytes: Duration, whole: Duration) {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.times.saturating_record(nanoseconds(whole));
        self.first_bytes.saturating_record(nanoseconds(first_bytes));
        if reply.status == 200 {
            self.answers += 1;
        } else {
            self.refused += 1;
            self.refusal.get_or_insert_with(|| {
                let said = &reply.body[..reply.body.len().min(REFUSAL_BYTES)];
                format!("{}: {}", reply.status, String::from_utf8_lossy(said))
            });
        }
    }
}

/// Runs a load on a thread of its own, perhaps pinned to a core, and waits for its end.
pub(super) async fn run(core: Option<usize>, target: &Target, shape: Shape) -> Outcome<Report> {
    let target = target.clone();
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits any more when the measurement was broken off.
        let _ = sender.send(run_here(core, &target, shape));
    });
    receiver
        .await
        .map_err(|_| Failure::new("the load generator panicked"))?
}

fn run_here(core: Option<usize>, target: &Target, shape: Shape) -> Outcome<Report> {
    core.map_or(Ok(()), cpu::pin_here)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the load generator".to_owned())?
        .block_on(generate(target, shape))
        .doing(|| format!("sending requests to {}", target.address))
}

async fn generate(target: &Target, shape: Shape) -> io::Result<Report> {
    let opening = (0..shape.connections).map(|_| Connection::open(target.address));
    let connections = try_join_all(opening).await?;
    let begun = Instant::now();
    let mut workers = Vec::new();
    for (index, connection) in (0..).zip(connections) {
        let worker = Worker {
            index,
            connection,
            shape,
            begun,
        };
        workers.push(tokio::spawn(worker.run(Arc::clone(&target.request))));
    }
    let mut whole = Report::empty();
    for worker in workers {
        let part = worker.await.map_err(io::Error::other)??;
        whole.answers += part.answers;
        whole.refused += part.refused;
        whole.refusal = whole.refusal.or(part.refusal);
        whole.times += part.times;
        whole.first_bytes += part.first_bytes;
    }
    whole.elapsed = begun.elapsed();
    Ok(whole)
}

/// One connection's share of the load.
struct Worker {
    index: u32,
    connection: Connection,
    shape: Shape,
    begun: Instant,
}

impl Worker {
    async fn run(mut self, request: Arc<[u8]>) -> io::Result<Report> {
        let mut report = Report::empty();
        let end = self.begun + self.shape.time;
        for number in 0.. {
            let sent = match self.due(number) {
                Some(due) if due >= end => break,
                Some(due) if due > Instant::now() => {
                    sleep_until(due).await;
                    // The timer is a millisecond coarse: its lateness is not the server's.
                    Instant::now()
                }
                Some(due) => due,
                None => Instant::now(),
            };
            if sent >= end {
                break;
            }
            let reply = self.connection.exchange(&request).await?;
            let first_bytes = reply.first_bytes.saturating_duration_since(sent);
            report.record(&reply, first_bytes, sent.elapsed());
        }
        Ok(report)
    }

    /// When this worker's request of that number is due, in a paced load.
    fn due(&self, number: u32) -> Option<Instant> {
        let rate = self.shape.rate?;
        let place = f64::from(number) * f64::from(self.shape.connections) + f64::from(self.index);
        Some(self.begun + Duration::from_secs_f64(place / f64::from(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire;
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that answers every read with these bytes.
    async fn server(answer: &'static [u8]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream
                        .read(&mut request)
                        .await
                        .is_ok_and(|length| length > 0)
                    {
                        stream.write_all(answer).await.expect("writes");
                    }
                });
            }
        });
        let request = wire::request("GET", "/", &[], "").into();
        Target { address, request }
    }

    #[tokio::test]
    async fn a_paced_load_sends_as_many_requests_as_its_rate_says() {
        let target = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let time = Duration::from_millis(500);
        let shape = Shape {
            connections: 3,
            rate: Some(100),
            time,
        };
        let report = run(None, &target, shape).await.expect("runs");
        assert_eq!((report.answers, report.refused), (50, 0));
        assert!(report.milliseconds(0.5) > 0.0);
    }

    #[tokio::test]
    async fn answers_other_than_200_are_counted_apart() {
        let target = server(b"HTTP/1.1 429 Slow down\r\ncontent-length: 0\r\n\r\n").await;
        let time = Duration::from_millis(50);
        let report = run(
            None,
            &target,
            Shape {
                connections: 2,
                rate: None,
                time,
            },
        )
        .await;
        let report = report.expect("runs");
        assert_eq!(report.answers, 0);
        assert!(report.refused > 2);
    }
}

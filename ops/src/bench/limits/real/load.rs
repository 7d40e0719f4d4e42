//! Callers of many gateways at once, who ask at a steady rate whatever they are answered: above a limit most of it is
//! refused. Some go away in the middle of their stream, and all come back to a gateway that was killed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::super::super::wire::Connection;
use crate::failure::{Doing as _, Failure, Outcome};

/// A question, and how its caller takes the answer.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The whole request.
    pub(super) request: Arc<[u8]>,
    /// After how many bytes of the answer's body its caller goes away; `None`: it stays to the end.
    pub(super) cut_after: Option<usize>,
}

/// What one gateway is asked.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// The gateway.
    pub(super) address: SocketAddr,
    /// Callers at once.
    pub(super) callers: u32,
    /// How long each waits from one question to the next; while an answer takes longer, it asks no other.
    pub(super) pause: Duration,
}

/// A load.
pub(super) struct Plan {
    /// All gateways that are asked.
    pub(super) lanes: Vec<Lane>,
    /// The questions, in turns.
    pub(super) questions: Arc<[Question]>,
    /// For how long.
    pub(super) time: Duration,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Questions.
    pub(super) asked: u64,
    /// Answers by their status; those that were cut among them.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Questions without any answer, and connections that did not come about.
    pub(super) broken: u64,
}

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(10);

// === impl Tally ===

impl Tally {
    /// Answers with this status.
    pub(super) fn of(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    fn add(&mut self, other: Self) {
        let Self {
            asked,
            statuses,
            broken,
        } = other;
        self.asked += asked;
        self.broken += broken;
        for (status, many) in statuses {
            *self.statuses.entry(status).or_default() += many;
        }
    }
}

/// Runs a load on a thread of its own and waits for its end. `admitted` counts answers with status 200 meanwhile.
pub(super) async fn run(plan: Plan, admitted: Arc<AtomicU64>) -> Outcome<Tally> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits any more when the measurement was broken off.
        let _ = sender.send(run_here(&plan, &admitted));
    });
    let ended = receiver.await;
    ended.map_err(|_| Failure::new("the load generator panicked"))?
}

fn run_here(plan: &Plan, admitted: &Arc<AtomicU64>) -> Outcome<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the load generator".to_owned())?;
    runtime.block_on(async {
        let begin = Instant::now();
        let mut callers = Vec::new();
        for lane in &plan.lanes {
            for number in 0..lane.callers {
                let caller = Caller {
                    address: lane.address,
                    pause: lane.pause,
                    first: begin + lane.pause * number / lane.callers,
                    end: begin + plan.time,
                    questions: Arc::clone(&plan.questions),
                    next: callers.len(),
                    connection: None,
                    admitted: Arc::clone(admitted),
                    tally: Tally::default(),
                };
                callers.push(tokio::spawn(caller.run()));
            }
        }
        let mut all = Tally::default();
        for caller in callers {
            all.add(caller.await.doing(|| "sending requests".to_owned())?);
        }
        Ok(all)
    })
}

/// One caller, with one question under way at most.
struct Caller {
    address: SocketAddr,
    pause: Duration,
    first: Instant,
    end: Instant,
    questions: Arc<[Question]>,
    next: usize,
    connection: Option<Connection>,
    admitted: Arc<AtomicU64>,
    tally: Tally,
}

// === impl Caller ===

impl Caller {
    async fn run(mut self) -> Tally {
        let mut due = interval_at(self.first, self.pause);
        due.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while due.tick().await < self.end {
            let question = self.questions[self.next % self.questions.len()].clone();
            self.next += 1;
            self.tally.asked += 1;
            match timeout(ANSWER_TIME, self.ask(&question)).await {
                Ok(Ok(status)) => {
                    *self.tally.statuses.entry(status).or_default() += 1;
                    self.admitted.fetch_add(u64::from(status == 200), Relaxed);
                }
                Ok(Err(_)) | Err(_) => self.tally.broken += 1,
            }
        }
        self.tally
    }

    /// Asks on the connection that is there, or on a new one.
    async fn ask(&mut self, question: &Question) -> io::Result<u16> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let Some(bytes) = question.cut_after else {
            let status = connection.exchange(&question.request).await?.status;
            self.connection = Some(connection);
            return Ok(status);
        };
        connection.cut_after(&question.request, bytes).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::super::super::wire;
    use super::*;

    /// A gateway that admits this many questions; its answers are longer than any caller waits for that goes away.
    async fn gateway(admits: u64) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let asked = Arc::new(AtomicU64::new(0));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let asked = Arc::clone(&asked);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|it| it > 0) {
                        let answer: &[u8] = if asked.fetch_add(1, Relaxed) < admits {
                            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789"
                        } else {
                            b"HTTP/1.1 429 No\r\ncontent-length: 2\r\n\r\nno"
                        };
                        // Who has gone does not listen.
                        let _ = stream.write_all(answer).await;
                    }
                });
            }
        });
        address
    }

    fn plan(address: SocketAddr) -> Plan {
        let request: Arc<[u8]> = wire::request("GET", "/", &[], "").into();
        let question = |cut_after| Question {
            request: Arc::clone(&request),
            cut_after,
        };
        Plan {
            lanes: vec![Lane {
                address,
                callers: 2,
                pause: Duration::from_millis(10),
            }],
            questions: [question(None), question(Some(3))].into(),
            time: Duration::from_millis(400),
        }
    }

    #[tokio::test]
    async fn what_is_admitted_and_what_is_refused_is_counted() {
        let admitted = Arc::new(AtomicU64::new(0));
        let address = gateway(10).await;
        let tally = run(plan(address), Arc::clone(&admitted)).await;
        let tally = tally.expect("runs");
        assert_eq!((tally.of(200), tally.broken), (10, 0), "{tally:?}");
        assert_eq!(tally.asked, 10 + tally.of(429), "{tally:?}");
        assert!(tally.of(429) > 2, "{tally:?}");
        assert_eq!(admitted.load(Relaxed), 10);
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_there_breaks_questions_and_not_the_load() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        drop(listener);
        let tally = run(plan(address), Arc::default()).await.expect("runs");
        assert!(tally.broken > 2 && tally.broken == tally.asked, "{tally:?}");
    }
}

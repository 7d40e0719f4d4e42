//! How gateways are told: how often, and what becomes of what NATS does not take.

use std::time::Duration;

use async_nats::Client;
use gateway_policy::limits::wire;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::{SEND, Status};

/// How often gateways are told.
const TELL: Duration = Duration::from_millis(50);

/// When the next round of telling begins, after one that began and ended at these times: every 50 ms, and not before as long has
/// passed as the round took. So at most half of the worker's time goes into telling, however many counters are contended and
/// gateways have them; the other half is for what they report, and for keeping the office.
pub(super) fn next_round(began: Instant, ended: Instant) -> Instant {
    let took = ended.duration_since(began);
    (began + TELL).max(ended + took)
}

/// Tells a gateway what shards say; returns whether NATS has taken all of it.
pub(super) async fn send<T: Serialize>(
    client: &Client,
    subject: &str,
    parts: Vec<(usize, T)>,
    status: &Status,
) -> bool {
    let most_bytes = match client.server_info().max_payload {
        0 => wire::MOST_BYTES,
        most => most,
    };
    let written = wire::write_down(parts, most_bytes);
    status.note_too_long(written.too_long, subject);
    let publish = |message: Vec<u8>| async move {
        let sending = client.publish(subject.to_owned(), message.into());
        match timeout(SEND, sending).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("it takes too long".to_owned()),
        }
    };
    hand_over(written.messages, publish, status).await
}

/// Hands messages over until one is not taken: those after it are pieces of the same, or wait for as long; and the next ones say
/// all that they said. Returns whether all were taken.
async fn hand_over<F: Future<Output = Result<(), String>>>(
    messages: Vec<Vec<u8>>,
    publish: impl Fn(Vec<u8>) -> F,
    status: &Status,
) -> bool {
    for message in messages {
        let bytes = message.len();
        let sent = publish(message).await;
        let is_taken = sent.is_ok();
        status.note_sent(bytes, sent);
        if !is_taken {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::ready, sync::atomic::Ordering::Relaxed};

    use super::*;

    #[test]
    fn a_worker_tells_every_fifty_milliseconds_and_for_half_of_its_time_at_most() {
        let began = Instant::now();
        for (took, next) in [(0, 50), (10, 50), (25, 50), (26, 52), (400, 800)] {
            let ended = began + Duration::from_millis(took);
            let pause = next_round(began, ended).duration_since(began);
            assert_eq!(pause, Duration::from_millis(next), "after {took} ms");
        }
    }

    #[tokio::test]
    async fn after_a_message_that_is_not_taken_no_other_is_handed_over() {
        let status = Status::default();
        let tried = RefCell::new(Vec::new());
        let publish = |message: Vec<u8>| {
            tried.borrow_mut().push(message[0]);
            ready(if message[0] == 2 {
                Err("it takes too long".to_owned())
            } else {
                Ok(())
            })
        };
        let messages = |numbers: &[u8]| numbers.iter().map(|it| vec![*it]).collect();
        assert!(!hand_over(messages(&[1, 2, 3, 4]), publish, &status).await);
        assert_eq!(*tried.borrow(), [1, 2]);
        assert_eq!(status.unsent.load(Relaxed), 1);
        assert!(hand_over(messages(&[3, 4]), publish, &status).await);
        assert_eq!(*tried.borrow(), [1, 2, 3, 4]);
    }
}

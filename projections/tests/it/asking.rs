//! Asks whoever is in office how the counters of a rule stand.

use std::time::Duration;

use async_nats::Client;
use events_schema::{subjects, totals::LimitTotals};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;
use uuid::Uuid;

use crate::servers::eventually;

/// How long an answer is waited for: a worker may just be taking office.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is answered; `None`: nothing is.
pub(crate) async fn ask(client: &Client, subject: &'static str, rule: Uuid) -> Option<LimitTotals> {
    let inbox = client.new_inbox();
    let to = subjects::limits_answer(inbox.rsplit('.').next().expect("it has an end"));
    let mut answers = client.subscribe(to.clone()).await.expect("subscribed");
    let question = rule.as_bytes().to_vec();
    let asked = client.publish_with_reply(subject, to, question.into());
    asked.await.expect("sent");
    let answer = timeout(PATIENCE, answers.next()).await.ok()??;
    // Where nobody listens the server itself says so.
    (!answer.payload.is_empty()).then(|| serde_json::from_slice(&answer.payload).expect("totals"))
}

/// Who asks for an answer somewhere else gets none: the worker may publish on streams, and to gateways.
pub(crate) async fn is_answered_nowhere_else(client: &Client, subject: &'static str) {
    let rule = Uuid::from_u128(1);
    eventually("somebody is in office", async || {
        ask(client, subject, rule).await
    })
    .await;
    for to in [
        "limits.told.x",
        "budgets.x",
        "limits.answer.x.y",
        "_INBOX.x",
    ] {
        let mut elsewhere = client.subscribe(to).await.expect("subscribed");
        let question = rule.as_bytes().to_vec();
        let asked = client.publish_with_reply(subject, to, question.into());
        asked.await.expect("sent");
        // Questions are answered in their order: with this answer the one before would have come.
        eventually("it is answered", async || ask(client, subject, rule).await).await;
        assert!(elsewhere.next().now_or_never().is_none(), "{to}");
    }
}

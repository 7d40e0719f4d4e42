//! How many requests may be under way at once: of a key, and together.

use std::sync::Arc;

use events_schema::usage::Outcome;
use http::{Method, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{sync::Notify, task::JoinSet};

use crate::support::{
    client::{Answer, Client},
    eventually,
    gateway::Scene,
    provider::{End, Reply, answer, error, word},
    snapshots::{KEY, LIMITED_KEY, POOR_KEY},
};

const QUESTION: &str = r#"{"model":"both","messages":[]}"#;
pub(crate) const STREAM: &str = r#"{"model":"both","stream":true,"messages":[]}"#;
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A stream under way: its caller's connection, the answer that has begun, and what ends it.
pub(crate) struct Held {
    client: Client,
    response: Response<Incoming>,
    end: Arc<Notify>,
}

impl Held {
    /// On a connection of its own, and so in turn on one of two worker threads.
    pub(crate) async fn begin(scene: &Scene, key: &str) -> Self {
        let end = Arc::new(Notify::new());
        let reply = Reply::StreamUntil(vec![word("Hello")], Arc::clone(&end));
        scene.one.replies(reply);
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let mut client = scene.gateway.client().await;
        let response = client.begin(Method::POST, CHAT, &headers, STREAM).await;
        assert_eq!(response.status(), 200);
        scene.one.replies(answer());
        Self {
            client,
            response,
            end,
        }
    }

    /// A header of its answer; empty: there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value.map_or("", |it| it.to_str().expect("text"))
    }

    /// Its caller goes away.
    pub(crate) fn vanishes(self) {
        self.client.vanish();
    }

    /// Lets it end, and reads that it has.
    pub(crate) async fn ends(self) {
        self.end.notify_one();
        let rest = self.response.into_body().collect().await;
        rest.expect("it ends well");
    }
}

/// Status, code and `retry-after`.
fn told(answer: &Answer) -> (u16, String, &str) {
    let code = answer.json()["error"]["code"].to_string();
    (answer.status.as_u16(), code, answer.header("retry-after"))
}

fn too_many() -> (u16, String, &'static str) {
    (429, "\"too_many_requests_under_way\"".to_owned(), "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_so_many_requests_under_way_and_another_one_once_one_has_ended() {
    let scene = Scene::set(&["--max-requests-per-key", "2"]).await;
    let first = Held::begin(&scene, KEY).await;
    let second = Held::begin(&scene, KEY).await;
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(told(&refused), too_many());
    assert_eq!(refused.json()["error"]["type"], "requests");
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    assert_eq!(record.rules, ["key:requests_under_way"]);
    assert!(record.key.is_some() && record.attempts.is_empty());
    let metric = "sluice_gateway_crowded_out_total{bound=\"key\"}";
    assert_eq!(scene.gateway.metric(metric).await, 1);

    let other = scene.gateway.chat_as(LIMITED_KEY, QUESTION).await;
    assert_eq!(other.status, 200, "another key has places of its own");

    first.ends().await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    let third = Held::begin(&scene, KEY).await;
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    second.ends().await;
    third.ends().await;
    assert_eq!(scene.gateway.metric(metric).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_has_gone_leaves_its_place() {
    let scene = Scene::set(&["--max-requests-per-key", "1"]).await;
    let held = Held::begin(&scene, KEY).await;
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    held.vanishes();
    eventually("its place is free", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let gone = |record: &events_schema::usage::UsageRecord| record.outcome == Outcome::ClientGone;
    scene.record("the record of who has gone", gone).await;
}

/// One request after another reaches the first provider, whose answers end in each of the ways that there are.
pub(crate) async fn end_in_every_way(scene: &Scene, question: &str) {
    let stream = |end| Reply::Stream(vec![word("Hello")], end);
    for reply in [
        answer(),
        error(500),
        error(401),
        Reply::Break,
        stream(End::Well),
        stream(End::Cut),
    ] {
        scene.one.replies(reply);
        let asked = scene.one.requests().len();
        let answer = scene.gateway.chat(question).await;
        assert!(scene.one.requests().len() > asked, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_request_ends_it_leaves_its_place() {
    let flags = ["--max-requests", "1", "--max-requests-per-key", "1"];
    let scene = Scene::set(&flags).await;
    let question = r#"{"model":"one/first","messages":[]}"#;
    end_in_every_way(&scene, question).await;
    scene.one.replies(answer());
    for (key, body, status) in [
        (KEY, "{", 400),
        (KEY, r#"{"model":"none"}"#, 404),
        (POOR_KEY, question, 403),
        ("sk-sluice-guessed", question, 401),
        (KEY, question, 200),
    ] {
        let answer = scene.gateway.chat_as(key, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_requests_together_have_a_bound_told_in_the_callers_api() {
    let scene = Scene::set(&["--max-requests", "2"]).await;
    let one = Held::begin(&scene, KEY).await;
    let other = Held::begin(&scene, LIMITED_KEY).await;
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(told(&refused), (503, "\"overloaded\"".to_owned(), "1"));
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    assert_eq!(record.rules, ["gateway:requests_under_way"]);
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let mut client = scene.gateway.client().await;
    let refused = client
        .send(Method::POST, "/v1/messages", &headers, QUESTION)
        .await;
    assert_eq!(refused.status, 529);
    assert_eq!(refused.json()["error"]["type"], "overloaded_error");
    let metric = "sluice_gateway_crowded_out_total{bound=\"gateway\"}";
    assert_eq!(scene.gateway.metric(metric).await, 2);

    let stranger = scene.gateway.chat_as("sk-sluice-guessed", QUESTION).await;
    assert_eq!(stranger.status, 401, "who has no key learns only that");
    one.ends().await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    other.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_once_exactly_as_many_are_let_in_as_may_be() {
    let scene = Scene::set(&["--max-requests-per-key", "5"]).await;
    scene.one.replies(Reply::Silence);
    let mut asking = JoinSet::new();
    for _ in 0..40 {
        let mut client = scene.gateway.client().await;
        asking.spawn(async move {
            let bearer = format!("Bearer {KEY}");
            let headers = [("authorization", bearer.as_str())];
            client.send(Method::POST, CHAT, &headers, QUESTION).await
        });
    }
    for _ in 0..35 {
        let refused = asking.join_next().await.expect("one of 40");
        assert_eq!(told(&refused.expect("no panic")), too_many());
    }
    eventually("the others have arrived", async || {
        (scene.one.requests().len() == 5).then_some(())
    })
    .await;
    assert_eq!(asking.len(), 5);
}

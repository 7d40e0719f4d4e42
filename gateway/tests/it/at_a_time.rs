//! Limits on how many requests are under way at a time, as callers meet them.

use events_schema::{
    events::LimitMode,
    snapshot::{
        entries::{Entry, ModelRefEntry},
        limits::{
            LimitUnitEntry, LimitWindowEntry, RateLimitEntry, RateLimitPolicyEntry, SegmentEntry,
        },
        routing::{RetryEntry, RoutedTargetEntry, RoutingEntry},
    },
    usage::{CounterSeen, LimitMeasure, LimitPeriod, Outcome, UsageRecord},
};
use http::{Method, Response};
use hyper::body::Incoming;
use tokio::task::JoinSet;

use crate::{
    places::{CHAT, Held, STREAM, end_in_every_way},
    policies::{limit, policy, scene},
    routing::{by_priority, change, target},
    support::{
        client::{Answer, Client},
        eventually,
        gateway::Scene,
        provider::{End, Reply, answer, error, word},
        snapshots::{ACCOUNT, FIRST, KEY, LIMITED_KEY, OTHER_ACCOUNT},
    },
};

const QUESTION: &str = r#"{"model":"both","messages":[]}"#;
const FIRST_QUESTION: &str = r#"{"model":"one/first","messages":[]}"#;

const fn at_a_time(most: u64) -> RateLimitEntry {
    limit(LimitUnitEntry::Requests, LimitWindowEntry::AtATime, most)
}

/// Of the targets at these accounts.
fn of_targets(accounts: &[[u8; 16]], most: u64) -> RateLimitPolicyEntry {
    let models = accounts
        .iter()
        .map(|it| ModelRefEntry::ProviderAccount(*it));
    RateLimitPolicyEntry {
        models_in: models.collect(),
        ..policy(71, vec![at_a_time(most)])
    }
}

/// Status, code and `retry-after`.
fn told(answer: &Answer) -> (u16, String, &str) {
    let code = answer.json()["error"]["code"].to_string();
    (answer.status.as_u16(), code, answer.header("retry-after"))
}

fn too_many() -> (u16, String, &'static str) {
    (429, "\"rate_limit_exceeded\"".to_owned(), "1")
}

/// A stream that the second target has begun and does not end, and its caller.
async fn begun_at_the_second(scene: &Scene) -> (Client, Response<Incoming>) {
    scene
        .two
        .replies(Reply::Stream(vec![word("Hello")], End::Never));
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let mut client = scene.gateway.client().await;
    let begun = client.begin(Method::POST, CHAT, &headers, STREAM).await;
    assert_eq!(begun.headers()["x-sluice-target"], "two/second");
    (client, begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_under_way_at_a_time_and_another_one_once_one_has_ended() {
    let scene = scene([policy(71, vec![at_a_time(2)])]).await;
    let first = Held::begin(&scene, KEY).await;
    assert_eq!(first.header("x-sluice-concurrency-limit"), "2");
    assert_eq!(first.header("x-sluice-concurrency-remaining"), "1");
    let second = Held::begin(&scene, LIMITED_KEY).await;
    assert_eq!(second.header("x-sluice-concurrency-remaining"), "0");

    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(told(&refused), too_many());
    assert_eq!(
        refused.json()["error"]["message"],
        "Rate limit of the policy 'policy-71' reached: 2 requests at a time. Please try again when one of them has ended."
    );
    assert_eq!(
        refused.header("x-ratelimit-limit-requests"),
        "",
        "clients take that for requests in a time"
    );
    assert_eq!(refused.header("x-should-retry"), "");
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    let fired = "rate_limit_policy:47474747474747474747474747474747".to_owned();
    assert!(record.rules.contains(&fired), "{:?}", record.rules);
    let limits = record.limits.expect("one refused");
    let [seen] = &limits[..] else {
        panic!("one limit: {limits:?}")
    };
    assert_eq!(
        (
            seen.measure,
            seen.period,
            seen.most,
            seen.cost,
            seen.exceeded
        ),
        (LimitMeasure::Requests, LimitPeriod::AtATime, 2, 1, true)
    );
    assert_eq!(
        seen.counter,
        CounterSeen::Shared {
            own: 2,
            known: 0,
            share: 1 << 32,
            cut_off: None,
            free: None,
        }
    );

    first.ends().await;
    let third = Held::begin(&scene, KEY).await;
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    second.ends().await;
    third.ends().await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_so_many_under_way_at_a_time_whatever_the_others_do() {
    let per_key = RateLimitPolicyEntry {
        applies_per: vec![SegmentEntry::Key],
        ..policy(71, vec![at_a_time(1)])
    };
    let scene = scene([per_key]).await;
    let of_one = Held::begin(&scene, KEY).await;
    assert_eq!(of_one.header("x-sluice-concurrency-limit"), "1");
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    let of_another = Held::begin(&scene, LIMITED_KEY).await;
    assert_eq!(of_another.header("x-sluice-concurrency-remaining"), "0");
    of_one.ends().await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    of_another.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_request_ends_it_is_not_under_way_any_more() {
    let scene = scene([policy(71, vec![at_a_time(1)])]).await;
    end_in_every_way(&scene, FIRST_QUESTION).await;
    let held = Held::begin(&scene, KEY).await;
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    held.vanishes();
    eventually("whose caller has gone is not under way", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let gone = |record: &UsageRecord| record.outcome == Outcome::ClientGone;
    scene.record("the record of who has gone", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_once_exactly_as_many_are_let_in_as_may_be() {
    let scene = scene([policy(71, vec![at_a_time(5)])]).await;
    scene.one.replies(Reply::Silence);
    let mut asking = JoinSet::new();
    for _ in 0..40 {
        let mut client = scene.gateway.client().await;
        asking.spawn(async move {
            let bearer = format!("Bearer {KEY}");
            let headers = [("authorization", bearer.as_str())];
            let path = "/v1/chat/completions";
            client
                .send(http::Method::POST, path, &headers, FIRST_QUESTION)
                .await
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

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_lets_all_through_and_notes_those_that_were_too_many() {
    let audited = RateLimitPolicyEntry {
        audits: true,
        ..policy(71, vec![at_a_time(1)])
    };
    let scene = scene([audited]).await;
    let held = Held::begin(&scene, KEY).await;
    let second = scene.gateway.chat(QUESTION).await;
    assert_eq!(second.status, 200);
    assert_eq!(second.header("x-sluice-concurrency-limit"), "");
    let noted = "audit:rate_limit_policy:47474747474747474747474747474747".to_owned();
    let record = scene.record_of(&second).await;
    assert!(record.rules.contains(&noted), "{:?}", record.rules);
    let seen = record.limits.expect("noted")[0];
    assert_eq!((seen.exceeded, seen.mode), (true, Some(LimitMode::Audit)));
    held.ends().await;
    let third = scene.gateway.chat(QUESTION).await;
    let record = scene.record_of(&third).await;
    assert!(!record.rules.contains(&noted), "{:?}", record.rules);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_tries_a_target_again_is_one_and_one_that_leaves_it_is_none_there() {
    let mut scene = scene([of_targets(&[ACCOUNT], 1)]).await;
    let again = RoutedTargetEntry {
        retry: Some(RetryEntry {
            attempts: 2,
            delay_ms: 1,
            on_status_codes: vec![503],
        }),
        ..target(FIRST, 0)
    };
    let mut routing = by_priority();
    routing.targets[0] = again;
    change(&mut scene, routing).await;
    scene.one.replies(error(503));
    let (_client, begun) = begun_at_the_second(&scene).await;
    assert_eq!(scene.one.requests().len(), 3, "no try was refused");
    scene.one.replies(answer());
    let other = scene.gateway.chat(QUESTION).await;
    assert_eq!(other.header("x-sluice-target"), "one/first");
    drop(begun);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_beside_each_other_are_one_request_until_both_are_over() {
    let mut scene = scene([of_targets(&[ACCOUNT, OTHER_ACCOUNT], 1)]).await;
    let routing = RoutingEntry {
        hedge_after_ms: Some(20),
        ..by_priority()
    };
    change(&mut scene, routing).await;
    // The first one, which was charged, is given up once the second one answers.
    scene.one.replies(Reply::Silence);
    let (client, begun) = begun_at_the_second(&scene).await;
    let refused = scene.gateway.chat(FIRST_QUESTION).await;
    assert_eq!(told(&refused), too_many());
    drop(begun);
    client.vanish();
    scene.one.replies(answer());
    eventually("nothing is under way", async || {
        let answer = scene.gateway.chat(FIRST_QUESTION).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_changes_keeps_what_is_under_way() {
    let mut scene = scene([policy(71, vec![at_a_time(1)])]).await;
    let held = Held::begin(&scene, KEY).await;
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    let jetstream = scene.nats.jetstream().await;
    let wider = Entry::RateLimitPolicy(policy(71, vec![at_a_time(2)]));
    scene.snapshots.change(&jetstream, &wider).await;
    eventually("the wider limit holds", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let second = Held::begin(&scene, KEY).await;
    assert_eq!(told(&scene.gateway.chat(QUESTION).await), too_many());
    held.ends().await;
    second.ends().await;
}

//! Routing over sockets: strategies, retries, circuits, sessions, deadlines, hedges, and what a target's routing changes in
//! a request. What a record says is enough to work the same attempts out again.

use std::{collections::BTreeMap, time::Duration};

use events_schema::{
    snapshot::{
        entries::Entry,
        routing::{
            IdentifierEntry, RetryEntry, RoutedTargetEntry, RoutingEntry, StickyEntry,
            StrategyEntry,
        },
    },
    usage::{Circuit, UsageRecord},
};
use http::Method;

use crate::support::{
    client::Answer,
    eventually,
    gateway::{Gateway, Scene},
    provider::{Provider, Reply, answer, error},
    snapshots::{FIRST, KEY, SECOND, VIRTUAL},
};

const QUESTION: &str = r#"{"model":"both","temperature":1,"messages":[]}"#;
const ONE: &str = "one/first";
const TWO: &str = "two/second";

pub(crate) fn target(model: [u8; 16], priority: u32) -> RoutedTargetEntry {
    RoutedTargetEntry {
        model,
        weight: 0,
        priority,
        fallback_status_codes: vec![429, 500, 503],
        fallback_candidate: true,
        retry: None,
        cutoff_first_token_ms: None,
        cutoff_per_token_ms: None,
        override_params: Vec::new(),
        headers_set: Vec::new(),
        headers_remove: Vec::new(),
        metadata_match: Vec::new(),
    }
}

/// `one/first` before `two/second`.
pub(crate) fn by_priority() -> RoutingEntry {
    RoutingEntry {
        virtual_model: VIRTUAL,
        strategy: StrategyEntry::Priority,
        targets: vec![target(FIRST, 0), target(SECOND, 1)],
        sticky: None,
        deadline_ms: None,
        hedge_after_ms: None,
    }
}

/// A scene in which `both` chooses so.
async fn routed(flags: &[&str], routing: RoutingEntry) -> Scene {
    let mut scene = Scene::set(flags).await;
    change(&mut scene, routing).await;
    scene
}

pub(crate) async fn change(scene: &mut Scene, routing: RoutingEntry) {
    let jetstream = scene.nats.jetstream().await;
    let entry = Entry::Routing(routing);
    scene.snapshots.change(&jetstream, &entry).await;
    let position = scene.snapshots.position;
    eventually("the gateway serves the routing", async || {
        let served = scene.gateway.metric("sluice_gateway_position").await;
        (served == position).then_some(())
    })
    .await;
}

async fn ask(gateway: &Gateway, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    let mut client = gateway.client().await;
    client
        .send(Method::POST, "/v1/chat/completions", &headers, QUESTION)
        .await
}

/// Which target each attempt went to, and how it ended.
fn told(record: &UsageRecord) -> Vec<(&str, Option<u16>, Option<&str>)> {
    record
        .attempts
        .iter()
        .map(|it| (it.target.as_str(), it.status, it.error.as_deref()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_tried_again_after_its_delay_and_then_left_for_another() {
    let again = RoutedTargetEntry {
        retry: Some(RetryEntry {
            attempts: 2,
            delay_ms: 50,
            on_status_codes: vec![503],
        }),
        ..target(FIRST, 0)
    };
    let routing = RoutingEntry {
        targets: vec![again, target(SECOND, 1)],
        ..by_priority()
    };
    let scene = routed(&[], routing).await;
    scene.one.replies(error(503));
    let answer = ask(&scene.gateway, &[]).await;
    assert_eq!(answer.header("x-sluice-target"), TWO);
    let record = scene.record_of(&answer).await;
    let failed = (ONE, Some(503), None);
    assert_eq!(
        told(&record),
        [failed, failed, failed, (TWO, Some(200), None)]
    );
    let began: Vec<u64> = record.attempts.iter().map(|it| it.began_us).collect();
    assert!(began[1] - began[0] >= 50_000 && began[2] - began[1] >= 50_000);
    assert_eq!(
        scene.gateway.metric("sluice_gateway_retries_total").await,
        2
    );
    assert_eq!(
        scene.gateway.metric("sluice_gateway_fallbacks_total").await,
        1
    );
    // Another status is not tried again.
    scene.one.replies(error(500));
    let answer = ask(&scene.gateway, &[]).await;
    let record = scene.record_of(&answer).await;
    assert_eq!(
        told(&record),
        [(ONE, Some(500), None), (TWO, Some(200), None)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_ask_for_retries_and_for_a_timeout_of_each_attempt() {
    let scene = routed(&[], by_priority()).await;
    scene.one.replies(error(429));
    let retry = (
        "x-tfy-retry-config",
        r#"{"attempts":1,"onStatusCodes":["429"]}"#,
    );
    let answer = ask(&scene.gateway, &[retry]).await;
    let record = scene.record_of(&answer).await;
    let failed = (ONE, Some(429), None);
    assert_eq!(told(&record), [failed, failed, (TWO, Some(200), None)]);
    let grounds = record.routing.expect("the wish is recorded");
    assert_eq!(grounds.retry.expect("it is").on_status_codes, [429]);

    scene.one.replies(Reply::Silence);
    let timeout = ("x-sluice-request-timeout", "100");
    let answer = ask(&scene.gateway, &[timeout]).await;
    let record = scene.record_of(&answer).await;
    assert_eq!(
        told(&record),
        [(ONE, None, Some("timeout")), (TWO, Some(200), None)]
    );
    let answer = ask(&scene.gateway, &[("x-sluice-request-timeout", "soon")]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_all_attempts_together() {
    let again = RoutedTargetEntry {
        retry: Some(RetryEntry {
            attempts: 10,
            delay_ms: 100,
            on_status_codes: vec![503],
        }),
        ..target(FIRST, 0)
    };
    let routing = RoutingEntry {
        targets: vec![again, target(SECOND, 1)],
        deadline_ms: Some(450),
        ..by_priority()
    };
    let mut scene = routed(&["--circuit-failures", "100"], routing.clone()).await;
    scene.one.replies(error(503));
    let answer = ask(&scene.gateway, &[]).await;
    let record = scene.record_of(&answer).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    let tries = record.attempts.len();
    assert!((2..=5).contains(&tries), "{:?}", record.attempts);
    assert!(record.attempts.iter().all(|it| it.target == ONE));

    let routing = RoutingEntry {
        targets: vec![target(FIRST, 0), target(SECOND, 1)],
        ..routing
    };
    change(&mut scene, routing).await;
    scene.one.replies(Reply::Silence);
    scene.two.replies(Reply::Silence);
    let answer = ask(&scene.gateway, &[]).await;
    assert_eq!(answer.json()["error"]["code"], "provider_timeout");
    let record = scene.record_of(&answer).await;
    assert_eq!(told(&record), [(ONE, None, Some("timeout"))]);
    assert!(record.duration_us >= 450_000, "{}", record.duration_us);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_after_failures_and_closes_when_a_request_finds_the_target_well() {
    let flags = ["--circuit-failures", "3", "--circuit-open-ms", "400"];
    let scene = routed(&flags, by_priority()).await;
    scene.one.replies(error(500));
    let first_tried = async || {
        let answer = ask(&scene.gateway, &[]).await;
        scene.record_of(&answer).await
    };
    for _ in 0..3 {
        assert_eq!(first_tried().await.attempts[0].target, ONE);
    }
    let record = first_tried().await;
    assert_eq!(told(&record), [(TWO, Some(200), None)]);
    let grounds = record.routing.expect("the choice depended on it");
    assert_eq!(grounds.health.len(), 1);
    assert_eq!(grounds.health[0].health.circuit, Circuit::Open);
    // It is still failing when a request finds out, and left alone for longer.
    eventually("a request finds out", async || {
        (first_tried().await.attempts[0].target == ONE).then_some(())
    })
    .await;
    assert_eq!(first_tried().await.attempts[0].target, TWO);
    scene.one.replies(answer());
    let record = eventually("a request finds it well", async || {
        let record = first_tried().await;
        (record.attempts[0].target == ONE).then_some(record)
    })
    .await;
    assert_eq!(told(&record), [(ONE, Some(200), None)]);
    let grounds = record.routing.expect("the choice depended on it");
    assert_eq!(grounds.health[0].health.circuit, Circuit::Probe);
    assert_eq!(first_tried().await.routing, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faster_target_is_preferred_once_enough_is_known() {
    let routing = RoutingEntry {
        strategy: StrategyEntry::Latency,
        ..by_priority()
    };
    let scene = routed(&[], routing).await;
    let body = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let late = Duration::from_millis(60);
    scene.one.replies(Reply::LateWhole(late, body.to_owned()));
    let mut answers = BTreeMap::new();
    let record = eventually("both are known", async || {
        let answer = ask(&scene.gateway, &[]).await;
        let target = answer.header("x-sluice-target").to_owned();
        *answers.entry(target).or_insert(0) += 1;
        let known = answers.len() == 2 && answers.values().all(|count| *count >= 3);
        if known {
            let answer = ask(&scene.gateway, &[]).await;
            return Some(scene.record_of(&answer).await);
        }
        None
    })
    .await;
    assert_eq!(told(&record), [(TWO, Some(200), None)]);
    let health = record.routing.expect("the choice depended on it").health;
    let mean = |model: [u8; 16]| {
        let its = health.iter().find(|it| it.model.bytes() == model);
        its.and_then(|it| it.health.per_token_us).expect("known")
    };
    assert!(mean(FIRST) > 60_000 && mean(SECOND) < mean(FIRST));
    for _ in 0..10 {
        let answer = ask(&scene.gateway, &[]).await;
        assert_eq!(answer.header("x-sluice-target"), TWO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_with_who_answered_it() {
    let header = |key: &str| IdentifierEntry {
        is_header: true,
        key: key.into(),
    };
    let even = |model| RoutedTargetEntry {
        weight: 1,
        ..target(model, 0)
    };
    let routing = RoutingEntry {
        strategy: StrategyEntry::Weight,
        targets: vec![even(FIRST), even(SECOND)],
        sticky: Some(StickyEntry {
            ttl_seconds: 600,
            identifiers: vec![header("x-user-id")],
        }),
        ..by_priority()
    };
    let scene = routed(&[], routing).await;
    let of = async |user: &str| {
        let answer = ask(&scene.gateway, &[("x-user-id", user)]).await;
        answer.header("x-sluice-target").to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..24 {
        let user = format!("user-{user}");
        let first = of(&user).await;
        assert_eq!(
            [of(&user).await, of(&user).await],
            [first.clone(), first.clone()]
        );
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "different sessions go to different targets");
    // While its target fails, another one answers; that one keeps it.
    let bound = of("user-0").await;
    let (failing, other) = if bound == ONE {
        (&scene.one, TWO)
    } else {
        (&scene.two, ONE)
    };
    failing.replies(error(503));
    assert_eq!(of("user-0").await, other);
    failing.replies(answer());
    let again = ask(&scene.gateway, &[("x-user-id", "user-0")]).await;
    assert_eq!(again.header("x-sluice-target"), other);
    let record = scene.record_of(&again).await;
    let bound = record.routing.expect("it depended on the session").bound;
    assert!(bound.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_also_known_by_what_the_metadata_says() {
    let even = |model| RoutedTargetEntry {
        weight: 1,
        ..target(model, 0)
    };
    let routing = RoutingEntry {
        strategy: StrategyEntry::Weight,
        targets: vec![even(FIRST), even(SECOND)],
        sticky: Some(StickyEntry {
            ttl_seconds: 600,
            identifiers: vec![IdentifierEntry {
                is_header: false,
                key: "conversation".into(),
            }],
        }),
        ..by_priority()
    };
    let scene = routed(&[], routing).await;
    let of = async |conversation: u8| {
        let metadata = format!(r#"{{"conversation":"{conversation}"}}"#);
        let answer = ask(&scene.gateway, &[("x-sluice-metadata", &metadata)]).await;
        answer.header("x-sluice-target").to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for conversation in 0..24 {
        let first = of(conversation).await;
        let again = [of(conversation).await, of(conversation).await];
        assert_eq!(again, [first.clone(), first.clone()]);
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "different sessions go to different targets");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_target_is_asked_beside_one_that_does_not_answer() {
    let routing = RoutingEntry {
        hedge_after_ms: Some(50),
        ..by_priority()
    };
    let scene = routed(&[], routing).await;
    let quick = ask(&scene.gateway, &[]).await;
    assert_eq!(quick.header("x-sluice-target"), ONE);
    scene.one.replies(Reply::Silence);
    let answer = ask(&scene.gateway, &[]).await;
    assert_eq!(answer.header("x-sluice-target"), TWO);
    let record = scene.record_of(&answer).await;
    assert_eq!(
        told(&record),
        [(ONE, None, Some("superseded")), (TWO, Some(200), None)]
    );
    assert!(record.attempts[1].began_us >= 50_000);
    assert_eq!(scene.gateway.metric("sluice_gateway_hedges_total").await, 1);
    scene.one.cancelled(1).await;
    // Both fail: the answer says so, and there is one record.
    scene
        .one
        .replies(Reply::BreakLate(Duration::from_millis(150)));
    scene.two.replies(error(500));
    let answer = ask(&scene.gateway, &[]).await;
    assert_eq!(answer.status, 500, "{}", answer.body);
    let record = scene.record_of(&answer).await;
    assert_eq!(
        told(&record),
        [(ONE, None, Some("broken")), (TWO, Some(500), None)]
    );
    // An error that comes first does not win over a good answer that is still on its way.
    let body = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let late = Duration::from_millis(150);
    scene.one.replies(Reply::LateWhole(late, body.to_owned()));
    let answer = ask(&scene.gateway, &[]).await;
    assert_eq!(answer.header("x-sluice-target"), ONE);
    let record = scene.record_of(&answer).await;
    assert_eq!(
        told(&record),
        [(ONE, Some(200), None), (TWO, Some(500), None)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_targets_routing_changes_the_body_and_the_headers_that_it_says() {
    let changed = RoutedTargetEntry {
        override_params: vec![
            ("temperature".into(), "0.50".into()),
            ("top_p".into(), "[1e2]".into()),
        ],
        headers_set: vec![("x-region".into(), "us-east-1".into())],
        headers_remove: vec!["x-internal-debug".into()],
        ..target(FIRST, 0)
    };
    let routing = RoutingEntry {
        targets: vec![changed, target(SECOND, 1)],
        ..by_priority()
    };
    let scene = routed(&[], routing).await;
    let headers = [
        ("x-region", "eu"),
        ("x-internal-debug", "1"),
        ("x-other", "stays"),
    ];
    ask(&scene.gateway, &headers).await;
    let sent = scene.one.requests().pop().expect("it has arrived");
    assert_eq!(
        sent.body,
        r#"{"model":"upstream-first","messages":[],"temperature":0.50,"top_p":[1e2]}"#
    );
    let lines: Vec<&str> = sent.head.lines().collect();
    assert!(lines.contains(&"x-region: us-east-1"), "{}", sent.head);
    assert!(lines.contains(&"x-other: stays"), "{}", sent.head);
    assert!(!sent.head.contains("x-region: eu") && !sent.head.contains("x-internal-debug"));
    // The one that it falls back to gets the caller's own.
    scene.one.replies(error(500));
    ask(&scene.gateway, &headers).await;
    let sent = scene.two.requests().pop().expect("it has arrived");
    assert!(sent.body.contains(r#""temperature":1"#), "{}", sent.body);
    assert!(sent.head.lines().any(|line| line == "x-region: eu"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_decides_which_targets_take_a_request() {
    let gold = RoutedTargetEntry {
        metadata_match: vec![("tier".into(), "gold".into())],
        ..target(FIRST, 0)
    };
    let routing = RoutingEntry {
        targets: vec![gold.clone(), target(SECOND, 1)],
        ..by_priority()
    };
    let mut scene = routed(&[], routing).await;
    let tier = ("x-sluice-metadata", r#"{"tier":"gold"}"#);
    assert_eq!(
        ask(&scene.gateway, &[tier]).await.header("x-sluice-target"),
        ONE
    );
    assert_eq!(
        ask(&scene.gateway, &[]).await.header("x-sluice-target"),
        TWO
    );
    let only = RoutingEntry {
        targets: vec![gold],
        ..by_priority()
    };
    change(&mut scene, only).await;
    let refused = ask(&scene.gateway, &[]).await;
    assert_eq!(refused.json()["error"]["code"], "no_target");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirection_or_an_answer_that_is_no_json_is_followed_by_another_target() {
    let scene = routed(&[], by_priority()).await;
    for status in [302, 418] {
        let page = Reply::Whole(status, "text/html", "<h1>Hello</h1>".to_owned());
        scene.one.replies(page);
        let answer = ask(&scene.gateway, &[]).await;
        assert_eq!(answer.header("x-sluice-target"), TWO, "{status}");
        let record = scene.record_of(&answer).await;
        assert_eq!(
            told(&record),
            [(ONE, Some(status), None), (TWO, Some(200), None)]
        );
    }
}

/// Both providers, for a look at how often each was asked.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_routing_entry_the_weights_hold_again() {
    let mut scene = routed(&[], by_priority()).await;
    let requests = |provider: &Provider| provider.requests().len();
    ask(&scene.gateway, &[]).await;
    let jetstream = scene.nats.jetstream().await;
    let kind = events_schema::snapshot::EntryKind::Routing;
    scene.snapshots.remove(&jetstream, kind, VIRTUAL[0]).await;
    let position = scene.snapshots.position;
    eventually("the routing is gone", async || {
        let served = scene.gateway.metric("sluice_gateway_position").await;
        (served == position).then_some(())
    })
    .await;
    let answer = ask(&scene.gateway, &[]).await;
    assert_eq!(answer.header("x-sluice-target"), ONE);
    assert_eq!((requests(&scene.one), requests(&scene.two)), (2, 0));
}

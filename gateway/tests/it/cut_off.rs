//! Rate-limit policies at a gateway of which nobody adds up what it admits: each does what it says.

use std::time::{Duration, Instant};

use events_schema::{
    events::LimitWhenCutOff,
    snapshot::{
        entries::Entry,
        limits::{LimitWindowEntry, MetadataConditionEntry, RateLimitPolicyEntry, WhenCutOffEntry},
    },
    usage::{CounterSeen, Outcome},
};

use crate::{
    policies::{policy, requests, with_metadata},
    support::{
        eventually,
        gateway::{Gateway, Scene},
        nats::Nats,
        provider::{Provider, answer},
        snapshots::Snapshots,
    },
};

/// How long a gateway goes by its shares that has heard nothing.
const BY_SHARES: Duration = Duration::from_secs(10);

/// A policy for the requests of a project: so many a day.
fn of_project(
    id: u8,
    project: &str,
    most: u64,
    when_cut_off: WhenCutOffEntry,
) -> RateLimitPolicyEntry {
    RateLimitPolicyEntry {
        metadata: vec![MetadataConditionEntry {
            key: "project".to_owned(),
            within: vec![project.to_owned()],
            not_in: Vec::new(),
        }],
        when_cut_off,
        ..policy(id, vec![requests(LimitWindowEntry::Day, most)])
    }
}

/// How many of ten requests of a project are let through.
async fn admitted_of_ten(scene: &Scene, project: &str) -> usize {
    let mut admitted = 0;
    for _ in 0..10 {
        let metadata = format!(r#"{{"project":"{project}"}}"#);
        let answer = with_metadata(scene, &metadata).await;
        match answer.status.as_u16() {
            200 => admitted += 1,
            429 => {}
            other => panic!("{project}: {other}"),
        }
    }
    admitted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hears_nothing_does_with_each_limit_what_its_policy_says() {
    let nats = Nats::start().await;
    let (one, two) = (
        Provider::start(answer()).await,
        Provider::start(answer()).await,
    );
    let policies = [
        of_project(71, "closed", 1_000_000, WhenCutOffEntry::Closed),
        of_project(72, "open", 3, WhenCutOffEntry::Open),
        of_project(73, "alone", 3, WhenCutOffEntry::Alone),
    ];
    let policies = policies.into_iter().map(Entry::RateLimitPolicy);
    let snapshots = policies.fold(Snapshots::of(&one, &two), |all, it| all.with(&it));
    snapshots.publish(&nats.jetstream().await).await;
    let mut gateway = Gateway::prepare(&nats, &[]);
    gateway.together = true;
    let begun = Instant::now();
    gateway.run();
    let scene = Scene {
        nats,
        one,
        two,
        snapshots,
        gateway,
    };
    scene.gateway.ready().await;
    // What any newcomer may use unasked.
    let of_closed = r#"{"project":"closed"}"#;
    assert_eq!(with_metadata(&scene, of_closed).await.status, 200);
    assert_eq!(admitted_of_ten(&scene, "alone").await, 1);

    let refused = eventually("it takes itself for cut off", async || {
        let answer = with_metadata(&scene, of_closed).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(begun.elapsed() > BY_SHARES, "{:?}", begun.elapsed());
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "rate_limit_unavailable");
    let message = error["message"].to_string();
    assert!(
        message.contains("policy 'policy-71' (1000000 requests per day) cannot be checked"),
        "{message}"
    );
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("x-should-retry"), "");
    let record = scene.record_of(&refused).await;
    assert_eq!(
        (record.outcome, record.status),
        (Outcome::LimitExceeded, 503)
    );
    let limits = record.limits.expect("one refused");
    let [seen] = &limits[..] else {
        panic!("one limit: {limits:?}")
    };
    let CounterSeen::Shared { cut_off, .. } = seen.counter else {
        panic!("of a rate limit: {seen:?}")
    };
    assert_eq!(
        (seen.exceeded, cut_off),
        (true, Some(LimitWhenCutOff::Closed))
    );

    assert_eq!(admitted_of_ten(&scene, "open").await, 10);
    // One was before.
    assert_eq!(admitted_of_ten(&scene, "alone").await, 2);
    assert_eq!(with_metadata(&scene, of_closed).await.status, 503);
}

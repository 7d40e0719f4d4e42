//! Rate-limit policies, as callers meet them.

use events_schema::{
    snapshot::{
        EntryKind,
        entries::{Entry, ModelRefEntry},
        limits::{
            LimitUnitEntry, LimitWindowEntry, LimitedSubjectEntry, RateLimitEntry,
            RateLimitPolicyEntry, SegmentEntry, WhenCutOffEntry,
        },
    },
    usage::Outcome,
};

use crate::support::{
    client::Answer,
    eventually,
    gateway::Scene,
    snapshots::{KEY, LIMITED_KEY, OTHER_ACCOUNT, OWNER, VIRTUAL},
};

const QUESTION: &str = r#"{"model":"both","messages":[]}"#;
const FIRST: &str = r#"{"model":"one/first","messages":[]}"#;
const CHAT: &str = "/v1/chat/completions";

pub(crate) const fn limit(
    unit: LimitUnitEntry,
    window: LimitWindowEntry,
    most: u64,
) -> RateLimitEntry {
    RateLimitEntry { unit, window, most }
}

pub(crate) const fn requests(window: LimitWindowEntry, most: u64) -> RateLimitEntry {
    limit(LimitUnitEntry::Requests, window, most)
}

/// For everybody and everything.
pub(crate) fn policy(id: u8, limits: Vec<RateLimitEntry>) -> RateLimitPolicyEntry {
    RateLimitPolicyEntry {
        id: [id; 16],
        name: format!("policy-{id}"),
        order: u32::from(id),
        created_at_us: 0,
        subjects_in: Vec::new(),
        subjects_not_in: Vec::new(),
        models_in: Vec::new(),
        models_not_in: Vec::new(),
        metadata: Vec::new(),
        applies_per: Vec::new(),
        limits,
        overrides: Vec::new(),
        audits: false,
        disabled: false,
        when_cut_off: WhenCutOffEntry::Alone,
    }
}

pub(crate) async fn scene(policies: impl IntoIterator<Item = RateLimitPolicyEntry>) -> Scene {
    let policies: Vec<_> = policies.into_iter().map(Entry::RateLimitPolicy).collect();
    Scene::set_as(&[], |snapshots, _, _| {
        policies.iter().fold(snapshots, |all, it| all.with(it))
    })
    .await
}

pub(crate) async fn with_metadata(scene: &Scene, metadata: &str) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-sluice-metadata", metadata),
    ];
    let mut client = scene.gateway.client().await;
    client
        .send(http::Method::POST, CHAT, &headers, QUESTION)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_refuses_says_which_it_is_and_when_to_come_back() {
    let scene = scene([policy(71, vec![requests(LimitWindowEntry::Hour, 2)])]).await;
    let first = scene.gateway.chat(QUESTION).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    let record = scene.record_of(&first).await;
    let fired = "rate_limit_policy:47474747474747474747474747474747".to_owned();
    assert!(record.rules.contains(&fired), "{:?}", record.rules);

    assert_eq!(scene.gateway.chat(FIRST).await.status, 200);
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(refused.status, 429);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "rate_limit_exceeded");
    let message = error["message"].as_str().expect("it has one");
    let begins =
        "Rate limit of the policy 'policy-71' reached: 2 requests per hour. Please try again in ";
    assert!(message.starts_with(begins), "{message}");
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=3_600).contains(&seconds), "{seconds}");
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    assert!(record.rules.contains(&fired), "{:?}", record.rules);
    assert_eq!(scene.one.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_policy_that_matches_applies_alone() {
    let narrow = RateLimitPolicyEntry {
        subjects_in: vec![LimitedSubjectEntry::VirtualAccount(OWNER)],
        models_in: vec![ModelRefEntry::VirtualModel(VIRTUAL)],
        ..policy(71, vec![requests(LimitWindowEntry::Day, 100)])
    };
    let scene = scene([policy(72, vec![requests(LimitWindowEntry::Day, 1)]), narrow]).await;
    for _ in 0..3 {
        assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    }
    assert_eq!(scene.gateway.chat(FIRST).await.status, 200);
    assert_eq!(scene.gateway.chat(FIRST).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_has_a_counter_of_its_own() {
    let per_project = RateLimitPolicyEntry {
        applies_per: vec![SegmentEntry::Metadata("project".into())],
        ..policy(71, vec![requests(LimitWindowEntry::Day, 1)])
    };
    let scene = scene([per_project]).await;
    let statuses = [
        with_metadata(&scene, r#"{"project":"a"}"#).await.status,
        with_metadata(&scene, r#"{"project":"b"}"#).await.status,
        with_metadata(&scene, r#"{"project":"a"}"#).await.status,
        with_metadata(&scene, "{}").await.status,
        with_metadata(&scene, "{}").await.status,
    ];
    assert_eq!(statuses, [200, 200, 429, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_has_a_counter_of_its_own() {
    let per_key = RateLimitPolicyEntry {
        applies_per: vec![SegmentEntry::Key],
        ..policy(71, vec![requests(LimitWindowEntry::Day, 1)])
    };
    let scene = scene([per_key]).await;
    let with = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let mut client = scene.gateway.client().await;
        let answer = client.send(http::Method::POST, CHAT, &headers, QUESTION);
        answer.await.status.as_u16()
    };
    let statuses = [with(KEY).await, with(LIMITED_KEY).await, with(KEY).await];
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_reserved_and_settled_and_the_tightest_limit_is_told() {
    let day = limit(LimitUnitEntry::Tokens, LimitWindowEntry::Day, 1_000_000);
    let hour = limit(LimitUnitEntry::Tokens, LimitWindowEntry::Hour, 2_000);
    let scene = scene([policy(71, vec![day, hour])]).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    let second = scene.gateway.chat(QUESTION).await;
    // Of the first request's reservation, all but the 15 tokens that it used has come back.
    let reserved = 1_024 + QUESTION.len().div_ceil(4);
    let left = 2_000 - 15 - reserved;
    assert_eq!(second.header("x-ratelimit-limit-tokens"), "2000");
    assert_eq!(
        second.header("x-ratelimit-remaining-tokens"),
        left.to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_refuses_nothing_and_is_in_the_record() {
    let audited = RateLimitPolicyEntry {
        audits: true,
        ..policy(71, vec![requests(LimitWindowEntry::Day, 1)])
    };
    let scene = scene([audited]).await;
    let first = scene.gateway.chat(QUESTION).await;
    let second = scene.gateway.chat(QUESTION).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(first.header("x-ratelimit-limit-requests"), "");
    let noted = "audit:rate_limit_policy:47474747474747474747474747474747".to_owned();
    let record = scene.record_of(&first).await;
    assert!(!record.rules.contains(&noted), "{:?}", record.rules);
    let record = scene.record_of(&second).await;
    assert!(record.rules.contains(&noted), "{:?}", record.rules);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_limit_is_reached_is_passed_over() {
    let of_two = RateLimitPolicyEntry {
        models_in: vec![ModelRefEntry::ProviderAccount(OTHER_ACCOUNT)],
        ..policy(71, vec![requests(LimitWindowEntry::Day, 1)])
    };
    let scene = scene([of_two]).await;
    scene.one.replies(crate::support::provider::error(503));
    let first = scene.gateway.chat(QUESTION).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-sluice-target"), "two/second");
    let second = scene.gateway.chat(QUESTION).await;
    assert_eq!(second.status, 429);
    let record = scene.record_of(&second).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    let tried: Vec<_> = record
        .attempts
        .iter()
        .map(|it| (it.target.as_str(), it.error.as_deref()))
        .collect();
    assert_eq!(
        tried,
        [("one/first", None), ("two/second", Some("limited"))]
    );
    assert_eq!(scene.two.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_keeps_what_was_counted_and_one_that_goes_limits_nothing() {
    let mut scene = scene([policy(71, vec![requests(LimitWindowEntry::Day, 1)])]).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 429);
    let jetstream = scene.nats.jetstream().await;
    let wider = Entry::RateLimitPolicy(policy(71, vec![requests(LimitWindowEntry::Day, 3)]));
    scene.snapshots.change(&jetstream, &wider).await;
    let third = eventually("the wider limit holds", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(third.header("x-ratelimit-remaining-requests"), "1");
    scene
        .snapshots
        .remove(&jetstream, EntryKind::RateLimitPolicy, 71)
        .await;
    eventually("nothing is limited", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.header("x-ratelimit-limit-requests").is_empty() && answer.status == 200)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_own_limits_hold_beside_those_of_a_policy() {
    let scene = scene([policy(71, vec![requests(LimitWindowEntry::Day, 10)])]).await;
    for _ in 0..2 {
        assert_eq!(
            scene.gateway.chat_as(LIMITED_KEY, QUESTION).await.status,
            200
        );
    }
    let refused = scene.gateway.chat_as(LIMITED_KEY, QUESTION).await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .expect("it has one")
            .starts_with("Rate limit reached for this API key: 2 requests per minute."),
    );
    let other = scene.gateway.chat(QUESTION).await;
    assert_eq!(
        other.header("x-ratelimit-remaining-requests"),
        "7",
        "what was refused has not counted"
    );
}

//! What limits and budgets decided, decided once more from the records of the requests alone: of those that were let through as
//! well as of those that were refused. `Scene::record_of` does so with every record that a test asks for ([`decides_the_same`]).

use events_schema::{
    events::LimitMode,
    snapshot::{
        entries::Entry,
        limits::{LimitUnitEntry, LimitWindowEntry},
    },
    usage::{
        CounterSeen, Instead, LimitMeasure, LimitOf, LimitPeriod, LimitSeen, Outcome, UsageRecord,
    },
};
use gateway_policy::limits::{Share, seen::lets_through};

use crate::policies::{limit, policy};
use crate::support::{
    gateway::{Gateway, Scene},
    nats::Nats,
    provider::{Provider, answer},
    snapshots::{LIMITED_KEY, Snapshots},
};

const QUESTION: &str = r#"{"model":"both","messages":[],"max_tokens":5}"#;
/// Of the question's 45 bytes every fourth, and all that it may be answered.
const TOKENS: u64 = 12 + 5;

/// The record decides the same again as the gateway did.
pub(crate) fn decides_the_same(record: &UsageRecord) {
    let limits = record.limits.as_deref().unwrap_or_default();
    for seen in limits {
        assert_eq!(lets_through(seen), !seen.exceeded, "{seen:?}");
    }
    let refuses = |seen: &&LimitSeen| seen.mode == Some(LimitMode::Enforce) && !lets_through(seen);
    let refused = limits.iter().find(refuses);
    let is_crowded = |rule: &String| rule.ends_with(":requests_under_way");
    // A limit of a target refuses an attempt, and another target may answer.
    let is_of_target = |error: &Option<String>| error.as_deref() == Some("limited");
    let tried_in_vain = record.attempts.iter().any(|it| is_of_target(&it.error));
    match record.outcome {
        Outcome::LimitExceeded if !record.rules.iter().any(is_crowded) => {
            assert!(refused.is_some(), "something refused it: {record:?}");
        }
        _ if !tried_in_vain => assert_eq!(refused, None, "{record:?}"),
        _ => {}
    }
}

/// With what was used of it before, by this gateway and others.
fn used(seen: &LimitSeen) -> u64 {
    match seen.counter {
        CounterSeen::Shared { own, known, .. } => own + known,
        CounterSeen::Leased { taken, .. } => taken,
    }
}

fn of(seen: &LimitSeen) -> (LimitMeasure, LimitPeriod, u64, u64) {
    (seen.measure, seen.period, seen.most, seen.cost)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_tells_all_that_was_asked_also_where_nothing_refused() {
    let hour = limit(LimitUnitEntry::Requests, LimitWindowEntry::Hour, 10);
    let policy = Entry::RateLimitPolicy(policy(71, vec![hour]));
    let scene = Scene::set_as(&[], |snapshots, _, _| snapshots.with(&policy)).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(scene.gateway.chat_as(LIMITED_KEY, QUESTION).await);
    }
    let statuses: Vec<_> = answers.iter().map(|it| it.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429]);
    for (before, answer) in (0..).zip(&answers) {
        let record = scene.record_of(answer).await;
        let limits = record.limits.expect("three were asked");
        let [requests, tokens, hourly] = &limits[..] else {
            panic!("two of the key, and one of the policy: {limits:?}")
        };
        let minute = LimitPeriod::Minute;
        assert_eq!(of(requests), (LimitMeasure::Requests, minute, 2, 1));
        assert_eq!(of(tokens), (LimitMeasure::Tokens, minute, 2_000, TOKENS));
        let by_hour = (LimitMeasure::Requests, LimitPeriod::Hour, 10, 1);
        assert_eq!(of(hourly), by_hour);
        let whose = |seen: &LimitSeen| matches!(seen.of, LimitOf::Key(_));
        assert!(whose(requests) && whose(tokens) && !whose(hourly));
        // Fifteen tokens are what each of those used that were let through.
        let expected = [before, before * 15, before];
        assert_eq!([requests, tokens, hourly].map(used), expected);
        let exceeded = [requests, tokens, hourly].map(|it| it.exceeded);
        assert_eq!(exceeded, [before == 2, false, false]);
        // It is the numbers that decide.
        let one_more = LimitSeen {
            most: 3,
            ..*requests
        };
        assert!(lets_through(&one_more));
        assert!(!lets_through(&LimitSeen {
            most: before,
            ..*requests
        }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_a_record_says_nothing_of_them() {
    let scene = Scene::set(&[]).await;
    let answer = scene.gateway.chat(QUESTION).await;
    assert_eq!(answer.status, 200);
    assert_eq!(scene.record_of(&answer).await.limits, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_share_refused_is_told_with_the_share() {
    let day = limit(LimitUnitEntry::Requests, LimitWindowEntry::Day, 100);
    let nats = Nats::start().await;
    let (one, two) = (
        Provider::start(answer()).await,
        Provider::start(answer()).await,
    );
    let snapshots = Snapshots::of(&one, &two).with(&Entry::RateLimitPolicy(policy(71, vec![day])));
    snapshots.publish(&nats.jetstream().await).await;
    let mut gateway = Gateway::prepare(&nats, &[]);
    gateway.together = true;
    gateway.run();
    gateway.ready().await;
    let scene = Scene {
        nats,
        one,
        two,
        snapshots,
        gateway,
    };
    // Nobody has dealt it a share: of 100 it has what every newcomer has, which is one at a time.
    let first = scene.gateway.chat(QUESTION).await;
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!((first.status.as_u16(), refused.status.as_u16()), (200, 429));
    let record = scene.record_of(&first).await;
    let seen = record.limits.expect("it was asked")[0];
    assert_eq!((used(&seen), seen.exceeded, seen.instead), (0, false, None));
    let record = scene.record_of(&refused).await;
    let seen = record.limits.expect("it was asked")[0];
    let CounterSeen::Shared {
        own, known, share, ..
    } = seen.counter
    else {
        panic!("limits are shared: {seen:?}")
    };
    assert_eq!((own, known, seen.exceeded), (1, 0, true));
    assert!(share < Share::WHOLE.parts() / 100, "{share}");
    let with_all_of_it = CounterSeen::Shared {
        own,
        known,
        share: Share::WHOLE.parts(),
        cut_off: None,
        free: None,
    };
    assert!(lets_through(&LimitSeen {
        counter: with_all_of_it,
        ..seen
    }));
    assert_eq!(seen.instead, None::<Instead>);
}

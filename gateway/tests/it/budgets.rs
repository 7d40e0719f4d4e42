//! Budgets, as callers meet them: alone, and with a treasury that lends of them over NATS.

use std::{cell::Cell, time::Duration};

use events_schema::{
    events::LimitMode,
    id::Id,
    money::NanoUsd,
    snapshot::{
        budgets::{BudgetLimitEntry, BudgetPolicyEntry, BudgetUnitEntry, BudgetWindowEntry},
        entries::{Entry, ModelRefEntry},
        limits::SegmentEntry,
        routing::{RoutedTargetEntry, RoutingEntry},
    },
    usage::{BudgetCharge, CounterSeen, Instead, LimitMeasure, LimitOf, Outcome, UsageRecord},
};
use http::Method;
use uuid::Uuid;

use crate::routing::{by_priority, change, target};
use crate::support::{
    client::Answer,
    eventually,
    gateway::{Gateway, Scene},
    nats::Nats,
    provider::{End, Provider, Reply, answer, error, word},
    snapshots::{
        FIRST, KEY, OTHER_ACCOUNT, SECOND, Snapshots, TEAM_KEY, VIRTUAL,
        a_team_with_a_grant_and_a_user_with_a_key, dearer_second, memberships,
    },
    treasury::{Sums, Treasury},
};

const QUESTION: &str = r#"{"model":"both","messages":[],"max_tokens":5}"#;
const STREAM: &str = r#"{"model":"both","messages":[],"max_tokens":5,"stream":true}"#;
const CHAT: &str = "/v1/chat/completions";
const DOLLAR: u64 = 1_000_000_000;

/// What a question costs that is answered: ten tokens in, five out.
const COST: u64 = 10 * 2_000 + 5 * 4_000;
/// What is reserved for it: of 45 bytes every fourth is a token.
const RESERVED: u64 = 12 * 2_000 + 5 * 4_000;

const fn monthly(most: u64) -> BudgetLimitEntry {
    BudgetLimitEntry {
        amount: BudgetUnitEntry::Cost,
        window: BudgetWindowEntry::Month,
        most,
    }
}

/// For everybody and everything.
fn budget(id: u8, most: u64) -> BudgetPolicyEntry {
    BudgetPolicyEntry {
        id: [id; 16],
        name: format!("budget-{id}"),
        order: u32::from(id),
        created_at_us: 0,
        subjects_in: Vec::new(),
        subjects_not_in: Vec::new(),
        models_in: Vec::new(),
        models_not_in: Vec::new(),
        metadata: Vec::new(),
        applies_per: Vec::new(),
        limits: vec![monthly(most)],
        overrides: Vec::new(),
        audits: false,
        closed_when_cut_off: false,
        alerts: Vec::new(),
        disabled: false,
    }
}

/// A gateway that has no others, and these budgets.
async fn alone(budgets: impl IntoIterator<Item = BudgetPolicyEntry>) -> Scene {
    let budgets: Vec<_> = budgets.into_iter().map(Entry::BudgetPolicy).collect();
    Scene::set_as(&[], |snapshots, _, _| {
        budgets.iter().fold(snapshots, |all, it| all.with(it))
    })
    .await
}

/// NATS, providers and these budgets, and a gateway that is told its leases, but does not run yet.
async fn together(budgets: impl IntoIterator<Item = BudgetPolicyEntry>) -> Scene {
    let nats = Nats::start().await;
    let (one, two) = (
        Provider::start(answer()).await,
        Provider::start(answer()).await,
    );
    let budgets = budgets.into_iter().map(Entry::BudgetPolicy);
    let snapshots = budgets.fold(Snapshots::of(&one, &two), |all, it| all.with(&it));
    snapshots.publish(&nats.jetstream().await).await;
    let mut gateway = Gateway::prepare(&nats, &[]);
    gateway.together = true;
    Scene {
        nats,
        one,
        two,
        snapshots,
        gateway,
    }
}

/// A gateway that has been heard by a treasury.
async fn lent(scene: &mut Scene, spent_before: Option<u64>) -> Treasury {
    let treasury = Treasury::start_as(&scene.nats, spent_before).await;
    scene.gateway.run();
    scene.gateway.ready().await;
    treasury.hears(1).await;
    treasury
}

fn code(answer: &Answer) -> String {
    let json = answer.json();
    let code = json["error"]["code"].as_str().expect("it has a code");
    code.to_owned()
}

const fn charge(policy: u8, segment: [u8; 16]) -> BudgetCharge {
    BudgetCharge {
        policy: Id::from_bytes([policy; 16]),
        segment: Uuid::from_bytes(segment),
    }
}

/// What all records in the stream cost, once there are so many.
async fn costs_of(scene: &Scene, records: usize) -> u64 {
    eventually("all records arrive", async || {
        let batches = scene.nats.batches().await;
        let all: Vec<UsageRecord> = batches.into_iter().flat_map(|it| it.records).collect();
        let cost = |record: &UsageRecord| record.cost.unwrap_or(NanoUsd::ZERO).nanos();
        (all.len() >= records).then(|| all.iter().map(cost).sum())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_waits_for_its_lease_and_passes_and_the_next_does_not_wait() {
    let mut scene = together([budget(71, DOLLAR)]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    let first = scene.gateway.chat(QUESTION).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.header("x-sluice-budget-limit-usd"), "1.00");
    let left = NanoUsd::new(DOLLAR - RESERVED).to_dollars();
    assert_eq!(first.header("x-sluice-budget-remaining-usd"), left);
    assert!(first.header("x-sluice-budget-reset-usd").ends_with('s'));
    let waited = "sluice_gateway_lease_waits_total";
    assert_eq!(scene.gateway.metric(waited).await, 1);
    let second = scene.gateway.chat(QUESTION).await;
    assert_eq!(second.status, 200);
    assert_eq!(scene.gateway.metric(waited).await, 1);
    let record = scene.record_of(&second).await;
    let fired = "budget_policy:47474747474747474747474747474747".to_owned();
    assert!(record.rules.contains(&fired), "{:?}", record.rules);
    assert_eq!(record.budgets, Some(vec![charge(71, [0; 16])]));
    let seen = record.limits.expect("one was asked")[0];
    assert_eq!(
        (seen.cost, seen.exceeded, seen.instead),
        (RESERVED, false, None)
    );
    let CounterSeen::Leased { ceiling, taken, .. } = seen.counter else {
        panic!("it goes by a lease: {seen:?}")
    };
    assert_eq!(taken, COST);
    assert!(ceiling >= COST + RESERVED, "{ceiling}");
    let spent = |sums: Sums| sums.spent == 2 * COST && sums.open == 0;
    treasury.until("both are settled", spent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_used_up_refuses_at_once_and_says_which_it_is_and_until_when() {
    let mut scene = together([budget(71, DOLLAR)]).await;
    let _treasury = lent(&mut scene, Some(DOLLAR)).await;
    // The first asks what there is.
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 429);
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        scene
            .gateway
            .metric("sluice_gateway_lease_waits_total")
            .await,
        1,
        "it is known"
    );
    let error = &refused.json()["error"];
    assert_eq!(error["type"], "insufficient_quota");
    assert_eq!(error["code"], "insufficient_quota");
    let message = error["message"].as_str().expect("it has one");
    let begins =
        "The budget of the policy 'budget-71' is used up: $1.00 per month. It begins anew on ";
    assert!(message.starts_with(begins), "{message}");
    assert!(message.ends_with("-01 at 00:00 UTC."), "{message}");
    assert_eq!(refused.header("x-should-retry"), "false");
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=31 * 86_400).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("x-sluice-budget-remaining-usd"), "0.00");
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    assert_eq!(record.budgets, None, "it has cost nothing");
    let seen = record.limits.expect("one refused")[0];
    assert_eq!(
        (seen.of, seen.measure, seen.most, seen.cost, seen.exceeded),
        (
            LimitOf::BudgetPolicy(Id::from_bytes([71; 16])),
            LimitMeasure::Cost,
            DOLLAR,
            RESERVED,
            true
        )
    );
    let leased = CounterSeen::Leased {
        ceiling: 0,
        taken: 0,
        committed: Some(DOLLAR),
        cut_off: false,
        included: None,
    };
    assert_eq!(seen.counter, leased);
    assert!(scene.one.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_may_come_and_does_not_closed_budgets_refuse_after_the_wait_and_open_ones_do_not() {
    let closed = BudgetPolicyEntry {
        closed_when_cut_off: true,
        models_not_in: vec![ModelRefEntry::Model(SECOND)],
        ..budget(70, DOLLAR)
    };
    let mut scene = together([closed, budget(71, DOLLAR)]).await;
    // Nothing is lent until the ledger has said what was spent before.
    let treasury = lent(&mut scene, None).await;
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(
        (refused.status.as_u16(), code(&refused).as_str()),
        (429, "budget_lease_pending")
    );
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("x-should-retry"), "");
    let record = scene.record_of(&refused).await;
    assert!(record.duration_us >= 500_000, "{}", record.duration_us);
    let of_open = r#"{"model":"two/second","messages":[],"max_tokens":5}"#;
    let passes = scene.gateway.chat(of_open).await;
    assert_eq!(passes.status, 200, "{}", passes.json());
    let record = scene.record_of(&passes).await;
    let why = record.limits.expect("it was asked")[0].instead;
    assert_eq!(why, Some(Instead::Unanswered));
    treasury.ledger_says(DOLLAR / 2);
    eventually("it is lent", async || {
        (scene.gateway.chat(QUESTION).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_requests_wait_together_and_all_pass() {
    let mut scene = together([budget(71, DOLLAR)]).await;
    let _treasury = lent(&mut scene, Some(0)).await;
    let asked = std::iter::repeat_with(|| scene.gateway.chat(QUESTION)).take(20);
    let answers = futures_util::future::join_all(asked).await;
    let statuses: Vec<_> = answers.iter().map(|it| it.status.as_u16()).collect();
    assert_eq!(statuses, [200; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_who_lends_open_budgets_let_through_and_count_and_closed_ones_refuse() {
    let closed = BudgetPolicyEntry {
        closed_when_cut_off: true,
        models_in: vec![ModelRefEntry::Model(SECOND)],
        ..budget(70, DOLLAR)
    };
    // More than the budget: nothing can be counted with others, and all of it is let through.
    let mut scene = together([closed, budget(71, 1)]).await;
    scene.gateway.run();
    scene.gateway.ready().await;
    let of_closed = r#"{"model":"two/second","messages":[],"max_tokens":5}"#;
    let refused = eventually("it is known that nobody lends", async || {
        let refused = scene.gateway.chat(of_closed).await;
        (refused.status == 503).then_some(refused)
    })
    .await;
    assert_eq!(code(&refused), "budget_unavailable");
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("'budget-70' ($1.00 per month) cannot be checked"),
        "{message}"
    );
    assert_eq!(refused.header("retry-after"), "1");
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::LimitExceeded);
    // The second only counts.
    let why = |record: &UsageRecord| record.limits.as_ref().expect("asked")[0].instead;
    assert_eq!(why(&record), Some(Instead::Closed));
    for _ in 0..3 {
        let passes = scene.gateway.chat(QUESTION).await;
        assert_eq!(passes.status, 200);
        let record = scene.record_of(&passes).await;
        assert_eq!(why(&record), Some(Instead::Open));
    }
    let treasury = Treasury::start(&scene.nats).await;
    eventually("what is closed is open again", async || {
        (scene.gateway.chat(of_closed).await.status == 200).then_some(())
    })
    .await;
    // It counts for both budgets, and the three before for the one.
    let spent = |sums: Sums| sums.spent == 5 * COST && sums.open == 0;
    treasury.until("all is counted", spent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_when_the_treasury_is_silent_and_the_policy_says_what_follows() {
    let closed = BudgetPolicyEntry {
        closed_when_cut_off: true,
        ..budget(71, DOLLAR)
    };
    let mut scene = together([closed]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    treasury.stop();
    assert_eq!(
        scene.gateway.chat(QUESTION).await.status,
        200,
        "it has a lease"
    );
    let refused = eventually("its lease has ended", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(code(&refused), "budget_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_a_gateway_has_all_of_a_budget_and_no_more() {
    let scene = alone([budget(71, RESERVED + COST)]).await;
    for _ in 0..2 {
        assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    }
    let refused = scene.gateway.chat(QUESTION).await;
    assert_eq!(
        (refused.status.as_u16(), code(&refused).as_str()),
        (429, "request_exceeds_budget")
    );
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(refused.header("retry-after"), "");
    let left = NanoUsd::new(RESERVED - COST).to_dollars();
    assert_eq!(refused.header("x-sluice-budget-remaining-usd"), left);
    assert_eq!(
        scene
            .gateway
            .metric("sluice_gateway_lease_waits_total")
            .await,
        0
    );
}

/// What a gateway alone reserves for a question of a budget of 100 dollars, of which so much is `spent`.
async fn reserved(scene: &Scene, spent: &Cell<u64>, question: &str) -> u64 {
    const MOST: u64 = 100 * DOLLAR;
    let answer = scene.gateway.chat(question).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let record = scene.record_of(&answer).await;
    let cost = record.cost.expect("it has a price").nanos();
    let left = answer.header("x-sluice-budget-remaining-usd");
    let left = NanoUsd::from_dollars(left).expect("dollars");
    MOST - left.nanos() - spent.replace(spent.get() + cost)
}

/// What that is: every fourth byte a token, and so many of answers.
fn price_of(question: &str, output: u64) -> u64 {
    (question.len() as u64).div_ceil(4) * 2_000 + output * 4_000
}

#[tokio::test]
async fn what_is_reserved_is_the_most_that_a_request_allows_itself() {
    let scene = alone([budget(71, 100 * DOLLAR)]).await;
    let spent = Cell::new(0);
    let check = async |members: &str, output: u64| {
        let question = format!(r#"{{"model":"both","messages":[]{members}}}"#);
        let expected = price_of(&question, output);
        assert_eq!(
            reserved(&scene, &spent, &question).await,
            expected,
            "{members}"
        );
    };
    check(r#","max_tokens":5"#, 5).await;
    check(r#","max_tokens":50000"#, 50_000).await;
    check(r#","max_completion_tokens":3000,"n":4"#, 12_000).await;
    check(r#","n":2"#, 2 * 1_024).await;
}

#[tokio::test]
async fn what_is_reserved_covers_every_target_that_may_answer_and_what_its_routing_allows() {
    let mut generous = by_priority();
    generous.targets[1] = RoutedTargetEntry {
        override_params: vec![("max_tokens".into(), "2000".into())],
        ..target(SECOND, 1)
    };
    let mut scene = Scene::set_as(&[], |snapshots, _, _| {
        let snapshots = snapshots.with(&Entry::BudgetPolicy(budget(71, 100 * DOLLAR)));
        snapshots.with(&dearer_second(3))
    })
    .await;
    // It falls back to the second, which is three times as dear.
    let (spent, plain) = (Cell::new(0), price_of(QUESTION, 5));
    assert_eq!(reserved(&scene, &spent, QUESTION).await, 3 * plain);
    scene.one.replies(error(500));
    assert_eq!(reserved(&scene, &spent, QUESTION).await, 3 * plain);
    change(&mut scene, generous).await;
    let second = 3 * price_of(QUESTION, 2_000);
    assert_eq!(reserved(&scene, &spent, QUESTION).await, second);
    let only_first = RoutingEntry {
        targets: vec![target(FIRST, 0)],
        ..by_priority()
    };
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
    let good = Reply::Whole(200, "application/json", usage.into());
    scene.one.replies(good);
    change(&mut scene, only_first).await;
    assert_eq!(reserved(&scene, &spent, QUESTION).await, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_ending_what_is_spent_is_the_sum_of_the_records_to_the_nano_dollar() {
    let mut scene = together([budget(71, 100 * DOLLAR)]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    // No usage is stated: it is counted after the request.
    let silent = r#"{"choices":[{"message":{"content":"Hello, world!"}}]}"#;
    scene
        .one
        .replies(Reply::Whole(200, "application/json", silent.into()));
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n";
    let whole = vec![
        word("Hello"),
        usage.to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ];
    scene.one.replies(Reply::Stream(whole, End::Well));
    assert_eq!(scene.gateway.chat(STREAM).await.status, 200);
    scene
        .one
        .replies(Reply::Stream(vec![word("Hel"), word("lo")], End::Cut));
    assert_eq!(scene.gateway.chat(STREAM).await.status, 200);
    // The first target has nothing to say, the second answers.
    scene.one.replies(Reply::Break);
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    scene.one.replies(error(400));
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 400);
    scene
        .one
        .replies(Reply::Stream(vec![word("Hel")], End::Never));
    let bearer = format!("Bearer {}", KEY);
    let mut client = scene.gateway.client().await;
    let headers = [("authorization", bearer.as_str())];
    let begun = client.begin(Method::POST, CHAT, &headers, STREAM).await;
    assert_eq!(begun.status(), 200);
    client.vanish();
    drop(begun);
    let sum = costs_of(&scene, 7).await;
    assert!(sum > 2 * COST, "{sum}");
    let spent = |sums: Sums| sums.spent == sum && sums.open == 0;
    treasury.until("all is settled", spent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_leaves_gives_back_what_it_has_not_spent() {
    let mut scene = together([budget(71, DOLLAR)]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    let lent = treasury.sums().committed;
    assert!(lent > COST, "{lent}");
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
    let left = |sums: Sums| sums.committed == COST && sums.spent == COST;
    treasury.until("the rest is given back", left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_gateway_that_is_killed_the_whole_lease_counts_as_spent() {
    let mut scene = together([budget(71, DOLLAR)]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    let settled = |sums: Sums| sums.spent == COST && sums.open == 0;
    treasury.until("it is settled", settled).await;
    scene.gateway.kill();
    let lent = treasury.sums().committed;
    assert!(lent > COST);
    // Its next life is another one, which waits for a lease of its own.
    scene.gateway.run();
    scene.gateway.ready().await;
    treasury.hears(2).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    let both = |sums: Sums| sums.spent == 2 * COST && sums.open == 0;
    let sums = treasury.until("both lives have spent", both).await;
    assert!(sums.committed >= lent + COST, "{sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_never_spend_more_than_the_budget_between_them() {
    const MOST: u64 = 25 * COST;
    let mut scene = together([budget(71, MOST)]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    let mut other = Gateway::prepare(&scene.nats, &[]);
    other.together = true;
    other.run();
    other.ready().await;
    treasury.hears(2).await;
    let spend_all = async |gateway: &Gateway| {
        let mut admitted = 0;
        loop {
            let answer = gateway.chat(QUESTION).await;
            match answer.status.as_u16() {
                200 => admitted += 1,
                _ if code(&answer) == "insufficient_quota" => return admitted,
                _ if code(&answer) == "request_exceeds_budget" => return admitted,
                _ => assert_eq!(code(&answer), "budget_lease_pending"),
            }
        }
    };
    let (one, two) = tokio::join!(spend_all(&scene.gateway), spend_all(&other));
    let admitted = one + two;
    assert!(admitted * COST <= MOST, "{admitted}");
    assert!(admitted >= 20, "{one} and {two}: nearly all of it is spent");
    let spent = |sums: Sums| sums.spent == admitted * COST;
    treasury.until("all is counted", spent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_policy_decides_and_all_that_match_count() {
    let per_model = BudgetPolicyEntry {
        applies_per: vec![SegmentEntry::Model],
        ..budget(72, 1)
    };
    let mut scene = together([budget(71, DOLLAR), per_model]).await;
    let treasury = lent(&mut scene, Some(0)).await;
    for _ in 0..2 {
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(answer.status, 200, "what does not decide refuses nothing");
        let record = scene.record_of(&answer).await;
        let both = vec![charge(71, [0; 16]), charge(72, VIRTUAL)];
        assert_eq!(record.budgets, Some(both));
        let fired = "budget_policy:48484848484848484848484848484848".to_owned();
        assert!(!record.rules.contains(&fired), "{:?}", record.rules);
    }
    let spent = |sums: Sums| sums.spent == 4 * COST;
    treasury.until("both count", spent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_refuses_nothing_and_is_in_the_record() {
    let audited = BudgetPolicyEntry {
        audits: true,
        ..budget(71, RESERVED)
    };
    let scene = alone([audited]).await;
    let first = scene.gateway.chat(QUESTION).await;
    let second = scene.gateway.chat(QUESTION).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(first.header("x-sluice-budget-limit-usd"), "");
    let noted = "audit:budget_policy:47474747474747474747474747474747".to_owned();
    let record = scene.record_of(&first).await;
    assert!(!record.rules.contains(&noted), "{:?}", record.rules);
    let seen = record.limits.expect("it was asked")[0];
    assert_eq!((seen.exceeded, seen.mode), (false, Some(LimitMode::Audit)));
    let record = scene.record_of(&second).await;
    assert!(record.rules.contains(&noted), "{:?}", record.rules);
    let seen = record.limits.expect("noted")[0];
    assert_eq!((seen.exceeded, seen.mode), (true, Some(LimitMode::Audit)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_team_of_the_caller_has_a_budget_of_its_own() {
    let per_team = BudgetPolicyEntry {
        applies_per: vec![SegmentEntry::Team],
        ..budget(71, RESERVED)
    };
    let team = a_team_with_a_grant_and_a_user_with_a_key();
    let entries = [Entry::BudgetPolicy(per_team), memberships(true)];
    let scene = Scene::set_as(&[], |snapshots, _, _| {
        let snapshots = team.iter().fold(snapshots, |all, it| all.with(it));
        entries.iter().fold(snapshots, |all, it| all.with(it))
    })
    .await;
    let of_team = scene.gateway.chat_as(TEAM_KEY, QUESTION).await;
    assert_eq!(of_team.status, 200, "{}", of_team.body);
    let record = scene.record_of(&of_team).await;
    assert_eq!(record.budgets, Some(vec![charge(71, [61; 16])]));
    let refused = scene.gateway.chat_as(TEAM_KEY, QUESTION).await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        scene.gateway.chat(QUESTION).await.status,
        200,
        "it is in no team"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_budget_is_used_up_is_passed_over_and_only_who_answers_is_paid() {
    let of_two = BudgetPolicyEntry {
        models_in: vec![ModelRefEntry::ProviderAccount(OTHER_ACCOUNT)],
        ..budget(71, RESERVED)
    };
    let of_one = BudgetPolicyEntry {
        models_in: vec![ModelRefEntry::Model(FIRST)],
        ..budget(72, DOLLAR)
    };
    let scene = alone([of_two, of_one]).await;
    scene.one.replies(error(503));
    let first = scene.gateway.chat(QUESTION).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-sluice-target"), "two/second");
    let record = scene.record_of(&first).await;
    assert_eq!(record.budgets, Some(vec![charge(71, [0; 16])]));
    let second = scene.gateway.chat(QUESTION).await;
    assert_eq!(second.status, 429);
    let record = scene.record_of(&second).await;
    let tried: Vec<_> = record
        .attempts
        .iter()
        .map(|it| (it.target.as_str(), it.error.as_deref()))
        .collect();
    assert_eq!(
        tried,
        [("one/first", None), ("two/second", Some("limited"))]
    );
    assert_eq!(record.budgets, None);
    scene.one.replies(answer());
    let third = scene.gateway.chat(QUESTION).await;
    let record = scene.record_of(&third).await;
    assert_eq!(record.budgets, Some(vec![charge(72, [0; 16])]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_while_waiting_leaves_nothing() {
    let mut scene = together([budget(71, DOLLAR)]).await;
    let treasury = lent(&mut scene, None).await;
    let bearer = format!("Bearer {}", KEY);
    let headers = [("authorization", bearer.as_str())];
    let mut client = scene.gateway.client().await;
    let asking = client.begin(Method::POST, CHAT, &headers, QUESTION);
    let gave_up = tokio::time::timeout(Duration::from_millis(100), asking).await;
    assert!(gave_up.is_err(), "it waits");
    client.vanish();
    let record = scene.record("its record", |_| true).await;
    assert_eq!(
        (record.outcome, record.budgets),
        (Outcome::ClientGone, None)
    );
    assert_eq!(treasury.sums().open, 0);
}

//! Budgets over two gateways, and over the loss of all that was known of them.

use std::time::Duration;

use events_schema::{
    api::{Page, commands::NewCommand, history::HistoryEvent, limits::LimitUsage},
    events::{BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, LimitMode, When, WhenCutOff},
    money::NanoUsd,
    subjects,
    usage::LimitOf,
};
use futures_util::future::join_all;
use nix::sys::signal::Signal;

use crate::{
    limits::Scene,
    stack::{block_on, wait_until},
};

/// What requests cost that were answered, as the ledger says.
const SPENT: &str = "SELECT toUInt64(sum(ifNull(cost, 0))) FROM requests WHERE notEmpty(budgets)";

/// Everybody together may spend so much a month, at both gateways. Whoever is cut off does not spend.
fn budget(most: NanoUsd) -> NewCommand {
    budget_that_tells(most, &[])
}

/// The same, which tells when so many percent are spent.
fn budget_that_tells(most: NanoUsd, alerts: &[u8]) -> NewCommand {
    let rule = BudgetRule {
        when: When::default(),
        applies_per: [].into(),
        limits: [BudgetLimit {
            amount: BudgetAmount::Cost(most),
            window: BudgetWindow::Month,
        }]
        .into(),
        overrides: [].into(),
        mode: LimitMode::Enforce,
        when_cut_off: WhenCutOff::Closed,
        alerts: alerts.iter().copied().collect(),
    };
    NewCommand::CreateBudgetPolicy {
        name: "all".to_owned(),
        order: 1,
        rule: Box::new(rule),
    }
}

/// What one of the requests of these tests costs, and what is reserved for it: it says how long its answer may be.
async fn cost_of_one(scene: &Scene) -> u64 {
    let before = scene.stack.ledger(SPENT).await;
    let answer = scene.ask(&scene.gateways[0]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait_until("the ledger knows of it", || async {
        let spent = scene.stack.ledger(SPENT).await;
        if spent > before {
            Ok(spent - before)
        } else {
            Err(format!("{spent}"))
        }
    })
    .await
}

/// Waits until the ledger knows of so many requests that were admitted; returns what they cost.
async fn recorded(scene: &Scene, admitted: u64) -> u64 {
    wait_until("all that was admitted is recorded", || async {
        let count = "SELECT count() FROM requests WHERE notEmpty(budgets) AND outcome = 'success'";
        let known = scene.stack.ledger(count).await;
        if known == admitted {
            Ok(())
        } else {
            Err(format!("{known} of {admitted}"))
        }
    })
    .await;
    scene.stack.ledger(SPENT).await
}

/// Waits until the history tells of these thresholds, each once; the oldest first.
async fn until_told(scene: &Scene, expected: &[u64]) {
    wait_until("thresholds are told of", || async {
        let page: Page<HistoryEvent> = scene.session.get("/events?aggregate=budget_alert").await;
        let events = page.items.iter().rev();
        let told: Vec<_> = events.map(|it| it.payload["threshold"].as_u64()).collect();
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        assert!(told.len() <= expected.len(), "{told:?}");
        if told == expected {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await;
}

/// Whoever lends takes office some seconds after the one before it died, and gateways go on with what they have.
const OFFICE_TAKEN: Duration = Duration::from_secs(12);

/// Not a nano-dollar more than the budget, and all of it but for what does not suffice for another request, at either gateway or
/// with whoever lends: up to twice what one costs is reserved for it.
fn kept(spent: u64, most: u64, one: u64) {
    assert!(spent <= most, "{spent} of {most}");
    assert!(spent + 6 * one >= most, "{spent} of {most}, {one} each");
}

#[test]
fn two_gateways_spend_a_budget_and_not_a_nano_dollar_more() {
    block_on(async {
        let scene = Scene::set().await;
        let one = cost_of_one(&scene).await;
        let most = one * 300;
        let position = scene.command(budget(NanoUsd::new(most))).await;
        scene.both_serve(position).await;
        let admitted = scene.use_up(&scene.gateways, async || {}).await;
        let spent = recorded(&scene, admitted + 1).await - one;
        kept(spent, most, one);
        wait_until("it is told how the budget stands", || async {
            let usage: LimitUsage = scene.session.get("/limit-usage").await;
            let is_it = |of: &LimitOf| matches!(of, LimitOf::BudgetPolicy(_));
            let all = usage.items.iter().filter(|it| is_it(&it.of));
            let mut all = all.filter(|it| it.name.as_deref() == Some("all"));
            match all.next() {
                Some(it) if it.percent >= 98 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    });
}

#[test]
fn a_budget_holds_while_whoever_lends_is_killed_and_nats_restarts() {
    block_on(async {
        let mut scene = Scene::set().await;
        scene.settled = OFFICE_TAKEN;
        let one = cost_of_one(&scene).await;
        let most = one * 900;
        let position = scene.command(budget(NanoUsd::new(most))).await;
        scene.both_serve(position).await;
        let admitted = scene
            .use_up(&scene.gateways, async || {
                scene.stack.signal("projections", Signal::SIGKILL);
                scene.stack.signal("projections-2", Signal::SIGKILL);
                scene.stack.signal("nats", Signal::SIGKILL);
            })
            .await;
        let spent = recorded(&scene, admitted + 1).await - one;
        kept(spent, most, one);
    });
}

#[test]
fn a_budget_outlives_the_loss_of_all_that_was_lent_and_of_a_gateway() {
    block_on(async {
        let mut scene = Scene::set().await;
        scene.settled = OFFICE_TAKEN;
        let one = cost_of_one(&scene).await;
        let most = one * 200;
        let command = budget_that_tells(NanoUsd::new(most), &[25, 75, 90]);
        let position = scene.command(command).await;
        scene.both_serve(position).await;
        let [first, second] = &scene.gateways;
        let some = (0..60).map(|_| scene.ask(second));
        let answers = join_all(some).await;
        assert!(answers.iter().all(|it| it.status == 200));
        recorded(&scene, 61).await;
        until_told(&scene, &[25]).await;
        // The gateway that has spent it, whoever lends, and what was written down: all gone at once.
        let before = scene.stack.pid("gateway-2");
        scene.stack.signal("gateway-2", Signal::SIGKILL);
        scene.stack.signal("projections", Signal::SIGSTOP);
        scene.stack.signal("projections-2", Signal::SIGSTOP);
        let jetstream = scene.stack.info.jetstream().await;
        for stream in [subjects::BUDGETS, subjects::LIMITS] {
            jetstream.delete_stream(stream).await.expect("deleted");
        }
        for worker in ["projections", "projections-2"] {
            scene.stack.signal(worker, Signal::SIGKILL);
        }
        scene.lives_again(before).await;
        let admitted = scene.use_up(std::slice::from_ref(first), async || {}).await;
        let spent = recorded(&scene, admitted + 61).await - one;
        kept(spent, most, one);
        // What was told before the loss is not told again.
        until_told(&scene, &[25, 75, 90]).await;
    });
}

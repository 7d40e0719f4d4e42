//! What is decided in the control plane arrives where it is lived by: how long the ledger keeps requests, and what a
//! request costs at its time.

use events_schema::api::Page;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::ModelItem;
use events_schema::events::{GrantedModels, Subject};
use events_schema::id::ModelId;
use events_schema::money::{NanoUsd, Price};
use events_schema::time::Timestamp;

use crate::forgotten::order;
use crate::stack::{Session, Stack, block_on, chat, wait_until};

#[test]
fn the_ledger_keeps_requests_and_sums_as_the_settings_say() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let kept = |table: &str| {
            format!(
                "SELECT toUInt64(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) FROM system.tables \
                 WHERE database = currentDatabase() AND name = '{table}'"
            )
        };
        assert_eq!(stack.ledger(&kept("requests")).await, 400);
        let keep = NewCommand::ChangeRetention {
            requests_days: 40,
            sums_days: 365,
        };
        order(&session, keep).await;
        for (table, days) in [("requests", 40), ("usage_1m", 365)] {
            wait_until("the table keeps its rows for less", || async {
                let found = stack.ledger(&kept(table)).await;
                (found == days)
                    .then_some(())
                    .ok_or_else(|| found.to_string())
            })
            .await;
        }
        // The projections' own password is enough to let USAGE forget before that.
        wait_until("USAGE keeps its messages for less", || async {
            let stream = stack.info.jetstream().await.get_stream("USAGE").await;
            let info = stream.map_err(|error| error.to_string())?;
            let days = info.cached_info().config.max_age.as_secs() / 86_400;
            (days == 33).then_some(()).ok_or_else(|| days.to_string())
        })
        .await;
    });
}

/// The model that is asked for here.
const MODEL: &str = "mock/fast";

/// A price of so many thousand dollars per million tokens, of whatever kind: so many millions of nano-dollars a token.
fn price(thousands: u64) -> Price {
    let each = NanoUsd::new(thousands * 1_000_000_000_000);
    Price {
        input: each,
        output: each,
        cached_input: None,
    }
}

async fn model(session: &Session) -> ModelItem {
    let models: Page<ModelItem> = session.get("/models").await;
    let mut items = models.items.into_iter();
    items
        .find(|it| it.full_name == MODEL)
        .expect("the example has it")
}

async fn set(session: &Session, model: ModelId, thousands: u64, effective_at: Option<Timestamp>) {
    let command = NewCommand::SetModelPrice {
        model,
        price: price(thousands),
        effective_at,
    };
    order(session, command).await;
}

/// How many requests cost so many millions of nano-dollars a token.
async fn costing(stack: &Stack, thousands: u64, when: &str) -> u64 {
    let sql = format!(
        "SELECT count() FROM requests WHERE target = '{MODEL}' AND input_tokens + output_tokens > 0 \
         AND cost = (input_tokens + output_tokens) * {thousands} * 1000000 AND {when}"
    );
    stack.ledger(&sql).await
}

/// Asks the model once, and waits until the ledger knows what it cost.
async fn ask(stack: &Stack) {
    let all = format!("SELECT count() FROM requests WHERE target = '{MODEL}'");
    let before = stack.ledger(&all).await;
    let answer = chat(&stack.info, MODEL, "Hello").await.expect("an answer");
    assert!(answer.status.is_success(), "{}", answer.text());
    wait_until("the request is in the ledger", || async {
        let found = stack.ledger(&all).await;
        (found == before + 1)
            .then_some(())
            .ok_or_else(|| found.to_string())
    })
    .await;
}

#[test]
fn a_request_costs_what_its_model_costs_at_its_time_whatever_prices_are_set_later_for_whatever_time()
 {
    const HOUR_US: i64 = 3_600_000_000;
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let grant = NewCommand::GrantAccess {
            subject: Subject::Everyone,
            models: GrantedModels::All,
        };
        order(&session, grant).await;
        let id = model(&session).await.id;
        set(&session, id, 1, None).await;
        let first = model(&session)
            .await
            .prices
            .last()
            .expect("it was set")
            .effective_at;
        ask(&stack).await;
        assert_eq!(costing(&stack, 1, "true").await, 1);

        // One for later, and one for before: now costs what it cost.
        set(&session, id, 2, Some(first.plus_micros(HOUR_US))).await;
        set(&session, id, 3, Some(first.plus_micros(-HOUR_US))).await;
        ask(&stack).await;
        assert_eq!(costing(&stack, 1, "true").await, 2);

        // One set back in time, to before those requests: what comes costs that, what was keeps its cost.
        set(&session, id, 4, Some(first.plus_micros(1))).await;
        ask(&stack).await;
        assert_eq!(costing(&stack, 1, "true").await, 2);
        assert_eq!(costing(&stack, 4, "true").await, 1);

        // One that comes into effect by itself, at its moment and for every request from then on.
        let now = session
            .status()
            .await
            .recorded_at
            .expect("there were changes");
        let soon = now.plus_micros(3_000_000);
        set(&session, id, 5, Some(soon)).await;
        wait_until("the new price applies", || async {
            ask(&stack).await;
            let found = costing(&stack, 5, "true").await;
            (found > 0).then_some(()).ok_or_else(|| found.to_string())
        })
        .await;
        let after = format!("received_at >= fromUnixTimestamp64Micro({})", soon.micros());
        let before = format!("NOT {after}");
        assert_eq!(costing(&stack, 5, &before).await, 0);
        assert_eq!(costing(&stack, 4, &after).await, 0);
        let known = [1, 4, 5].map(|thousands| costing(&stack, thousands, "true"));
        let mut sum = 0;
        for count in known {
            sum += count.await;
        }
        let all = format!("SELECT count() FROM requests WHERE target = '{MODEL}'");
        assert_eq!(
            stack.ledger(&all).await,
            sum,
            "each has one of these prices"
        );
    });
}

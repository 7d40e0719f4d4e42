//! A price was wrong: what a correction changes is seen before, decided as it was seen, and then told wherever costs are told.

use events_schema::api::Page;
use events_schema::api::analytics::{
    RepricingPreview, RequestDetail, RequestItem, Series, SeriesGroup, Summary,
};
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::ModelItem;
use events_schema::events::CostDifference;
use events_schema::id::ModelId;
use events_schema::money::{NanoUsd, Price};
use events_schema::time::Timestamp;

use crate::clock;
use crate::forgotten::order;
use crate::requests::range;
use crate::stack::{Session, Stack, block_on, chat, wait_until};

/// The model whose price was wrong, and another one.
const MODEL: &str = "mock/fast";
const OTHER: &str = "mock/slow";

/// What the model really cost: a thousand dollars per million input tokens, two thousand for output.
const RIGHT: Price = Price {
    input: NanoUsd::new(1_000_000_000_000),
    output: NanoUsd::new(2_000_000_000_000),
    cached_input: None,
};

async fn model(session: &Session) -> ModelItem {
    let models: Page<ModelItem> = session.get("/models?limit=200").await;
    let mut items = models.items.into_iter();
    let found = items.find(|it| it.full_name == MODEL);
    found.expect("the example has it")
}

/// All requests of these days, as the log of requests tells them.
async fn requests(session: &Session) -> Vec<RequestItem> {
    let path = format!("/analytics/requests?{}&limit=200", range());
    let page: Page<RequestItem> = session.get(&path).await;
    page.items
}

/// What they cost together, as the dashboard tells it; and those of the model.
async fn costs(session: &Session) -> (u64, u64) {
    let summary: Summary = session
        .get(&format!("/analytics/summary?{}", range()))
        .await;
    let path = format!("/analytics/series?{}&step_seconds=3600&by=model", range());
    let series: Series = session.get(&path).await;
    let of = |group: &SeriesGroup| group.total.cost.nanos();
    let group = series.groups.iter().find(|it| it.key == MODEL);
    let in_steps = |group: &SeriesGroup| {
        let steps = group.steps.iter().map(|step| step.cost.nanos());
        steps.sum::<u64>()
    };
    let of_model = group.map_or(0, of);
    assert_eq!(group.map_or(0, in_steps), of_model);
    (summary.total.cost.nanos(), of_model)
}

fn right(item: &RequestItem) -> u64 {
    let tokens = &item.tokens;
    RIGHT
        .cost(tokens.input, tokens.cached_input, tokens.output)
        .nanos()
}

fn now() -> Timestamp {
    let micros = i64::try_from(clock::now_us()).expect("it is no such time");
    Timestamp::from_micros(micros).expect("a time")
}

async fn preview(session: &Session, model: ModelId, until: Timestamp) -> RepricingPreview {
    let from = until.plus_micros(-3_600_000_000);
    let path = format!(
        "/models/{model}/repricing?from={from}&until={until}&input={}&output={}",
        RIGHT.input, RIGHT.output
    );
    session.get(&path).await
}

#[test]
fn a_price_is_corrected_as_it_was_shown_and_every_cost_is_told_corrected() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        for asked in [MODEL, OTHER, MODEL, MODEL] {
            let answer = chat(&stack.info, asked, "What is a sluice?").await;
            let answer = answer.expect("the gateway answers");
            assert!(answer.status.is_success(), "{}", answer.text());
        }
        let all = wait_until("the ledger has them all", || async {
            let all = requests(&session).await;
            (all.len() == 4)
                .then_some(all.clone())
                .ok_or_else(|| format!("{} of 4", all.len()))
        })
        .await;
        let of_model = |item: &&RequestItem| item.target.as_deref() == Some(MODEL);
        let before = |items: &[RequestItem]| -> u64 {
            let costs = items.iter().filter(of_model);
            costs.map(|it| it.cost.unwrap_or_default().nanos()).sum()
        };
        let first = before(&all);
        let after: u64 = all.iter().filter(of_model).map(right).sum();
        assert_ne!(first, after);
        let (total, of_fast) = costs(&session).await;
        assert_eq!(of_fast, first);

        let until = now();
        let id = model(&session).await.id;
        let shown = preview(&session, id, until).await;
        let difference = shown.total;
        assert_eq!(
            (
                difference.requests,
                difference.cost_before.nanos(),
                difference.cost_after.nanos()
            ),
            (3, first, after)
        );
        let parts = |parts: Vec<u64>| parts.into_iter().sum::<u64>();
        let of_days = shown.days.iter().map(|it| it.difference.cost_after.nanos());
        assert_eq!(parts(of_days.collect()), after);
        let of_owners = shown.owners.iter().map(|it| it.difference.requests);
        assert_eq!(parts(of_owners.collect()), 3);
        assert!(shown.owners.iter().all(|it| it.owner_name.is_some()));

        let correction = |requests| NewCommand::RepriceUsage {
            model: id,
            from: until.plus_micros(-3_600_000_000),
            until,
            price: RIGHT,
            shown: CostDifference {
                requests,
                ..difference
            },
        };
        let refused = session.try_command(&"1f".repeat(16), correction(2)).await;
        let refused = refused.err().expect("something else was shown");
        assert!(
            refused.contains("difference_changed") || refused.contains("409"),
            "{refused}"
        );
        let (position_before, corrected) = (session.status().await.position, correction(3));
        let position = order(&session, corrected.clone()).await.position;
        assert_eq!(position, position_before + 1);

        let told = wait_until("the costs are told corrected", || async {
            let told = costs(&session).await;
            (told == (total - first + after, after))
                .then_some(told)
                .ok_or_else(|| format!("{told:?}, and {after} is right"))
        })
        .await;
        assert_eq!(told.1, after);
        let again = requests(&session).await;
        assert_eq!(before(&again), after);
        for (item, first) in again.iter().zip(&all) {
            let is_of_model = of_model(&item);
            let correction = item.correction;
            assert_eq!(correction.is_some(), is_of_model, "{item:?}");
            if let Some(correction) = correction {
                assert_eq!(correction.position, position);
                assert_eq!(correction.first_cost, first.cost);
                assert_eq!(item.cost.map(NanoUsd::nanos), Some(right(item)));
            } else {
                assert_eq!(item.cost, first.cost);
            }
            let one: RequestDetail = session
                .get(&format!("/analytics/requests/{}", item.request))
                .await;
            assert_eq!(
                (one.request.cost, one.request.correction),
                (item.cost, correction)
            );
        }
        // What was written down first is what it was.
        let sql = "SELECT toUInt64(sum(ifNull(cost, 0))) FROM requests";
        assert_eq!(stack.ledger(sql).await, total);

        // It shows with the model; the same once more changes nothing, and a look at it tells of no difference.
        let listed = model(&session).await.repricings;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].position, listed[0].shown),
            (position, difference)
        );
        let nothing = preview(&session, id, until).await.total;
        assert_eq!(nothing.cost_before, nothing.cost_after);
        assert!(order(&session, corrected).await.events.is_empty());
    });
}

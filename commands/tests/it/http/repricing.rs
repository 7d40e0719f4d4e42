//! Corrections of prices over HTTP, without a ledger: what nobody can be shown is not decided, and by whom it may be.

use commands::domain::{Command, ModelCommand};
use events_schema::{
    events::{CostDifference, Role},
    id::ModelId,
    money::{NanoUsd, Price},
};
use serde_json::{Value, json};

use crate::support::{
    journal::NOW,
    orders::submission,
    service::{Caller, PASSWORD, Service},
};

const NO_MODEL: &str = "00000000000000000000000000000000";
const RANGE: &str = "from=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z";

async fn a_model(owner: &Caller<'_>) -> String {
    let account = json!({
        "type": "register_provider_account", "name": "openai", "provider": "openai_compatible",
        "base_url": "https://api.example/v1", "credential": null,
    });
    let account = owner.command(account).await.field("id");
    let model = json!({
        "type": "add_model", "account": account, "name": "gpt", "upstream_name": null, "model_types": ["chat"],
    });
    owner.command(model).await.field("id")
}

fn correction(model: &str, from: &str, until: &str) -> Value {
    json!({
        "type": "reprice_usage", "model": model, "from": from, "until": until,
        "price": { "input": "1", "output": "2", "cached_input": null },
        "shown": { "requests": 0, "cost_before": "0", "cost_after": "0" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_that_cannot_be_made_is_refused_at_its_field_and_without_a_ledger_none_is() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let model = a_model(&owner).await;
    let ask = async |model: &str, query: &str| {
        let path = format!("/models/{model}/repricing?{query}");
        owner.get(&path).await
    };
    let price = "input=1&output=2";
    let none = ask(NO_MODEL, &format!("{RANGE}&{price}")).await;
    none.refuses(404, "not_found");
    let backwards = "from=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z";
    let empty = ask(&model, &format!("{backwards}&{price}")).await;
    empty.refuses_at(422, "bad_repricing", "until");
    let to_come = "from=2026-01-02T00:00:00Z&until=2100-01-01T00:00:00Z";
    let to_come = ask(&model, &format!("{to_come}&{price}")).await;
    to_come.refuses_at(422, "bad_repricing", "until");
    let free = ask(&model, &format!("{RANGE}&input=free&output=2")).await;
    free.refuses_at(422, "invalid", "input");
    let lacking = ask(&model, &format!("{RANGE}&input=1")).await;
    assert_eq!(lacking.status, 422, "{lacking:?}");
    let asked = ask(&model, &format!("{RANGE}&{price}")).await;
    asked.refuses(503, "ledger_unavailable");

    let day = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let position = service.control.head().position;
    let tried = owner.try_command(correction(NO_MODEL, day.0, day.1)).await;
    tried.refuses(404, "not_found");
    let tried = owner.try_command(correction(&model, day.1, day.0)).await;
    tried.refuses_at(422, "bad_repricing", "until");
    let tried = owner.try_command(correction(&model, day.0, day.1)).await;
    tried.refuses(503, "ledger_unavailable");
    assert_eq!(service.control.head().position, position);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sets_prices_corrects_them_and_everybody_may_see_the_difference() {
    let service = Service::start().await;
    let model = a_model(&service.owner().await).await;
    let day = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    for (role, email, may) in [
        (Role::Operator, "an-operator@example.com", true),
        (Role::Auditor, "an-auditor@example.com", false),
        (Role::Viewer, "a-viewer@example.com", false),
    ] {
        service.add_operator(email, role).await;
        let caller = service.sign_in(email, PASSWORD).await;
        let path = format!("/models/{model}/repricing?{RANGE}&input=1&output=2");
        caller.get(&path).await.refuses(503, "ledger_unavailable");
        let tried = caller.try_command(correction(&model, day.0, day.1)).await;
        if may {
            tried.refuses(503, "ledger_unavailable");
        } else {
            tried.refuses(403, "forbidden");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_shows_its_corrections_now_and_as_of_then() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let model = a_model(&owner).await;
    let id: ModelId = model.parse().expect("an id");
    let order = ModelCommand::RepriceUsage {
        from: "2026-01-01T00:00:00Z".parse().expect("a time"),
        until: "2026-01-02T00:00:00Z".parse().expect("a time"),
        price: Price {
            input: NanoUsd::new(1),
            output: NanoUsd::new(2),
            cached_input: None,
        },
        shown: CostDifference {
            requests: 7,
            cost_before: NanoUsd::new(9),
            cost_after: NanoUsd::new(8),
        },
        found: CostDifference {
            requests: 7,
            cost_before: NanoUsd::new(9),
            cost_after: NanoUsd::new(8),
        },
        known: 0,
        now: NOW,
    };
    let order = submission(Command::Model(id, order));
    let done = service.control.submit(order).await.expect("it is taken");
    let shown = owner
        .get(&format!("/models/{model}?at_least={}", done.position))
        .await
        .json();
    let corrected = json!([{
        "position": done.position,
        "recorded_at": shown["life"]["changed_at"],
        "from": "2026-01-01T00:00:00.000000Z",
        "until": "2026-01-02T00:00:00.000000Z",
        "price": { "input": "1", "output": "2", "cached_input": null },
        "shown": { "requests": 7, "cost_before": "9", "cost_after": "8" },
    }]);
    assert_eq!(shown["repricings"], corrected);
    let before = format!("/state/model?position={}", done.position - 1);
    let before = owner.get(&before).await.json();
    assert_eq!(
        before["items"][0]["then"]["model"]["repricings"],
        json!([]),
        "{before}"
    );
}

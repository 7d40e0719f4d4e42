//! `/api/v1/models/{id}/repricing`: what a correction of a model's price would change, before anybody decides on it.

use axum::extract::State;
use events_schema::{
    api::analytics::RepricingPreview,
    events::{CostDifference, Owner},
    id::ModelId,
    money::{NanoUsd, Price},
    state::{Model, Organisation},
    time::Timestamp,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::analytics::unanswered;
use crate::{
    analytics::Proposal,
    clock,
    domain::can_be_repriced,
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        names::{Names, owner_person},
        problem::ApiError,
    },
};

/// A correction that somebody thinks of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RepricingParams {
    /// From when on, inclusive.
    from: Timestamp,
    /// Until when, exclusive; not later than now.
    until: Timestamp,
    /// Nano-dollars per million input tokens.
    input: NanoUsd,
    /// Nano-dollars per million output tokens.
    output: NanoUsd,
    /// Nano-dollars per million input tokens that the provider read from its cache; else as `input`.
    cached_input: Option<NanoUsd>,
}

/// See what a correction of a price would change
///
/// What the requests cost that the model answered in a time, and what they would cost: in all, by day and by owner. What
/// was corrected before counts as corrected. Nothing changes; `reprice_usage` makes the correction, and is given `total`.
#[utoipa::path(get, path = "/models/{id}/repricing", tag = "providers", operation_id = "preview_repricing",
    params(("id" = ModelId, Path, description = "The model's id."), RepricingParams),
    responses((status = 200, description = "The difference.", body = RepricingPreview)))]
pub(super) async fn preview(
    State(app): State<App>,
    id: PathId<ModelId>,
    Params(params): Params<RepricingParams>,
) -> Answer<Json<RepricingPreview>> {
    let RepricingParams {
        from,
        until,
        input,
        output,
        cached_input,
    } = params;
    let price = Price {
        input,
        output,
        cached_input,
    };
    let (control, now) = (app.control()?, clock::now());
    let live = control.live();
    let id = id.of("model")?;
    let model = live.state.models().get(&id);
    let model = model.ok_or(ApiError::NotFound("model"))?;
    can_be_repriced(from, until, &price, now).map_err(ApiError::Rejected)?;
    let proposal = proposal(model, (from, until), price);
    let found = app.parts().analytics.repricing(&proposal, now).await;
    let mut preview = found.map_err(unanswered)?;
    let owner = |text: &Option<String>| text.as_deref()?.parse::<Owner>().ok();
    let people = preview.owners.iter().filter_map(|it| owner(&it.owner));
    let people = people.filter_map(owner_person).collect::<Vec<_>>();
    let names = Names::read(control, &live.state, people).await?;
    for it in &mut preview.owners {
        it.owner_name = owner(&it.owner).map(|owner| names.owner(owner));
    }
    Ok(Json(preview))
}

/// The difference that a correction makes, as the ledger tells it now; none for one that cannot be made: the rules say why.
///
/// # Errors
/// When the ledger does not answer: what nobody can be shown is not decided.
pub(super) async fn difference(
    app: &App,
    state: &Organisation,
    model: ModelId,
    (from, until): (Timestamp, Timestamp),
    price: Price,
    now: Timestamp,
) -> Answer<CostDifference> {
    let Some(model) = state.models().get(&model) else {
        return Ok(CostDifference::default());
    };
    if can_be_repriced(from, until, &price, now).is_err() {
        return Ok(CostDifference::default());
    }
    let proposal = proposal(model, (from, until), price);
    let found = app.parts().analytics.cost_difference(&proposal, now).await;
    found.map_err(unanswered)
}

fn proposal(model: &Model, (from, until): (Timestamp, Timestamp), price: Price) -> Proposal {
    Proposal {
        model: model.id,
        from,
        until,
        price,
        made: model.repriced().collect(),
    }
}

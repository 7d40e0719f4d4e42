//! `/api/v1/apply` and `/api/v1/export`: the configuration as YAML documents.

use axum::extract::State;
use events_schema::{
    api::declared::{ApplyAnswer, ApplyRequest, ExportFormat},
    state::Organisation,
};
use http::{HeaderValue, Response, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::commands::{hashed, read_why, rejected};
use crate::{
    auth::{Caller, roles::Right},
    clock,
    control::{CommandOutcome, Submission},
    declared::{self, KeyHashes, Plan, Surroundings},
    fresh,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        gate, list,
        names::unreadable,
        problem::ApiError,
    },
    unreached::unreached,
};

/// The largest body of `POST /apply`: a document with some 20,000 things.
pub(super) const APPLY_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Apply a document
///
/// Makes the configuration what the YAML document says, all of it or nothing: it is compared with what there is, and the
/// difference is done as one undertaking. There may be several documents, separated by `---`, also of the types
/// `gateway-load-balancing-config`, `gateway-rate-limiting-config`, `gateway-budget-config`, `provider-account/virtual-model` and
/// `virtual-account`, which other gateways have. What is wrong is told by line. With `dry_run`, the difference is only told, and
/// whether the rules would refuse it; give its `position` to be sure that nothing else has changed when it is done. `warnings`
/// says which policies can match no request in the configuration that follows.
#[utoipa::path(post, path = "/apply", tag = "commands", operation_id = "apply",
    request_body(content = ApplyRequest, example = json!({
        "document": "sluice: v1\nvirtual_accounts:\n  - name: billing\n",
        "dry_run": true
    })),
    responses((status = 200, description = "The difference; done, unless it was a dry run.", body = ApplyAnswer),
        (status = 409, description = "The state forbids it, or it has changed since `position` (`moved`).",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem),
        (status = 422, description = "The document is wrong (`bad_document`): `faults` says where.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn apply(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<ApplyRequest>,
) -> Answer<Json<ApplyAnswer>> {
    let ApplyRequest {
        command_id,
        why,
        document,
        dry_run,
        prune,
        position,
    } = request;
    let control = app.control()?;
    let why = read_why(why)?;
    let body =
        serde_json::to_vec(&(&why, &document, prune, position)).map_err(|_| ApiError::Internal)?;
    // The difference is made for the very state that it was looked at for, also where this replica lags behind.
    let live = list::live(&app, position)
        .await
        .map_err(|error| match error {
            ApiError::Invalid { detail, .. } => ApiError::invalid("position", detail),
            error => error,
        })?;
    let people = declared::people_of(&live.state);
    let people = control.people(&people).await.map_err(unreadable)?;
    let surroundings = Surroundings {
        state: &live.state,
        people: &people,
        secrets: app.secrets(),
        now: clock::now(),
        prune,
    };
    let mut plan = declared::plan(&document, surroundings).map_err(ApiError::Document)?;
    if plan.changes_operators {
        gate::check(&caller, Right::ChangeOperators)?;
    }
    if plan.changes_settings {
        gate::check(&caller, Right::ChangeSettings)?;
    }
    let passwords = std::mem::take(&mut plan.passwords);
    for (order, operator, password) in passwords.into_iter().filter(|_| !dry_run) {
        let password = password.reveal().to_owned();
        plan.orders[order].side.password = Some(hashed(&app, operator, password).await?);
    }
    let submission = Submission {
        command_id: command_id.unwrap_or_else(fresh::id),
        actor: caller.actor(),
        correlation: None,
        why,
        request_hash: app.secrets().request_hash(&body),
        made_at: position,
        orders: std::mem::take(&mut plan.orders),
    };
    let done = if dry_run {
        control.try_out(&submission).map(|(mut outcome, state)| {
            (outcome.events, outcome.position) = (Vec::new(), live.head.position);
            (outcome, state)
        })
    } else {
        let outcome = control.submit(submission).await;
        outcome.map(|outcome| (outcome, control.state()))
    };
    let (outcome, state) = done.map_err(|error| match plan.fault_of(&error) {
        Some(fault) => ApiError::Document(vec![fault]),
        None => rejected(error),
    })?;
    Ok(Json(answer(plan, outcome, &state, dry_run)))
}

/// `state`: the one that follows.
fn answer(plan: Plan, outcome: CommandOutcome, state: &Organisation, dry_run: bool) -> ApplyAnswer {
    let CommandOutcome {
        position,
        events,
        made: _,
        replayed,
    } = outcome;
    ApplyAnswer {
        position,
        changes: plan.changes,
        events,
        secrets: if dry_run || replayed {
            Vec::new()
        } else {
            plan.secrets
        },
        warnings: unreached(state).into_iter().map(|it| it.told).collect(),
    }
}

/// How to export.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParams {
    /// Whether keys' hashes stand in it, so that the keys go on working elsewhere under the same pepper; for owners only.
    key_hashes: bool,
    /// The format: Sluice's own, or one that other gateways have, with what that format has words for.
    #[param(inline)]
    format: ExportFormat,
}

/// Export the configuration as a document
///
/// What `POST /apply` takes. Providers' credentials are not in it: they can be sealed, but not opened. Keys that have expired
/// are not either. With another `format`, the document holds what that is for, by the same field names; what the format has no
/// words for is told by name in comments at its top.
#[utoipa::path(get, path = "/export", tag = "commands", operation_id = "export", params(ExportParams),
    responses((status = 200, description = "The document.", content_type = "application/yaml", body = serde_json::Value),
        (status = 409, description = "Keys of one owner share a label, as they could in former versions, and a document \
         could not tell them apart: `shared_labels`, with which they are.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn export(
    State(app): State<App>,
    caller: Caller,
    Params(ExportParams { key_hashes, format }): Params<ExportParams>,
) -> Answer<Response<String>> {
    if key_hashes {
        if format != ExportFormat::Sluice {
            return Err(ApiError::invalid(
                "key_hashes",
                "keys stand in documents of Sluice's own format alone",
            ));
        }
        gate::check(&caller, Right::ChangeOperators)?;
    }
    let control = app.control()?;
    let state = control.state();
    let people = declared::people_of(&state);
    let people = control.people(&people).await.map_err(unreadable)?;
    let hashes = if key_hashes {
        KeyHashes::Included
    } else {
        KeyHashes::LeftOut
    };
    let document = match format {
        ExportFormat::Sluice => declared::export(&state, &people, hashes, clock::now())
            .map_err(|shared| ApiError::SharedLabels(shared.to_string()))?,
        ExportFormat::GatewayRateLimitingConfig => declared::rate_limits(&state, &people),
        ExportFormat::GatewayBudgetConfig => declared::budgets(&state, &people),
    };
    let mut response = Response::new(document);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/yaml"),
    );
    Ok(response)
}

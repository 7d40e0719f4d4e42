//! `/api/v1/analytics`: what the dashboard shows, from the ledger. The ledger knows ids; names are added here.

use std::time::Duration;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        analytics::{GroupBy, RequestItem, Series, Summary},
    },
    events::Owner,
    time::Timestamp,
    usage::Outcome,
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    analytics::{AnalyticsError, RequestFilter, RequestPage},
    causes,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        list,
        names::{Names, owner_person},
        problem::ApiError,
    },
};

/// How long `/status` waits for the ledger.
const STATUS_TIME: Duration = Duration::from_secs(2);

/// A time range.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RangeParams {
    /// From when, inclusive.
    from: Timestamp,
    /// Until when, exclusive.
    to: Timestamp,
}

/// A time range in steps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SeriesParams {
    /// From when, inclusive.
    from: Timestamp,
    /// Until when, exclusive.
    to: Timestamp,
    /// The length of a step, in seconds: whole minutes; at most 2,000 steps.
    step_seconds: u32,
    /// By what to group; else not at all.
    #[serde(default)]
    by: GroupBy,
}

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RequestParams {
    /// From when, inclusive.
    from: Timestamp,
    /// Until when, exclusive.
    to: Timestamp,
    /// Of this owner: `user:<id>` or `virtual_account:<id>`.
    owner: Option<String>,
    /// Made with this key, by its id.
    key: Option<String>,
    /// Answered by this model, by its full name.
    target: Option<String>,
    /// That ended so.
    outcome: Option<Outcome>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many requests at most: 1 to 200, else 50.
    limit: Option<u32>,
}

/// Sum up a time range
#[utoipa::path(get, path = "/analytics/summary", tag = "analytics", operation_id = "get_summary", params(RangeParams),
    responses((status = 200, description = "The sums, and those of the range before.", body = Summary)))]
pub(super) async fn summary(
    State(app): State<App>,
    Params(params): Params<RangeParams>,
) -> Answer<Json<Summary>> {
    let RangeParams { from, to } = params;
    app.parts()
        .analytics
        .summary(from, to)
        .await
        .map(Json)
        .map_err(unanswered)
}

/// Read figures over time
#[utoipa::path(get, path = "/analytics/series", tag = "analytics", operation_id = "get_series", params(SeriesParams),
    responses((status = 200, description = "The figures of each step.", body = Series)))]
pub(super) async fn series(
    State(app): State<App>,
    Params(params): Params<SeriesParams>,
) -> Answer<Json<Series>> {
    let SeriesParams {
        from,
        to,
        step_seconds,
        by,
    } = params;
    let mut series = app
        .parts()
        .analytics
        .series(from, to, step_seconds, by)
        .await
        .map_err(unanswered)?;
    if by == GroupBy::Owner {
        let control = app.control()?;
        let live = control.live();
        let owners = series.groups.iter().filter_map(|group| owner(&group.key));
        let names = Names::read(control, &live.state, owners.filter_map(owner_person)).await?;
        for group in &mut series.groups {
            if let Some(owner) = owner(&group.key) {
                group.name = names.owner(owner);
            }
        }
    }
    Ok(Json(series))
}

/// List requests
///
/// The newest first.
#[utoipa::path(get, path = "/analytics/requests", tag = "analytics", operation_id = "list_requests",
    params(RequestParams),
    responses((status = 200, description = "A page of requests.", body = Page<RequestItem>)))]
pub(super) async fn requests(
    State(app): State<App>,
    Params(params): Params<RequestParams>,
) -> Answer<Json<Page<RequestItem>>> {
    let RequestParams {
        from,
        to,
        owner: of,
        key,
        target,
        outcome,
        cursor,
        limit,
    } = params;
    let limit = u32::try_from(list::read_limit(limit)?).unwrap_or(list::MOST);
    let filter = RequestFilter {
        from,
        to,
        owner: of,
        key,
        target,
        outcome,
        limit,
        cursor,
    };
    let RequestPage {
        mut items,
        next_cursor,
    } = app
        .parts()
        .analytics
        .requests(&filter)
        .await
        .map_err(unanswered)?;
    let control = app.control()?;
    let live = control.live();
    let owner_of = |item: &RequestItem| item.owner.as_deref().and_then(owner);
    let names = Names::read(
        control,
        &live.state,
        items.iter().filter_map(owner_of).filter_map(owner_person),
    )
    .await?;
    for item in &mut items {
        item.owner_name = owner_of(item).map(|owner| names.owner(owner));
    }
    Ok(Json(Page {
        items,
        next_cursor,
        position: live.head.position,
    }))
}

/// Since when the ledger has records, or why it cannot be asked.
pub(super) async fn since(app: &App) -> (Option<Timestamp>, Option<String>) {
    match tokio::time::timeout(STATUS_TIME, app.parts().analytics.records_since()).await {
        Ok(Ok(since)) => (since, None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(_) => (
            None,
            Some("the ledger did not answer within 2 s".to_owned()),
        ),
    }
}

/// The owner that the ledger writes as `user:<id>` or `virtual_account:<id>`.
fn owner(text: &str) -> Option<Owner> {
    match text.split_once(':')? {
        ("user", id) => id.parse().ok().map(Owner::User),
        ("virtual_account", id) => id.parse().ok().map(Owner::VirtualAccount),
        _ => None,
    }
}

fn unanswered(error: AnalyticsError) -> ApiError {
    match error {
        AnalyticsError::Question { field, problem } => ApiError::invalid(field, problem),
        AnalyticsError::Url
        | AnalyticsError::Trust(_)
        | AnalyticsError::Unavailable(_)
        | AnalyticsError::Late
        | AnalyticsError::Unreadable(_) => {
            tracing::warn!(error = causes::told(&error), "the ledger did not answer");
            ApiError::LedgerUnavailable(format!("{error}."))
        }
    }
}

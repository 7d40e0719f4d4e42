//! `/api/v1/analytics`: what the dashboard shows, from the ledger. The ledger knows ids; names are added here.
//! Single requests are in [`super::requests`].

use std::time::Duration;

use axum::extract::State;
use events_schema::{
    api::analytics::{GroupBy, Series, Summary},
    events::Owner,
    time::Timestamp,
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    analytics::AnalyticsError,
    causes,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
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
        let groups = series.groups.iter();
        let owners = groups.filter_map(|group| group.key.parse::<Owner>().ok());
        let names = Names::read(control, &live.state, owners.filter_map(owner_person)).await?;
        for group in &mut series.groups {
            if let Ok(owner) = group.key.parse::<Owner>() {
                group.name = names.owner(owner);
            }
        }
    }
    Ok(Json(series))
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

/// An answer that the ledger did not give, as a problem; the log line has the details.
pub(super) fn unanswered(error: AnalyticsError) -> ApiError {
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

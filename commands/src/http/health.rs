//! What a supervisor asks: is the process alive, does it serve, how is it.

use std::time::Duration;

use axum::{extract::State, response::IntoResponse};
use http::header;

use super::{
    app::{Answer, App},
    metrics,
    problem::ApiError,
};
use crate::clock;

/// How long the database may take to answer before the service counts as not ready.
const DATABASE_TIME: Duration = Duration::from_secs(2);

/// The process runs.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Commands are taken and questions answered; else a problem document says why not.
pub(super) async fn readyz(State(app): State<App>) -> Answer<&'static str> {
    let control = app.control()?;
    let asked = tokio::time::timeout(
        DATABASE_TIME,
        sqlx::query("SELECT 1").execute(control.pool()),
    )
    .await;
    match asked {
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => Err(ApiError::LogUnavailable(format!(
            "Postgres does not answer: {error}."
        ))),
        Err(_) => Err(ApiError::LogUnavailable(
            "Postgres has not answered for 2 s.".into(),
        )),
    }
}

/// Prometheus' text format.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut text = app.metrics().text();
    if let Ok(control) = app.control() {
        let live = control.live();
        let gateways = app.parts().gateways.list(live.head.position, clock::now());
        let alive = gateways.iter().filter(|gateway| gateway.live);
        let published = control.relay_status().published.unwrap_or(0);
        text += &metrics::gauge(
            "sluice_log_position",
            "Position of the log's head.",
            live.head.position,
        );
        text += &metrics::gauge(
            "sluice_log_published",
            "Position up to which events are published.",
            published,
        );
        text += &metrics::gauge(
            "sluice_appends_stopped",
            "1: commands are refused.",
            u64::from(live.stopped.is_some()),
        );
        text += &metrics::gauge(
            "sluice_keys",
            "API keys that were not revoked.",
            live.state.keys().len() as u64,
        );
        text += &metrics::gauge(
            "sluice_gateways",
            "Gateways seen in the last 10 s.",
            alive.clone().count() as u64,
        );
        text += &metrics::gauge(
            "sluice_budget_alerts",
            "Counters of budgets that have reached a threshold in a window that is not over.",
            live.state.current_budget_alerts(clock::now()).count() as u64,
        );
        let alerts = &app.parts().alerts;
        text += &metrics::counter(
            "sluice_budget_alerts_raised_total",
            "Alerts of budgets that this process has had written.",
            alerts.raised(),
        );
        text += &metrics::gauge(
            "sluice_budget_alerts_waiting",
            "Counters of budgets of which alerts are due and not written yet.",
            alerts.waiting(),
        );
        let lag = alive.map(|gateway| gateway.lag).max().unwrap_or(0);
        text += &metrics::gauge(
            "sluice_gateways_lag",
            "Positions that the slowest gateway is behind.",
            lag,
        );
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

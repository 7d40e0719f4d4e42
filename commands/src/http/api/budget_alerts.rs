//! `/api/v1/budget-alerts`

use std::cmp::Reverse;

use axum::extract::State;
use events_schema::{
    api::{Page, limits::BudgetAlertItem},
    id::BudgetPolicyId,
    state::BudgetAlert,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::counter_names::CounterNames;
use crate::{
    clock,
    counters::Wanted,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        list,
    },
};

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertParams {
    /// Only those of this budget policy.
    policy: Option<BudgetPolicyId>,
    /// Only those of which a threshold of at least so many percent was reached.
    percent: Option<u8>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many items at most: 1 to 200, else 50.
    limit: Option<u32>,
    /// Wait until this position of the log is reached, at most 10 s.
    at_least: Option<u64>,
}

/// What an alert is ordered by: the highest threshold first, then the newest.
type Place = (u8, u64);

/// List alerts of budgets
///
/// Which thresholds were reached, the highest first, then the newest: in windows that are not over, of limits that policies in
/// force have. Each is an event of the history as well, `budget_alert_raised`, and stays there.
#[utoipa::path(get, path = "/budget-alerts", tag = "limits", operation_id = "list_budget_alerts", params(AlertParams),
    responses((status = 200, description = "A page of alerts.", body = Page<BudgetAlertItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<AlertParams>,
) -> Answer<Json<Page<BudgetAlertItem>>> {
    let AlertParams {
        policy,
        percent,
        cursor,
        limit,
        at_least,
    } = params;
    let (after, limit) = (
        list::read_cursor::<Place>(cursor.as_deref())?,
        list::read_limit(limit)?,
    );
    let live = list::live(&app, at_least).await?;
    let (state, now) = (&live.state, clock::now());
    let all = state.current_budget_alerts(now).filter(|it| {
        policy.is_none_or(|policy| it.policy == policy)
            && percent.is_none_or(|percent| it.highest() >= percent)
            && after.is_none_or(|after| place(it) < after)
    });
    let mut found: Vec<&BudgetAlert> = all.collect();
    found.sort_unstable_by_key(|it| Reverse(place(it)));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more);
    let next = next.map(|last| list::write_cursor(&place(last)));
    let wanted = found.iter().map(|it| Wanted {
        counter: (it.policy.uuid(), it.segment),
        began_at: it.began_at,
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let names = CounterNames::read(&app, state, &wanted).await?;
    let items = found.iter().map(|it| item(&names, it)).collect();
    Ok(Json(list::page(&live, (items, next))))
}

fn place(alert: &BudgetAlert) -> Place {
    (alert.highest(), alert.position)
}

fn item(names: &CounterNames<'_>, alert: &BudgetAlert) -> BudgetAlertItem {
    let threshold = alert.highest();
    let BudgetAlert {
        policy,
        segment,
        limit,
        began_at,
        ends_at,
        thresholds,
        used,
        raised_at,
        position,
    } = alert;
    let found = names.names.state().budget_policies().get(policy);
    let segment_name =
        found.and_then(|it| names.name((policy.uuid(), *segment), &it.rule.applies_per));
    BudgetAlertItem {
        policy: *policy,
        policy_name: found.map_or_else(|| policy.to_string(), |it| it.name.to_string()),
        segment: *segment,
        segment_name,
        limit: *limit,
        began_at: *began_at,
        ends_at: *ends_at,
        threshold,
        thresholds: thresholds.clone(),
        used: *used,
        raised_at: *raised_at,
        position: *position,
    }
}

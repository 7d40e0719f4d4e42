//! `/api/v1/limit-usage`

use std::{collections::BTreeSet, sync::Arc};

use axum::extract::State;
use events_schema::{
    api::limits::{LimitAmount, LimitUsage, LimitUsageItem},
    events::LimitSegment,
    id::{BudgetPolicyId, KeyId, RateLimitPolicyId},
    money::NanoUsd,
    state::Organisation,
    totals::{LimitTotal, LimitTotals},
    usage::{LimitMeasure, LimitOf},
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::counter_names::CounterNames;
use crate::{
    alerts::budget_use,
    clock,
    counters::Wanted,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
    },
};

/// One counter for all.
const NOTHING: BTreeSet<LimitSegment> = BTreeSet::new();

/// Which counters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LimitUsageParams {
    /// Only those of this policy, or of the key with this id: up to 1,000, those that are used most.
    of: Option<Uuid>,
    /// Only those of whose limits at least so many percent are used and held.
    percent: Option<u64>,
}

/// How limits and budgets stand
///
/// Over all gateways, as those who deal them out told within the last seconds. Counters of values of the metadata, or of two
/// things, are named after requests of theirs in the ledger, as soon as one is found there.
#[utoipa::path(get, path = "/limit-usage", tag = "limits", operation_id = "get_limit_usage", params(LimitUsageParams),
    responses((status = 200, description = "How they stand.", body = LimitUsage)))]
pub(super) async fn usage(
    State(app): State<App>,
    params: Params<LimitUsageParams>,
) -> Answer<Json<LimitUsage>> {
    let LimitUsageParams { of, percent } = params.0;
    let now = clock::now();
    let totals = &app.parts().totals;
    let (rates, budgets) = (totals.rates(now), totals.budgets(now));
    // Of one policy all counters are asked for: what is told to everybody has those that are used most.
    let [all_rates, all_budgets] = match of {
        Some(of) => totals.of(of).await,
        None => [None, None],
    };
    let live = app.control()?.live();
    let wanted = |it: &&LimitTotal| {
        of.is_none_or(|of| it.rule == of)
            && percent.is_none_or(|percent| it.fraction() / 100 >= percent)
    };
    let totals_of = |told: &Option<Arc<LimitTotals>>| {
        let told = told.iter().flat_map(|it| &it.totals);
        told.filter(wanted).copied().collect::<Vec<_>>()
    };
    let of_rates = totals_of(if all_rates.is_some() {
        &all_rates
    } else {
        &rates
    });
    let of_budgets = totals_of(if all_budgets.is_some() {
        &all_budgets
    } else {
        &budgets
    });
    let wanted = of_rates.iter().chain(&of_budgets).map(|it| Wanted {
        counter: (it.rule, it.segment),
        began_at: it.began_at,
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let names = CounterNames::read(&app, &live.state, &wanted).await?;
    let rate_items = of_rates.iter().map(|it| rate(&names, it));
    let budget_items = of_budgets.iter().map(|it| budget(&names, it));
    let mut items: Vec<LimitUsageItem> = rate_items.chain(budget_items).collect();
    items.sort_by_key(|it| std::cmp::Reverse(it.percent));
    Ok(Json(LimitUsage {
        rates_at: rates.as_ref().map(|it| it.at),
        rates: rates.as_ref().map_or(0, |it| it.counters),
        budgets_at: budgets.as_ref().map(|it| it.at),
        budgets: budgets.as_ref().map_or(0, |it| it.counters),
        items,
    }))
}

fn rate(names: &CounterNames<'_>, total: &LimitTotal) -> LimitUsageItem {
    let (state, id) = (names.names.state(), total.rule);
    if let Some(policy) = state
        .rate_limit_policies()
        .get(&RateLimitPolicyId::from_uuid(id))
    {
        let of = LimitOf::RateLimitPolicy(policy.id);
        return item(
            names,
            total,
            of,
            Some(policy.name.to_string()),
            &policy.rule.applies_per,
        );
    }
    match state.keys().get(&KeyId::from_uuid(id)) {
        Some(key) => {
            let of = LimitOf::Key(key.id);
            item(names, total, of, Some(key.label.to_string()), &NOTHING)
        }
        // It was deleted, and its window is not over yet.
        None => {
            let of = LimitOf::RateLimitPolicy(RateLimitPolicyId::from_uuid(id));
            item(names, total, of, None, &NOTHING)
        }
    }
}

fn budget(names: &CounterNames<'_>, total: &LimitTotal) -> LimitUsageItem {
    let id = BudgetPolicyId::from_uuid(total.rule);
    let of = LimitOf::BudgetPolicy(id);
    match names.names.state().budget_policies().get(&id) {
        Some(policy) => item(
            names,
            total,
            of,
            Some(policy.name.to_string()),
            &policy.rule.applies_per,
        ),
        None => item(names, total, of, None, &NOTHING),
    }
}

fn item(
    names: &CounterNames<'_>,
    total: &LimitTotal,
    of: LimitOf,
    name: Option<String>,
    applies_per: &BTreeSet<LimitSegment>,
) -> LimitUsageItem {
    let amount = |amount: u64| match total.measure {
        LimitMeasure::Requests => LimitAmount::Requests(amount),
        LimitMeasure::Tokens => LimitAmount::Tokens(amount),
        LimitMeasure::Cost => LimitAmount::Cost(NanoUsd::new(amount)),
    };
    LimitUsageItem {
        of,
        name,
        segment: total.segment,
        segment_name: names.name((total.rule, total.segment), applies_per),
        period: total.period,
        began_at: total.began_at,
        ends_at: total.ends_at,
        limit: amount(total.most),
        used: amount(total.used),
        is_lower_bound: total.is_lower_bound,
        overshot: amount(total.overshot()),
        held: amount(total.held),
        refused: amount(total.refused),
        percent: total.fraction() / 100,
        alert: alert(names.names.state(), total),
    }
}

/// The highest threshold of which an alert was raised in the window.
fn alert(state: &Organisation, total: &LimitTotal) -> Option<u8> {
    let (policy, reached) = budget_use(total, total.began_at)?;
    let alert = state.budget_alert(&reached.key(policy))?;
    Some(alert.highest())
}

//! `/api/v1/limit-usage`

use std::sync::Arc;

use axum::extract::State;
use events_schema::{
    api::limits::{LimitAmount, LimitUsage, LimitUsageItem},
    events::{LimitSegment, ModelRef, Owner, Subject},
    id::{
        BudgetPolicyId, KeyId, ModelId, RateLimitPolicyId, TeamId, UserId, VirtualAccountId,
        VirtualModelId,
    },
    money::NanoUsd,
    state::Organisation,
    totals::{LimitTotal, LimitTotals},
    usage::{LimitMeasure, LimitOf},
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    alerts::budget_use,
    clock,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        names::{self, Names},
    },
};

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
/// Over all gateways, as those who deal them out told within the last seconds.
#[utoipa::path(get, path = "/limit-usage", tag = "limits", operation_id = "get_limit_usage", params(LimitUsageParams),
    responses((status = 200, description = "How they stand.", body = LimitUsage)))]
pub(super) async fn usage(
    State(app): State<App>,
    params: Params<LimitUsageParams>,
) -> Answer<Json<LimitUsage>> {
    let LimitUsageParams { of, percent } = params.0;
    let (now, control) = (clock::now(), app.control()?);
    let totals = &app.parts().totals;
    let (rates, budgets) = (totals.rates(now), totals.budgets(now));
    // Of one policy all counters are asked for: what is told to everybody has those that are used most.
    let [all_rates, all_budgets] = match of {
        Some(of) => totals.of(of).await,
        None => [None, None],
    };
    let live = control.live();
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
    // A segment may be a user.
    let people = of_rates.iter().chain(&of_budgets).map(|it| it.segment);
    let names = Names::read(control, &live.state, people).await?;
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

fn rate(names: &Names<'_>, total: &LimitTotal) -> LimitUsageItem {
    let (state, id) = (names.state(), total.rule);
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
            item(names, total, of, Some(key.label.to_string()), [])
        }
        // It was deleted, and its window is not over yet.
        None => {
            let of = LimitOf::RateLimitPolicy(RateLimitPolicyId::from_uuid(id));
            item(names, total, of, None, [])
        }
    }
}

fn budget(names: &Names<'_>, total: &LimitTotal) -> LimitUsageItem {
    let id = BudgetPolicyId::from_uuid(total.rule);
    let of = LimitOf::BudgetPolicy(id);
    match names.state().budget_policies().get(&id) {
        Some(policy) => item(
            names,
            total,
            of,
            Some(policy.name.to_string()),
            &policy.rule.applies_per,
        ),
        None => item(names, total, of, None, []),
    }
}

fn item<'p>(
    names: &Names<'_>,
    total: &LimitTotal,
    of: LimitOf,
    name: Option<String>,
    applies_per: impl IntoIterator<Item = &'p LimitSegment>,
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
        segment_name: segment_name(names, applies_per, total.segment),
        period: total.period,
        began_at: total.began_at,
        ends_at: total.ends_at,
        limit: amount(total.most),
        used: amount(total.used),
        overshot: amount(total.overshot()),
        held: amount(total.held),
        refused: amount(total.refused),
        percent: total.fraction() / 100,
        alert: alert(names.state(), total),
    }
}

/// The highest threshold of which an alert was raised in the window.
fn alert(state: &Organisation, total: &LimitTotal) -> Option<u8> {
    let (policy, reached) = budget_use(total, total.began_at)?;
    let alert = state.budget_alert(&reached.key(policy))?;
    Some(alert.highest())
}

/// Whose counter of a policy it is, where it is somebody's or something's with an id.
pub(super) fn segment_name<'p>(
    names: &Names<'_>,
    applies_per: impl IntoIterator<Item = &'p LimitSegment>,
    id: Uuid,
) -> Option<String> {
    let mut applies_per = applies_per.into_iter();
    // Of two the counter is a hash of both.
    let (Some(segment), None) = (applies_per.next(), applies_per.next()) else {
        return None;
    };
    let state = names.state();
    match segment {
        LimitSegment::User => {
            let user = UserId::from_uuid(id);
            let is_known = state.users().contains_key(&user);
            is_known.then(|| names.owner(Owner::User(user)))
        }
        LimitSegment::VirtualAccount => {
            let account = VirtualAccountId::from_uuid(id);
            let is_known = state.virtual_accounts().contains_key(&account);
            is_known.then(|| names.owner(Owner::VirtualAccount(account)))
        }
        LimitSegment::Team => {
            let team = TeamId::from_uuid(id);
            let is_known = state.teams().contains_key(&team);
            is_known.then(|| names.subject(Subject::Team(team)))
        }
        LimitSegment::Model => model_name(state, id),
        LimitSegment::Metadata(_) => None,
    }
}

fn model_name(state: &Organisation, id: Uuid) -> Option<String> {
    let (model, virtual_model) = (ModelId::from_uuid(id), VirtualModelId::from_uuid(id));
    if state.models().contains_key(&model) {
        Some(names::model_ref(state, ModelRef::Model(model)))
    } else if state.virtual_models().contains_key(&virtual_model) {
        Some(names::model_ref(
            state,
            ModelRef::VirtualModel(virtual_model),
        ))
    } else {
        None
    }
}

//! `/api/v1/budget-policies`

use std::cmp::Ordering;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{BudgetAlerted, BudgetPolicyItem},
    },
    events::{Named, Stream},
    id::BudgetPolicyId,
    state::{BudgetAlert, BudgetPolicy, Organisation},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    clock,
    control::Control,
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        kind::{self, Kind},
        list::{self, ItemParams, ListParams, Wanted},
        names::{self, Names},
    },
};

/// List budget policies
///
/// In the order in which they are compared with a request: the first that matches decides, and all that match count what the
/// request uses.
#[utoipa::path(get, path = "/budget-policies", tag = "limits", operation_id = "list_budget_policies",
    params(ListParams),
    responses((status = 200, description = "A page of policies.", body = Page<BudgetPolicyItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<BudgetPolicyItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found =
        kind::page_of::<BudgetPolicy>(app.control()?, &live.state, &wanted, clock::now()).await?;
    Ok(Json(list::page(&live, found)))
}

/// Read a budget policy
#[utoipa::path(get, path = "/budget-policies/{id}", tag = "limits", operation_id = "get_budget_policy",
    params(("id" = BudgetPolicyId, Path, description = "The policy's id."), ItemParams),
    responses((status = 200, description = "The policy.", body = BudgetPolicyItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<BudgetPolicyId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<BudgetPolicyItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of(BudgetPolicy::WHAT)?,
    );
    let found =
        kind::one::<BudgetPolicy>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for BudgetPolicy {
    type Item = BudgetPolicyItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "budget policy";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state.budget_policies().get(&BudgetPolicyId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.budget_policies().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::BudgetPolicy(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::BudgetPolicy(item)
    }

    fn version(&self) -> u64 {
        self.life.version
    }

    fn people(&self) -> Vec<Uuid> {
        names::people_named(&named(self))
    }

    async fn select<'s>(
        _: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> Answer<(Vec<&'s Self>, Option<String>)> {
        let found = state.budget_policies().values();
        let found =
            found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
        let in_order = found.map(|it| (format!("{:010}", it.order).into(), it.id.uuid(), it));
        Ok(list::by_name(wanted, in_order))
    }

    fn item(&self, names: &Names<'_>, at: Timestamp) -> BudgetPolicyItem {
        let Self {
            id,
            life,
            name,
            order,
            rule,
            disabled,
        } = self;
        let named = named(self);
        BudgetPolicyItem {
            id: *id,
            name: name.to_string(),
            order: *order,
            rule: rule.clone(),
            subjects: names.limited_subjects(&named),
            models: names.models(&named),
            disabled: *disabled,
            alerted: alerted(names.state(), *id, at),
            unreachable_behind: names.unreachable_behind(self.stream()),
            life: *life,
        }
    }
}

/// What was told of the policy's use in windows that are not over at that time.
fn alerted(state: &Organisation, policy: BudgetPolicyId, at: Timestamp) -> Option<BudgetAlerted> {
    let current = state.current_budget_alerts_of(policy, at);
    let mut found: Option<BudgetAlerted> = None;
    for threshold in current.map(BudgetAlert::highest) {
        let (most, counters) = found.map_or((0, 0), |it| (it.threshold, it.counters));
        found = Some(match threshold.cmp(&most) {
            Ordering::Less => continue,
            Ordering::Equal => BudgetAlerted {
                threshold,
                counters: counters + 1,
            },
            Ordering::Greater => BudgetAlerted {
                threshold,
                counters: 1,
            },
        });
    }
    found
}

fn named(policy: &BudgetPolicy) -> Named {
    Named::by(&policy.rule.when, &policy.rule.overrides)
}

//! `/api/v1/rate-limit-policies`

use axum::extract::State;
use events_schema::{
    api::{Page, history::Thing, resources::RateLimitPolicyItem},
    events::{Named, Stream},
    id::RateLimitPolicyId,
    state::{Organisation, RateLimitPolicy},
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

/// List rate-limit policies
///
/// In the order in which they are compared with a request: the first that matches applies.
#[utoipa::path(get, path = "/rate-limit-policies", tag = "limits", operation_id = "list_rate_limit_policies",
    params(ListParams),
    responses((status = 200, description = "A page of policies.", body = Page<RateLimitPolicyItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<RateLimitPolicyItem>>> {
    let (live, wanted) = params.read(&app).await?;
    let found =
        kind::page_of::<RateLimitPolicy>(app.control()?, &live.state, &wanted, clock::now())
            .await?;
    Ok(Json(list::page(&live, found)))
}

/// Read a rate-limit policy
#[utoipa::path(get, path = "/rate-limit-policies/{id}", tag = "limits", operation_id = "get_rate_limit_policy",
    params(("id" = RateLimitPolicyId, Path, description = "The policy's id."), ItemParams),
    responses((status = 200, description = "The policy.", body = RateLimitPolicyItem)))]
pub(super) async fn one(
    State(app): State<App>,
    id: PathId<RateLimitPolicyId>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<RateLimitPolicyItem>> {
    let (live, id) = (
        list::live(&app, params.at_least).await?,
        id.of(RateLimitPolicy::WHAT)?,
    );
    let found =
        kind::one::<RateLimitPolicy>(app.control()?, &live.state, id.uuid(), clock::now()).await?;
    Ok(Json(found))
}

impl Kind for RateLimitPolicy {
    type Item = RateLimitPolicyItem;
    type Cursor = (String, Uuid);
    const WHAT: &'static str = "rate-limit policy";

    fn get(state: &Organisation, id: Uuid) -> Option<&Self> {
        state
            .rate_limit_policies()
            .get(&RateLimitPolicyId::from_uuid(id))
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        state.rate_limit_policies().values()
    }

    fn uuid(&self) -> Uuid {
        self.id.uuid()
    }

    fn stream(&self) -> Stream {
        Stream::RateLimitPolicy(self.id)
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::RateLimitPolicy(item)
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
        let found = state.rate_limit_policies().values();
        let found =
            found.filter(|it| wanted.matches(&[&it.name]) || wanted.matches_id(it.id.uuid()));
        let in_order = found.map(|it| (format!("{:010}", it.order).into(), it.id.uuid(), it));
        Ok(list::by_name(wanted, in_order))
    }

    fn item(&self, names: &Names<'_>, _: Timestamp) -> RateLimitPolicyItem {
        let Self {
            id,
            life,
            name,
            order,
            rule,
            disabled,
        } = self;
        let named = named(self);
        RateLimitPolicyItem {
            id: *id,
            name: name.to_string(),
            order: *order,
            rule: rule.clone(),
            subjects: names.limited_subjects(&named),
            models: names.models(&named),
            disabled: *disabled,
            unreachable_behind: names.unreachable_behind(self.stream()),
            life: *life,
        }
    }
}

fn named(policy: &RateLimitPolicy) -> Named {
    Named::by(&policy.rule.when, &policy.rule.overrides)
}

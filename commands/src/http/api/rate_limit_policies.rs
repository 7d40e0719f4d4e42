//! `/api/v1/rate-limit-policies`

use std::collections::BTreeSet;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::Thing,
        resources::{GrantedModelItem, LimitedSubjectItem, RateLimitPolicyItem},
    },
    events::{LimitedSubject, ModelRef, SegmentValue, Stream},
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
        people_in(self).collect()
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
        item(names.state(), names, self)
    }
}

/// Everybody whom a policy names.
fn subjects(policy: &RateLimitPolicy) -> BTreeSet<LimitedSubject> {
    let overrides = policy.rule.overrides.iter().flat_map(|it| &it.of);
    let others = overrides.filter_map(|value| match value {
        SegmentValue::User(id) => Some(LimitedSubject::User(*id)),
        SegmentValue::VirtualAccount(id) => Some(LimitedSubject::VirtualAccount(*id)),
        SegmentValue::Model(_) | SegmentValue::Metadata { .. } => None,
    });
    let named = policy.rule.when.subjects.named().copied();
    named.chain(others).collect()
}

/// All models that a policy names.
fn models(policy: &RateLimitPolicy) -> BTreeSet<ModelRef> {
    let overrides = policy.rule.overrides.iter().flat_map(|it| &it.of);
    let others = overrides.filter_map(|value| match value {
        SegmentValue::Model(model) => Some(*model),
        SegmentValue::User(_) | SegmentValue::VirtualAccount(_) | SegmentValue::Metadata { .. } => {
            None
        }
    });
    let named = policy.rule.when.models.named().copied();
    named.chain(others).collect()
}

fn people_in(policy: &RateLimitPolicy) -> impl Iterator<Item = Uuid> {
    subjects(policy)
        .into_iter()
        .filter_map(|subject| match subject {
            LimitedSubject::User(id) => Some(id.uuid()),
            LimitedSubject::Team(_) | LimitedSubject::VirtualAccount(_) => None,
        })
}

fn item(state: &Organisation, names: &Names<'_>, policy: &RateLimitPolicy) -> RateLimitPolicyItem {
    let RateLimitPolicy {
        id,
        life,
        name,
        order,
        rule,
        disabled,
    } = policy;
    let subject = |subject| LimitedSubjectItem {
        subject,
        name: names.limited_subject(subject),
    };
    let model = |model| GrantedModelItem {
        model,
        name: names::model_ref(state, model),
    };
    RateLimitPolicyItem {
        id: *id,
        name: name.to_string(),
        order: *order,
        rule: rule.clone(),
        subjects: subjects(policy).into_iter().map(subject).collect(),
        models: models(policy).into_iter().map(model).collect(),
        disabled: *disabled,
        life: *life,
    }
}

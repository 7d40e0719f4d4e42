//! `/api/v1/state`: what there was as of any position: in numbers, thing by thing, or all in one document.

use std::collections::BTreeSet;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        history::{KindAt, Since, StateAt, StateSummary, ThingAt},
    },
    events::Aggregate,
    state::{
        BudgetPolicy, Grant, Key, Model, Operator, Organisation, ProviderAccount, RateLimitPolicy,
        Settings, Team, User, VirtualAccount, VirtualModel,
    },
    time::Timestamp,
};
use serde::Deserialize;
use tokio::task;
use utoipa::IntoParams;
use uuid::Uuid;

use super::events::history;
use crate::{
    clock,
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        kind::{self, Kind},
        list::ListParams,
        names::unreadable,
        past::{Moment, moment},
        problem::ApiError,
    },
};

/// As of when.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct StateParams {
    /// As of this position.
    position: Option<u64>,
    /// As of this time. Neither: as of now.
    at: Option<Timestamp>,
    /// Wait until this position of the log is reached, at most 10 s.
    at_least: Option<u64>,
}

/// As of when, and which things.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ThingParams {
    /// As of this position.
    position: Option<u64>,
    /// As of this time. Neither: as of now.
    at: Option<Timestamp>,
    /// Only what has changed or gone since (`true`), or only what has not (`false`).
    differs: Option<bool>,
    /// Only what has this text in its name as of then, its label or id; people are found by the names that they have now.
    search: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many items at most: 1 to 200, else 50.
    limit: Option<u32>,
    /// Wait until this position of the log is reached, at most 10 s.
    at_least: Option<u64>,
}

/// Read the state as of a position or a time
///
/// All of it in one document, however large. `GET /state/summary` and `GET /state/{kind}` show it in parts.
#[utoipa::path(get, path = "/state", tag = "history", operation_id = "get_state", params(StateParams),
    responses((status = 200, description = "The whole state, and its digest.", body = StateAt)))]
pub(super) async fn at(
    State(app): State<App>,
    Params(params): Params<StateParams>,
) -> Answer<Json<StateAt>> {
    let StateParams {
        position,
        at,
        at_least,
    } = params;
    let Moment { position, then, .. } = moment(&app, position, at, at_least).await?;
    let event = app.control()?.event(position).await.map_err(unreadable)?;
    let digest = app.past().digest(&app, &then).await;
    let checkpoint = task::spawn_blocking(move || serde_json::to_value(&then));
    let state = checkpoint
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(ApiError::Internal)?;
    Ok(Json(StateAt {
        position,
        recorded_at: event.map(|event| event.recorded_at),
        state_digest: digest.to_string(),
        state,
    }))
}

/// Sum up the state as of a position or a time
///
/// How much there was of each kind, and what has become of it since.
#[utoipa::path(get, path = "/state/summary", tag = "history", operation_id = "get_state_summary", params(StateParams),
    responses((status = 200, description = "The numbers, the digest, and the event at the position.",
     body = StateSummary)))]
pub(super) async fn summary(
    State(app): State<App>,
    Params(params): Params<StateParams>,
) -> Answer<Json<StateSummary>> {
    let StateParams {
        position,
        at,
        at_least,
    } = params;
    let Moment {
        position,
        then,
        live,
        time: _,
    } = moment(&app, position, at, at_least).await?;
    let found = app.control()?.event(position).await.map_err(unreadable)?;
    let event = match &found {
        Some(event) => history(&app, std::slice::from_ref(event)).await?.pop(),
        None => None,
    };
    let digest = app.past().digest(&app, &then).await;
    let (epoch, now) = (then.epoch(), live.head.position);
    let counting = task::spawn_blocking(move || KINDS.map(|kind| count(kind, &then, &live.state)));
    let kinds = counting.await.map_err(|_| ApiError::Internal)?;
    Ok(Json(StateSummary {
        position,
        recorded_at: found.map(|event| event.recorded_at),
        epoch,
        state_digest: digest.to_string(),
        event,
        now,
        kinds: kinds.into(),
    }))
}

/// List the things of a kind as of a position or a time
///
/// In the order of their own list, each as it was then and as it is now. What refers to others calls them as they were
/// called then; people are called as they are now, and those who were erased have no name. The answer's `position` is
/// that of the state.
#[utoipa::path(get, path = "/state/{kind}", tag = "history", operation_id = "list_state",
    params(("kind" = Aggregate, Path, description = "The kind of thing; not `log` or `budget_alert`."), ThingParams),
    responses((status = 200, description = "A page of things.", body = Page<ThingAt>)))]
pub(super) async fn things(
    State(app): State<App>,
    kind: PathId<Aggregate>,
    Params(params): Params<ThingParams>,
) -> Answer<Json<Page<ThingAt>>> {
    let kind = kind.of("kind of thing")?;
    let ThingParams {
        position,
        at,
        differs,
        search,
        cursor,
        limit,
        at_least,
    } = params;
    let question = Question {
        moment: moment(&app, position, at, at_least).await?,
        differs,
        list: ListParams {
            search,
            cursor,
            limit,
            at_least: None,
        },
    };
    let (items, next_cursor) = question.answer(&app, kind).await?;
    Ok(Json(Page {
        items,
        next_cursor,
        position: question.moment.position,
    }))
}

/// The kinds that there are things of, in the order of the console's navigation.
const KINDS: [Aggregate; 12] = [
    Aggregate::ProviderAccount,
    Aggregate::Model,
    Aggregate::VirtualModel,
    Aggregate::User,
    Aggregate::Team,
    Aggregate::VirtualAccount,
    Aggregate::Key,
    Aggregate::Grant,
    Aggregate::RateLimitPolicy,
    Aggregate::BudgetPolicy,
    Aggregate::Operator,
    Aggregate::Settings,
];

/// What is wanted of a kind of thing.
struct Question {
    moment: Moment,
    differs: Option<bool>,
    list: ListParams,
}

/// A page of things, and the cursor of the next.
type Found = (Vec<ThingAt>, Option<String>);

impl Question {
    async fn answer(&self, app: &App, kind: Aggregate) -> Answer<Found> {
        match kind {
            // Alerts are told of things, and are none.
            Aggregate::Log | Aggregate::BudgetAlert => Err(ApiError::NotFound("kind of thing")),
            Aggregate::ProviderAccount => self.page::<ProviderAccount>(app).await,
            Aggregate::Model => self.page::<Model>(app).await,
            Aggregate::VirtualModel => self.page::<VirtualModel>(app).await,
            Aggregate::User => self.page::<User>(app).await,
            Aggregate::VirtualAccount => self.page::<VirtualAccount>(app).await,
            Aggregate::Key => self.page::<Key>(app).await,
            Aggregate::Grant => self.page::<Grant>(app).await,
            Aggregate::Operator => self.page::<Operator>(app).await,
            Aggregate::Team => self.page::<Team>(app).await,
            Aggregate::RateLimitPolicy => self.page::<RateLimitPolicy>(app).await,
            Aggregate::BudgetPolicy => self.page::<BudgetPolicy>(app).await,
            Aggregate::Settings => self.page::<Settings>(app).await,
        }
    }

    async fn page<K: Kind>(&self, app: &App) -> Answer<Found> {
        let control = app.control()?;
        let (then, now) = (&self.moment.then, &self.moment.live.state);
        let mut wanted = self.list.wanted::<K::Cursor>()?;
        wanted.only = self.differs.map(|differs| {
            let found = K::each(then).filter(|it| (since(*it, now) != Since::Same) == differs);
            found.map(K::uuid).collect::<BTreeSet<_>>()
        });
        let (found, next) = K::select(control, then, &wanted).await?;
        let as_of = match self.moment.time {
            Some(time) => time,
            None => found_at(app, self.moment.position).await?,
        };
        let items = kind::items(control, then, &found, as_of).await?;
        let still: Vec<&K> = found
            .iter()
            .filter_map(|it| K::get(now, it.uuid()))
            .collect();
        let of_now = kind::items(control, now, &still, clock::now()).await?;
        let mut of_now: Vec<(Uuid, K::Item)> =
            still.iter().map(|it| it.uuid()).zip(of_now).collect();
        let mut now_of = |id: Uuid| {
            let at = of_now.iter().position(|(of, _)| *of == id)?;
            Some(K::thing(of_now.swap_remove(at).1))
        };
        let items = found.iter().zip(items).map(|(it, item)| ThingAt {
            stream: it.stream().to_string(),
            since: since(*it, now),
            then: K::thing(item),
            now: now_of(it.uuid()),
        });
        Ok((items.collect(), next))
    }
}

/// When the event at a position was recorded; at position 0, before the log began.
async fn found_at(app: &App, position: u64) -> Answer<Timestamp> {
    let event = app.control()?.event(position).await.map_err(unreadable)?;
    Ok(event.map_or(Timestamp::MIN, |event| event.recorded_at))
}

/// What became of a thing.
fn since<K: Kind>(thing: &K, now: &Organisation) -> Since {
    match K::get(now, thing.uuid()) {
        None => Since::Gone,
        Some(it) if it.version() == thing.version() => Since::Same,
        Some(_) => Since::Changed,
    }
}

/// How much there was of a kind, and what became of it.
fn count(aggregate: Aggregate, then: &Organisation, now: &Organisation) -> KindAt {
    fn of<K: Kind>(then: &Organisation, now: &Organisation) -> [u64; 4] {
        let (mut things, mut changed, mut gone) = (0, 0, 0);
        for thing in K::each(then) {
            things += 1;
            match since(thing, now) {
                Since::Same => {}
                Since::Changed => changed += 1,
                Since::Gone => gone += 1,
            }
        }
        let came = K::each(now).filter(|it| K::get(then, it.uuid()).is_none());
        [things, changed, gone, came.count() as u64]
    }
    let [things, changed, gone, came] = match aggregate {
        Aggregate::Log | Aggregate::BudgetAlert => [0; 4],
        Aggregate::ProviderAccount => of::<ProviderAccount>(then, now),
        Aggregate::Model => of::<Model>(then, now),
        Aggregate::VirtualModel => of::<VirtualModel>(then, now),
        Aggregate::User => of::<User>(then, now),
        Aggregate::VirtualAccount => of::<VirtualAccount>(then, now),
        Aggregate::Key => of::<Key>(then, now),
        Aggregate::Grant => of::<Grant>(then, now),
        Aggregate::Operator => of::<Operator>(then, now),
        Aggregate::Team => of::<Team>(then, now),
        Aggregate::RateLimitPolicy => of::<RateLimitPolicy>(then, now),
        Aggregate::BudgetPolicy => of::<BudgetPolicy>(then, now),
        Aggregate::Settings => of::<Settings>(then, now),
    };
    KindAt {
        aggregate,
        things,
        changed,
        gone,
        came,
    }
}

//! `/api/v1/events`: the history.

use axum::{extract::State, response::IntoResponse};
use events_schema::{
    api::{
        Page,
        history::{HistoryEvent, HistoryEventDetail},
    },
    envelope::Envelope,
    events::{Aggregate, Event, Stream, TeamEvent},
    id::UserId,
    state::Organisation,
    time::Timestamp,
};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use crate::{
    control::{Control, HistoryFilter},
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        list::{self, ItemParams},
        names::{Names, people_of, unreadable},
        problem::ApiError,
        sse,
    },
};

/// Rows of a thing's own history read at a time.
const STREAM_PAGE: u32 = 1_000;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct EventParams {
    /// Of this kind of thing.
    aggregate: Option<Aggregate>,
    /// Of this thing: `<aggregate>.<id>`, or `log`.
    stream: Option<String>,
    /// By this actor: `operator:<id>` (and the operator's tokens), `operator:<id>/token:<id>`, `system:<part>`.
    actor: Option<String>,
    /// Of this kind, for example `key_issued`.
    kind: Option<String>,
    /// Recorded at or after this time.
    from: Option<Timestamp>,
    /// Recorded before this time.
    to: Option<Timestamp>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many events at most: 1 to 200, else 50.
    limit: Option<u32>,
    /// Wait until this position of the log is reached, at most 10 s.
    at_least: Option<u64>,
}

/// Where to begin.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveParams {
    /// The position after which to begin; else now. The header `last-event-id` goes before it.
    after: Option<u64>,
}

/// Read the history
///
/// The newest first. Names are those of now.
#[utoipa::path(get, path = "/events", tag = "history", operation_id = "list_events", params(EventParams),
    responses((status = 200, description = "A page of events.", body = Page<HistoryEvent>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<EventParams>,
) -> Answer<Json<Page<HistoryEvent>>> {
    let EventParams {
        aggregate,
        stream,
        actor,
        kind,
        from,
        to,
        cursor,
        limit,
        at_least,
    } = params;
    let filter = HistoryFilter {
        aggregate,
        stream: parsed("stream", stream.as_deref())?,
        actor: parsed("actor", actor.as_deref())?,
        kind: kind.filter(|kind| !kind.is_empty()),
        from,
        to,
    };
    let (before, limit) = (
        list::read_cursor::<u64>(cursor.as_deref())?,
        list::read_limit(limit)?,
    );
    let live = list::live(&app, at_least).await?;
    let one_more = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let mut found = app
        .control()?
        .events(&filter, before, one_more)
        .await
        .map_err(unreadable)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let items = history(&app, &found).await?;
    let next = items
        .last()
        .filter(|_| more)
        .map(|event| list::write_cursor(&event.position));
    Ok(Json(list::page(&live, (items, next))))
}

/// Follow the history live
///
/// Server-sent events: `id` is the position, `data` an event as in the history. Whoever comes back with
/// `last-event-id` misses nothing. Comments keep the connection when nothing happens.
#[utoipa::path(get, path = "/events/live", tag = "history", operation_id = "follow_events",
    params(LiveParams, ("last-event-id" = Option<u64>, Header, description = "The position seen last.")),
    responses((status = 200, description = "Events as they happen.", content_type = "text/event-stream", body = String)))]
pub(super) async fn live(
    State(app): State<App>,
    headers: HeaderMap,
    Params(LiveParams { after }): Params<LiveParams>,
) -> Answer<impl IntoResponse> {
    let control = app.control()?;
    let head = control.head().position;
    let last = match headers.get("last-event-id") {
        None => after,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            Some(id.ok_or_else(|| {
                ApiError::invalid("last-event-id", "this is a position of the log")
            })?)
        }
    };
    // A position past the end is of a log that is no more: begin at the end of this one.
    Ok(sse::follow(&app, control, last.unwrap_or(head).min(head)))
}

/// Read one event, with what it changed
#[utoipa::path(get, path = "/events/{position}", tag = "history", operation_id = "get_event",
    params(("position" = u64, Path, description = "The event's position."), ItemParams),
    responses((status = 200, description = "The event, and the thing before and after it.", body = HistoryEventDetail)))]
pub(super) async fn one(
    State(app): State<App>,
    position: PathId<u64>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<HistoryEventDetail>> {
    let _live = list::live(&app, params.at_least).await?;
    let control = app.control()?;
    let position = position.of("event")?;
    let found = control
        .event(position)
        .await
        .map_err(unreadable)?
        .ok_or(ApiError::NotFound("event"))?;
    let (before, after) = before_and_after(control, &found).await?;
    let event = history(&app, std::slice::from_ref(&found))
        .await?
        .pop()
        .ok_or(ApiError::Internal)?;
    Ok(Json(HistoryEventDetail {
        event,
        before,
        after,
    }))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: Option<&str>,
) -> Answer<Option<T>> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse()
            .map_err(|error| ApiError::invalid(field, error))
    })
    .transpose()
}

/// Events as people read them.
pub(in crate::http) async fn history(app: &App, found: &[Envelope]) -> Answer<Vec<HistoryEvent>> {
    let control = app.control()?;
    let live = control.live();
    let people = found
        .iter()
        .flat_map(|it| people_of(&live.state, it.stream, it.actor));
    let names = Names::read(control, &live.state, people).await?;
    found
        .iter()
        .map(|envelope| item(&names, envelope))
        .collect()
}

fn item(names: &Names<'_>, envelope: &Envelope) -> Answer<HistoryEvent> {
    let payload = serde_json::from_str(&envelope.payload).map_err(|error| {
        tracing::error!(position = envelope.position, %error, "an event's payload is no JSON");
        ApiError::Internal
    })?;
    Ok(HistoryEvent {
        position: envelope.position,
        event_id: envelope.event_id,
        aggregate: envelope.stream.aggregate(),
        stream: envelope.stream.to_string(),
        subject_name: names.stream(envelope.stream),
        kind: envelope.kind.clone(),
        recorded_at: envelope.recorded_at,
        actor: envelope.actor.to_string(),
        actor_name: names.actor(envelope.actor),
        command_id: envelope.cause,
        why: envelope.why.clone(),
        payload,
        hash: hex::encode(envelope.hash),
    })
}

/// The thing before and after an event: its own events folded, which is all that is shown of its state.
async fn before_and_after(
    control: &Control,
    event: &Envelope,
) -> Answer<(Option<Value>, Option<Value>)> {
    if matches!(event.stream, Stream::BudgetAlert(_)) {
        // What is told of a thing changes nothing of it, and may be told a hundred thousand times.
        return Ok((None, None));
    }
    let filter = HistoryFilter {
        stream: Some(event.stream),
        ..HistoryFilter::default()
    };
    let mut past = Vec::new();
    let mut before = Some(event.position);
    while let Some(end) = before {
        let page = control
            .events(&filter, Some(end), STREAM_PAGE)
            .await
            .map_err(unreadable)?;
        before = page
            .last()
            .filter(|_| page.len() == STREAM_PAGE as usize)
            .map(|oldest| oldest.position);
        past.extend(page);
    }
    let mut state = Organisation::default();
    let apply = |state: &mut Organisation, envelope: &Envelope| {
        state.apply(envelope).map_err(|error| {
            tracing::error!(position = envelope.position, %error, "an event cannot be read");
            ApiError::Internal
        })
    };
    for envelope in past.iter().rev() {
        apply(&mut state, envelope)?;
    }
    let member = member_of(event);
    let before = shown(&state, event.stream, member);
    apply(&mut state, event)?;
    Ok((before, shown(&state, event.stream, member)))
}

/// Whom an event lets come into a team, change in it, or leave it.
fn member_of(event: &Envelope) -> Option<UserId> {
    match event.event().ok()? {
        Event::Team(
            _,
            TeamEvent::TeamMemberAdded { user, .. }
            | TeamEvent::TeamMemberRoleChanged { user, .. }
            | TeamEvent::TeamMemberRemoved { user },
        ) => Some(user),
        Event::Log(_)
        | Event::ProviderAccount(..)
        | Event::Model(..)
        | Event::VirtualModel(..)
        | Event::User(..)
        | Event::VirtualAccount(..)
        | Event::Key(..)
        | Event::Grant(..)
        | Event::Operator(..)
        | Event::Team(..)
        | Event::RateLimitPolicy(..)
        | Event::BudgetPolicy(..)
        | Event::BudgetAlert(..)
        | Event::Settings(_) => None,
    }
}

/// The thing as JSON; a team with the one member that the event is about, since a team may have thousands.
fn shown(state: &Organisation, stream: Stream, member: Option<UserId>) -> Option<Value> {
    let mut thing = thing(state, stream)?;
    if let (Stream::Team(team), Some(user), Some(fields)) = (stream, member, thing.as_object_mut())
    {
        let membership = state.membership(team, user);
        fields.insert(
            "member".into(),
            serde_json::json!({ "user": user, "membership": membership }),
        );
    }
    Some(thing)
}

/// The thing itself as JSON; `None`: there is none.
fn thing(state: &Organisation, stream: Stream) -> Option<Value> {
    fn json<T: Serialize>(thing: Option<&T>) -> Option<Value> {
        thing.map(|thing| {
            serde_json::to_value(thing).expect("the state holds nothing that JSON cannot")
        })
    }
    match stream {
        Stream::Log => state
            .epoch()
            .map(|epoch| serde_json::json!({ "epoch": epoch })),
        Stream::ProviderAccount(id) => json(state.provider_accounts().get(&id)),
        Stream::Model(id) => json(state.models().get(&id)),
        Stream::VirtualModel(id) => json(state.virtual_models().get(&id)),
        Stream::User(id) => json(state.users().get(&id)),
        Stream::VirtualAccount(id) => json(state.virtual_accounts().get(&id)),
        Stream::Key(id) => json(state.keys().get(&id)),
        Stream::Grant(id) => json(state.grants().get(&id)),
        Stream::Operator(id) => json(state.operators().get(&id)),
        Stream::Team(id) => json(state.teams().get(&id)),
        Stream::RateLimitPolicy(id) => json(state.rate_limit_policies().get(&id)),
        Stream::BudgetPolicy(id) => json(state.budget_policies().get(&id)),
        // What is told of a thing leaves it as it was.
        Stream::BudgetAlert(_) => None,
        Stream::Settings => json(Some(state.settings())),
    }
}

//! `/api/v1/analytics/requests`: single requests, from the ledger. The ledger knows ids; names are added here.

use std::collections::BTreeSet;

use axum::extract::State;
use events_schema::{
    api::{
        Page,
        analytics::{FiredRule, NamedThing, RequestDetail, RequestItem},
    },
    events::{Owner, Stream},
    id::KeyId,
    state::{Organisation, VirtualModel},
    time::Timestamp,
    usage::Outcome,
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    analytics::unanswered,
    refusals::{as_written, limiting},
    virtual_models,
};
use crate::{
    analytics::{RequestFilter, RequestPage, RequestRecord},
    auth::{
        Caller,
        roles::{Right, allows},
    },
    http::{
        App,
        app::Answer,
        extract::{Json, Params, PathId},
        list,
        names::{Names, owner_person, people_of_stream},
        problem::ApiError,
    },
};

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RequestParams {
    /// From when, inclusive.
    from: Timestamp,
    /// Until when, exclusive.
    to: Timestamp,
    /// Of this owner: `user:<id>` or `virtual_account:<id>`.
    owner: Option<String>,
    /// Made with this key.
    key: Option<KeyId>,
    /// Asked for this model, by the name that the caller gave.
    requested_model: Option<String>,
    /// Answered by this model, by its full name.
    target: Option<String>,
    /// That ended so.
    outcome: Option<Outcome>,
    /// That did not end well, for whatever reason (`true`), or that did (`false`).
    failed: Option<bool>,
    /// Refused with this code.
    error_code: Option<String>,
    /// Of which a limit of this policy, or key, was exceeded: `rate_limit_policy:<id>`, `budget_policy:<id>` or `key:<id>`.
    exceeded: Option<String>,
    /// That a policy would have refused that only audits (`true`), or that none would have (`false`).
    audited: Option<bool>,
    /// Answered with this HTTP status.
    status: Option<u16>,
    /// For which a stream was asked, or was not.
    streamed: Option<bool>,
    /// Through this gateway.
    gateway: Option<Uuid>,
    /// Whose id begins with these hexadecimal digits; hyphens do not count.
    request: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many requests at most: 1 to 200, else 50.
    limit: Option<u32>,
}

/// List requests
///
/// The newest first. All that is asked for must hold.
#[utoipa::path(get, path = "/analytics/requests", tag = "analytics", operation_id = "list_requests",
    params(RequestParams),
    responses((status = 200, description = "A page of requests.", body = Page<RequestItem>)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<RequestParams>,
) -> Answer<Json<Page<RequestItem>>> {
    let filter = params.filter()?;
    let RequestPage {
        mut items,
        next_cursor,
    } = app
        .parts()
        .analytics
        .requests(&filter)
        .await
        .map_err(unanswered)?;
    let control = app.control()?;
    let live = control.live();
    let people = items.iter().filter_map(person_of);
    let names = Names::read(control, &live.state, people).await?;
    for item in &mut items {
        item.owner_name = owner_name(&names, item);
    }
    Ok(Json(Page {
        items,
        next_cursor,
        position: live.head.position,
    }))
}

/// Read one request, with everything that its record holds
///
/// Things are called as they were at the position of the configuration that decided on it; to those who may not read the
/// history, as they are now. How long the ledger keeps requests is a setting.
#[utoipa::path(get, path = "/analytics/requests/{id}", tag = "analytics", operation_id = "get_request",
    params(("id" = Uuid, Path, description = "The request's id, as in the header `x-request-id` of its answer.")),
    responses((status = 200, description = "The request.", body = RequestDetail)))]
pub(super) async fn one(
    State(app): State<App>,
    caller: Caller,
    id: PathId<Uuid>,
) -> Answer<Json<RequestDetail>> {
    let id = id.of("request")?;
    let found = app.parts().analytics.request(id).await;
    let record = found
        .map_err(unanswered)?
        .ok_or(ApiError::NotFound("request"))?;
    let control = app.control()?;
    let then = if allows(caller.role, Right::ReadHistory) {
        as_decided(&app, &record).await?
    } else {
        control.live().state.clone()
    };
    let people = person_of(&record.item).into_iter();
    let grants = record.rules.iter().filter_map(|rule| stream_of(rule));
    let people = people.chain(grants.filter_map(|grant| people_of_stream(&then, grant)));
    let names = Names::read(control, &then, people.collect::<Vec<_>>()).await?;
    Ok(Json(detail(&names, record)))
}

/// The configuration that decided on a request. What a log that was forked or restored does not know any more has no name;
/// the record is shown all the same.
async fn as_decided(app: &App, record: &RequestRecord) -> Answer<Organisation> {
    let position = record.item.position;
    let found = app.past().state_at(app.control()?, position).await;
    let then = found.unwrap_or_else(|error| {
        tracing::warn!(?error, position, "a request is shown without names");
        None
    });
    let same = |state: &Organisation| record.epoch.is_none() || record.epoch == state.epoch();
    Ok(then.filter(same).unwrap_or_default())
}

impl RequestParams {
    /// The question to the ledger, its parts checked.
    fn filter(self) -> Answer<RequestFilter> {
        let Self {
            from,
            to,
            owner: of,
            key,
            requested_model,
            target,
            outcome,
            failed,
            error_code,
            exceeded,
            audited,
            status,
            streamed,
            gateway,
            request,
            cursor,
            limit,
        } = self;
        // As the ledger writes it, however it was asked for: an id may come with hyphens.
        let of = match of.map(|of| of.parse::<Owner>()) {
            Some(Ok(of)) => Some(of.to_string()),
            Some(Err(error)) => return Err(ApiError::invalid("owner", error.to_string())),
            None => None,
        };
        let exceeded = match exceeded.map(|it| limiting(&it)) {
            Some(Some(it)) => Some(as_written(it)),
            Some(None) => {
                let what = "a limit is of rate_limit_policy:<id>, budget_policy:<id> or key:<id>";
                return Err(ApiError::invalid("exceeded", what));
            }
            None => None,
        };
        let limit = u32::try_from(list::read_limit(limit)?).unwrap_or(list::MOST);
        Ok(RequestFilter {
            from,
            to,
            owner: of,
            key: key.map(|key| key.to_string()),
            requested_model,
            target,
            outcome,
            failed,
            error_code,
            exceeded,
            audited,
            status,
            streamed,
            gateway,
            request,
            limit,
            cursor,
        })
    }
}

fn owner(item: &RequestItem) -> Option<Owner> {
    item.owner.as_deref()?.parse().ok()
}

fn person_of(item: &RequestItem) -> Option<Uuid> {
    owner_person(owner(item)?)
}

fn owner_name(names: &Names<'_>, item: &RequestItem) -> Option<String> {
    owner(item).map(|owner| names.owner(owner))
}

/// The thing that the ledger, or a rule, writes as `<aggregate>:<id>`.
pub(super) fn stream_of(text: &str) -> Option<Stream> {
    text.replacen(':', ".", 1).parse().ok()
}

pub(super) fn named(names: &Names<'_>, stream: Stream) -> NamedThing {
    NamedThing {
        stream: stream.to_string(),
        name: names.stream(stream),
    }
}

fn detail(names: &Names<'_>, record: RequestRecord) -> RequestDetail {
    let RequestRecord {
        item: mut request,
        resolved,
        answered_by,
        routing,
        budgets,
        limits,
        rules,
        seed,
        epoch,
        region,
        incarnation,
        number,
    } = record;
    request.owner_name = owner_name(names, &request);
    let key: Option<KeyId> = request.key.as_deref().and_then(|key| key.parse().ok());
    let resolved = resolved.as_deref().and_then(stream_of);
    let chosen = resolved.and_then(|it| virtual_model(names.state(), it));
    let fired = |rule: String| FiredRule {
        of: stream_of(rule.strip_prefix("audit:").unwrap_or(&rule))
            .filter(|it| {
                matches!(
                    it,
                    Stream::Grant(_) | Stream::RateLimitPolicy(_) | Stream::BudgetPolicy(_)
                )
            })
            .map(|it| named(names, it)),
        rule,
    };
    RequestDetail {
        key_label: key.and_then(|key| names.stream(Stream::Key(key))),
        targets: chosen.map_or_else(Vec::new, |it| virtual_models::targets(names.state(), it)),
        chosen_by: chosen.map(|it| it.routing.clone()),
        resolved: resolved.map(|it| named(names, it)),
        routing,
        answered_by: answered_by.map(|model| named(names, Stream::Model(model))),
        rules: rules.into_iter().map(fired).collect(),
        budgets: budgets_named(names, &budgets),
        limits,
        seed: seed.to_string(),
        epoch,
        region,
        incarnation,
        number,
        request,
    }
}

/// Each budget once, however many of its counters the request counted at.
fn budgets_named(names: &Names<'_>, counters: &[String]) -> Vec<NamedThing> {
    let policies: BTreeSet<&str> = counters
        .iter()
        .filter_map(|it| it.split_once(':'))
        .map(|(policy, _)| policy)
        .collect();
    let streams = policies
        .into_iter()
        .filter_map(|it| it.parse().ok())
        .map(Stream::BudgetPolicy);
    streams.map(|it| named(names, it)).collect()
}

/// What was asked for, where that is a virtual model.
fn virtual_model(state: &Organisation, resolved: Stream) -> Option<&VirtualModel> {
    match resolved {
        Stream::VirtualModel(id) => state.virtual_models().get(&id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_writes_is_read_as_the_thing_that_it_is() {
        let id = "0".repeat(32);
        assert!(matches!(
            stream_of(&format!("virtual_model:{id}")),
            Some(Stream::VirtualModel(_))
        ));
        assert!(matches!(
            stream_of(&format!("grant:{id}")),
            Some(Stream::Grant(_))
        ));
        assert_eq!(stream_of("key:requests_per_minute"), None);
        assert_eq!(stream_of(""), None);
    }
}

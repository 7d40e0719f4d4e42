//! `/api/v1/used-by`: what refers to a thing, to be shown before it is deleted.

use std::collections::BTreeMap;

use axum::extract::State;
use events_schema::{
    api::resources::{Relation as Told, UseCount, UseItem, UsedBy},
    events::Stream,
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    domain::{Relation, Use, uses},
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        list,
        names::{Names, people_of_stream},
        problem::ApiError,
    },
};

/// How many uses are named; the rest is counted.
const NAMED: usize = 200;

/// Of what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsedByParams {
    /// The thing: `<aggregate>.<id>`.
    stream: String,
    /// Wait until this position of the log is reached, at most 10 s.
    at_least: Option<u64>,
}

/// Read what refers to a thing
///
/// Whatever `blocks` must go before the thing can be deleted; the rest goes with it.
#[utoipa::path(get, path = "/used-by", tag = "access", operation_id = "get_used_by", params(UsedByParams),
    responses((status = 200, description = "What refers to it.", body = UsedBy),
        (status = 404, description = "There is no such thing: `not_found`.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn used_by(
    State(app): State<App>,
    Params(params): Params<UsedByParams>,
) -> Answer<Json<UsedBy>> {
    let UsedByParams { stream, at_least } = params;
    let thing: Stream = stream
        .parse()
        .map_err(|error| ApiError::invalid("stream", error))?;
    let live = list::live(&app, at_least).await?;
    let state = &live.state;
    if !state.has(thing) {
        return Err(ApiError::NotFound("thing"));
    }
    let (mut counts, mut named) = (BTreeMap::<Relation, u64>::new(), Vec::new());
    for found in uses(state, thing) {
        *counts.entry(found.relation).or_default() += 1;
        if named.len() < NAMED {
            named.push(found);
        }
    }
    let people: Vec<Uuid> = named
        .iter()
        .map(|found| found.by)
        .chain([thing])
        .filter_map(|stream| people_of_stream(state, stream))
        .collect();
    let names = Names::read(app.control()?, state, people).await?;
    let count = |(relation, count): (&Relation, &u64)| UseCount {
        relation: told(*relation),
        count: *count,
        blocks: relation.blocks(thing),
    };
    let counts: Vec<UseCount> = counts.iter().map(count).collect();
    Ok(Json(UsedBy {
        stream: thing.to_string(),
        name: names.stream(thing),
        blocked: counts.iter().any(|it| it.blocks),
        counts,
        uses: named
            .into_iter()
            .map(|found| item(&names, thing, found))
            .collect(),
        position: live.head.position,
    }))
}

fn item(names: &Names<'_>, thing: Stream, found: Use) -> UseItem {
    let Use { by, relation } = found;
    UseItem {
        stream: by.to_string(),
        aggregate: by.aggregate(),
        name: names.stream(by),
        relation: told(relation),
        blocks: relation.blocks(thing),
    }
}

const fn told(relation: Relation) -> Told {
    match relation {
        Relation::ModelOf => Told::ModelOf,
        Relation::RoutesTo => Told::RoutesTo,
        Relation::Opens => Told::Opens,
        Relation::GrantedTo => Told::GrantedTo,
        Relation::KeyOf => Told::KeyOf,
        Relation::HasMember => Told::HasMember,
        Relation::MemberOf => Told::MemberOf,
        Relation::Limits => Told::Limits,
        Relation::Budgets => Told::Budgets,
    }
}

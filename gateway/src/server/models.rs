//! `GET /v1/models` and `GET /v1/models/{name}`: what the caller's key may use, and nothing else.

use bytes::Bytes;
use gateway_policy::{
    Caller, Denial, Resolved, authorize, resolve, usable_models, usable_virtual_models,
};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use super::{
    response::{Body, OwnHeaders, failed, json},
    worker::Worker,
};
use crate::{clock, failure::Failure, view::View};

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    id: String,
    object: &'static str,
    /// Seconds since 1970. Entries do not say when they were made: the epoch stands for all of them.
    created: u64,
    owned_by: String,
}

/// Serves the list, or the model of this name.
pub fn models(worker: &Worker, headers: &HeaderMap, name: Option<&str>) -> Response<Body> {
    let view = worker.shared.view.load_full();
    let (now, position) = (clock::now(), view.position);
    let id = clock::uuid_v7(now);
    let answer = if view.epoch.is_none() {
        Err(Failure::NotReady)
    } else {
        worker
            .keys
            .caller(&*view, headers, now)
            .and_then(|caller| match name {
                None => Ok(to_json(&list(&view, caller))),
                Some(name) => one(&view, caller, name).map(|item| to_json(&item)),
            })
    };
    let mut response = match answer {
        Ok(body) => json(StatusCode::OK, body),
        Err(failure) => failed(&failure, name.unwrap_or_default(), id),
    };
    OwnHeaders::default().add_to(response.headers_mut(), id, position, None);
    response
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("names and numbers are JSON")
        .into()
}

fn list(view: &View, caller: Caller<'_>) -> List {
    let routed = usable_virtual_models(view, caller).into_iter();
    let data = routed
        .map(Resolved::Virtual)
        .chain(
            usable_models(view, caller)
                .into_iter()
                .map(Resolved::Direct),
        )
        .map(|resolved| item(view, resolved))
        .collect();
    List {
        object: "list",
        data,
    }
}

/// A model that the key may not use is told like one that does not exist.
fn one(view: &View, caller: Caller<'_>, name: &str) -> Result<Item, Failure> {
    let resolved = resolve(view, name).map_err(Failure::Denied)?;
    authorize(view, caller, resolved).map_err(|_| Failure::Denied(Denial::UnknownModel))?;
    Ok(item(view, resolved))
}

fn item(view: &View, resolved: Resolved<'_>) -> Item {
    let (id, owned_by) = match resolved {
        Resolved::Virtual(it) => (it.name.to_string(), "sluice".to_owned()),
        Resolved::Direct(target) => {
            let (account, model) = (target.account.name.as_str(), target.model.name.as_str());
            (format!("{account}/{model}"), account.to_owned())
        }
    };
    Item {
        id,
        object: "model",
        created: view.epoch.map_or(0, |epoch| epoch.seconds),
        owned_by,
    }
}

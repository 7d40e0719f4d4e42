//! `GET /v1/models` and `GET /v1/models/{name}`: what the caller's key may use, and nothing else.

use bytes::Bytes;
use events_schema::{envelope::Epoch, time::Timestamp, usage::Endpoint};
use gateway_policy::{
    Caller, Denial, Resolved, authorize, resolve, takes, usable_models, usable_virtual_models,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{
    response::{Answer, OwnHeaders, failed, json},
    worker::Worker,
};
use crate::{clock, endpoint::Dialect, failure::Failure, limits::Stoods, view::View};

/// Serves the list, or the model of this name.
pub fn models(worker: &Worker, headers: &HeaderMap, name: Option<&str>) -> Answer {
    let view = worker.shared.view.load_full();
    let dialect = Dialect::spoken_in(headers);
    let (now, position) = (clock::now(), view.position);
    let id = clock::uuid_v7(now);
    let answer = if view.epoch.is_none() {
        Err(Failure::NotReady)
    } else {
        worker
            .keys
            .caller(&*view, headers, now)
            .and_then(|caller| match name {
                None => Ok(list(dialect, &list_for(&view, dialect, caller))),
                Some(name) => one(&view, caller, name).map(|listed| single(dialect, &listed)),
            })
    };
    let mut answer = match answer {
        Ok(body) => json(StatusCode::OK, body),
        Err(failure) => failed(&failure, dialect, name.unwrap_or_default(), id),
    };
    let own = OwnHeaders {
        dialect,
        id,
        position,
        target: None,
        stood: Stoods::default(),
        budget: Stoods::default(),
    };
    own.tell(&mut answer.headers);
    answer
}

/// A model as it is listed.
struct Listed {
    id: String,
    /// The provider account, or this gateway itself.
    owned_by: String,
    /// When it was made. Entries do not say: the epoch stands for all of them.
    created: Epoch,
}

/// What the key may use and ask for in this API.
fn list_for(view: &View, dialect: Dialect, caller: Caller<'_>) -> Vec<Listed> {
    let routed = usable_virtual_models(view, caller)
        .into_iter()
        .map(Resolved::Virtual);
    let direct = usable_models(view, caller)
        .into_iter()
        .map(Resolved::Direct);
    let takes = |resolved: &Resolved<'_>| match dialect {
        Dialect::OpenAi => true,
        // Nothing is translated: what only OpenAI's API leads to is of no use here.
        Dialect::Anthropic => takes(view, *resolved, Endpoint::Messages),
    };
    let all = routed.chain(direct).filter(takes);
    all.filter_map(|resolved| listed(view, resolved)).collect()
}

/// A model that the key may not use is told like one that does not exist.
fn one(view: &View, caller: Caller<'_>, name: &str) -> Result<Listed, Failure> {
    let resolved = resolve(view, name).map_err(Failure::Denied)?;
    authorize(view, caller, resolved).map_err(|_| Failure::Denied(Denial::UnknownModel))?;
    listed(view, resolved).ok_or(Failure::NotReady)
}

/// `None`: nothing is loaded.
fn listed(view: &View, resolved: Resolved<'_>) -> Option<Listed> {
    let (id, owned_by) = match resolved {
        Resolved::Virtual(it) => (it.name.to_string(), "sluice".to_owned()),
        Resolved::Direct(target) => {
            let (account, model) = (target.account.name.as_str(), target.model.name.as_str());
            (format!("{account}/{model}"), account.to_owned())
        }
    };
    Some(Listed {
        id,
        owned_by,
        created: view.epoch?,
    })
}

/// OpenAI's list: all of it at once.
#[derive(Serialize)]
struct List<'l> {
    object: &'static str,
    data: Vec<Item<'l>>,
}

/// OpenAI's model.
#[derive(Serialize)]
struct Item<'l> {
    id: &'l str,
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    owned_by: &'l str,
}

/// A page of Anthropic's list: all of it in one.
#[derive(Serialize)]
struct Page<'l> {
    data: Vec<Info<'l>>,
    has_more: bool,
    first_id: Option<&'l str>,
    last_id: Option<&'l str>,
}

/// Anthropic's model.
#[derive(Serialize)]
struct Info<'l> {
    r#type: &'static str,
    id: &'l str,
    display_name: &'l str,
    created_at: Timestamp,
}

impl Listed {
    fn item(&self) -> Item<'_> {
        Item {
            id: &self.id,
            object: "model",
            created: self.created.seconds,
            owned_by: &self.owned_by,
        }
    }

    fn info(&self) -> Info<'_> {
        let seconds = i64::try_from(self.created.seconds).unwrap_or(i64::MAX);
        let created = Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        Info {
            r#type: "model",
            id: &self.id,
            display_name: &self.id,
            created_at: created.unwrap_or(Timestamp::MAX),
        }
    }
}

fn list(dialect: Dialect, models: &[Listed]) -> Bytes {
    match dialect {
        Dialect::OpenAi => to_json(&List {
            object: "list",
            data: models.iter().map(Listed::item).collect(),
        }),
        Dialect::Anthropic => to_json(&Page {
            data: models.iter().map(Listed::info).collect(),
            has_more: false,
            first_id: models.first().map(|model| model.id.as_str()),
            last_id: models.last().map(|model| model.id.as_str()),
        }),
    }
}

fn single(dialect: Dialect, model: &Listed) -> Bytes {
    match dialect {
        Dialect::OpenAi => to_json(&model.item()),
        Dialect::Anthropic => to_json(&model.info()),
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("names and numbers are JSON")
        .into()
}

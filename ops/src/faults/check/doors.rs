//! At every gateway a key opens what it should, and nothing else.

use std::collections::BTreeSet;

use events_schema::id::KeyId;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Checker;
use crate::failure::Outcome;
use crate::faults::draw::GATEWAYS;
use crate::faults::facts::{Facts, Notebook, Thing};
use crate::faults::orders::access::name_of;
use crate::faults::orders::people::role;
use crate::faults::orders::{GRANTS, KEYS, MARK, MODELS, TEAMS, USERS, VIRTUAL_MODELS};
use crate::faults::work::{call, gateway_port};
use crate::stack::services::url;

/// What was closed that is tried at each gateway, the newest; what became of the others the state's digest proves.
const TRIED: usize = 100;

/// Virtual models that are asked at each gateway.
const ASKED: usize = 4;

/// A secret, and what must become of it.
struct Expected {
    what: String,
    secret: String,
    /// `None`: it is refused. Else the drawn models that it opens.
    opens: Option<BTreeSet<String>>,
}

/// A virtual model that answers, and who may.
struct Route {
    name: String,
    targets: BTreeSet<String>,
}

// === impl Checker ===

impl Checker {
    /// Keys open the models that they were granted, by the names that these have now; what was closed stays closed; a
    /// virtual model asks its targets.
    pub(super) async fn gateways_do_what_they_should(&self, notebook: &Notebook) -> Outcome {
        let (expected, doors, routes) = {
            let facts = notebook.facts();
            let newest = facts.doors.len().saturating_sub(TRIED);
            (
                expected(&facts),
                facts.doors[newest..].to_vec(),
                routes(&facts),
            )
        };
        for gateway in GATEWAYS {
            let address = url(gateway_port(self.place.ports, gateway));
            for it in &expected {
                let answer = call(&address, "/v1/models", &it.secret, None).await?;
                let is = (answer.status == StatusCode::OK)
                    .then(|| drawn(&answer.json().unwrap_or_default()));
                let other =
                    answer.status != StatusCode::OK && answer.status != StatusCode::UNAUTHORIZED;
                if is != it.opens || other {
                    notebook.found(format!(
                        "{gateway} answers {} to {}, which opens {is:?} and should {:?}",
                        answer.status, it.what, it.opens
                    ));
                }
            }
            for door in &doors {
                let status = door.call(&address).await?.status;
                let refusals = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND];
                if !refusals.contains(&status) {
                    notebook.found(format!(
                        "{gateway} answers {status} to {}, which was closed at {}",
                        door.what, door.closed_at
                    ));
                }
            }
            for route in &routes {
                self.route_is_followed(gateway, &address, route).await?;
            }
        }
        Ok(())
    }

    async fn route_is_followed(&self, gateway: &str, address: &str, route: &Route) -> Outcome {
        let body = json!({
            "model": route.name,
            "messages": [{ "role": "user", "content": "who answers?" }],
        });
        let steady = &self.place.steady_key;
        let answer = call(address, "/v1/chat/completions", steady, Some(&body)).await?;
        let target = answer.headers.get("x-sluice-target");
        let target = target.and_then(|it| it.to_str().ok()).unwrap_or_default();
        if answer.status != StatusCode::OK || !route.targets.contains(target) {
            self.place.notebook.found(format!(
                "{gateway} answers {} for {} from '{target}', and should from {:?}: {}",
                answer.status,
                route.name,
                route.targets,
                answer.text()
            ));
        }
        Ok(())
    }
}

/// What must become of all secrets that are known.
fn expected(facts: &Facts) -> Vec<Expected> {
    let now = Instant::now();
    let mut all = Vec::new();
    for (id, secrets) in &facts.keys {
        let Some(key) = facts
            .things
            .get(&id.to_string())
            .filter(|it| it.list == KEYS)
        else {
            continue;
        };
        let opens = works(facts, *id, key).then(|| opened(facts, *id, key));
        all.extend(secrets.current.iter().map(|secret| Expected {
            what: format!("key {id}"),
            secret: secret.clone(),
            opens: opens.clone(),
        }));
        // Between the two moments it may be either.
        let former = secrets.former.iter();
        let former = former
            .filter(|it| now >= it.refused_from || now + super::AGREE_WITHIN < it.works_until);
        all.extend(former.map(|former| Expected {
            what: format!("the former secret of key {id}"),
            secret: former.secret.clone(),
            opens: if now >= former.refused_from {
                None
            } else {
                opens.clone()
            },
        }));
    }
    all
}

fn works(facts: &Facts, id: KeyId, key: &Thing) -> bool {
    !facts.is_disabled(&id.to_string()) && !facts.is_disabled(owner(key))
}

fn owner(key: &Thing) -> &str {
    let owner = key.fields.get("owner").and_then(Value::as_object);
    let id = owner.and_then(|owner| owner.values().next());
    id.and_then(Value::as_str).unwrap_or_default()
}

/// The drawn models that a key opens: by its own grants, its owner's, and those of its owner's teams.
fn opened(facts: &Facts, id: KeyId, key: &Thing) -> BTreeSet<String> {
    let (id, owner) = (id.to_string(), owner(key));
    let all_models = facts
        .things
        .iter()
        .filter(|(_, it)| [MODELS, VIRTUAL_MODELS].contains(&it.list));
    let all: BTreeSet<String> = all_models
        .filter_map(|(id, it)| usable(facts, &reference(id, it)))
        .collect();
    // The writers' own accounts, whose grants nobody changes, are not among what was drawn.
    if !facts.things.contains_key(owner) && facts.members.contains(owner) {
        return all;
    }
    let user = facts.things.get(owner).filter(|it| it.list == USERS);
    let concerns = |subject: &Value| {
        let is = |kind: &str, id: &str| subject[kind].as_str() == Some(id);
        let of_team = || {
            let team = subject["team"].as_str()?;
            let team = facts
                .things
                .get(team)
                .filter(|it| it.list == TEAMS)
                .map(|_| team)?;
            role(user?, team)?;
            (!facts.is_disabled(team)).then_some(())
        };
        is("key", &id) || is("user", owner) || is("virtual_account", owner) || of_team().is_some()
    };
    let grants = facts.things.values().filter(|it| it.list == GRANTS);
    let mut opened = BTreeSet::new();
    for grant in grants.filter(|it| it.fields.get("subject").is_some_and(concerns)) {
        if grant.fields.get("all_models") == Some(&Value::Bool(true)) {
            return all;
        }
        let models = grant.fields.get("models").and_then(Value::as_array);
        opened.extend(
            models
                .into_iter()
                .flatten()
                .filter_map(|it| usable(facts, it)),
        );
    }
    opened
}

fn reference(id: &str, thing: &Thing) -> Value {
    if thing.list == MODELS {
        json!({ "model": id })
    } else {
        json!({ "virtual_model": id })
    }
}

/// Its name, unless it is disabled.
fn usable(facts: &Facts, model: &Value) -> Option<String> {
    let id = model["model"]
        .as_str()
        .or_else(|| model["virtual_model"].as_str())?;
    (!facts.is_disabled(id))
        .then(|| name_of(facts, model))
        .flatten()
}

/// The drawn models in an answer.
fn drawn(answer: &Value) -> BTreeSet<String> {
    let data = answer["data"].as_array();
    let ids = data
        .into_iter()
        .flatten()
        .filter_map(|it| it["id"].as_str());
    ids.filter(|id| id.contains(MARK))
        .map(ToOwned::to_owned)
        .collect()
}

/// Some virtual models that can answer.
fn routes(facts: &Facts) -> Vec<Route> {
    let all = facts
        .things
        .iter()
        .filter(|(id, it)| it.list == VIRTUAL_MODELS && !facts.is_disabled(id));
    let routes = all.map(|(_, it)| {
        let targets = it
            .fields
            .get("routing")
            .and_then(|it| it["targets"].as_array());
        let models = targets
            .into_iter()
            .flatten()
            .map(|it| json!({ "model": it["model"] }));
        Route {
            name: it.text("name").to_owned(),
            targets: models.filter_map(|it| usable(facts, &it)).collect(),
        }
    });
    routes
        .filter(|it| !it.targets.is_empty())
        .take(ASKED)
        .collect()
}

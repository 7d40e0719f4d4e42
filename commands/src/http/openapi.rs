//! The OpenAPI 3.1 document: the routes say what they take and give; this file adds what the gate, the extractors
//! and the table of problems make true for all of them, from the same tables that they use.

use http::Method;
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Components, ContentBuilder, HttpMethod, InfoBuilder, OpenApi, PathItem, Ref, RefOr,
        ResponseBuilder,
        path::Operation,
        security::{
            ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
        },
        tag::TagBuilder,
    },
};

use super::problem;
use crate::auth::{
    csrf,
    roles::{Right, right_of_route},
    sessions,
};
use events_schema::{
    api::{analytics::GroupBy, problem::Problem},
    events::Aggregate,
    usage::Outcome,
};

/// The security scheme of sessions.
const COOKIE: &str = "session";
/// The security scheme of tokens.
const BEARER: &str = "token";

const TAGS: [(&str, &str); 11] = [
    (
        "sessions",
        "Signing in and out, one's own password and automation tokens.",
    ),
    (
        "commands",
        "The one route by which the configuration changes.",
    ),
    ("providers", "Provider accounts, models and virtual models."),
    (
        "access",
        "Users, teams, virtual accounts, API keys and access grants.",
    ),
    (
        "limits",
        "Rate-limit policies and budget policies: how much may be used in which time, through all gateways together.",
    ),
    ("operators", "Who may use the console."),
    (
        "settings",
        "What holds for the whole organisation: its name, how long request records are kept, how long sessions last.",
    ),
    (
        "history",
        "Every event there was, the state as of any position, and the proof that nothing was altered.",
    ),
    (
        "deployment",
        "How the deployment is, and which position each gateway serves.",
    ),
    (
        "analytics",
        "Requests, tokens, cost and latency, from the ledger.",
    ),
    ("playground", "Requests to models as an operator."),
];

/// The document with everything that holds for all routes.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Sluice")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The control plane of Sluice, an AI gateway. Whatever is configured is changed by POST /commands, and every \
             change is an event in the history. An answer's `position` can be passed as `at_least` to read what was \
             just written, or to /served to wait until every gateway serves it. Errors are problem documents (RFC 9457).",
        ))
        .license(Some(utoipa::openapi::LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    document.tags = Some(
        TAGS.iter()
            .map(|(name, about)| {
                TagBuilder::new()
                    .name(*name)
                    .description(Some(*about))
                    .build()
            })
            .collect(),
    );
    add_components(document.components.get_or_insert_with(Components::new));
    for (path, item) in &mut document.paths.paths {
        let path = path.clone();
        for (method, operation) in operations(item) {
            complete_operation(&path, &method, operation);
        }
    }
    document
}

fn add_components(components: &mut Components) {
    // What no body brings along: problems, and the types of parameters.
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (Aggregate::name(), Aggregate::schema()),
        (GroupBy::name(), GroupBy::schema()),
        (Outcome::name(), Outcome::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    let about_cookie = format!(
        "The cookie that POST /api/v1/sessions sets. Requests that change something also carry the session's csrf_token \
         in the header '{}'.",
        csrf::HEADER
    );
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
        sessions::COOKIE,
        &about_cookie,
    )));
    components.add_security_scheme(COOKIE, cookie);
    components.add_security_scheme(
        BEARER,
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
}

/// The operations of a path with their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem {
        get,
        put,
        post,
        delete,
        patch,
        ..
    } = item;
    let all = [
        (HttpMethod::Get, get),
        (HttpMethod::Put, put),
        (HttpMethod::Post, post),
        (HttpMethod::Delete, delete),
        (HttpMethod::Patch, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| {
        let method = match method {
            HttpMethod::Put => Method::PUT,
            HttpMethod::Post => Method::POST,
            HttpMethod::Delete => Method::DELETE,
            HttpMethod::Patch => Method::PATCH,
            HttpMethod::Get | HttpMethod::Options | HttpMethod::Head | HttpMethod::Trace => {
                Method::GET
            }
        };
        operation.as_mut().map(|operation| (method, operation))
    })
}

fn complete_operation(path: &str, method: &Method, operation: &mut Operation) {
    let right = right_of_route(method, path);
    operation.security = Some(match right {
        Some(Right::Public) | None => Vec::new(),
        Some(Right::OwnBySession) => {
            vec![SecurityRequirement::new::<_, [&str; 0], &str>(COOKIE, [])]
        }
        Some(
            Right::Own
            | Right::ReadConfiguration
            | Right::ReadDashboard
            | Right::ReadOperators
            | Right::ReadHistory
            | Right::UsePlayground
            | Right::ChangeConfiguration
            | Right::ChangeOperators
            | Right::ErasePeople
            | Right::ChangeSettings,
        ) => [COOKIE, BEARER]
            .map(|scheme| SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []))
            .into(),
    });
    for (status, about) in problems(path, method, right, operation) {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| problem_response(about));
    }
}

/// Which problems the route answers with, besides its own.
fn problems(
    path: &str,
    method: &Method,
    right: Option<Right>,
    operation: &Operation,
) -> Vec<(&'static str, &'static str)> {
    let takes_json = operation.request_body.is_some();
    let has_parameters = operation
        .parameters
        .as_ref()
        .is_some_and(|parameters| !parameters.is_empty());
    let changes = method != Method::GET;
    let every = [
        (
            right != Some(Right::Public),
            "401",
            "Neither a session nor a token that works: `unauthenticated`.",
        ),
        (
            changes || right != Some(Right::Public),
            "403",
            "The role has no right to it (`forbidden`), or the request may have been forged (`csrf`).",
        ),
        (
            takes_json,
            "400",
            "The body is not the JSON that the route wants: `bad_json`, with the place.",
        ),
        (
            takes_json,
            "413",
            "The body is larger than 256 KiB: `body_too_large`.",
        ),
        (
            takes_json,
            "415",
            "The body is not declared as JSON: `unsupported_media_type`.",
        ),
        (
            path.contains('{'),
            "404",
            "There is no such thing: `not_found`.",
        ),
        (
            has_parameters || takes_json,
            "422",
            "A part of the request is malformed: `invalid`, with the `field`.",
        ),
        (true, "500", "A fault of the service's: `internal`."),
        (
            path != "/api/v1/openapi.json",
            "503",
            "The log cannot be reached (`log_unavailable`), or this replica is behind `at_least` (`position_not_reached`).",
        ),
    ];
    every
        .into_iter()
        .filter(|(applies, ..)| *applies)
        .map(|(_, status, about)| (status, about))
        .collect()
}

/// A problem document as a response.
fn problem_response(about: &str) -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .build();
    ResponseBuilder::new()
        .description(about)
        .content(problem::MEDIA_TYPE, content)
        .build()
        .into()
}

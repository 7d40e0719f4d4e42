//! Who calls, and may they: every route under `/api/v1` passes here, and a route that is not in the table of
//! rights is refused.

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{Method, request::Parts};

use super::{
    app::{App, called_by, database},
    problem::ApiError,
};
use crate::{
    auth::{
        Caller, Shown, Via, csrf,
        roles::{Right, allows, right_of_route},
    },
    clock,
};

/// Admits a request, with its [`Caller`] as an extension, or refuses it.
pub(super) async fn admit(
    State(app): State<App>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(right) = right_of_route(request.method(), path.as_str()) else {
        tracing::error!(method = %request.method(), path = path.as_str(), "a route is missing in the table of rights");
        return Err(ApiError::Forbidden("Nobody has a right to this route."));
    };
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let shown = Shown::of(request.headers());
    if changes && !matches!(shown, Shown::Token(_)) {
        csrf::check_site(request.uri(), request.headers())
            .map_err(|error| ApiError::Csrf(error.to_string()))?;
    }
    if right == Right::Public {
        return Ok(next.run(request).await);
    }
    app.past().sweep();
    let caller = identify(&app, shown).await?;
    if let (true, Via::Session(session)) = (changes, &caller.via) {
        csrf::check_token(request.headers(), &session.csrf_token)
            .map_err(|error| ApiError::Csrf(error.to_string()))?;
    }
    check(&caller, right)?;
    let operator = caller.operator;
    request.extensions_mut().insert(caller);
    Ok(called_by(next.run(request).await, operator))
}

async fn identify(app: &App, shown: Shown) -> Result<Caller, ApiError> {
    let control = app.control()?;
    let (live, now) = (control.live(), clock::now());
    if let Some(caller) = app.recent().find(&shown, &live.state, now) {
        return Ok(caller);
    }
    let asked = app.recent().moment();
    let caller = shown
        .caller(control.pool(), &live.state, now)
        .await
        .map_err(database)?;
    if let Some(caller) = &caller {
        app.recent().keep(&shown, caller, &live.state, asked);
    }
    caller.ok_or(ApiError::Unauthenticated(match shown {
        Shown::Nothing => {
            "Sign in with POST /api/v1/sessions, or send 'authorization: Bearer slt-…'."
        }
        Shown::Cookie(_) => "The session has ended; sign in again.",
        Shown::Token(_) => "The token is unknown, revoked or expired.",
    }))
}

/// Whether the caller has the right.
///
/// # Errors
/// When it has not.
pub(super) fn check(caller: &Caller, right: Right) -> Result<(), ApiError> {
    if right == Right::OwnBySession && caller.session().is_none() {
        return Err(ApiError::Forbidden(
            "This needs a session: sign in; a token is not enough.",
        ));
    }
    if allows(caller.role, right) {
        return Ok(());
    }
    Err(ApiError::Forbidden(match right {
        Right::ChangeOperators => "Only an owner may change operators.",
        Right::ChangeSettings => "Only an owner may change the settings.",
        Right::ErasePeople => "Only an owner may erase people.",
        Right::ChangeConfiguration => "Only owners and operators may change the configuration.",
        Right::UsePlayground => "Only owners and operators may use the playground.",
        Right::ReadHistory => "Only owners, operators and auditors may read the history.",
        Right::ReadOperators => "Only owners, operators and auditors may see the operators.",
        Right::Public
        | Right::Own
        | Right::OwnBySession
        | Right::ReadConfiguration
        | Right::ReadDashboard => "Your role does not allow it.",
    }))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(ApiError::Internal)
    }
}

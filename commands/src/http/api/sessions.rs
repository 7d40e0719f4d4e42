//! `/api/v1/sessions`: signing in and out.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, Extension, State},
    response::{IntoResponse as _, Response},
};
use events_schema::{
    api::session::{SessionInfo, SessionItem, SignIn},
    id::OperatorId,
    state::{Operator, Organisation},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use uuid::Uuid;

use crate::{
    auth::{
        Caller, Email, Shown, Via,
        sessions::{self, COOKIE, Session},
    },
    clock,
    control::Control,
    http::{
        App,
        app::{Answer, database},
        extract::{Json, PathId},
        list,
        names::{erased, unreadable},
        problem::ApiError,
    },
};

const REFUSED: &str =
    "E-mail address and password do not belong together, or the operator is disabled.";

/// Sign in
///
/// Sets the cookie of a new session and answers who is signed in. Ten failures for an address in a quarter of an
/// hour, or sixty from one place, are answered with 429.
#[utoipa::path(post, path = "/sessions", tag = "sessions", operation_id = "sign_in", request_body = SignIn,
    responses((status = 200, description = "Signed in.", body = SessionInfo,
        headers(("set-cookie" = String, description = "The session: `sluice_session`, HttpOnly, SameSite=Strict."))),
        (status = 401, description = "Address and password do not belong together: `unauthenticated`.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem),
        (status = 429, description = "Too many failures: `too_many_sign_ins`; `retry-after` says how long to wait.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn sign_in(
    State(app): State<App>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Json(SignIn { email, password }): Json<SignIn>,
) -> Answer<Response> {
    let control = app.control()?;
    let (now, address) = (clock::now(), address(&app, peer, &headers));
    let attempt = app
        .attempts()
        .begin(&email.trim().to_lowercase(), Some(address), Instant::now())
        .map_err(|error| {
            tracing::warn!(%address, "a sign-in was refused after too many failures");
            ApiError::TooManySignIns {
                retry_after: error.retry_after.as_secs().max(1),
            }
        })?;
    // The operator may have been added a moment ago, through another process.
    let stored = control.stored_position().await.map_err(unreadable)?;
    let live = list::live(&app, Some(stored)).await?;
    let operator = email
        .parse()
        .ok()
        .and_then(|email| operator_by_email(&app, &live.state, &email));
    let known = match operator {
        Some(operator) => password_hash(control, operator.id).await?,
        None => None,
    };
    let right = app
        .passwords()
        .verify(password, known)
        .await
        .map_err(|error| ApiError::Busy(error.to_string()))?;
    let Some(operator) = operator.filter(|operator| right && !operator.disabled) else {
        tracing::info!(%address, "a sign-in failed");
        return Err(ApiError::Unauthenticated(REFUSED));
    };
    attempt.succeeded();
    let user_agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    end_former(control, &headers, operator).await?;
    let (secret, session) = sessions::begin(
        control.pool(),
        operator.id,
        user_agent,
        &address.to_string(),
        (now, live.state.settings().sessions),
    )
    .await
    .map_err(database)?;
    // It may have taken the place of another, or of the oldest.
    app.recent().forget();
    tracing::info!(operator = %operator.id, %address, "signed in");
    let caller = Caller {
        operator: operator.id,
        role: operator.role,
        via: Via::Session(session),
    };
    let info = info(control, &caller).await?;
    Ok((
        set_cookie(cookie(secret.reveal(), true, is_https(&app, &headers))),
        Json(info),
    )
        .into_response())
}

/// Who is signed in
///
/// Also with a bearer token; `csrf_token` is then empty.
#[utoipa::path(get, path = "/sessions/current", tag = "sessions", operation_id = "get_current_session",
    responses((status = 200, description = "Who is signed in.", body = SessionInfo)))]
pub(super) async fn current(State(app): State<App>, caller: Caller) -> Answer<Json<SessionInfo>> {
    info(app.control()?, &caller).await.map(Json)
}

/// Sign out
#[utoipa::path(delete, path = "/sessions/current", tag = "sessions", operation_id = "sign_out",
    responses((status = 204, description = "Signed out; the cookie is taken back.")))]
pub(super) async fn sign_out(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> Answer<Response> {
    let session = own_session(&caller)?;
    sessions::end(app.control()?.pool(), caller.operator, session.id)
        .await
        .map_err(database)?;
    app.recent().forget();
    Ok((
        set_cookie(cookie("", false, is_https(&app, &headers))),
        StatusCode::NO_CONTENT,
    )
        .into_response())
}

/// List one's own sessions
#[utoipa::path(get, path = "/sessions", tag = "sessions", operation_id = "list_sessions",
    responses((status = 200, description = "The sessions of who asks, the newest first.", body = [SessionItem])))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Answer<Json<Vec<SessionItem>>> {
    let control = app.control()?;
    let bounds = control.live().state.settings().sessions;
    let found = sessions::list(control.pool(), caller.operator, clock::now(), bounds)
        .await
        .map_err(database)?;
    let current = caller.session().map(|session| session.id);
    Ok(Json(
        found
            .into_iter()
            .map(|session| item(session, current))
            .collect(),
    ))
}

/// End all of one's own sessions but this one
#[utoipa::path(delete, path = "/sessions", tag = "sessions", operation_id = "end_other_sessions",
    responses((status = 204, description = "The others have ended.")))]
pub(super) async fn end_others(State(app): State<App>, caller: Caller) -> Answer<StatusCode> {
    let session = own_session(&caller)?;
    sessions::end_others(app.control()?.pool(), caller.operator, session.id)
        .await
        .map_err(database)?;
    app.recent().forget();
    Ok(StatusCode::NO_CONTENT)
}

/// End one of one's own sessions
#[utoipa::path(delete, path = "/sessions/{id}", tag = "sessions", operation_id = "end_session",
    params(("id" = String, Path, description = "The session's id.")),
    responses((status = 204, description = "The session has ended.")))]
pub(super) async fn end(
    State(app): State<App>,
    caller: Caller,
    id: PathId<Uuid>,
) -> Answer<StatusCode> {
    let ended = sessions::end(app.control()?.pool(), caller.operator, id.of("session")?)
        .await
        .map_err(database)?;
    app.recent().forget();
    if ended {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::NotFound("session"))
    }
}

fn own_session(caller: &Caller) -> Answer<&Session> {
    // The gate has seen to it: these routes ask for `Right::OwnBySession`.
    caller.session().ok_or(ApiError::Internal)
}

fn item(session: Session, current: Option<Uuid>) -> SessionItem {
    let Session {
        id,
        operator: _,
        csrf_token: _,
        created_at,
        last_used_at,
        expires_at,
        user_agent,
    } = session;
    SessionItem {
        id: id.as_simple().to_string(),
        created_at,
        last_used_at,
        expires_at,
        user_agent,
        current: current == Some(id),
    }
}

/// The operator with this address, under whichever fingerprint key it was written down.
fn operator_by_email<'a>(
    app: &App,
    state: &'a Organisation,
    email: &Email,
) -> Option<&'a Operator> {
    app.secrets()
        .fingerprints(email)
        .iter()
        .find_map(|fingerprint| state.operator_by_email(fingerprint))
}

/// The operator's password hash, if one was ever set.
pub(super) async fn password_hash(
    control: &Control,
    operator: OperatorId,
) -> Answer<Option<String>> {
    sqlx::query_scalar("SELECT hash FROM operator_passwords WHERE operator_id = $1")
        .bind(operator.uuid())
        .fetch_optional(control.pool())
        .await
        .map_err(database)
}

/// A sign-in over an older session of the same operator replaces it.
async fn end_former(control: &Control, headers: &HeaderMap, operator: &Operator) -> Answer<()> {
    let Some(secret) = sessions::cookie(headers) else {
        return Ok(());
    };
    let former = Shown::Cookie(secret)
        .caller(control.pool(), &control.live().state, clock::now())
        .await;
    if let Some(session) = former.map_err(database)?.as_ref().and_then(Caller::session) {
        sessions::end(control.pool(), operator.id, session.id)
            .await
            .map_err(database)?;
    }
    Ok(())
}

async fn info(control: &Control, caller: &Caller) -> Answer<SessionInfo> {
    let people = control
        .people(&[caller.operator.uuid()])
        .await
        .map_err(unreadable)?;
    let person = people.get(&caller.operator.uuid());
    let (csrf_token, expires_at) = match &caller.via {
        Via::Session(session) => (session.csrf_token.clone(), Some(session.expires_at)),
        Via::Token { expires_at, .. } => (String::new(), *expires_at),
    };
    Ok(SessionInfo {
        operator: caller.operator,
        name: person.map_or_else(
            || erased(caller.operator.uuid()),
            |person| person.name.clone(),
        ),
        email: person
            .map(|person| person.email.clone())
            .unwrap_or_default(),
        role: caller.role,
        csrf_token,
        expires_at,
    })
}

fn set_cookie(cookie: String) -> [(header::HeaderName, HeaderValue); 1] {
    [(
        header::SET_COOKIE,
        HeaderValue::try_from(cookie).expect("a session's secret is ASCII"),
    )]
}

/// The cookie; without `keep`, the one that takes it back. It lives as long as the browser's window: the server
/// knows when the session ends.
fn cookie(secret: &str, keep: bool, https: bool) -> String {
    let end = if keep { "" } else { "; Max-Age=0" };
    let secure = if https { "; Secure" } else { "" };
    format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/{end}{secure}")
}

/// Whether the request came over https: here, or, as a proxy of ours says, there.
fn is_https(app: &App, headers: &HeaderMap) -> bool {
    let said = || {
        headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto == "https")
    };
    app.parts().speaks_tls || (app.parts().trust_forwarded && said())
}

/// The network address that a request comes from.
fn address(
    app: &App,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: &HeaderMap,
) -> IpAddr {
    let peer = peer.map_or(
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        |Extension(ConnectInfo(peer))| peer.ip(),
    );
    let forwarded = headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok());
    // The last address is the one that our own proxy saw.
    let said = forwarded
        .and_then(|list| list.rsplit(',').next())
        .and_then(|address| address.trim().parse().ok());
    said.filter(|_| app.parts().trust_forwarded).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::SecretText;

    #[test]
    fn the_cookie_is_for_this_site_only_and_not_for_scripts() {
        assert_eq!(
            cookie("abc", true, false),
            "sluice_session=abc; HttpOnly; SameSite=Strict; Path=/"
        );
        assert_eq!(
            cookie("", false, true),
            "sluice_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0; Secure"
        );
        assert!(SecretText::new_session().reveal().is_ascii());
    }
}

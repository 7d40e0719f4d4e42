//! `/api/v1/me`: what an operator does to the own account.

use std::time::Instant;

use axum::extract::State;
use events_schema::{actor::Actor, api::session::ChangePassword};
use http::StatusCode;

use super::{commands::submit, sessions::password_hash};
use crate::{
    auth::{
        Caller,
        passwords::{Busy, NewPassword},
    },
    control::{Order, PasswordChange, SideEffects, Submission},
    domain::{Command, OperatorCommand},
    fresh,
    http::{App, app::Answer, extract::Json, problem::ApiError},
};

/// Change one's own password
///
/// Ends all other sessions. Wrong current passwords count as failed sign-ins.
#[utoipa::path(put, path = "/me/password", tag = "sessions", operation_id = "change_password",
    request_body = ChangePassword,
    responses((status = 204, description = "The password is changed; all other sessions have ended."),
        (status = 429, description = "Too many wrong passwords: `too_many_sign_ins`.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Json(ChangePassword { current, new }): Json<ChangePassword>,
) -> Answer<StatusCode> {
    let control = app.control()?;
    let session = caller.session().ok_or(ApiError::Internal)?;
    let new = NewPassword::parse(new).map_err(|error| ApiError::invalid("new", error))?;
    let attempt = app
        .attempts()
        .begin(&caller.operator.to_string(), None, Instant::now())
        .map_err(|error| ApiError::TooManySignIns {
            retry_after: error.retry_after.as_secs().max(1),
        })?;
    let known = password_hash(control, caller.operator).await?;
    let busy = |error: Busy| ApiError::Busy(error.to_string());
    if !app.passwords().verify(current, known).await.map_err(busy)? {
        return Err(ApiError::invalid("current", "This is not your password."));
    }
    attempt.succeeded();
    let hash = app.passwords().hash(new).await.map_err(busy)?;
    let command_id = fresh::id();
    let submission = Submission {
        command_id,
        actor: Actor::Operator(caller.operator),
        correlation: None,
        why: None,
        request_hash: app
            .secrets()
            .request_hash(command_id.to_string().as_bytes()),
        made_at: None,
        orders: vec![Order {
            command: Command::Operator(caller.operator, OperatorCommand::ChangePassword),
            side: SideEffects {
                password: Some(PasswordChange {
                    operator: caller.operator,
                    hash,
                    keep_session: Some(session.id),
                }),
                ..SideEffects::default()
            },
        }],
    };
    submit(control, submission).await?;
    Ok(StatusCode::NO_CONTENT)
}

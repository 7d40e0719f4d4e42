//! `/api/v1/me`: what an operator does to the own account.

use std::time::Instant;

use axum::extract::State;
use events_schema::{
    actor::Actor,
    api::session::{ChangeName, ChangePassword},
    id::OperatorId,
};
use http::StatusCode;

use super::{
    commands::{Prepared, rename, submit},
    sessions::password_hash,
};
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

/// Change one's own name
///
/// The history notes that it changed, not what it is or was.
#[utoipa::path(put, path = "/me/name", tag = "sessions", operation_id = "change_name",
    request_body = ChangeName,
    responses((status = 204, description = "That is the name now.")))]
pub(super) async fn change_name(
    State(app): State<App>,
    caller: Caller,
    Json(ChangeName { name }): Json<ChangeName>,
) -> Answer<StatusCode> {
    let operator = caller.operator;
    let Prepared {
        command,
        side,
        secret: _,
    } = rename(&app, operator.uuid(), &name, |differs| {
        Command::Operator(operator, OperatorCommand::Rename { differs })
    })
    .await?;
    submit(app.control()?, own(&app, operator, Order { command, side })).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An order of an operator's for the own account.
fn own(app: &App, operator: OperatorId, order: Order) -> Submission {
    let command_id = fresh::id();
    Submission {
        command_id,
        actor: Actor::Operator(operator),
        correlation: None,
        why: None,
        request_hash: app
            .secrets()
            .request_hash(command_id.to_string().as_bytes()),
        made_at: None,
        orders: vec![order],
    }
}

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
    let order = Order {
        command: Command::Operator(caller.operator, OperatorCommand::ChangePassword),
        side: SideEffects {
            password: Some(PasswordChange {
                operator: caller.operator,
                hash,
                keep_session: Some(session.id),
            }),
            ..SideEffects::default()
        },
    };
    submit(control, own(&app, caller.operator, order)).await?;
    Ok(StatusCode::NO_CONTENT)
}

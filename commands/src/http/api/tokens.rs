//! `/api/v1/tokens`: an operator's own tokens for automation.

use axum::extract::State;
use events_schema::{
    api::{
        commands::CommandAnswer,
        session::{NewToken, TokenItem},
    },
    id::TokenId,
    state::OperatorToken,
};
use http::StatusCode;

use super::commands::{answer, submit};
use crate::{
    auth::Caller,
    clock,
    control::{Order, SideEffects, Submission, TokenHash},
    domain::{Command, OperatorCommand},
    fresh,
    http::{
        App,
        app::Answer,
        extract::{Json, PathId},
        problem::ApiError,
    },
    secrets::SecretText,
};

/// List one's own tokens
#[utoipa::path(get, path = "/tokens", tag = "sessions", operation_id = "list_tokens",
    responses((status = 200, description = "The tokens of who asks, in the order of their making.", body = [TokenItem])))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Answer<Json<Vec<TokenItem>>> {
    let live = app.control()?.live();
    let tokens = live
        .state
        .operators()
        .get(&caller.operator)
        .map(|it| it.tokens.clone())
        .unwrap_or_default();
    let item = |OperatorToken {
                    id,
                    label,
                    created_at,
                    expires_at,
                }| {
        TokenItem {
            id,
            label: String::from(label.as_str()),
            created_at,
            expires_at,
        }
    };
    Ok(Json(tokens.into_iter().map(item).collect()))
}

/// Make a token
///
/// `secret` shows it, once. It may do what its operator may do, except to make tokens, to change the password and
/// to end sessions.
#[utoipa::path(post, path = "/tokens", tag = "sessions", operation_id = "issue_token", request_body = NewToken,
    responses((status = 200, description = "The token, shown once.", body = CommandAnswer)))]
pub(super) async fn issue(
    State(app): State<App>,
    caller: Caller,
    Json(NewToken { label, expires_at }): Json<NewToken>,
) -> Answer<Json<CommandAnswer>> {
    let control = app.control()?;
    let label = label
        .parse()
        .map_err(|error| ApiError::invalid("label", error))?;
    let (token, secret) = (fresh::id(), SecretText::new_token());
    let command = OperatorCommand::IssueToken {
        token,
        label,
        expires_at,
        now: clock::now(),
    };
    let row = TokenHash {
        token,
        operator: caller.operator,
        hash: secret.hash(),
    };
    let submission = submission(
        &app,
        &caller,
        command,
        SideEffects {
            token: Some(row),
            ..SideEffects::default()
        },
    );
    let command_id = submission.command_id;
    let outcome = submit(control, submission).await?;
    Ok(Json(answer(command_id, outcome, Some(secret))))
}

/// Revoke one of one's own tokens
#[utoipa::path(delete, path = "/tokens/{id}", tag = "sessions", operation_id = "revoke_token",
    params(("id" = TokenId, Path, description = "The token's id.")),
    responses((status = 204, description = "The token will never work again.")))]
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    id: PathId<TokenId>,
) -> Answer<StatusCode> {
    let control = app.control()?;
    let token = id.of("token")?;
    let live = control.live();
    let is_own = live
        .state
        .operators()
        .get(&caller.operator)
        .is_some_and(|it| it.tokens.iter().any(|own| own.id == token));
    if !is_own {
        return Err(ApiError::NotFound("token"));
    }
    let command = OperatorCommand::RevokeToken { token };
    submit(
        control,
        submission(&app, &caller, command, SideEffects::default()),
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn submission(
    app: &App,
    caller: &Caller,
    command: OperatorCommand,
    side: SideEffects,
) -> Submission {
    let command_id = fresh::id();
    Submission {
        command_id,
        actor: caller.actor(),
        correlation: None,
        why: None,
        request_hash: app
            .secrets()
            .request_hash(command_id.to_string().as_bytes()),
        made_at: None,
        orders: vec![Order {
            command: Command::Operator(caller.operator, command),
            side,
        }],
    }
}

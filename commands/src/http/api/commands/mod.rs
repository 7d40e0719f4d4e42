//! `/api/v1/commands`: the one route by which the configuration changes.

mod prepare;

use axum::extract::State;
use events_schema::{
    api::commands::{CommandAnswer, CommandRequest},
    id::CommandId,
};

use self::prepare::prepare;
pub(super) use self::prepare::{Prepared, hashed, rename};
use crate::{
    auth::{Caller, roles::right_of_command},
    control::{CommandOutcome, Control, Order, Submission, SubmitError},
    fresh,
    http::{App, app::Answer, extract::Json, gate, problem::ApiError},
    secrets::SecretText,
};

/// The longest reason, in characters.
const WHY_CHARS: usize = 500;

/// Change the configuration
///
/// A command with a `command_id` may be sent again: the same body gets the same answer, without the secret, and
/// changes nothing twice. A rejection names the field of `command` that it belongs to. A command that asks for what
/// already is so answers without events.
#[utoipa::path(post, path = "/commands", tag = "commands", operation_id = "send_command",
    request_body(content = CommandRequest, example = json!({
        "why": "for the billing service",
        "command": {
            "type": "issue_key",
            "owner": { "virtual_account": "01939d3f0a6a7c7e8f1b2c3d4e5f6071" },
            "label": "billing, production",
            "expires_at": null,
            "limits": { "requests_per_minute": 600, "tokens_per_minute": null }
        }
    })),
    responses((status = 200, description = "Done, or it already was so (then without events).", body = CommandAnswer),
        (status = 404, description = "What the command is for does not exist: `not_found`.",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem),
        (status = 409, description = "The state forbids it (`name_taken`, `still_used`, …), or the id was used with \
         another body (`command_id_reused`).",
         content_type = "application/problem+json", body = events_schema::api::problem::Problem)))]
pub(super) async fn send(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<CommandRequest>,
) -> Answer<Json<CommandAnswer>> {
    let CommandRequest {
        command_id,
        why,
        command,
    } = request;
    gate::check(&caller, right_of_command(&command))?;
    let control = app.control()?;
    let why = read_why(why)?;
    let body = serde_json::to_vec(&(&why, &command)).map_err(|_| ApiError::Internal)?;
    let command_id = command_id.unwrap_or_else(fresh::id);
    let Prepared {
        command,
        side,
        secret,
    } = prepare(&app, &caller, &control.live().state, command).await?;
    let submission = Submission {
        command_id,
        actor: caller.actor(),
        correlation: None,
        why,
        request_hash: app.secrets().request_hash(&body),
        made_at: None,
        orders: vec![Order { command, side }],
    };
    let outcome = submit(control, submission).await?;
    Ok(Json(answer(command_id, outcome, secret)))
}

/// Reads a reason.
pub(super) fn read_why(why: Option<String>) -> Answer<Option<String>> {
    let why = why
        .map(|why| why.trim().to_owned())
        .filter(|why| !why.is_empty());
    let is_good = |why: &String| {
        why.chars().count() <= WHY_CHARS && !why.chars().any(|c| c.is_control() && c != '\n')
    };
    if why.as_ref().is_none_or(is_good) {
        Ok(why)
    } else {
        Err(ApiError::invalid(
            "why",
            "A reason has at most 500 characters, none of them a control character.",
        ))
    }
}

/// Submits, and turns what went wrong into a problem.
pub(super) async fn submit(control: &Control, submission: Submission) -> Answer<CommandOutcome> {
    control.submit(submission).await.map_err(rejected)
}

/// What went wrong, as a problem.
pub(super) fn rejected(error: SubmitError) -> ApiError {
    match error {
        SubmitError::Rejected(rejection) | SubmitError::OrderRejected { rejection, .. } => {
            ApiError::Rejected(rejection)
        }
        SubmitError::Moved { .. } => ApiError::Moved(error.to_string()),
        SubmitError::CommandIdReused => ApiError::CommandIdReused,
        SubmitError::Busy => ApiError::Busy(error.to_string()),
        SubmitError::Unavailable => ApiError::LogUnavailable(error.to_string()),
        SubmitError::Unknown => ApiError::OutcomeUnknown(error.to_string()),
        SubmitError::Stopped(_) => ApiError::AppendsStopped(error.to_string()),
    }
}

/// What the outcome looks like on the wire: with the secret, unless it is told again.
pub(super) fn answer(
    command_id: CommandId,
    outcome: CommandOutcome,
    secret: Option<SecretText>,
) -> CommandAnswer {
    let CommandOutcome {
        position,
        events,
        made,
        replayed,
    } = outcome;
    let secret = secret
        .filter(|_| !replayed)
        .map(|secret| secret.reveal().to_owned());
    CommandAnswer {
        command_id,
        position,
        events,
        id: made,
        secret,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_readable() {
        assert_eq!(read_why(Some("  ".into())), Ok(None));
        assert_eq!(
            read_why(Some(" moved\nhouse ".into())),
            Ok(Some("moved\nhouse".into()))
        );
        assert!(read_why(Some("é".repeat(500))).is_ok());
        assert!(read_why(Some("é".repeat(501))).is_err());
        assert!(read_why(Some("a\u{7}b".into())).is_err());
    }
}

//! Makes an automation token, and shows it once.

use events_schema::api::commands::CommandAnswer;
use events_schema::api::session::NewToken;
use gloo_net::http::Method;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Failure, Rejection, use_client};
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;
use crate::widgets::moment;
use crate::widgets::secret::ShownOnce;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["label", "expires_at"];

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Token {
    label: String,
    expires_at: String,
}

/// Properties of [`NewTokenDialog`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form, then the token.
#[component]
pub(super) fn NewTokenDialog(props: &Props) -> Html {
    let client = use_client();
    let draft = use_draft(Token::default);
    let busy = use_state_eq(|| false);
    let rejection = use_state_eq(|| None::<Rejection>);
    let secret = use_state_eq(|| None::<String>);
    if let Some(secret) = &*secret {
        return html!(
            <ShownOnce title={format!("Your new token: {}", draft.label.trim())} secret={secret.clone()} onclose={props.onclose.clone()}>
                <p class="sl-quiet">{ "Send it to the API as Authorization: Bearer …" }</p>
            </ShownOnce>
        );
    }
    let onsubmit = {
        let (draft, busy, rejection) = (draft.clone(), busy.clone(), rejection.clone());
        Callback::from(move |()| {
            let Some(expires_at) = moment::parse(&draft.expires_at) else {
                return;
            };
            let body = NewToken {
                label: draft.label.trim().to_owned(),
                expires_at,
            };
            let (client, busy, rejection, secret) = (
                client.clone(),
                busy.clone(),
                rejection.clone(),
                secret.clone(),
            );
            busy.set(true);
            spawn_local(async move {
                let answer: Result<CommandAnswer, Failure> =
                    client.send(Method::POST, "/tokens", &body).await;
                busy.set(false);
                match answer {
                    Ok(answer) => secret.set(answer.secret),
                    Err(failure) => rejection.set(Some(failure.into_rejection())),
                }
            });
        })
    };
    let complete = !draft.label.trim().is_empty() && moment::parse(&draft.expires_at).is_some();
    let refused = (*rejection).clone();
    html!(
        <FormDialog title="Create an automation token" action="Create token" busy={*busy} {complete}
            rejection={refused.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <TextField name="label" label="Label" required={true} placeholder="deployment pipeline"
                value={draft.label.clone()} onchange={draft.edit(|draft, text| draft.label = text)} rejection={refused.clone()} />
            <TextField name="expires_at" label="Expires" kind="datetime-local" hint="In UTC. Empty: never."
                value={draft.expires_at.clone()} onchange={draft.edit(|draft, text| draft.expires_at = text)} rejection={refused} />
        </FormDialog>
    )
}

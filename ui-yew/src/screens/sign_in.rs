//! Signing in.

use events_schema::api::session::{SessionInfo, SignIn as Credentials};
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Client, Failure, Rejection};
use crate::widgets::button::{Button, Variant};
use crate::widgets::field::TextField;

/// Properties of [`SignIn`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Called with the session.
    pub(crate) onsignin: Callback<SessionInfo>,
}

/// E-mail address and password.
#[component]
pub(crate) fn SignIn(props: &Props) -> Html {
    let email = use_state_eq(String::new);
    let password = use_state_eq(String::new);
    let busy = use_state_eq(|| false);
    let rejection = use_state_eq(|| None::<Rejection>);
    let onsubmit = {
        let (email, password) = (email.clone(), password.clone());
        let (busy, rejection, onsignin) = (busy.clone(), rejection.clone(), props.onsignin.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let credentials = Credentials {
                email: email.trim().to_owned(),
                password: (*password).clone(),
            };
            let (busy, rejection, onsignin) = (busy.clone(), rejection.clone(), onsignin.clone());
            busy.set(true);
            spawn_local(async move {
                let answer = Client::anonymous()
                    .send(Method::POST, "/sessions", &credentials)
                    .await;
                busy.set(false);
                match answer {
                    Ok(session) => onsignin.emit(session),
                    Err(failure) => rejection.set(Some(refusal(failure))),
                }
            });
        })
    };
    let (to_email, to_password) = (email.setter(), password.setter());
    html!(
        <div class="sl-sign-in">
            <div class="sl-sign-in-box">
                <div class="sl-sign-in-brand">
                    <img src="/favicon.svg" alt="" width="44" height="44" />
                    <div>
                        <h1 class="sl-wordmark">{ "Sluice" }</h1>
                        <p>{ "The AI gateway with one replayable history" }</p>
                    </div>
                </div>
                <form class="pf-v6-c-form" novalidate={true} {onsubmit}>
                    if let Some(detail) = rejection.as_ref().and_then(|rejection| rejection.beside(&["email", "password"])) {
                        <Alert inline={true} r#type={AlertType::Danger} title={detail.to_owned()} />
                    }
                    <TextField name="email" label="E-mail address" kind="email" autocomplete="username" autofocus={true}
                        value={(*email).clone()} rejection={(*rejection).clone()}
                        onchange={Callback::from(move |text| to_email.set(text))} />
                    <TextField name="password" label="Password" kind="password" autocomplete="current-password"
                        value={(*password).clone()} rejection={(*rejection).clone()}
                        onchange={Callback::from(move |text| to_password.set(text))} />
                    <Button submit={true} variant={Variant::Primary} block={true} busy={*busy}
                        disabled={email.is_empty() || password.is_empty()} label="Sign in" />
                </form>
            </div>
            <p class="sl-sign-in-foot">{ "Every change is an event. Every decision can be proven." }</p>
        </div>
    )
}

/// A refused sign-in is no ended session: it says what the control plane said.
fn refusal(failure: Failure) -> Rejection {
    match failure {
        Failure::SignedOut => {
            let detail = "The e-mail address or the password is wrong.".to_owned();
            Rejection {
                detail,
                field: None,
                faults: Vec::new(),
            }
        }
        other => other.into_rejection(),
    }
}

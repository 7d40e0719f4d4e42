//! Changes the operator's own name.

use events_schema::api::session::ChangeName;
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Rejection, use_client};
use crate::command::toast;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["name"];

/// The form.
#[component]
pub(super) fn Name() -> Html {
    let client = use_client();
    let session = use_session();
    let toaster = use_toaster().expect("the screens lie within a ToastViewer");
    let name = use_state_eq(|| session.info.name.clone());
    let busy = use_state_eq(|| false);
    let rejection = use_state_eq(|| None::<Rejection>);
    let setter = name.setter();
    let onsubmit = {
        let (name, busy, rejection) = (name.clone(), busy.clone(), rejection.clone());
        let renamed = session.renamed.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = ChangeName {
                name: name.trim().to_owned(),
            };
            let (client, toaster, renamed) = (client.clone(), toaster.clone(), renamed.clone());
            let (busy, rejection) = (busy.clone(), rejection.clone());
            busy.set(true);
            spawn_local(async move {
                let answer = client.tell(Method::PUT, "/me/name", Some(&body)).await;
                busy.set(false);
                match answer {
                    Ok(()) => {
                        rejection.set(None);
                        toast(&toaster, AlertType::Success, "Your name is changed", "");
                        renamed.emit(body.name);
                    }
                    Err(failure) => rejection.set(Some(failure.into_rejection())),
                }
            });
        })
    };
    let unchanged = name.trim().is_empty() || name.trim() == session.info.name;
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head"><h2 class="pf-v6-c-title pf-m-lg">{ "Name" }</h2></div>
            <form class="pf-v6-c-form sl-form" novalidate={true} {onsubmit}>
                if let Some(detail) = rejection.as_ref().and_then(|rejection| rejection.beside(FIELDS)) {
                    <Alert inline={true} r#type={AlertType::Danger} title={detail.to_owned()} />
                }
                <TextField name="name" label="Name" autocomplete="name" value={(*name).clone()}
                    hint="The history notes that it changed, not what it is or was."
                    onchange={Callback::from(move |text| setter.set(text))} rejection={(*rejection).clone()} />
                <div>
                    <Button submit={true} variant={Variant::Primary} label="Change name" busy={*busy} disabled={unchanged} />
                </div>
            </form>
        </div>
    )
}

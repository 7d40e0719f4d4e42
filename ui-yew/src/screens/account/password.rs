//! Changes the operator's own password.

use events_schema::api::session::ChangePassword;
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Rejection, use_client};
use crate::command::toast;
use crate::widgets::button::{Button, Variant};
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["current", "new", "again"];

/// What has been filled in.
#[derive(Clone, PartialEq, Eq, Default)]
struct Passwords {
    current: String,
    new: String,
    again: String,
}

/// The form.
#[component]
pub(super) fn Password() -> Html {
    let client = use_client();
    let toaster = use_toaster().expect("the screens lie within a ToastViewer");
    let draft = use_draft(Passwords::default);
    let busy = use_state_eq(|| false);
    let rejection = use_state_eq(|| None::<Rejection>);
    let clear = draft.edit(|draft: &mut Passwords, ()| *draft = Passwords::default());
    let onsubmit = {
        let (draft, busy, rejection) = (draft.clone(), busy.clone(), rejection.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if let Some(differs) = draft.differs() {
                rejection.set(Some(differs));
                return;
            }
            let body = ChangePassword {
                current: draft.current.clone(),
                new: draft.new.clone(),
            };
            let (client, toaster, clear) = (client.clone(), toaster.clone(), clear.clone());
            let (busy, rejection) = (busy.clone(), rejection.clone());
            busy.set(true);
            spawn_local(async move {
                let answer = client.tell(Method::PUT, "/me/password", Some(&body)).await;
                busy.set(false);
                rejection.set(answer.err().map(crate::api::Failure::into_rejection));
                if rejection.is_none() {
                    clear.emit(());
                    toast(&toaster, AlertType::Success, "Your password is changed", "");
                }
            });
        })
    };
    let field = |name: &'static str,
                 label: &'static str,
                 autocomplete: &'static str,
                 value: &str,
                 onchange: Callback<String>| {
        html!(
            <TextField {name} {label} kind="password" {autocomplete} value={value.to_owned()} {onchange}
                hint={(name == "new").then_some("At least 12 characters.")} rejection={(*rejection).clone()} />
        )
    };
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head"><h2 class="pf-v6-c-title pf-m-lg">{ "Password" }</h2></div>
            <form class="pf-v6-c-form sl-form" novalidate={true} {onsubmit}>
                if let Some(detail) = rejection.as_ref().and_then(|rejection| rejection.beside(FIELDS)) {
                    <Alert inline={true} r#type={AlertType::Danger} title={detail.to_owned()} />
                }
                { field("current", "Current password", "current-password", &draft.current, draft.edit(|draft, text| draft.current = text)) }
                { field("new", "New password", "new-password", &draft.new, draft.edit(|draft, text| draft.new = text)) }
                { field("again", "New password again", "new-password", &draft.again, draft.edit(|draft, text| draft.again = text)) }
                <div>
                    <Button submit={true} variant={Variant::Primary} label="Change password"
                        busy={*busy} disabled={draft.current.is_empty() || draft.new.is_empty()} />
                </div>
            </form>
        </div>
    )
}

// === impl Passwords ===

impl Passwords {
    /// The refusal of a new password that was typed in two ways.
    fn differs(&self) -> Option<Rejection> {
        (self.new != self.again).then(|| Rejection {
            detail: "This is not the same as the new password.".to_owned(),
            field: Some("again".to_owned()),
            faults: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_typed_twice() {
        let mut draft = Passwords {
            new: "a long password".to_owned(),
            ..Passwords::default()
        };
        assert!(
            draft
                .differs()
                .is_some_and(|rejection| rejection.of_field("again").is_some())
        );
        draft.again.clone_from(&draft.new);
        assert_eq!(draft.differs(), None);
    }
}

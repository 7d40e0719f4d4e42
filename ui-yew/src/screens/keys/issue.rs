//! Issues a key, and shows it once.

use events_schema::api::commands::{CommandAnswer, NewCommand};
use yew::prelude::*;

use super::limits::{Bounds, bounds_fields};
use crate::command::use_command;
use crate::widgets::chooser::{ChooserField, OWNERS, Offer};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;
use crate::widgets::reference;
use crate::widgets::secret::ShownOnce;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &[
    "owner",
    "label",
    "limits.requests_per_minute",
    "limits.tokens_per_minute",
    "expires_at",
    "why",
];

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Key {
    owner: String,
    label: String,
    bounds: Bounds,
}

/// Properties of [`IssueKey`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form, then the key.
#[component]
pub(super) fn IssueKey(props: &Props) -> Html {
    let draft = use_draft(Key::default);
    let why = use_state_eq(String::new);
    let secret = use_state_eq(|| None::<String>);
    let commander = {
        let (secret, onclose) = (secret.setter(), props.onclose.clone());
        use_command(Callback::from(move |answer: CommandAnswer| {
            match answer.secret {
                Some(key) => secret.set(Some(key)),
                // The same command was answered before, and then the key was shown.
                None => onclose.emit(()),
            }
        }))
    };
    if let Some(secret) = &*secret {
        return html!(
            <ShownOnce title={format!("Your new key: {}", draft.label.trim())} secret={secret.clone()} onclose={props.onclose.clone()}>
                <p class="sl-quiet">
                    { "Give it to your application as the API key, together with the gateway's base URL. The playground \
                       shows code that you can copy. If no grant covers its owner yet, grant access next." }
                </p>
            </ShownOnce>
        );
    }
    let onsubmit = {
        let (send, draft, why) = (commander.send.clone(), draft.clone(), why.clone());
        Callback::from(move |()| {
            if let Some(command) = draft.command() {
                send(command, &why);
            }
        })
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog title="Issue a key" action="Issue key" busy={commander.busy} complete={draft.command().is_some()}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <ChooserField name="owner" label="Owner" required={true} source={OWNERS} value={draft.owner.clone()}
                placeholder="Search users and virtual accounts" rejection={rejection.clone()}
                onchoose={draft.edit(|draft: &mut Key, who: Option<Offer>| draft.owner = who.map(|it| it.value.to_string()).unwrap_or_default())} />
            <TextField name="label" label="Label" required={true} placeholder="billing service, production"
                value={draft.label.clone()} onchange={draft.edit(|draft, text| draft.label = text)}
                rejection={rejection.clone()} />
            { bounds_fields(&draft, |draft: &mut Key| &mut draft.bounds, rejection.as_ref()) }
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Key ===

impl Key {
    /// The command, when enough is filled in to send it.
    fn command(&self) -> Option<NewCommand> {
        let label = self.label.trim();
        if label.is_empty() {
            return None;
        }
        Some(NewCommand::IssueKey {
            owner: reference::owner(&self.owner)?,
            label: label.to_owned(),
            expires_at: self.bounds.expires_at()?,
            limits: self.bounds.limits()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_needs_an_owner_and_a_label() {
        let mut draft = Key {
            owner: format!("user:{}", "0".repeat(32)),
            ..Key::default()
        };
        assert!(draft.command().is_none());
        draft.label = "ci".to_owned();
        assert!(draft.command().is_some());
        draft.bounds.expires_at = "soon".to_owned();
        assert!(draft.command().is_none());
    }
}

//! Changes a key's limits and when it ceases to work: two commands, of which only those are sent that change something.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::KeyItem;
use events_schema::events::KeyLimits;
use events_schema::time::Timestamp;
use yew::prelude::*;

use crate::command::{Send, use_command};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::TextField;
use crate::widgets::moment;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &[
    "limits.requests_per_minute",
    "limits.tokens_per_minute",
    "expires_at",
    "why",
];

/// Limits and expiry as typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    pub(super) requests_per_minute: String,
    pub(super) tokens_per_minute: String,
    pub(super) expires_at: String,
}

/// Properties of [`ChangeLimits`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The key.
    pub(super) of: Rc<KeyItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn ChangeLimits(props: &Props) -> Html {
    let key = &props.of;
    let draft = use_draft(|| Bounds::of(key.limits, key.expires_at));
    let why = use_state_eq(String::new);
    // The second command waits for the first, so that a refusal is of the one that the form still shows.
    let then = use_mut_ref(|| None::<NewCommand>);
    let send_next = use_mut_ref(|| None::<Send>);
    let done = {
        let (onclose, then, send_next, why) = (
            props.onclose.clone(),
            Rc::clone(&then),
            Rc::clone(&send_next),
            why.clone(),
        );
        Callback::from(move |_: CommandAnswer| {
            match (then.borrow_mut().take(), send_next.borrow().clone()) {
                (Some(command), Some(send)) => send(command, &why),
                (None, _) | (Some(_), None) => onclose.emit(()),
            }
        })
    };
    let commander = use_command(done);
    *send_next.borrow_mut() = Some(Rc::clone(&commander.send));
    let onsubmit = {
        let (send, draft, why, key) = (
            commander.send.clone(),
            draft.clone(),
            why.clone(),
            Rc::clone(key),
        );
        let onclose = props.onclose.clone();
        Callback::from(move |()| {
            let mut commands = draft.changes(&key).into_iter();
            match commands.next() {
                Some(first) => {
                    *then.borrow_mut() = commands.next();
                    send(first, &why);
                }
                None => onclose.emit(()),
            }
        })
    };
    let complete = draft.limits().is_some() && draft.expires_at().is_some();
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Limits and expiry of {}", key.label)} action="Save" busy={commander.busy} {complete}
            description="Gateways count from the moment they serve the change." rejection={rejection.clone()}
            fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            { bounds_fields(&draft, |bounds| bounds, rejection.as_ref()) }
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// The inputs of limits and expiry, in whatever draft they are a part of.
pub(super) fn bounds_fields<D: Clone + PartialEq + 'static>(
    draft: &Draft<D>,
    part: fn(&mut D) -> &mut Bounds,
    rejection: Option<&crate::api::Rejection>,
) -> Html {
    let mut whole = (**draft).clone();
    let bounds = part(&mut whole).clone();
    let edit = |change: fn(&mut Bounds, String)| {
        draft.edit(move |draft: &mut D, text| change(part(draft), text))
    };
    let rejection = rejection.cloned();
    html!(
        <>
            <div class="sl-columns">
                <TextField name="limits.requests_per_minute" label="Requests per minute" kind="number" placeholder="No limit"
                    value={bounds.requests_per_minute} onchange={edit(|bounds, text| bounds.requests_per_minute = text)}
                    rejection={rejection.clone()} />
                <TextField name="limits.tokens_per_minute" label="Tokens per minute" kind="number" placeholder="No limit"
                    value={bounds.tokens_per_minute} onchange={edit(|bounds, text| bounds.tokens_per_minute = text)}
                    rejection={rejection.clone()} />
            </div>
            <TextField name="expires_at" label="Expires" kind="datetime-local" hint="In UTC. Empty: never."
                value={bounds.expires_at} onchange={edit(|bounds, text| bounds.expires_at = text)} {rejection} />
        </>
    )
}

// === impl Bounds ===

impl Bounds {
    fn of(limits: KeyLimits, expires_at: Option<Timestamp>) -> Self {
        let text = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        Self {
            requests_per_minute: text(limits.requests_per_minute),
            tokens_per_minute: text(limits.tokens_per_minute),
            expires_at: moment::to_input(expires_at),
        }
    }

    /// The limits, when both can be read; empty is no limit.
    pub(super) fn limits(&self) -> Option<KeyLimits> {
        let limit = |text: &str| match text.trim() {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some(KeyLimits {
            requests_per_minute: limit(&self.requests_per_minute)?,
            tokens_per_minute: limit(&self.tokens_per_minute)?,
        })
    }

    /// The expiry, when it can be read; empty is never.
    pub(super) fn expires_at(&self) -> Option<Option<Timestamp>> {
        moment::parse(&self.expires_at)
    }

    /// The commands that bring the key to what is filled in.
    fn changes(&self, key: &KeyItem) -> Vec<NewCommand> {
        let before = Self::of(key.limits, key.expires_at);
        let mut commands = Vec::new();
        if let Some(limits) = self.limits().filter(|limits| *limits != key.limits) {
            commands.push(NewCommand::ChangeKeyLimits {
                key: key.id,
                limits,
            });
        }
        // Compared as typed: the input knows no seconds, and must not cut them off by itself.
        if let Some(expires_at) = self
            .expires_at()
            .filter(|_| self.expires_at != before.expires_at)
        {
            commands.push(NewCommand::ChangeKeyExpiry {
                key: key.id,
                expires_at,
            });
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use events_schema::events::Owner;
    use events_schema::id::{KeyId, UserId};
    use events_schema::state::Life;

    use super::*;

    fn key() -> KeyItem {
        let at = Timestamp::from_micros(1_795_348_800_000_001).expect("a time");
        KeyItem {
            id: KeyId::from_bytes([1; 16]),
            label: "ci".to_owned(),
            owner: Owner::User(UserId::from_bytes([2; 16])),
            owner_name: "Ada".to_owned(),
            hint: "abcd".to_owned(),
            expires_at: Some(at),
            limits: KeyLimits {
                requests_per_minute: Some(60),
                tokens_per_minute: None,
            },
            disabled: false,
            owner_disabled: false,
            former_secret: None,
            life: Life {
                version: 1,
                created_at: at,
                changed_at: at,
                position: 1,
            },
        }
    }

    #[test]
    fn what_is_not_touched_is_not_sent() {
        let key = key();
        let mut bounds = Bounds::of(key.limits, key.expires_at);
        assert!(bounds.changes(&key).is_empty());
        bounds.requests_per_minute = String::new();
        assert!(matches!(
            bounds.changes(&key)[..],
            [NewCommand::ChangeKeyLimits { .. }]
        ));
        bounds.expires_at = String::new();
        let commands = bounds.changes(&key);
        assert!(matches!(
            commands[1],
            NewCommand::ChangeKeyExpiry {
                expires_at: None,
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_number_is_no_limit_to_send() {
        let bounds = Bounds {
            requests_per_minute: "many".to_owned(),
            ..Bounds::default()
        };
        assert_eq!(bounds.limits(), None);
    }
}

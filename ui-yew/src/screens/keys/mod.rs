//! API keys.

mod issue;
mod limits;
mod rotate;

use std::rc::Rc;

use chrono::{DateTime, Utc};
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::KeyItem;
use events_schema::events::{Aggregate, KeyLimits};
use events_schema::time::Timestamp;
use issue::IssueKey;
use limits::ChangeLimits;
use patternfly_yew::prelude::*;
use rotate::RotateKey;
use yew::prelude::*;

use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
use crate::widgets::label;
use crate::widgets::listing::{Listing, Row};
use crate::widgets::menu::{HistoryLink, MenuItem, item};
use crate::widgets::rename::{OneText, Rename};
use crate::{browser, format};

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[Aggregate::Key, Aggregate::User, Aggregate::VirtualAccount];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Label", "Owner", "Ends in", "Limits", "Expires", "State"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Issue,
    Limits(Rc<KeyItem>),
    Rotate(Rc<KeyItem>),
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Keys() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let issue = show.reform(|()| Open::Issue);
    let row = {
        let show = show.clone();
        Callback::from(move |key: KeyItem| {
            let actions = if may_change {
                actions(&key, &show)
            } else {
                Vec::new()
            };
            row(key, actions, browser::now())
        })
    };
    html!(
        <>
            <Heading screen={Screen::Keys}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Issue key" onclick={issue.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<KeyItem> path="/keys" noun="keys"
                    aggregates={SHOWS}
                    columns={COLUMNS} {row}
                    empty={empty(may_change, issue)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, issue: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Issue key", issue));
    html!(
        <EmptyState title="No keys yet" icon={Icon::Key} {primary}>
            { "Applications present a key to the gateway. A key belongs to a user or a virtual account, and may use what \
               its owner, or it itself, was granted." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Issue => html!(<IssueKey {onclose} />),
        Open::Rotate(key) => html!(<RotateKey of={key} {onclose} />),
        Open::Limits(key) => html!(<ChangeLimits of={key} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row; `at`: the time as of which it is shown.
pub(super) fn row(key: KeyItem, actions: Vec<MenuItem>, at: DateTime<Utc>) -> Row {
    let stream = format!("key.{}", key.id);
    Row {
        id: key.id.to_string(),
        cells: vec![
            html!(<HistoryLink name={key.label.clone()} {stream} />),
            html!(&key.owner_name),
            secrets_cell(&key, at),
            limits_cell(key.limits),
            expiry_cell(key.expires_at),
            state(&key, at),
        ],
        name: key.label,
        actions,
    }
}

/// The secret's end, and that of the one before it while both work.
fn secrets_cell(key: &KeyItem, at: DateTime<Utc>) -> Html {
    let former = key
        .former_secret
        .as_ref()
        .filter(|former| former.works_until.to_chrono() > at);
    html!(
        <>
            <span class="sl-nowrap">{ label::code(&format!("…{}", key.hint)) }</span>
            if let Some(former) = former {
                <div class="sl-quiet">{ format!("…{} until {}", former.hint, format::time(former.works_until.to_chrono())) }</div>
            }
        </>
    )
}

fn limits_cell(limits: KeyLimits) -> Html {
    let line = |limit: Option<u64>, unit: &str| {
        limit.map(|limit| format!("{} {unit}", format::count(limit)))
    };
    let parts = [
        line(limits.requests_per_minute, "requests/min"),
        line(limits.tokens_per_minute, "tokens/min"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return html!(<span class="sl-quiet">{ "None" }</span>);
    }
    html!({ for parts.into_iter().map(|part| html!(<div class="sl-nowrap">{ part }</div>)) })
}

fn expiry_cell(expires_at: Option<Timestamp>) -> Html {
    match expires_at {
        None => html!(<span class="sl-quiet">{ "Never" }</span>),
        Some(at) => html!(<span class="sl-nowrap">{ format::time(at.to_chrono()) }</span>),
    }
}

fn state(key: &KeyItem, at: DateTime<Utc>) -> Html {
    if key
        .expires_at
        .is_some_and(|expires_at| expires_at.to_chrono() <= at)
    {
        return html!(<Label label="Expired" color={Color::Grey} compact={true} />);
    }
    if key.owner_disabled && !key.disabled {
        return html!(<Label label="Owner disabled" color={Color::Orange} compact={true} icon={Icon::PauseCircle} />);
    }
    label::enabled(!key.disabled)
}

fn actions(key: &KeyItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (key.id, &key.label);
    let on_off = if key.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "The key works again, as soon as gateways serve the change.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableKey { key: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "The key does not work until it is enabled again.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableKey { key: id },
        }
    };
    let revoke = Question {
        title: format!("Revoke {name}?"),
        consequence: "The key will never work again. This cannot be undone.",
        action: "Revoke",
        danger: true,
        of: Some(format!("key.{id}")),
        command: NewCommand::RevokeKey { key: id },
    };
    let relabel = OneText {
        title: format!("Change the label of {name}"),
        consequence: "Only people see the label.",
        fields: &["label", "why"],
        label: "Label",
        kind: "text",
        now: name.clone(),
        command: Rc::new(move |label| NewCommand::RelabelKey { key: id, label }),
    };
    let mut actions = vec![
        item("Rotate", show, Open::Rotate(Rc::new(key.clone()))),
        item(
            "Change limits and expiry",
            show,
            Open::Limits(Rc::new(key.clone())),
        ),
        item("Change label", show, Open::OneText(relabel)),
        item(on_off.action, show, Open::Confirm(on_off)),
    ];
    if key
        .former_secret
        .as_ref()
        .is_some_and(|former| former.works_until.to_chrono() > browser::now())
    {
        let former = Question {
            title: format!("Revoke the former secret of {name}?"),
            consequence: "Only the secret of the last rotation works from then on.",
            action: "Revoke it",
            danger: true,
            of: None,
            command: NewCommand::RevokeFormerSecret { key: id },
        };
        let former = item("Revoke former secret", show, Open::Confirm(former));
        actions.push(former.dangerous());
    }
    actions.push(item("Revoke", show, Open::Confirm(revoke)).dangerous());
    actions
}

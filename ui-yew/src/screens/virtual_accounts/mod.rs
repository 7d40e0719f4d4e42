//! Owners of keys that are no person.

use std::rc::Rc;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::VirtualAccountItem;
use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
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

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[Aggregate::VirtualAccount, Aggregate::Key];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Name", "Keys", "State"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn VirtualAccounts() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let create = show.reform(|()| Open::OneText(create()));
    let row = {
        let show = show.clone();
        Callback::from(move |account: VirtualAccountItem| {
            let actions = if may_change {
                actions(&account, &show)
            } else {
                Vec::new()
            };
            row(account, actions)
        })
    };
    html!(
        <>
            <Heading screen={Screen::VirtualAccounts}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Create virtual account" onclick={create.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<VirtualAccountItem> path="/virtual-accounts" noun="virtual accounts"
                    aggregates={SHOWS}
                    columns={COLUMNS} {row} empty={empty(may_change, create)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, create: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Create virtual account", create));
    html!(
        <EmptyState title="No virtual accounts yet" icon={Icon::Cog} {primary}>
            { "A virtual account stands for an application or a service. It owns keys, and its cost is shown under its name." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

fn create() -> OneText {
    OneText {
        title: "Create a virtual account".to_owned(),
        consequence: "For an application or a service that calls the gateway.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: String::new(),
        command: Rc::new(|name| NewCommand::CreateVirtualAccount { name }),
    }
}

/// One of them in a row.
pub(super) fn row(account: VirtualAccountItem, actions: Vec<MenuItem>) -> Row {
    let stream = format!("virtual_account.{}", account.id);
    Row {
        id: account.id.to_string(),
        cells: vec![
            html!(<HistoryLink name={account.name.clone()} {stream} />),
            html!(account.keys),
            label::enabled(!account.disabled),
        ],
        name: account.name,
        actions,
    }
}

fn actions(account: &VirtualAccountItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (account.id, &account.name);
    let on_off = if account.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "Its keys work again, as soon as gateways serve the change.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableVirtualAccount {
                virtual_account: id,
            },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "None of its keys works until it is enabled again.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableVirtualAccount {
                virtual_account: id,
            },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "Only a virtual account that has neither keys nor grants can be deleted.",
        action: "Delete",
        danger: true,
        of: Some(format!("virtual_account.{id}")),
        command: NewCommand::DeleteVirtualAccount {
            virtual_account: id,
        },
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "Only people see the name; nothing changes for its keys.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: name.clone(),
        command: Rc::new(move |name| NewCommand::RenameVirtualAccount {
            virtual_account: id,
            name,
        }),
    };
    vec![
        item("Rename", show, Open::OneText(rename)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

//! Accounts at providers.

mod credential;
mod register;
mod relocate;

use std::rc::Rc;

use credential::ReplaceCredential;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::ProviderAccountItem;
use events_schema::events::{Aggregate, Provider};
use patternfly_yew::prelude::*;
use register::Register;
use relocate::Relocate;
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
const SHOWS: &[Aggregate] = &[Aggregate::ProviderAccount, Aggregate::Model];

/// The headings.
pub(super) const COLUMNS: &[&str] = &[
    "Name",
    "Provider",
    "Base URL",
    "Credential",
    "Models",
    "State",
];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Register,
    Relocate(Rc<ProviderAccountItem>),
    ReplaceCredential(Rc<ProviderAccountItem>),
    Rename(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn ProviderAccounts() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let register = show.reform(|()| Open::Register);
    let row = {
        let show = show.clone();
        Callback::from(move |account: ProviderAccountItem| {
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
            <Heading screen={Screen::ProviderAccounts}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Add provider account" onclick={register.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<ProviderAccountItem> path="/provider-accounts" noun="provider accounts"
                    aggregates={SHOWS}
                    columns={COLUMNS} {row}
                    empty={empty(may_change, register)} />
            </section>
            { open.map(|open| dialog(&open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, register: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Add provider account", register));
    html!(
        <EmptyState title="No provider accounts yet" icon={Icon::Cubes} {primary}>
            { "A provider account holds the base URL and the sealed credential of an LLM provider. It is the first thing \
               that a gateway needs: add one, then add its models." }
        </EmptyState>
    )
}

fn dialog(open: &Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Register => html!(<Register {onclose} />),
        Open::Relocate(account) => html!(<Relocate account={Rc::clone(account)} {onclose} />),
        Open::ReplaceCredential(account) => {
            html!(<ReplaceCredential account={Rc::clone(account)} {onclose} />)
        }
        Open::Rename(asked) => html!(<Rename asked={asked.clone()} {onclose} />),
        Open::Confirm(question) => html!(<Confirm question={question.clone()} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(account: ProviderAccountItem, actions: Vec<MenuItem>) -> Row {
    let credential = if account.credential_shredded {
        html!(<Label label="Shredded" color={Color::Red} compact={true} />)
    } else if account.has_credential {
        html!(<span class="sl-quiet sl-nowrap">{ Icon::Lock }{ " Sealed" }</span>)
    } else {
        html!(<span class="sl-quiet">{ "None" }</span>)
    };
    let stream = format!("provider_account.{}", account.id);
    Row {
        id: account.id.to_string(),
        cells: vec![
            html!(<span class="sl-nowrap"><HistoryLink name={account.name.clone()} {stream} /></span>),
            html!(provider_name(account.provider)),
            base_url(&account),
            credential,
            html!(account.models),
            label::enabled(!account.disabled),
        ],
        name: account.name,
        actions,
    }
}

/// Where it is; and whether that may be where only gateways can reach.
fn base_url(account: &ProviderAccountItem) -> Html {
    html!(
        <>
            { label::code(&account.base_url) }
            if account.allows_private_addresses {
                { " " }<Label label="Private addresses allowed" color={Color::Orange} compact={true} />
            }
        </>
    )
}

/// What people call a dialect.
const fn provider_name(provider: Provider) -> &'static str {
    match provider {
        Provider::Openai => "OpenAI",
        Provider::Anthropic => "Anthropic",
        Provider::OpenaiCompatible => "OpenAI-compatible",
    }
}

fn actions(account: &ProviderAccountItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name, shared) = (account.id, account.name.clone(), Rc::new(account.clone()));
    let on_off = if account.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "Requests go to it again, as soon as gateways serve the change.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableProviderAccount { account: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "No requests go to it any more. Virtual models fall back to their other targets.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableProviderAccount { account: id },
        }
    };
    let private = if account.allows_private_addresses {
        Question {
            title: format!("Forbid private addresses to {name}?"),
            consequence: "Gateways connect to its host at public addresses only. Where it has none, nothing goes to the account any \
                          more.",
            action: "Forbid private addresses",
            danger: true,
            of: None,
            command: NewCommand::ForbidProviderPrivateAddresses { account: id },
        }
    } else {
        Question {
            title: format!("Allow private addresses to {name}?"),
            consequence: "Gateways connect to its host wherever its name leads: also to their own machine, and into the network \
                          around them.",
            action: "Allow private addresses",
            danger: true,
            of: None,
            command: NewCommand::AllowProviderPrivateAddresses { account: id },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "Only an account without models can be deleted. Its credential is no longer used.",
        action: "Delete",
        danger: true,
        of: Some(format!("provider_account.{id}")),
        command: NewCommand::DeleteProviderAccount { account: id },
    };
    let shred = Question {
        title: format!("Shred the credential of {name}?"),
        consequence: "Its ciphertext is destroyed, with those of all that it had before. Nothing goes to the account until it is \
                      given another.",
        action: "Shred",
        danger: true,
        of: None,
        command: NewCommand::ShredProviderCredential { account: id },
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "The full names of its models change with it: callers must ask for the new ones.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: name,
        command: Rc::new(move |name| NewCommand::RenameProviderAccount { account: id, name }),
    };
    vec![
        item("Rename", show, Open::Rename(rename)),
        item("Change base URL", show, Open::Relocate(Rc::clone(&shared))),
        item("Replace credential", show, Open::ReplaceCredential(shared)),
        item(private.action, show, Open::Confirm(private)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Shred credential", show, Open::Confirm(shred)).dangerous(),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

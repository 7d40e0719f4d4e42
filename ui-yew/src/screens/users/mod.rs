//! People who own keys.

mod add;

use std::rc::Rc;

use add::AddUser;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::UserItem;
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

/// What stands for a person whose data were erased.
pub(crate) const ERASED: &str = "(erased)";

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[Aggregate::User, Aggregate::Team, Aggregate::Key];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Name", "E-mail address", "Teams", "Keys", "State"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Add,
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Users() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let add = show.reform(|()| Open::Add);
    let row = {
        let show = show.clone();
        Callback::from(move |user: UserItem| {
            let actions = if may_change {
                actions(&user, &show)
            } else {
                Vec::new()
            };
            row(user, actions)
        })
    };
    html!(
        <>
            <Heading screen={Screen::Users}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Add user" onclick={add.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<UserItem> path="/users" noun="users" aggregates={SHOWS}
                    columns={COLUMNS} {row} empty={empty(may_change, add)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, add: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Add user", add));
    html!(
        <EmptyState title="No users yet" icon={Icon::Users} {primary}>
            { "A user is a person who owns API keys. Names and addresses are kept beside the history, so that they can be erased." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Add => html!(<AddUser {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(user: UserItem, actions: Vec<MenuItem>) -> Row {
    let name = user.name.unwrap_or_else(|| ERASED.to_owned());
    let stream = format!("user.{}", user.id);
    Row {
        id: user.id.to_string(),
        cells: vec![
            html!(<HistoryLink name={name.clone()} {stream} />),
            html!(user.email.unwrap_or_else(|| ERASED.to_owned())),
            html!(<span class="sl-labels">{ for user.teams.iter().map(|team| html!(<Label label={team.name.clone()} compact={true} outline={true} />)) }</span>),
            html!(user.keys),
            label::enabled(!user.disabled),
        ],
        name,
        actions,
    }
}

fn actions(user: &UserItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (user.id, user.name.as_deref().unwrap_or(ERASED));
    let on_off = if user.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "The user's keys work again, as soon as gateways serve the change.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableUser { user: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "None of the user's keys works until the user is enabled again.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableUser { user: id },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "Only a user who has neither keys nor grants can be deleted.",
        action: "Delete",
        danger: true,
        of: Some(format!("user.{id}")),
        command: NewCommand::DeleteUser { user: id },
    };
    let erase = Question {
        title: format!("Erase {name} as a person?"),
        consequence: "Name and e-mail address are erased everywhere, and this cannot be undone. The user stays, with keys and \
                      grants, and is shown by the id.",
        action: "Erase",
        danger: true,
        of: None,
        command: NewCommand::EraseUser { user: id },
    };
    let email = OneText {
        title: format!("Change the e-mail address of {name}"),
        consequence: "The history notes that it changed, not what it is.",
        fields: &["email", "why"],
        label: "E-mail address",
        kind: "email",
        now: user.email.clone().unwrap_or_default(),
        command: Rc::new(move |email| NewCommand::ChangeUserEmail { user: id, email }),
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "The history notes that the name changed, not what it is or was.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: user.name.clone().unwrap_or_default(),
        command: Rc::new(move |name| NewCommand::RenameUser { user: id, name }),
    };
    vec![
        item("Rename", show, Open::OneText(rename)),
        item("Change e-mail address", show, Open::OneText(email)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Erase the person", show, Open::Confirm(erase)).dangerous(),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

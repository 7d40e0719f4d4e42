//! People who may use the console.

mod add;
mod role;

use std::rc::Rc;

use add::AddOperator;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::OperatorItem;
use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
use role::ChangeRole;
use yew::prelude::*;

use crate::route::Screen;
use crate::screens::users::ERASED;
use crate::session::{role_name, use_session};
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
use crate::widgets::label;
use crate::widgets::listing::{Listing, Row};
use crate::widgets::menu::{HistoryLink, MenuItem, item};
use crate::widgets::rename::{OneText, Rename};

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[Aggregate::Operator];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Name", "E-mail address", "Role", "State"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Add,
    Role(Rc<OperatorItem>),
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Operators() -> Html {
    let session = use_session();
    let may_change = session.may_change_operators();
    let own = session.info.operator;
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let add = show.reform(|()| Open::Add);
    let row = {
        let show = show.clone();
        Callback::from(move |operator: OperatorItem| {
            let actions = if may_change {
                actions(&operator, &show)
            } else {
                Vec::new()
            };
            let is_own = operator.id == own;
            row(operator, is_own, actions)
        })
    };
    // Whoever looks is one, so the list is never empty.
    let empty = html!(<EmptyState title="No operators" icon={Icon::Cog} />);
    html!(
        <>
            <Heading screen={Screen::Operators}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Add operator" onclick={add.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<OperatorItem> path="/operators" noun="operators" aggregates={SHOWS} columns={COLUMNS} {row} {empty} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Add => html!(<AddOperator {onclose} />),
        Open::Role(operator) => html!(<ChangeRole {operator} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(operator: OperatorItem, is_own: bool, actions: Vec<MenuItem>) -> Row {
    let name = operator.name.unwrap_or_else(|| ERASED.to_owned());
    let stream = format!("operator.{}", operator.id);
    Row {
        id: operator.id.to_string(),
        cells: vec![
            html!(
                <span class="sl-labels">
                    <HistoryLink name={name.clone()} {stream} />
                    if is_own {
                        <Label label="You" color={Color::Blue} compact={true} />
                    }
                </span>
            ),
            html!(operator.email.unwrap_or_else(|| ERASED.to_owned())),
            html!(role_name(operator.role)),
            label::enabled(!operator.disabled),
        ],
        name,
        actions,
    }
}

fn actions(operator: &OperatorItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (operator.id, operator.name.as_deref().unwrap_or(ERASED));
    let on_off = if operator.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "The operator may sign in again.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableOperator { operator: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "The operator may not sign in until enabled again. Sessions and tokens end at once.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableOperator { operator: id },
        }
    };
    let remove = Question {
        title: format!("Remove {name}?"),
        consequence: "The operator may not sign in any more. What the operator did stays in the history.",
        action: "Remove",
        danger: true,
        of: None,
        command: NewCommand::RemoveOperator { operator: id },
    };
    let password = OneText {
        title: format!("Set the password of {name}"),
        consequence: "At least 12 characters. The operator's sessions end.",
        fields: &["password", "why"],
        label: "New password",
        kind: "password",
        now: String::new(),
        command: Rc::new(move |password| NewCommand::SetOperatorPassword {
            operator: id,
            password,
        }),
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "The history notes that the name changed, not what it is or was.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: operator.name.clone().unwrap_or_default(),
        command: Rc::new(move |name| NewCommand::RenameOperator { operator: id, name }),
    };
    let email = OneText {
        title: format!("Change the e-mail address of {name}"),
        consequence: "The operator signs in with the new address from then on.",
        fields: &["email", "why"],
        label: "E-mail address",
        kind: "email",
        now: operator.email.clone().unwrap_or_default(),
        command: Rc::new(move |email| NewCommand::ChangeOperatorEmail {
            operator: id,
            email,
        }),
    };
    vec![
        item("Rename", show, Open::OneText(rename)),
        item("Change e-mail address", show, Open::OneText(email)),
        item("Change role", show, Open::Role(Rc::new(operator.clone()))),
        item("Set password", show, Open::OneText(password)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Remove", show, Open::Confirm(remove)).dangerous(),
    ]
}

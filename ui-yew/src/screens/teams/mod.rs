//! Teams: users who may use the same models.

mod members;

use std::rc::Rc;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::TeamItem;
use events_schema::events::Aggregate;
use members::Members;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::format;
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
const SHOWS: &[Aggregate] = &[Aggregate::Team, Aggregate::Grant];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Name", "Members", "Grants", "State"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Members(Rc<TeamItem>),
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Teams() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let create = show.reform(|()| Open::OneText(create()));
    let row = {
        let show = show.clone();
        Callback::from(move |team: TeamItem| {
            let actions = actions(&team, may_change, &show);
            let members = members(&team, &show);
            row(team, members, actions)
        })
    };
    html!(
        <>
            <Heading screen={Screen::Teams}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Create team" onclick={create.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<TeamItem> path="/teams" noun="teams" aggregates={SHOWS} columns={COLUMNS} {row}
                    empty={empty(may_change, create)} />
            </section>
            { open.map(|open| dialog(open, may_change, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, create: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Create team", create));
    html!(
        <EmptyState title="No teams yet" icon={Icon::Users} {primary}>
            { "Grant models to a team once, instead of to each of its members." }
        </EmptyState>
    )
}

fn dialog(open: Open, may_change: bool, onclose: Callback<()>) -> Html {
    match open {
        Open::Members(team) => html!(<Members {team} {may_change} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

fn create() -> OneText {
    OneText {
        title: "Create a team".to_owned(),
        consequence: "It has no members yet, and may use nothing until something is granted to it.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: String::new(),
        command: Rc::new(|name| NewCommand::CreateTeam { name }),
    }
}

/// How many members it has, which leads to who they are.
fn members(team: &TeamItem, show: &Callback<Open>) -> Html {
    let onclick = {
        let team = Rc::new(team.clone());
        show.reform(move |_: MouseEvent| Open::Members(Rc::clone(&team)))
    };
    html!(<button class="sl-link" type="button" {onclick}>{ format::count(team.members) }</button>)
}

/// One of them in a row.
pub(super) fn row(team: TeamItem, members: Html, actions: Vec<MenuItem>) -> Row {
    let stream = format!("team.{}", team.id);
    Row {
        id: team.id.to_string(),
        cells: vec![
            html!(<HistoryLink name={team.name.clone()} {stream} />),
            members,
            html!(format::count(team.grants)),
            label::enabled(!team.disabled),
        ],
        name: team.name,
        actions,
    }
}

fn actions(team: &TeamItem, may_change: bool, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (team.id, &team.name);
    let members = item("Members", show, Open::Members(Rc::new(team.clone())));
    if !may_change {
        return vec![members];
    }
    let on_off = if team.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "Its members may use again what was granted to it.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableTeam { team: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "What was granted to it opens nothing until it is enabled again.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableTeam { team: id },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "Its members leave it; they keep what was granted to themselves.",
        action: "Delete",
        danger: true,
        of: Some(format!("team.{id}")),
        command: NewCommand::DeleteTeam { team: id },
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "Only people see the name.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: name.clone(),
        command: Rc::new(move |name| NewCommand::RenameTeam { team: id, name }),
    };
    vec![
        members,
        item("Rename", show, Open::OneText(rename)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

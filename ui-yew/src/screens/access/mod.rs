//! Who may use which models.

mod draft;
mod grant;

use std::rc::Rc;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::GrantItem;
use events_schema::events::{Aggregate, Subject};
use grant::EditGrant;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
use crate::widgets::listing::{Listing, Row};
use crate::widgets::menu::{HistoryLink, MenuItem, item};
use crate::widgets::moment::Ago;

/// How many models a row names before it counts the rest.
const NAMED: usize = 4;

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[
    Aggregate::Grant,
    Aggregate::Model,
    Aggregate::VirtualModel,
    Aggregate::VirtualAccount,
    Aggregate::Key,
];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Who", "May use", "Since"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Grant,
    Change(Rc<GrantItem>),
    Confirm(Box<Question>),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Access() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let grant = show.reform(|()| Open::Grant);
    let row = {
        let show = show.clone();
        Callback::from(move |grant: GrantItem| {
            let actions = if may_change {
                actions(&grant, &show)
            } else {
                Vec::new()
            };
            row(&grant, actions)
        })
    };
    html!(
        <>
            <Heading screen={Screen::Access}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Grant access" onclick={grant.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<GrantItem> path="/grants" noun="grants"
                    aggregates={SHOWS}
                    columns={COLUMNS} {row} empty={empty(may_change, grant)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, grant: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Grant access", grant));
    html!(
        <EmptyState title="Nobody may use anything yet" icon={Icon::Lock} {primary}>
            { "A key works only for models that a grant opens to it: to the key itself, to its owner, or to everyone." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Grant => html!(<EditGrant grant={None::<Rc<GrantItem>>} {onclose} />),
        Open::Change(grant) => html!(<EditGrant grant={Some(grant)} {onclose} />),
        Open::Confirm(question) => html!(<Confirm question={*question} {onclose} />),
    }
}

/// What people call a subject's kind.
const fn subject_kind(subject: Subject) -> &'static str {
    match subject {
        Subject::Everyone => "Everyone with a key",
        Subject::User(_) => "User",
        Subject::VirtualAccount(_) => "Virtual account",
        Subject::Key(_) => "Key",
        Subject::Team(_) => "Team",
    }
}

/// What the row and its dialogs call the subject.
fn subject_name(grant: &GrantItem) -> String {
    match grant.subject {
        Subject::Everyone => "Everyone".to_owned(),
        Subject::User(_) | Subject::VirtualAccount(_) | Subject::Key(_) | Subject::Team(_) => {
            grant.subject_name.clone()
        }
    }
}

/// One of them in a row.
pub(super) fn row(grant: &GrantItem, actions: Vec<MenuItem>) -> Row {
    let name = subject_name(grant);
    let stream = format!("grant.{}", grant.id);
    Row {
        id: grant.id.to_string(),
        cells: vec![
            html!(
                <>
                    <HistoryLink name={name.clone()} {stream} />
                    <div class="sl-quiet">{ subject_kind(grant.subject) }</div>
                </>
            ),
            models(grant),
            html!(<Ago at={grant.life.created_at.to_chrono()} />),
        ],
        name,
        actions,
    }
}

fn models(grant: &GrantItem) -> Html {
    if grant.all_models {
        return html!(<Label label="All models" color={Color::Blue} compact={true} />);
    }
    let rest = grant.models.len().saturating_sub(NAMED);
    html!(
        <span class="sl-labels">
            { for grant.models.iter().take(NAMED).map(|model| html!(<Label label={model.name.clone()} compact={true} outline={true} />)) }
            if rest > 0 {
                <span class="sl-quiet">{ format!("and {rest} more") }</span>
            }
        </span>
    )
}

fn actions(grant: &GrantItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let revoke = Question {
        title: format!("Revoke the access of {}?", subject_name(grant)),
        consequence: "Requests for these models are refused, unless another grant opens them.",
        action: "Revoke",
        danger: true,
        of: None,
        command: NewCommand::RevokeAccess { grant: grant.id },
    };
    vec![
        item("Change models", show, Open::Change(Rc::new(grant.clone()))),
        item("Revoke", show, Open::Confirm(Box::new(revoke))).dangerous(),
    ]
}

//! Names that stand for several models.

mod draft;
mod edit;
pub(crate) mod told;

use std::rc::Rc;

use edit::EditVirtualModel;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::{TargetItem, VirtualModelItem};
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
const SHOWS: &[Aggregate] = &[
    Aggregate::VirtualModel,
    Aggregate::Model,
    Aggregate::ProviderAccount,
];

/// The headings.
pub(super) const COLUMNS: &[&str] = &["Name", "Targets", "State"];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Create,
    Change(Rc<VirtualModelItem>),
    Rename(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn VirtualModels() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let create = show.reform(|()| Open::Create);
    let row = {
        let show = show.clone();
        Callback::from(move |model: VirtualModelItem| {
            let actions = if may_change {
                actions(&model, &show)
            } else {
                Vec::new()
            };
            row(model, actions)
        })
    };
    html!(
        <>
            <Heading screen={Screen::VirtualModels}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Create virtual model" onclick={create.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<VirtualModelItem> path="/virtual-models" noun="virtual models"
                    aggregates={SHOWS}
                    columns={COLUMNS} {row} empty={empty(may_change, create)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, create: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Create virtual model", create));
    html!(
        <EmptyState title="No virtual models yet" icon={Icon::CodeBranch} {primary}>
            { "A virtual model is a name that your applications ask for, while you decide which models answer: by weight, \
               by priority or the fastest, with fallback when one fails." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Create => html!(<EditVirtualModel model={None::<Rc<VirtualModelItem>>} {onclose} />),
        Open::Change(model) => html!(<EditVirtualModel model={Some(model)} {onclose} />),
        Open::Rename(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(model: VirtualModelItem, actions: Vec<MenuItem>) -> Row {
    let stream = format!("virtual_model.{}", model.id);
    Row {
        id: model.id.to_string(),
        cells: vec![
            html!(<HistoryLink name={model.name.clone()} {stream} />),
            targets(&model),
            label::enabled(!model.disabled),
        ],
        name: model.name,
        actions,
    }
}

fn targets(model: &VirtualModelItem) -> Html {
    let routing = &model.routing;
    let line = |(index, target): (usize, &TargetItem)| {
        let notes = routing.targets.get(index).map(told::notes);
        html!(
            <li>
                <span class="sl-share">{ told::part(routing, index) }</span>
                { label::code(&target.full_name) }
                { for notes.into_iter().flatten().map(|note| html!(<span class="sl-quiet">{ note }</span>)) }
            </li>
        )
    };
    let extras = told::extras(routing);
    html!(
        <>
            <ul class="sl-targets">{ for model.targets.iter().enumerate().map(line) }</ul>
            if !extras.is_empty() {
                <p class="sl-quiet">{ extras.join(" · ") }</p>
            }
        </>
    )
}

fn actions(model: &VirtualModelItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (model.id, &model.name);
    let on_off = if model.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "It takes requests again, as soon as gateways serve the change.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableVirtualModel { virtual_model: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "Requests for it are refused until it is enabled again.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableVirtualModel { virtual_model: id },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "Only a virtual model that no grant refers to can be deleted.",
        action: "Delete",
        danger: true,
        of: Some(format!("virtual_model.{id}")),
        command: NewCommand::DeleteVirtualModel { virtual_model: id },
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "Callers must ask for the new name.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: name.clone(),
        command: Rc::new(move |name| NewCommand::RenameVirtualModel {
            virtual_model: id,
            name,
        }),
    };
    vec![
        item("Change routing", show, Open::Change(Rc::new(model.clone()))),
        item("Rename", show, Open::Rename(rename)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

//! Models on provider accounts.

mod add;
mod correct;
mod corrections;
mod dollars;
mod price;

use std::rc::Rc;

use add::AddModel;
use chrono::{DateTime, Utc};
use correct::CorrectPrice;
use corrections::Corrections;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::ModelItem;
use events_schema::events::{Aggregate, ModelType};
use events_schema::money::{NanoUsd, Price};
use events_schema::state::PricePoint;
use patternfly_yew::prelude::*;
use price::SetPrice;
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
const SHOWS: &[Aggregate] = &[Aggregate::Model, Aggregate::ProviderAccount];

/// The headings.
pub(super) const COLUMNS: &[&str] = &[
    "Name",
    "At the provider",
    "For",
    "Price / 1 M tokens",
    "State",
];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Add,
    SetPrice(Rc<ModelItem>),
    CorrectPrice(Rc<ModelItem>),
    Corrections(Rc<ModelItem>),
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Models() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let add = show.reform(|()| Open::Add);
    let row = {
        let show = show.clone();
        Callback::from(move |model: ModelItem| {
            let mut items = if may_change {
                actions(&model, &show)
            } else {
                Vec::new()
            };
            if !model.repricings.is_empty() {
                let corrections = Open::Corrections(Rc::new(model.clone()));
                items.push(item("Corrections of its price", &show, corrections));
            }
            row(model, items, browser::now())
        })
    };
    html!(
        <>
            <Heading screen={Screen::Models}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Add model" onclick={add.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <Listing<ModelItem> path="/models" noun="models"
                    aggregates={SHOWS}
                    columns={COLUMNS}
                    {row} empty={empty(may_change, add)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, add: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Add model", add));
    html!(
        <EmptyState title="No models yet" icon={Icon::Microchip} {primary}>
            { "A model belongs to a provider account. Callers ask for it as account/model; give it a price, and every \
               request is costed." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Add => html!(<AddModel {onclose} />),
        Open::SetPrice(model) => html!(<SetPrice {model} {onclose} />),
        Open::CorrectPrice(model) => html!(<CorrectPrice {model} {onclose} />),
        Open::Corrections(model) => html!(<Corrections {model} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row; `at`: the time as of which it is shown.
pub(super) fn row(model: ModelItem, actions: Vec<MenuItem>, at: DateTime<Utc>) -> Row {
    let stream = format!("model.{}", model.id);
    let types = model
        .model_types
        .iter()
        .map(|kind| html!(<Label label={type_name(*kind)} compact={true} />));
    Row {
        id: model.id.to_string(),
        cells: vec![
            html!(<HistoryLink name={model.full_name.clone()} {stream} />),
            label::code(&model.upstream_name),
            html!(<span class="sl-labels">{ for types }</span>),
            price_cell(model.price, next_price(&model.prices, at)),
            label::enabled(!model.disabled),
        ],
        name: model.full_name,
        actions,
    }
}

/// When the price will be another one, if that is decided.
fn next_price(prices: &[PricePoint], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let times = prices.iter().map(|point| point.effective_at.to_chrono());
    times.filter(|at| *at > now).min()
}

fn price_cell(price: Option<Price>, changes: Option<DateTime<Utc>>) -> Html {
    let changes = changes.map(|at| format!("Another from {} on", format::time(at)));
    html!(
        <>
            { current_price(price) }
            if let Some(changes) = changes {
                <div class="sl-quiet">{ changes }</div>
            }
        </>
    )
}

fn current_price(price: Option<Price>) -> Html {
    let Some(price) = price else {
        return html!(<span class="sl-quiet sl-nowrap">{ "No price" }</span>);
    };
    let part = |amount: NanoUsd, of: &'static str| html!(<span class="sl-nowrap">{ format::usd(amount.nanos()) }<span class="sl-quiet">{ of }</span></span>);
    html!(
        <span class="sl-labels">
            { part(price.input, " in") }
            { part(price.output, " out") }
            if let Some(cached) = price.cached_input {
                { part(cached, " cached in") }
            }
        </span>
    )
}

/// What people call a use of models.
const fn type_name(kind: ModelType) -> &'static str {
    match kind {
        ModelType::Chat => "Chat",
        ModelType::Embedding => "Embedding",
        ModelType::Completion => "Completion",
    }
}

fn actions(model: &ModelItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (model.id, &model.full_name);
    let on_off = if model.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "It takes requests again, as soon as gateways serve the change.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableModel { model: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "It takes no requests any more. Virtual models fall back to their other targets.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableModel { model: id },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "Only a model that no virtual model and no grant refers to can be deleted.",
        action: "Delete",
        danger: true,
        of: Some(format!("model.{id}")),
        command: NewCommand::DeleteModel { model: id },
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "Callers must ask for the new name.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: model.name.clone(),
        command: Rc::new(move |name| NewCommand::RenameModel { model: id, name }),
    };
    let upstream = OneText {
        title: format!("Change what {name} stands for"),
        consequence: "Callers keep asking for the same name; the provider is asked for another.",
        fields: &["upstream_name", "why"],
        label: "The provider's name for it",
        kind: "text",
        now: model.upstream_name.clone(),
        command: Rc::new(move |upstream_name| NewCommand::ChangeModelUpstreamName {
            model: id,
            upstream_name,
        }),
    };
    vec![
        item("Set price", show, Open::SetPrice(Rc::new(model.clone()))),
        item(
            "Correct a price",
            show,
            Open::CorrectPrice(Rc::new(model.clone())),
        ),
        item("Rename", show, Open::OneText(rename)),
        item("Change upstream name", show, Open::OneText(upstream)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

#[cfg(test)]
mod tests {
    use events_schema::time::Timestamp;

    use super::*;

    #[test]
    fn the_next_price_is_the_first_of_those_to_come() {
        let at = |seconds: i64| PricePoint {
            effective_at: Timestamp::from_micros(seconds * 1_000_000).expect("a time"),
            price: Price {
                input: NanoUsd::new(1),
                output: NanoUsd::new(1),
                cached_input: None,
            },
        };
        let now = DateTime::from_timestamp(100, 0).expect("a time");
        let next = next_price(&[at(50), at(300), at(200)], now);
        assert_eq!(next.map(|next| next.timestamp()), Some(200));
        assert_eq!(next_price(&[at(50), at(100)], now), None);
    }
}

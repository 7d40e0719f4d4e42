//! The API, drawn from the OpenAPI document that the control plane serves about itself.
//!
//! What is searched for and which operation is open stand in the address.

mod curl;
mod document;
mod operation;
mod schema;

use std::rc::Rc;

use document::{Document, Operation, Tag};
use operation::Details;
use patternfly_yew::prelude::*;
use serde_json::Value;
use yew::prelude::*;

use crate::api::Client;
use crate::browser::{AddressQuery, use_query};
use crate::format;
use crate::remote::{Content, use_remote};
use crate::route::Screen;
use crate::widgets::filter::FilterInput;
use crate::widgets::heading::Heading;
use crate::widgets::label;

/// The document, shared by all that draw of it.
struct Shared(Rc<Document>);

impl Content for Shared {}

/// The screen.
#[component]
pub(crate) fn Reference() -> Html {
    let address = use_query();
    let document = use_remote((), |client: Client, ()| async move {
        let document: Value = client.get("/openapi.json").await?;
        Ok(Shared(Rc::new(Document::read(&document))))
    });
    html!(
        <>
            <Heading screen={Screen::Reference}>
                <a class="sl-name" href="/api/v1/openapi.json" target="_blank">{ "openapi.json" }</a>
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                { document.show(Html::default, |shared| content(&address, &shared.0)) }
            </section>
        </>
    )
}

fn content(address: &AddressQuery, document: &Rc<Document>) -> Html {
    let search = address.query.get("search").to_lowercase();
    let found: Vec<(&Tag, Vec<&Operation>)> = document
        .tags
        .iter()
        .map(|tag| {
            (
                tag,
                tag.operations
                    .iter()
                    .filter(|it| it.matches(&search))
                    .collect(),
            )
        })
        .filter(|(_, operations): &(_, Vec<_>)| !operations.is_empty())
        .collect();
    let none = found.is_empty();
    html!(
        <>
            <div class="sl-card">
                <div class="sl-toolbar sl-filters">
                    <FilterInput name="search" label="Search" kind="search" placeholder="keys, POST, cursor …"
                        value={address.query.get("search").to_owned()} onchange={address.edit("search")} />
                </div>
                <p class="sl-pad sl-quiet">
                    { label::marked(&document.description) }
                    { format!(" Version {}. Automation signs in with a token of My account: Authorization: Bearer slt-…", document.version) }
                </p>
            </div>
            // A list of its own: what is above, and the cursor in it, stays when an operation comes or goes.
            <div class="sl-stack">{ for found.into_iter().map(|(tag, operations)| card(address, document, tag, &operations)) }</div>
            if none {
                <div class="sl-card">
                    <EmptyState title="No operation matches" icon={Icon::Search}>{ "Search for less." }</EmptyState>
                </div>
            }
        </>
    )
}

fn card(
    address: &AddressQuery,
    document: &Rc<Document>,
    tag: &Tag,
    operations: &[&Operation],
) -> Html {
    html!(
        <div class="sl-card" key={tag.name.clone()} data-tag={tag.name.clone()}>
            <div class="sl-pad sl-tag-head">
                <h2 class="pf-v6-c-title pf-m-md">{ format::words(&tag.name) }</h2>
                <p class="sl-quiet">{ &tag.description }</p>
            </div>
            <ul class="sl-operations">{ for operations.iter().map(|it| entry(address, document, it)) }</ul>
        </div>
    )
}

fn entry(address: &AddressQuery, document: &Rc<Document>, operation: &Operation) -> Html {
    let is_open = address.query.get("operation") == operation.id;
    let onclick = {
        let (set, query) = (address.set.clone(), address.query.clone());
        let id = if is_open {
            String::new()
        } else {
            operation.id.clone()
        };
        Callback::from(move |_: MouseEvent| set.emit(query.with("operation", &id)))
    };
    let method = format!("sl-method sl-method-{}", operation.method.to_lowercase());
    html!(
        <li key={operation.id.clone()} data-operation={operation.id.clone()}>
            <button type="button" class="sl-operation-head" aria-expanded={is_open.to_string()} {onclick}>
                <span class={method}>{ &operation.method }</span>
                <code>{ &operation.path }</code>
                <span class="sl-quiet">{ &operation.summary }</span>
            </button>
            if is_open {
                <Details document={Rc::clone(document)} operation={operation.clone()} />
            }
        </li>
    )
}

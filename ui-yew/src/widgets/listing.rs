//! A list of things: search, table, paging, and what to do when there is nothing.
//!
//! Each screen says what its columns are and draws a row; all else is the same everywhere.

use events_schema::api::Page;
use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
use serde::de::DeserializeOwned;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::menu::{MenuItem, RowMenu};
use super::paging::{Paging, Turn};
use crate::api::{Client, use_live};
use crate::remote::{Content, Remote, use_remote};
use crate::widgets::button::{Button, Variant};

/// One row, drawn.
#[derive(Clone, PartialEq)]
pub(crate) struct Row {
    /// Tells it apart from the others.
    pub(crate) id: String,
    /// What people call the thing.
    pub(crate) name: String,
    /// One cell for each column.
    pub(crate) cells: Vec<Html>,
    /// What can be done with it.
    pub(crate) actions: Vec<MenuItem>,
}

/// Properties of [`Listing`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props<T: PartialEq> {
    /// Where the list is, below the API.
    pub(crate) path: &'static str,
    /// What the things are called, in the plural.
    pub(crate) noun: &'static str,
    /// The changes of which are shown.
    pub(crate) aggregates: &'static [Aggregate],
    /// The headings.
    pub(crate) columns: &'static [&'static str],
    /// Draws one.
    pub(crate) row: Callback<T, Row>,
    /// Stands where there is nothing at all: says what to do next.
    pub(crate) empty: Html,
}

impl<T> Content for Page<T> {
    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// The list.
#[component]
pub(crate) fn Listing<T>(props: &Props<T>) -> Html
where
    T: DeserializeOwned + Clone + PartialEq + 'static,
{
    let paging = use_reducer_eq(Paging::default);
    let newest = use_live().newest(props.aggregates);
    let path = format!("{}{}&at_least={newest}", props.path, paging.query());
    let page = use_remote(path, |client: Client, path| async move {
        client.get::<Page<T>>(&path).await
    });

    let nothing_at_all = matches!(page.state, Remote::Empty) && *paging == Paging::default();
    if nothing_at_all {
        return html!(<div class="sl-card">{ props.empty.clone() }</div>);
    }
    let none_found = || {
        html!(
            <EmptyState title={format!("No {} found", props.noun)} icon={Icon::Search}>
                { "Nothing matches the search." }
            </EmptyState>
        )
    };
    html!(
        <div class="sl-card">
            { toolbar(props.noun, &paging, &page.state) }
            { page.show(none_found, |page| table(props, &page.items)) }
        </div>
    )
}

/// Search to the left, pages to the right.
fn toolbar<T>(noun: &str, paging: &UseReducerHandle<Paging>, page: &Remote<Page<T>>) -> Html {
    let turn = |turn: Turn| {
        let paging = paging.clone();
        Callback::from(move |_: MouseEvent| paging.dispatch(turn.clone()))
    };
    let oninput = {
        let paging = paging.clone();
        Callback::from(move |event: InputEvent| {
            paging.dispatch(Turn::Search(
                event.target_unchecked_into::<HtmlInputElement>().value(),
            ));
        })
    };
    let next = page.ready().and_then(|page| page.next_cursor.clone());
    let is_paged = paging.number() > 1 || next.is_some();
    html!(
        <div class="sl-toolbar">
            <div class="pf-v6-c-text-input-group sl-search">
                <div class="pf-v6-c-text-input-group__main pf-m-icon">
                    <span class="pf-v6-c-text-input-group__text">
                        <span class="pf-v6-c-text-input-group__icon">{ Icon::Search }</span>
                        <input class="pf-v6-c-text-input-group__text-input" type="search" name="search"
                            placeholder={format!("Search {noun}")} aria-label={format!("Search {noun}")}
                            value={paging.search.clone()} {oninput} />
                    </span>
                </div>
            </div>
            if is_paged {
                <div class="sl-pages">
                    <span>{ format!("Page {}", paging.number()) }</span>
                    <Button variant={Variant::Plain} icon={Icon::AngleLeft} aria_label="Previous page"
                        disabled={paging.number() == 1} onclick={turn(Turn::Back)} />
                    <Button variant={Variant::Plain} icon={Icon::AngleRight} aria_label="Next page"
                        disabled={next.is_none()} onclick={turn(Turn::Next(next.unwrap_or_default()))} />
                </div>
            }
        </div>
    )
}

fn table<T: Clone + PartialEq>(props: &Props<T>, items: &[T]) -> Html {
    let rows: Vec<Row> = items
        .iter()
        .map(|item| props.row.emit(item.clone()))
        .collect();
    let has_actions = rows.iter().any(|row| !row.actions.is_empty());
    html!(
        <table class="pf-v6-c-table pf-m-grid-md" role="grid" aria-label={props.noun}>
            <thead class="pf-v6-c-table__thead">
                <tr class="pf-v6-c-table__tr" role="row">
                    { for props.columns.iter().map(|column| html!(<th class="pf-v6-c-table__th" role="columnheader" scope="col">{ *column }</th>)) }
                    if has_actions {
                        <th class="pf-v6-c-table__th" role="columnheader" scope="col">
                            <span class="pf-v6-screen-reader">{ "Actions" }</span>
                        </th>
                    }
                </tr>
            </thead>
            <tbody class="pf-v6-c-table__tbody" role="rowgroup">
                { for rows.into_iter().map(|row| table_row(props.columns, row, has_actions)) }
            </tbody>
        </table>
    )
}

fn table_row(columns: &[&'static str], row: Row, has_actions: bool) -> Html {
    let cell = |(label, cell): (&&'static str, Html)| html!(<td class="pf-v6-c-table__td" role="cell" data-label={*label}>{ cell }</td>);
    html!(
        <tr class="pf-v6-c-table__tr" role="row" key={row.id} data-name={row.name.clone()}>
            { for columns.iter().zip(row.cells).map(cell) }
            if has_actions {
                <td class="pf-v6-c-table__td pf-v6-c-table__action" role="cell">
                    if !row.actions.is_empty() {
                        <RowMenu of={row.name} items={row.actions} />
                    }
                </td>
            }
        </tr>
    )
}

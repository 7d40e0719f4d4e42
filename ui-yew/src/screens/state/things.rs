//! The things of one kind as of a position, and what has become of each since.

use chrono::{DateTime, Utc};
use events_schema::api::Page;
use events_schema::api::history::{Since, ThingAt};
use events_schema::events::Aggregate;
use events_schema::time::Timestamp;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::rows::{columns, differences, row};
use crate::api::Client;
use crate::browser::{self, AddressQuery};
use crate::remote::use_remote;
use crate::widgets::button::{Button, Variant};
use crate::widgets::diff;
use crate::widgets::field::{Choice, Select};
use crate::widgets::filter::FilterInput;
use crate::widgets::paging::{Paging, Turn, encode, newer_and_older};

/// The heading of the last column.
const SINCE: &str = "Since then";

/// Properties of [`Things`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The kind.
    pub(super) kind: Aggregate,
    /// The position of the state.
    pub(super) position: u64,
    /// Whether that is the end of the log.
    pub(super) is_now: bool,
    /// When its event was recorded.
    pub(super) recorded_at: Option<Timestamp>,
    /// The address.
    pub(super) address: AddressQuery,
}

/// Search, table, pages.
#[component]
pub(super) fn Things(props: &Props) -> Html {
    let query = &props.address.query;
    let (search, differs) = (
        query.get("search").to_owned(),
        query.get("differs").to_owned(),
    );
    let paging = use_reducer_eq(Paging::default);
    let path = format!(
        "/state/{}{}&position={}{}",
        props.kind,
        paging.query(),
        props.position,
        filter(&search, if props.is_now { "" } else { &differs })
    );
    let things = use_remote(path, |client: Client, path| async move {
        client.get::<Page<ThingAt>>(&path).await
    });
    {
        // Another question has other pages.
        let paging = paging.dispatcher();
        use_effect_with(
            (props.kind, props.position, search.clone(), differs.clone()),
            move |_| paging.dispatch(Turn::Search(String::new())),
        );
    }
    let choices = [
        ("true", "Only what was changed since, or is gone"),
        ("false", "Only what was not changed itself"),
    ];
    let choices = choices.map(|(value, label)| Choice {
        value: value.into(),
        label: label.into(),
    });
    let none = || {
        let title = if search.is_empty() && differs.is_empty() {
            "There was none"
        } else {
            "Nothing matches"
        };
        html!(<EmptyState {title} icon={Icon::Search}>{ "Choose another kind, another moment, or search for less." }</EmptyState>)
    };
    let next = things
        .state
        .ready()
        .and_then(|page| page.next_cursor.clone());
    html!(
        <>
            <div class="sl-toolbar sl-filters">
                <FilterInput name="search" label="Search" kind="search" placeholder="Name, label or id" value={search.clone()}
                    onchange={props.address.edit("search")} />
                if !props.is_now {
                    <label class="sl-filter">
                        <span>{ "Show" }</span>
                        <Select name="differs" placeholder="Everything" value={differs.clone()} choices={choices.to_vec()}
                            onchange={props.address.edit("differs")} />
                    </label>
                }
            </div>
            { things.show(none, |page| table(props, &page.items)) }
            { newer_and_older(&paging, next) }
        </>
    )
}

/// The part of a question that filters; begins with `&` or is empty.
fn filter(search: &str, differs: &str) -> String {
    let mut text = String::new();
    for (name, value) in [("search", search), ("differs", differs)] {
        if !value.is_empty() {
            text.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    text
}

fn table(props: &Props, items: &[ThingAt]) -> Html {
    let columns = columns(props.kind);
    let at = props
        .recorded_at
        .filter(|_| !props.is_now)
        .map_or_else(browser::now, |at| at.to_chrono());
    let heading = |column: &str| html!(<th class="pf-v6-c-table__th" role="columnheader" scope="col">{ column.to_owned() }</th>);
    html!(
        <table class="pf-v6-c-table pf-m-grid-md" role="grid" aria-label="Things as of then">
            <thead class="pf-v6-c-table__thead">
                <tr class="pf-v6-c-table__tr" role="row">
                    { for columns.iter().map(|column| heading(column)) }
                    if !props.is_now {
                        { heading(SINCE) }
                    }
                </tr>
            </thead>
            <tbody class="pf-v6-c-table__tbody" role="rowgroup">
                { for items.iter().map(|it| html!(<ThingRow key={it.stream.clone()} thing={it.clone()} {columns} {at} is_now={props.is_now} />)) }
            </tbody>
        </table>
    )
}

/// Properties of [`ThingRow`].
#[derive(Clone, PartialEq, Properties)]
struct RowProps {
    thing: ThingAt,
    columns: &'static [&'static str],
    at: DateTime<Utc>,
    is_now: bool,
}

/// A thing, and below it, when wanted, what differs from now.
#[component]
fn ThingRow(props: &RowProps) -> Html {
    let open = use_state_eq(|| false);
    let thing = &props.thing;
    let drawn = row(&thing.then, props.at);
    let lines = differences(thing);
    let cell = |(label, cell): (&&'static str, Html)| html!(<td class="pf-v6-c-table__td" role="cell" data-label={*label}>{ cell }</td>);
    let toggle = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    let width = (props.columns.len() + 1).to_string();
    html!(
        <>
            <tr class="pf-v6-c-table__tr" role="row" data-name={drawn.name.clone()} data-since={since_name(thing.since)}>
                { for props.columns.iter().zip(drawn.cells).map(cell) }
                if !props.is_now {
                    <td class="pf-v6-c-table__td" role="cell" data-label={SINCE}>
                        <span class="sl-labels">
                            { since(thing.since, !lines.is_empty()) }
                            if !lines.is_empty() {
                                <Button variant={Variant::Link} label={if *open { "Hide" } else { "What differs" }}
                                    aria_expanded={open.to_string()} onclick={toggle} />
                            }
                        </span>
                    </td>
                }
            </tr>
            if *open && !lines.is_empty() {
                <tr class="pf-v6-c-table__tr sl-differences" role="row">
                    <td class="pf-v6-c-table__td" role="cell" colspan={width}>
                        { diff::table(&lines, ["Then", "Now"]) }
                    </td>
                </tr>
            }
        </>
    )
}

const fn since_name(since: Since) -> &'static str {
    match since {
        Since::Same => "same",
        Since::Changed => "changed",
        Since::Gone => "gone",
    }
}

/// What became of a thing; `differs`: whether it shows something else now, which may also come from other things.
fn since(since: Since, differs: bool) -> Html {
    match since {
        Since::Same if differs => html!(
            <span class="sl-quiet" title="It has no event of its own since. What differs follows from other things.">
                { "Not changed itself" }
            </span>
        ),
        Since::Same => html!(<span class="sl-quiet">{ "As now" }</span>),
        Since::Changed => html!(<Label label="Changed" color={Color::Blue} compact={true} />),
        Since::Gone => html!(<Label label="Gone" color={Color::Red} compact={true} />),
    }
}

//! The newest requests, one by one.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use events_schema::api::Page;
use events_schema::api::analytics::RequestItem;
use yew::prelude::*;

use super::range::Window;
use super::request::{RequestDialog, cost, outcome, owner};
use crate::api::Client;
use crate::format;
use crate::remote::use_remote;
use crate::widgets::label;
use crate::widgets::moment::Ago;

/// How many are shown.
const SHOWN: u32 = 15;

/// Properties of [`Recent`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The range that they lie in.
    pub(super) window: Window,
    /// The time: they are asked for again when it has gone on.
    pub(super) now: DateTime<Utc>,
}

/// The table.
#[component]
pub(super) fn Recent(props: &Props) -> Html {
    let requests = use_remote(
        (props.window, props.now),
        |client: Client, (window, _)| async move {
            client
                .get::<Page<RequestItem>>(&format!(
                    "/analytics/requests?{}&limit={SHOWN}",
                    window.query()
                ))
                .await
        },
    );
    let opened = use_state(|| None::<Rc<RequestItem>>);
    let open = {
        let opened = opened.setter();
        Callback::from(move |item| opened.set(Some(item)))
    };
    let onclose = {
        let opened = opened.setter();
        Callback::from(move |()| opened.set(None))
    };
    let none = || html!(<p class="sl-quiet">{ "No requests in this time range." }</p>);
    html!(
        <div class="sl-card">
            <div class="sl-card-head sl-pad"><h2 class="pf-v6-c-title pf-m-md">{ "Newest requests" }</h2></div>
            { requests.show(|| html!(<div class="sl-pad">{ none() }</div>), |page| table(&page.items, &open)) }
            if let Some(item) = &*opened {
                <RequestDialog item={Rc::clone(item)} {onclose} />
            }
        </div>
    )
}

fn table(items: &[RequestItem], open: &Callback<Rc<RequestItem>>) -> Html {
    const COLUMNS: [&str; 7] = [
        "When", "Model", "Owner", "Tokens", "Cost", "Latency", "Outcome",
    ];
    html!(
        <table class="pf-v6-c-table pf-m-compact pf-m-grid-lg" role="grid" aria-label="Newest requests">
            <thead class="pf-v6-c-table__thead">
                <tr class="pf-v6-c-table__tr" role="row">
                    { for COLUMNS.iter().map(|column| html!(<th class="pf-v6-c-table__th" role="columnheader" scope="col">{ *column }</th>)) }
                </tr>
            </thead>
            <tbody class="pf-v6-c-table__tbody" role="rowgroup">{ for items.iter().map(|item| row(&COLUMNS, item, open)) }</tbody>
        </table>
    )
}

fn row(columns: &[&'static str], item: &RequestItem, open: &Callback<Rc<RequestItem>>) -> Html {
    let onclick = {
        let item = Rc::new(item.clone());
        open.reform(move |_: MouseEvent| Rc::clone(&item))
    };
    let tokens = item.tokens.input.saturating_add(item.tokens.output);
    let in_one_line = |text: String| html!(<span class="sl-nowrap">{ text }</span>);
    let cells = [
        html!(<button class="sl-name sl-nowrap sl-link" type="button" {onclick}><Ago at={item.received_at.to_chrono()} /></button>),
        model(item),
        in_one_line(owner(item)),
        in_one_line(format!(
            "{}{}",
            if item.tokens.estimated { "≈ " } else { "" },
            format::count(tokens)
        )),
        in_one_line(cost(item)),
        in_one_line(format::latency(item.duration_us)),
        outcome(item),
    ];
    let cell = |(label, cell): (&&'static str, Html)| html!(<td class="pf-v6-c-table__td" role="cell" data-label={*label}>{ cell }</td>);
    html!(
        <tr class="pf-v6-c-table__tr" role="row" key={item.request.to_string()} data-request={item.request.to_string()}>
            { for columns.iter().zip(cells).map(cell) }
        </tr>
    )
}

/// What was asked for, and what answered where that is another.
fn model(item: &RequestItem) -> Html {
    let target = item
        .target
        .as_deref()
        .filter(|target| *target != item.requested_model);
    html!(
        <span class="sl-labels">
            { &item.requested_model }
            if let Some(target) = target {
                <span class="sl-quiet" aria-label="answered by">{ "→" }</span>
                { label::code(target) }
            }
        </span>
    )
}

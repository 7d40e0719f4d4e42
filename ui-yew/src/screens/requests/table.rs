//! Requests, one a row: in the log of requests, and the newest in the dashboard.

use events_schema::api::analytics::RequestItem;
use yew::prelude::*;

use super::told::{cost, outcome, owner};
use crate::format;
use crate::route::Screen;
use crate::widgets::label;
use crate::widgets::link::To;
use crate::widgets::moment::Ago;

/// The headings.
const COLUMNS: [&str; 7] = [
    "When", "Model", "Owner", "Tokens", "Cost", "Latency", "Outcome",
];

/// A table of requests, each of which leads to its page.
pub(crate) fn table(items: &[RequestItem], label: &'static str) -> Html {
    html!(
        <table class="pf-v6-c-table pf-m-compact pf-m-grid-lg" role="grid" aria-label={label}>
            <thead class="pf-v6-c-table__thead">
                <tr class="pf-v6-c-table__tr" role="row">
                    { for COLUMNS.iter().map(|column| html!(<th class="pf-v6-c-table__th" role="columnheader" scope="col">{ *column }</th>)) }
                </tr>
            </thead>
            <tbody class="pf-v6-c-table__tbody" role="rowgroup">{ for items.iter().map(row) }</tbody>
        </table>
    )
}

fn row(item: &RequestItem) -> Html {
    let id = item.request.to_string();
    let tokens = item.tokens.input.saturating_add(item.tokens.output);
    let in_one_line = |text: String| html!(<span class="sl-nowrap">{ text }</span>);
    let cells = [
        html!(<To screen={Screen::Request { id: id.clone() }} class="sl-name sl-nowrap"><Ago at={item.received_at.to_chrono()} /></To>),
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
        <tr class="pf-v6-c-table__tr" role="row" key={id.clone()} data-request={id}>
            { for COLUMNS.iter().zip(cells).map(cell) }
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
                <span class="sl-nowrap">
                    <span class="sl-quiet" aria-hidden="true">{ "→ " }</span>
                    <span class="pf-v6-screen-reader">{ "answered by " }</span>
                    { label::code(target) }
                </span>
            }
        </span>
    )
}

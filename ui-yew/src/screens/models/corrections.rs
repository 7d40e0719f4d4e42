//! The corrections of what a model cost.

use std::rc::Rc;

use events_schema::api::resources::ModelItem;
use events_schema::state::Repricing;
use yew::prelude::*;

use super::correct::changed;
use super::current_price;
use crate::format;
use crate::widgets::dialog::Dialog;
use crate::widgets::menu::HistoryLink;

/// The headings.
const COLUMNS: [&str; 6] = [
    "Position",
    "From",
    "Until",
    "Price / 1 M tokens",
    "Requests",
    "Difference",
];

/// Properties of [`Corrections`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The model.
    pub(super) model: Rc<ModelItem>,
    /// Called when it is to go away.
    pub(super) onclose: Callback<()>,
}

/// All of them, the newest first: of two that overlap, the upper one holds.
#[component]
pub(super) fn Corrections(props: &Props) -> Html {
    let stream = format!("model.{}", props.model.id);
    let row = |it: &Repricing| {
        let Repricing {
            position,
            recorded_at: _,
            from,
            until,
            price,
            shown,
        } = it;
        let cells = [
            html!(<HistoryLink name={format!("#{position}")} stream={stream.clone()} />),
            html!(format::time(from.to_chrono())),
            html!(format::time(until.to_chrono())),
            current_price(Some(*price)),
            html!(format::count(shown.requests)),
            html!(changed(shown)),
        ];
        let cells = COLUMNS.iter().zip(cells);
        html!(
            <tr class="pf-v6-c-table__tr" role="row" key={*position}>
                { for cells.map(|(label, cell)| html!(
                    <td class="pf-v6-c-table__td" role="cell" data-label={*label}>{ cell }</td>)) }
            </tr>
        )
    };
    html!(
        <Dialog title={format!("Corrections of the price of {}", props.model.full_name)} wide={true}
            description="As they were shown when they were decided. Of two that overlap, the upper one holds."
            onclose={props.onclose.clone()}>
            <table class="pf-v6-c-table pf-m-compact pf-m-grid-md" role="grid" aria-label="Corrections">
                <thead class="pf-v6-c-table__thead">
                    <tr class="pf-v6-c-table__tr" role="row">
                        { for COLUMNS.map(|column| html!(<th class="pf-v6-c-table__th" role="columnheader" scope="col">{ column }</th>)) }
                    </tr>
                </thead>
                <tbody class="pf-v6-c-table__tbody" role="rowgroup">{ for props.model.repricings.iter().rev().map(row) }</tbody>
            </table>
        </Dialog>
    )
}

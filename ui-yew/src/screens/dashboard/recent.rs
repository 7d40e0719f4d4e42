//! The newest requests, one by one.

use events_schema::api::Page;
use events_schema::api::analytics::RequestItem;
use yew::prelude::*;

use crate::api::Client;
use crate::browser::now;
use crate::range::Range;
use crate::remote::use_polled;
use crate::route::Screen;
use crate::screens::requests::table::table;
use crate::widgets::link::To;

/// How many are shown.
const SHOWN: u32 = 15;

/// Properties of [`Recent`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The range that they lie in.
    pub(super) range: Range,
    /// How long after their last answer they are asked for again, in milliseconds.
    pub(super) pause_ms: u32,
}

/// The table.
#[component]
pub(super) fn Recent(props: &Props) -> Html {
    let requests = use_polled(
        props.range,
        Some(props.pause_ms),
        |client: Client, range: Range| async move {
            let window = range.window(now());
            let path = format!("/analytics/requests?{}&limit={SHOWN}", window.query());
            client.get::<Page<RequestItem>>(&path).await
        },
    );
    let none = || html!(<p class="sl-quiet">{ "No requests in this time range." }</p>);
    html!(
        <div class="sl-card">
            <div class="sl-card-head sl-pad">
                <h2 class="pf-v6-c-title pf-m-md">{ "Newest requests" }</h2>
                <To screen={Screen::Requests} class="sl-name sl-end">{ "All requests" }</To>
            </div>
            { requests.show(|| html!(<div class="sl-pad">{ none() }</div>), |page| table(&page.items, "Newest requests")) }
        </div>
    )
}

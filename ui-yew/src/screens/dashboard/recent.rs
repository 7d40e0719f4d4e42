//! The newest requests, one by one.

use chrono::{DateTime, Utc};
use events_schema::api::Page;
use events_schema::api::analytics::RequestItem;
use yew::prelude::*;

use crate::api::Client;
use crate::range::Window;
use crate::remote::use_remote;
use crate::route::Screen;
use crate::screens::requests::table::table;
use crate::widgets::link::To;

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

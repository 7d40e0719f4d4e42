//! The log of requests: the newest first, filtered by what stands in the address.

mod bar;
mod filter;
pub(super) mod one;
pub(super) mod table;
mod told;
mod tried;

use bar::Bar;
use events_schema::api::Page;
use events_schema::api::analytics::RequestItem;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::api::Client;
use crate::browser::{use_now, use_query};
use crate::query::Query;
use crate::remote::use_remote;
use crate::route::Screen;
use crate::widgets::heading::Heading;
use crate::widgets::paging::{Paging, Turn, newer_and_older};

/// How often the first page is asked for again, in milliseconds.
const REFRESH_MS: u32 = 3_000;

/// The list with its filters.
#[component]
pub(crate) fn Requests() -> Html {
    let address = use_query();
    let paging = use_reducer_eq(Paging::default);
    let now = use_now(REFRESH_MS);
    // Pages after the first stay as they are: nothing new comes in there.
    let tick = (paging.number() == 1).then_some(now);
    let path = format!(
        "/analytics/requests{}&{}",
        paging.query(),
        filter::question(&address.query, now)
    );
    let requests = use_remote((path, tick), |client: Client, (path, _)| async move {
        client.get::<Page<RequestItem>>(&path).await
    });
    {
        // Another filter has other pages.
        let paging = paging.dispatcher();
        use_effect_with(address.query.clone(), move |_| {
            paging.dispatch(Turn::Search(String::new()))
        });
    }
    let none = {
        let clear = address.set.reform(|()| Query::default());
        let action =
            (filter::filters(&address.query) > 0).then(|| Action::new("Clear filters", clear));
        || {
            html!(
                <EmptyState title="No requests match" icon={Icon::Search} primary={action}>
                    { "Requests show up here within seconds. Widen the time or the filters to see more." }
                </EmptyState>
            )
        }
    };
    let next = requests
        .state
        .ready()
        .and_then(|page| page.next_cursor.clone());
    html!(
        <>
            <Heading screen={Screen::Requests} />
            <section class="pf-v6-c-page__main-section">
                <div class="sl-card">
                    <Bar {address} />
                    { requests.show(none, |page| table::table(&page.items, "Requests")) }
                    { newer_and_older(&paging, next) }
                </div>
            </section>
        </>
    )
}

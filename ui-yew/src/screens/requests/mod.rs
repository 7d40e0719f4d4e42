//! The log of requests: the newest first, filtered by what stands in the address.

mod bar;
mod filter;
pub(super) mod one;
mod seen;
pub(super) mod table;
mod told;
mod tried;

use bar::Bar;
use events_schema::api::Page;
use events_schema::api::analytics::RequestItem;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::api::Client;
use crate::browser::{now, use_query};
use crate::query::Query;
use crate::remote::use_polled;
use crate::route::Screen;
use crate::widgets::heading::Heading;
use crate::widgets::paging::{Paging, Turn, newer_and_older};

/// How long after its last answer the first page is asked for again, in milliseconds.
const REFRESH_MS: u32 = 3_000;

/// The list with its filters.
#[component]
pub(crate) fn Requests() -> Html {
    let address = use_query();
    let paging = use_reducer_eq(Paging::default);
    // Pages after the first stay as they are: nothing new comes in there.
    let pause_ms = (paging.number() == 1).then_some(REFRESH_MS);
    // What is asked holds the time, and is therefore not the key: that would change without end.
    let key = (paging.query(), address.query.clone());
    let requests = use_polled(key, pause_ms, |client: Client, (page, query)| async move {
        let question = filter::question(&query, now());
        let path = format!("/analytics/requests{page}&{question}");
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

//! The history: a timeline of events, newest first, which grows while one looks.

pub(crate) mod event;
mod filter;

use event::EventCard;
use events_schema::api::Page;
use events_schema::api::history::{HistoryEvent, VerifyReport};
use events_schema::events::Aggregate;
use filter::{Filter, FilterBar};
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Client, use_client, use_live};
use crate::command::toast;
use crate::remote::use_remote;
use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::draft::use_draft;
use crate::widgets::heading::Heading;
use crate::widgets::paging::{Paging, Turn, newer_and_older};

/// Properties of [`History`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The one thing whose history it is; `None`: everything's.
    pub(crate) stream: Option<AttrValue>,
}

/// The timeline with its filters.
#[component]
pub(crate) fn History(props: &Props) -> Html {
    let may_verify = use_session().may_read_history();
    let filter = use_draft(Filter::default);
    let paging = use_reducer_eq(Paging::default);
    let newest = use_live().newest(&Aggregate::ALL);
    let path = format!(
        "/events{}{}&at_least={newest}",
        paging.query(),
        filter.query(props.stream.as_deref())
    );
    let events = use_remote(path, |client: Client, path| async move {
        client.get::<Page<HistoryEvent>>(&path).await
    });
    {
        // Another filter has other pages.
        let paging = paging.dispatcher();
        use_effect_with((props.stream.clone(), (*filter).clone()), move |_| {
            paging.dispatch(Turn::Search(String::new()))
        });
    }
    let none = || {
        html!(
            <EmptyState title="No events match" icon={Icon::History}>
                { "Every change shows up here the moment it is made. Widen the filters to see more." }
            </EmptyState>
        )
    };
    let (screen, title) = match &props.stream {
        Some(stream) => (
            Screen::history_of(stream),
            Some(name_of(events.state.ready().map(|page| &**page), stream)),
        ),
        None => (Screen::History, None),
    };
    html!(
        <>
            <Heading {screen} {title}>
                if props.stream.is_none() && may_verify {
                    <Verify />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section">
                <div class="sl-card">
                    <FilterBar {filter} of_one_thing={props.stream.is_some()} />
                    { events.show(none, |page| timeline(page)) }
                    { newer_and_older(&paging, events.state.ready().and_then(|page| page.next_cursor.clone())) }
                </div>
            </section>
        </>
    )
}

/// What to call the one thing: its name where an event knows it.
fn name_of(page: Option<&Page<HistoryEvent>>, stream: &str) -> AttrValue {
    let known = page.and_then(|page| {
        page.items
            .iter()
            .find_map(|event| event.subject_name.clone())
    });
    known.unwrap_or_else(|| stream.to_owned()).into()
}

fn timeline(page: &Page<HistoryEvent>) -> Html {
    html!(
        <ol class="sl-timeline">
            { for page.items.iter().map(|event| html!(<EventCard key={event.position} event={event.clone()} />)) }
        </ol>
    )
}

/// Checks the whole chain, and says what was found.
#[component]
fn Verify() -> Html {
    let client = use_client();
    let toaster = use_toaster().expect("the screens lie within a ToastViewer");
    let busy = use_state_eq(|| false);
    let onclick = {
        let busy = busy.clone();
        Callback::from(move |_: MouseEvent| {
            let (client, toaster, busy) = (client.clone(), toaster.clone(), busy.clone());
            busy.set(true);
            spawn_local(async move {
                let report = client
                    .send::<_, VerifyReport>(Method::POST, "/verify", &serde_json::json!({}))
                    .await;
                busy.set(false);
                match report {
                    Ok(report) if report.ok => {
                        let body = format!(
                            "{} rows, {} compared with the stream.",
                            report.rows, report.compared_with_events
                        );
                        toast(
                            &toaster,
                            AlertType::Success,
                            "The history is whole and unchanged",
                            &body,
                        );
                    }
                    Ok(report) => {
                        let first = report.findings.first();
                        let body = first.map(|finding| {
                            format!("Position {}: {}", finding.position, finding.detail)
                        });
                        toast(
                            &toaster,
                            AlertType::Danger,
                            "The history does not agree",
                            &body.unwrap_or_default(),
                        );
                    }
                    Err(failure) => toast(
                        &toaster,
                        AlertType::Danger,
                        "The history could not be verified",
                        &failure.to_string(),
                    ),
                }
            });
        })
    };
    html!(
        <Button variant={Variant::Secondary} icon={Icon::CheckCircle} label="Verify" busy={*busy} {onclick} />
    )
}

//! One event in the timeline; opened, what it changed.

use events_schema::api::history::{HistoryEvent, HistoryEventDetail};
use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
use yew::prelude::*;
use yew_nested_router::components::Link;

use crate::api::Client;
use crate::format;
use crate::remote::{Content, use_remote};
use crate::route::Screen;
use crate::widgets::button::{Button, Variant};
use crate::widgets::diff::{self, diff};
use crate::widgets::link::state_after;
use crate::widgets::moment::Ago;

/// Properties of [`EventCard`] and what it opens.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The event.
    pub(crate) event: HistoryEvent,
}

/// An event: what, to what, who, when, why.
#[component]
pub(crate) fn EventCard(props: &Props) -> Html {
    let event = &props.event;
    let open = use_state_eq(|| false);
    let onclick = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    let name = event
        .subject_name
        .clone()
        .unwrap_or_else(|| short_stream(&event.stream));
    html!(
        <li class={classes!("sl-event", tone(&event.kind))} data-position={event.position.to_string()} data-kind={event.kind.clone()}>
            <div class="sl-event-dot" aria-hidden="true"></div>
            <div class="sl-event-body">
                <div class="sl-event-head">
                    <strong>{ format::words(&event.kind) }</strong>
                    if event.aggregate == Aggregate::Log {
                        <span>{ &name }</span>
                    } else {
                        <Link<Screen> class="sl-name" to={Screen::history_of(&event.stream)}>{ name }</Link<Screen>>
                    }
                    <Label label={format::words(event.aggregate.as_str())} compact={true} outline={true} />
                </div>
                <div class="sl-event-meta">
                    <span>{ Icon::User }{ " " }{ event.actor_name.clone().unwrap_or_else(|| actor(&event.actor)) }</span>
                    <span><i class="fas fa-clock" aria-hidden="true"></i>{ " " }<Ago at={event.recorded_at.to_chrono()} /></span>
                    <span class="sl-mono">{ format!("#{}", event.position) }</span>
                </div>
                if let Some(why) = &event.why {
                    <blockquote class="sl-why">{ why }</blockquote>
                }
                if *open {
                    <EventDetail event={event.clone()} />
                }
            </div>
            <Button variant={Variant::Link} label={if *open { "Hide" } else { "What changed" }}
                aria_expanded={open.to_string()} {onclick} />
        </li>
    )
}

/// The ways to the state that the event led to.
fn state_links(event: &HistoryEvent) -> Html {
    let thing = event.stream.split_once('.');
    html!(
        <>
            if let Some((kind, id)) = thing {
                { state_after(event.position, &[("kind", kind), ("search", id)], "As it was then") }
            }
            { state_after(event.position, &[], "State after this event") }
        </>
    )
}

/// The colour of the dot: what adds, what takes away, what changes.
fn tone(kind: &str) -> &'static str {
    const TAKES_AWAY: [&str; 4] = ["_deleted", "_revoked", "_removed", "_disabled"];
    const ADDS: [&str; 8] = [
        "_registered",
        "_added",
        "_created",
        "_issued",
        "_granted",
        "_enabled",
        "_initialised",
        "_started",
    ];
    let ends = |endings: &[&str]| endings.iter().any(|ending| kind.ends_with(ending));
    if ends(&TAKES_AWAY) {
        "pf-m-away"
    } else if ends(&ADDS) {
        "pf-m-new"
    } else {
        "pf-m-changed"
    }
}

/// `key.0123abcd` of a stream with a long id.
fn short_stream(stream: &str) -> String {
    match stream.split_once('.') {
        Some((aggregate, id)) => format!("{aggregate}.{}", format::short_id(id)),
        None => stream.to_owned(),
    }
}

/// An actor without a name.
fn actor(actor: &str) -> String {
    match actor.split_once(':') {
        Some(("system", part)) => format::words(&part.replace('-', "_")),
        Some((kind, id)) => format!("{kind} {}", format::short_id(id)),
        None => actor.to_owned(),
    }
}

impl Content for HistoryEventDetail {}

/// What the event changed, line by line, and its place in the chain.
#[component]
fn EventDetail(props: &Props) -> Html {
    let detail = use_remote(
        props.event.position,
        |client: Client, position| async move {
            client
                .get::<HistoryEventDetail>(&format!("/events/{position}"))
                .await
        },
    );
    detail.show(Html::default, |detail| {
        let is_alert = detail.event.aggregate == Aggregate::BudgetAlert;
        // An alert changes nothing: what it says is all that there is.
        let after = detail.after.as_ref();
        let after = if is_alert { Some(&detail.event.payload) } else { after };
        let lines = diff(detail.before.as_ref(), after);
        html!(
            <div class="sl-detail">
                if lines.is_empty() {
                    <p class="sl-quiet">{ "The thing itself looks the same as before." }</p>
                } else {
                    { diff::table(&lines, ["Before", "After"]) }
                }
                <p class="sl-links">{ state_links(&detail.event) }</p>
                <dl class="sl-facts">
                    <dt>{ "Recorded" }</dt><dd>{ format::time(detail.event.recorded_at.to_chrono()) }</dd>
                    <dt>{ "Command" }</dt><dd class="sl-mono">{ detail.event.command_id.to_string() }</dd>
                    <dt>{ "Stream" }</dt><dd class="sl-mono">{ &detail.event.stream }</dd>
                    <dt>{ "Hash" }</dt><dd class="sl-mono">{ &detail.event.hash }</dd>
                </dl>
            </div>
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dot_says_whether_something_came_or_went() {
        assert_eq!(
            ["key_issued", "key_revoked", "key_relabelled"].map(tone),
            ["pf-m-new", "pf-m-away", "pf-m-changed"]
        );
    }

    #[test]
    fn those_without_a_name_are_still_told_apart() {
        assert_eq!(actor("system:command-line"), "Command line");
        assert_eq!(actor("operator:0123456789abcdef"), "operator 01234567");
        assert_eq!(short_stream("key.0123456789abcdef"), "key.01234567");
    }
}

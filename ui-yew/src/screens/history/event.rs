//! One event in the timeline; opened, what it changed.

use events_schema::api::history::{HistoryEvent, HistoryEventDetail};
use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
use yew::prelude::*;
use yew_nested_router::components::Link;

use super::diff::{Change, Line, diff};
use crate::api::Client;
use crate::format;
use crate::remote::{Content, use_remote};
use crate::route::Screen;
use crate::widgets::button::{Button, Variant};
use crate::widgets::moment::Ago;

/// Properties of [`EventCard`] and what it opens.
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The event.
    pub(super) event: HistoryEvent,
}

/// An event: what, to what, who, when, why.
#[component]
pub(super) fn EventCard(props: &Props) -> Html {
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
        let lines = diff(detail.before.as_ref(), detail.after.as_ref());
        html!(
            <div class="sl-detail">
                { lines_table(&lines) }
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

fn lines_table(lines: &[Line]) -> Html {
    if lines.is_empty() {
        return html!(<p class="sl-quiet">{ "The thing itself looks the same as before." }</p>);
    }
    let row = |line: &Line| {
        let (class, before, after) = match &line.change {
            Change::Added(after) => ("pf-m-added", None, Some(after)),
            Change::Removed(before) => ("pf-m-removed", Some(before), None),
            Change::Changed(before, after) => ("pf-m-both", Some(before), Some(after)),
        };
        html!(
            <tr {class}>
                <th scope="row">{ &line.path }</th>
                <td class="sl-before">{ for before.map(|text| html!(<del>{ text }</del>)) }</td>
                <td class="sl-after">{ for after.map(|text| html!(<ins>{ text }</ins>)) }</td>
            </tr>
        )
    };
    html!(
        <table class="sl-diff" aria-label="What changed">
            <thead><tr><th scope="col">{ "Field" }</th><th scope="col">{ "Before" }</th><th scope="col">{ "After" }</th></tr></thead>
            <tbody>{ for lines.iter().map(row) }</tbody>
        </table>
    )
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

//! What there was as of a moment: numbers, digest and event at first, then each kind of thing.
//!
//! The moment, the kind and the search stand in the address, so that a state can be linked to.

mod follow;
mod rows;
mod things;

use events_schema::api::history::{KindAt, StateSummary};
use events_schema::events::Aggregate;
use follow::use_at_least;
use patternfly_yew::prelude::*;
use things::Things;
use yew::prelude::*;

use super::history::event::EventCard;
use crate::api::{Client, use_live};
use crate::browser::{AddressQuery, use_query};
use crate::format;
use crate::query::Query;
use crate::remote::{Content, use_remote};
use crate::route::Screen;
use crate::widgets::button::{Button, Variant};
use crate::widgets::copy::CopyButton;
use crate::widgets::filter::FilterInput;
use crate::widgets::heading::Heading;
use crate::widgets::moment;
use crate::widgets::paging::encode;

impl Content for StateSummary {}

/// The screen.
#[component]
pub(crate) fn State() -> Html {
    let address = use_query();
    let newest = use_live().newest(&Aggregate::ALL);
    let when = when(&address.query);
    let at_least = use_at_least(&when, newest);
    let path = format!("/state/summary?at_least={at_least}{when}");
    let summary = use_remote(path, |client: Client, path| async move {
        client.get::<StateSummary>(&path).await
    });
    let ready = summary.state.ready().cloned();
    html!(
        <>
            <Heading screen={Screen::State} />
            <section class="pf-v6-c-page__main-section sl-stack">
                <div class="sl-card">
                    { picker(&address, ready.as_deref()) }
                    { summary.show(Html::default, |summary| overview(summary)) }
                </div>
                if let Some(summary) = ready {
                    <div class="sl-card">
                        { kinds(&address, &summary) }
                        <Things kind={kind(&address.query)} position={summary.position} is_now={is_now(&summary)}
                            recorded_at={summary.recorded_at} {address} />
                    </div>
                }
            </section>
        </>
    )
}

/// The part of a question that names the moment; begins with `&` or is empty.
fn when(query: &Query) -> String {
    let position = query.get("position").trim();
    if !position.is_empty() {
        return format!("&position={}", encode(position));
    }
    match moment::parse(query.get("at")).flatten() {
        Some(at) => format!("&at={}", encode(&at.to_string())),
        None => String::new(),
    }
}

/// The kind of thing that is shown: virtual accounts are not what one asks for first, but models are.
fn kind(query: &Query) -> Aggregate {
    match query.get("kind").parse() {
        // What is told of budgets is no thing, but of one.
        Ok(Aggregate::BudgetAlert) => Aggregate::BudgetPolicy,
        Ok(Aggregate::Log) | Err(_) => Aggregate::ProviderAccount,
        Ok(kind) => kind,
    }
}

fn is_now(summary: &StateSummary) -> bool {
    summary.position == summary.now
}

/// Chooses the moment: by position, by time, one event earlier or later, or now.
fn picker(address: &AddressQuery, summary: Option<&StateSummary>) -> Html {
    let query = &address.query;
    let to = |position: Option<u64>| {
        let (set, query) = (address.set.clone(), query.clone());
        Callback::from(move |_: MouseEvent| {
            let position = position.map(|it| it.to_string()).unwrap_or_default();
            set.emit(query.with("at", "").with("position", &position));
        })
    };
    let typed = |name: &'static str, other: &'static str| {
        let query = query.clone();
        address
            .set
            .reform(move |value: String| query.with(other, "").with(name, &value))
    };
    let shown = summary.map(|it| it.position);
    let last = summary.map_or(0, |it| it.now);
    let earlier = shown.and_then(|position| position.checked_sub(1));
    let later = shown.map(|position| position + 1).filter(|it| *it <= last);
    let here = shown.map(|position| position.to_string());
    html!(
        <div class="sl-toolbar sl-filters">
            <FilterInput name="position" label="As of position" kind="number" value={query.get("position").to_owned()} placeholder={here}
                when_done={true} onchange={typed("position", "at")} />
            <FilterInput name="at" label="Or as of a time (UTC)" kind="datetime-local" value={query.get("at").to_owned()}
                when_done={true} onchange={typed("at", "position")} />
            <div class="sl-filter-buttons">
                <Button variant={Variant::Secondary} icon={Icon::AngleLeft} aria_label="One event earlier"
                    disabled={earlier.is_none()} onclick={to(earlier)} />
                <Button variant={Variant::Secondary} icon={Icon::AngleRight} aria_label="One event later"
                    disabled={later.is_none()} onclick={to(later)} />
                <Button variant={Variant::Secondary} label="Now" onclick={to(None)} />
            </div>
        </div>
    )
}

/// Which state it is, by its position, time and digest, and the event that led to it.
fn overview(summary: &StateSummary) -> Html {
    let fact =
        |name: &'static str, value: Html| html!(<div><dt>{ name }</dt><dd>{ value }</dd></div>);
    let position = format!("#{}", summary.position);
    let recorded = summary.recorded_at.map_or_else(
        || "Before the log began".to_owned(),
        |at| format::time(at.to_chrono()),
    );
    let digest = &summary.state_digest;
    html!(
        <>
            <dl class="sl-facts sl-facts-wide sl-pad">
                { fact("Position", html!(
                    <span class="sl-labels">
                        <span class="sl-mono" data-part="position">{ position }</span>
                        if is_now(summary) {
                            <Label label="Now" color={Color::Green} compact={true} />
                        } else {
                            <span class="sl-quiet">{ format!("of {}", summary.now) }</span>
                        }
                    </span>
                )) }
                { fact("Recorded", html!(recorded)) }
                { fact("Epoch", epoch(summary)) }
                { fact("State digest", html!(
                    <span class="sl-digest">
                        <code title={digest.clone()} data-part="digest">{ digest.get(..16).unwrap_or(digest) }</code>
                        <CopyButton text={digest.clone()} label="the digest" />
                    </span>
                )) }
            </dl>
            if let Some(event) = &summary.event {
                <ol class="sl-timeline sl-one-event" aria-label="The event at this position">
                    <EventCard key={event.position} event={event.clone()} />
                </ol>
            }
        </>
    )
}

/// The epoch by its beginning, which is the time at which it began.
fn epoch(summary: &StateSummary) -> Html {
    let Some(epoch) = summary.epoch.map(|epoch| epoch.to_string()) else {
        return html!(format::NOTHING);
    };
    let begin = epoch.split('-').next().unwrap_or_default().to_owned();
    html!(<span class="sl-mono" title={epoch}>{ format!("{begin}-…") }</span>)
}

/// The kinds of things, with how many there were.
fn kinds(address: &AddressQuery, summary: &StateSummary) -> Html {
    let chosen = kind(&address.query);
    let button = |it: &KindAt| {
        let onclick = {
            let (set, query) = (address.set.clone(), address.query.clone());
            let kind = it.aggregate;
            Callback::from(move |_: MouseEvent| {
                set.emit(query.with("search", "").with("kind", kind.as_str()));
            })
        };
        let is_chosen = it.aggregate == chosen;
        let class = classes!("sl-kind", is_chosen.then_some("pf-m-selected"));
        html!(
            <button type="button" {class} aria-pressed={is_chosen.to_string()} data-kind={it.aggregate.as_str()} {onclick}>
                <span>{ format::words(&plural(it.aggregate)) }</span>
                <b>{ format::count(it.things) }</b>
                if let Some(since) = since(it) {
                    <small>{ since }</small>
                }
            </button>
        )
    };
    html!(
        <div class="sl-kinds" role="group" aria-label="Kind of thing">{ for summary.kinds.iter().map(button) }</div>
    )
}

/// The name of a kind in the plural.
fn plural(kind: Aggregate) -> String {
    match kind {
        Aggregate::RateLimitPolicy => "rate_limit_policies".to_owned(),
        Aggregate::BudgetPolicy => "budget_policies".to_owned(),
        Aggregate::Settings => kind.to_string(),
        Aggregate::Log
        | Aggregate::ProviderAccount
        | Aggregate::Model
        | Aggregate::VirtualModel
        | Aggregate::User
        | Aggregate::VirtualAccount
        | Aggregate::Key
        | Aggregate::Grant
        | Aggregate::Operator
        | Aggregate::Team
        | Aggregate::BudgetAlert => format!("{kind}s"),
    }
}

/// What has become of a kind since, in few words; `None`: nothing.
fn since(it: &KindAt) -> Option<String> {
    let parts = [
        (it.changed, "changed"),
        (it.gone, "gone"),
        (it.came, "new since"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", format::short_count(number)))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_asked_for_by_its_position_or_its_time_or_not_at_all() {
        let check = |query: &str, expected: &str| assert_eq!(when(&Query::parse(query)), expected);
        check("", "");
        check("?position=%207&at=2026-11-22T12:00", "&position=7");
        check(
            "?at=2026-11-22T12:00:05",
            "&at=2026-11-22T12%3A00%3A05.000000Z",
        );
        check("?at=yesterday", "");
    }

    #[test]
    fn what_has_become_of_a_kind_is_told_where_there_is_something_to_tell() {
        let kind = |changed, gone, came| KindAt {
            aggregate: Aggregate::Key,
            things: 9,
            changed,
            gone,
            came,
        };
        assert_eq!(since(&kind(0, 0, 0)), None);
        assert_eq!(
            since(&kind(1, 0, 1_200)).as_deref(),
            Some("1 changed, 1.20 k new since")
        );
    }
}

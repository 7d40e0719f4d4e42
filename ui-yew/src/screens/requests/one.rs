//! One request: what was asked, what was decided and why, what was tried, what it took, whose it was.

use events_schema::api::analytics::{FiredRule, NamedThing, RequestDetail};
use events_schema::api::resources::TargetItem;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::super::virtual_models::told::part;
use super::seen;
use super::told::{cost, fared, first_cost, outcome, owner, rule, stood_for, why_tried};
use super::tried::tried;
use crate::api::Client;
use crate::format;
use crate::query::Query;
use crate::remote::{Content, use_remote};
use crate::route::Screen;
use crate::widgets::copy::CopyButton;
use crate::widgets::heading::Heading;
use crate::widgets::label;
use crate::widgets::link::{To, state_after};
use crate::widgets::menu::HistoryLink;
use crate::widgets::paging::encode;

impl Content for RequestDetail {}

/// Properties of [`One`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The request's id.
    pub(crate) id: AttrValue,
}

/// The page of one request.
#[component]
pub(crate) fn One(props: &Props) -> Html {
    let id = props.id.clone();
    let detail = use_remote(id.clone(), |client: Client, id: AttrValue| async move {
        let path = format!("/analytics/requests/{}", encode(&id));
        client.get::<RequestDetail>(&path).await
    });
    let title = match detail.state.ready() {
        Some(detail) => format!("Request for {}", asked_for(detail)),
        None => "Request".to_owned(),
    };
    html!(
        <>
            <Heading screen={Screen::Request { id: id.to_string() }} {title}>
                <span class="sl-digest sl-request-id">
                    <code>{ &id }</code>
                    <CopyButton text={id.clone()} label="the request's id" />
                </span>
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                { detail.show(Html::default, |detail| content(detail)) }
            </section>
        </>
    )
}

fn content(detail: &RequestDetail) -> Html {
    let item = &detail.request;
    html!(
        <>
            <div class="sl-card sl-pad" data-part="result">{ result(detail) }</div>
            <div class="sl-card sl-pad" data-part="attempts">
                { head("What was tried") }
                { tried(&item.attempts, &why_tried(detail), item.duration_us) }
            </div>
            <div class="sl-pair">
                <div class="sl-card sl-pad" data-part="decision">
                    { head("How it was decided") }
                    { decision(detail) }
                </div>
                <div class="sl-card sl-pad" data-part="who">
                    { head("Whose it was, and where it was served") }
                    { who(detail) }
                </div>
            </div>
        </>
    )
}

fn head(title: &'static str) -> Html {
    html!(<div class="sl-card-head"><h2 class="pf-v6-c-title pf-m-md">{ title }</h2></div>)
}

fn asked_for(detail: &RequestDetail) -> &str {
    match detail.request.requested_model.as_str() {
        "" => "no model",
        model => model,
    }
}

/// What came of it, and what it took.
fn result(detail: &RequestDetail) -> Html {
    let item = &detail.request;
    let tokens = &item.tokens;
    let about = if tokens.estimated { "≈ " } else { "" };
    let fact =
        |name: &'static str, value: Html| html!(<div><dt>{ name }</dt><dd>{ value }</dd></div>);
    let count = |number: u64| html!(format!("{about}{}", format::count(number)));
    // Few requests have any of these.
    let stated = |name: &'static str, number: Option<u64>| match number {
        None | Some(0) => Html::default(),
        Some(number) => fact(name, count(number)),
    };
    let latency = |micros: Option<u64>| {
        html!(micros.map_or_else(|| format::NOTHING.to_owned(), format::latency))
    };
    html!(
        <>
            <dl class="sl-facts sl-facts-wide">
                { fact("Outcome", outcome(item)) }
                { fact("HTTP status", html!(item.status)) }
                if let Some(code) = &item.error_code {
                    { fact("Error", label::code(code)) }
                }
                { fact("Received", html!(format::time(item.received_at.to_chrono()))) }
                { fact("First byte", latency(item.first_byte_us)) }
                { fact("Last byte", latency(Some(item.duration_us))) }
                { fact("Input tokens", count(tokens.input)) }
                { fact("Of these cached", count(tokens.cached_input)) }
                { stated("Of these written to the cache", tokens.cache_write_input) }
                { stated("Of the input audio", tokens.audio_input) }
                { fact("Output tokens", count(tokens.output)) }
                { fact("Of these reasoning", count(tokens.reasoning)) }
                { stated("Of the output audio", tokens.audio_output) }
                { fact("Cost", html!(cost(item))) }
                if let Some(correction) = &item.correction {
                    { fact("Cost before its price was corrected", html!(first_cost(correction))) }
                }
                { fact("Asked for", html!(format!("{}{}", format::words(item.endpoint.as_str()), if item.streamed { ", streamed" } else { "" }))) }
            </dl>
            if let Some(correction) = &item.correction {
                <p class="sl-quiet sl-note">
                    <Label label="Corrected" color={Color::Blue} compact={true} />
                    { format!(" The price was corrected at position #{} of the history", correction.position) }
                    if let Some(model) = &detail.answered_by {
                        { ", of " }{ thing(model) }
                    }
                    { "." }
                </p>
            }
            if tokens.estimated {
                <p class="sl-quiet sl-note">
                    <Label label="Estimated" color={Color::Orange} compact={true} />
                    { " The provider gave no numbers, or not to the end: tokens and cost are the gateway's estimate." }
                </p>
            }
        </>
    )
}

/// A thing by its name, which leads to its history.
fn thing(it: &NamedThing) -> Html {
    let name = it.name.clone().unwrap_or_else(|| {
        let id = it.stream.rsplit('.').next().unwrap_or(&it.stream);
        format!("{}…", format::short_id(id))
    });
    html!(<HistoryLink {name} stream={it.stream.clone()} />)
}

/// What the name stood for, which rules fired, among what was chosen, and under which configuration.
fn decision(detail: &RequestDetail) -> Html {
    let position = detail.request.position;
    let fired = |it: &FiredRule| {
        html!(
            <li>
                { rule(it) }
                if let Some(of) = &it.of {
                    { " " }{ thing(of) }
                }
                { "." }
            </li>
        )
    };
    html!(
        <>
            <ol class="sl-steps">
                <li>
                    { "Asked for " }{ label::code(asked_for(detail)) }{ ", " }{ stood_for(detail) }
                    if let Some(resolved) = &detail.resolved {
                        { " " }{ thing(resolved) }
                    }
                    { "." }
                </li>
                { for detail.rules.iter().map(fired) }
                { for detail.limits.iter().map(|limit| html!(<li>{ seen::told(limit) }</li>)) }
                if !detail.budgets.is_empty() {
                    <li>{ "Its cost counts for the budgets:" }{ budgets(detail) }</li>
                }
                if !detail.targets.is_empty() {
                    <li>{ "Its targets as they were then:" }{ targets(detail) }</li>
                }
                <li>
                    if let Some(model) = &detail.answered_by {
                        { "Answered by " }{ thing(model) }{ "." }
                    } else {
                        { "No model answered." }
                    }
                </li>
            </ol>
            <p class="sl-quiet sl-note">
                { format!("Decided under the configuration as of position #{position}. ") }
                { state_after(position, &[], "The state as of then") }
            </p>
        </>
    )
}

fn budgets(detail: &RequestDetail) -> Html {
    let line = |it: &NamedThing| html!(<li>{ thing(it) }</li>);
    html!(<ul class="sl-targets">{ for detail.budgets.iter().map(line) }</ul>)
}

fn targets(detail: &RequestDetail) -> Html {
    let line = |(index, target): (usize, &TargetItem)| {
        let share = detail
            .chosen_by
            .as_ref()
            .map(|routing| part(routing, index));
        let fared = fared(detail, target.model);
        let answered = detail.request.target.as_deref() == Some(target.full_name.as_str());
        html!(
            <li>
                <span class="sl-share">{ share.unwrap_or_default() }</span>
                { label::code(&target.full_name) }
                if answered {
                    <Label label="Answered" color={Color::Green} compact={true} />
                }
                if let Some(fared) = fared {
                    <span class="sl-quiet">{ fared }</span>
                }
            </li>
        )
    };
    html!(<ul class="sl-targets">{ for detail.targets.iter().enumerate().map(line) }</ul>)
}

/// Who asked, with which key, what they said about it, and which gateway served it.
fn who(detail: &RequestDetail) -> Html {
    let item = &detail.request;
    let gateway = item.gateway.to_string();
    html!(
        <dl class="sl-facts">
            <dt>{ "Owner" }</dt>
            <dd>{ item.owner.as_deref().map_or_else(|| html!("Unknown"), |of| known(&owner(item), of, "owner")) }</dd>
            <dt>{ "Key" }</dt>
            <dd>{ item.key.as_deref().map_or_else(|| html!("None that works"), |key| key_of(detail, key)) }</dd>
            { for item.metadata.iter().map(|(name, value)| html!(<><dt>{ name }</dt><dd class="sl-mono">{ value }</dd></>)) }
            <dt>{ "Gateway" }</dt>
            <dd><To screen={Screen::Gateways} class="sl-name sl-mono">{ gateway.clone() }</To></dd>
            <dt>{ "Region" }</dt><dd>{ &detail.region }</dd>
            <dt>{ "Incarnation" }</dt><dd class="sl-mono">{ detail.incarnation.to_string() }</dd>
            <dt>{ "Record" }</dt><dd>{ format!("number {} of this incarnation", format::count(detail.number)) }</dd>
            <dt>{ "Epoch" }</dt>
            <dd class="sl-mono">{ detail.epoch.map_or_else(|| format::NOTHING.to_owned(), |epoch| epoch.to_string()) }</dd>
            <dt>{ "Seed of the choice" }</dt><dd class="sl-mono">{ &detail.seed }</dd>
        </dl>
    )
}

fn key_of(detail: &RequestDetail, key: &str) -> Html {
    let name = detail
        .key_label
        .clone()
        .unwrap_or_else(|| format!("{}…", format::short_id(key)));
    html!(
        <span class="sl-labels">
            <HistoryLink {name} stream={format!("key.{key}")} />
            { all_of("key", key) }
        </span>
    )
}

/// An owner by name, with the ways to the history and to all requests.
fn known(name: &str, of: &str, filter: &'static str) -> Html {
    html!(
        <span class="sl-labels">
            <HistoryLink name={name.to_owned()} stream={of.replacen(':', ".", 1)} />
            { all_of(filter, of) }
        </span>
    )
}

fn all_of(filter: &'static str, value: &str) -> Html {
    html!(
        <To screen={Screen::Requests} query={Query::of([(filter, value)])} class="sl-name sl-quiet">{ "all requests" }</To>
    )
}

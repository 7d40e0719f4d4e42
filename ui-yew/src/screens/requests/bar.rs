//! The filters above the log of requests: each change goes to the address, from which everything else follows.

use events_schema::api::status::GatewayItem;
use events_schema::usage::Outcome;
use patternfly_yew::prelude::Icon;
use yew::prelude::*;

use super::filter::{BETWEEN, DEFAULT_RANGE, filters};
use crate::api::Client;
use crate::browser::AddressQuery;
use crate::format;
use crate::query::Query;
use crate::range::Range;
use crate::remote::use_remote;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{ChooserFilter, LIMITS, List, OWNERS, Source};
use crate::widgets::field::{Choice, Select};
use crate::widgets::filter::{FilterInput, offered};
use crate::widgets::reference;

/// What is chosen for "all that did not end well".
const FAILED: &str = "failed";

/// The filters that are out of sight until they are wanted.
const MORE: [&str; 8] = [
    "key",
    "requested_model",
    "status",
    "streamed",
    "gateway",
    "exceeded",
    "audited",
    "error_code",
];

/// What can have answered.
const TARGETS: Source = Source {
    fixed: &[],
    lists: &[List::ModelNames],
};

/// The keys.
const KEYS: Source = Source {
    fixed: &[],
    lists: &[List::Keys],
};

/// Properties of [`Bar`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The address.
    pub(super) address: AddressQuery,
}

/// All filters.
#[component]
pub(super) fn Bar(props: &Props) -> Html {
    let AddressQuery { query, .. } = &props.address;
    let edit = |name: &'static str| props.address.edit(name);
    let clear = props.address.set.reform(|_: MouseEvent| Query::default());
    html!(
        <div class="sl-toolbar sl-filters">
            { time(&props.address) }
            <ChooserFilter name="owner" label="Owner" any="Anybody" source={OWNERS} value={query.get("owner").to_owned()}
                onchange={edit("owner")} />
            <ChooserFilter name="target" label="Answered by" any="Any model" source={TARGETS} value={query.get("target").to_owned()}
                onchange={edit("target")} />
            { outcome(&props.address) }
            <FilterInput name="request" label="Request" placeholder="Its id, or how it begins"
                value={query.get("request").to_owned()} onchange={edit("request")} />
            if filters(query) > 0 || !query.get("range").is_empty() {
                <Button variant={Variant::Link} icon={Icon::Times} label="Clear filters" onclick={clear} />
            }
            <More address={props.address.clone()} />
        </div>
    )
}

/// The filters that are wanted less often.
#[component]
fn More(props: &Props) -> Html {
    let AddressQuery { query, .. } = &props.address;
    let edit = |name: &'static str| props.address.edit(name);
    // The address and the ledger know a key by its id alone.
    let key = match query.get("key") {
        "" => AttrValue::default(),
        id => reference::of("key", id),
    };
    let to_key = edit("key").reform(|value: String| reference::id(&value).to_owned());
    let gateways = use_remote((), |client: Client, ()| async move {
        client.get::<Vec<GatewayItem>>("/gateways").await
    });
    let known = gateways
        .state
        .ready()
        .map(|all| (**all).clone())
        .unwrap_or_default();
    let gateways = known.iter().map(|item| {
        let id = item.report.gateway.to_string();
        Choice {
            label: format!("{} ({})", format::short_id(&id), item.report.region).into(),
            value: id.into(),
        }
    });
    let streamed = [("true", "Streamed"), ("false", "In one piece")].map(choice);
    let audited = [
        ("true", "Would be refused"),
        ("false", "Would not be refused"),
    ]
    .map(choice);
    let select =
        |name: &'static str, label: &'static str, any: &'static str, choices: Vec<Choice>| {
            let value = query.get(name).to_owned();
            let choices = offered(choices, &value);
            html!(
                <label class="sl-filter">
                    <span>{ label }</span>
                    <Select {name} placeholder={any} {value} {choices} onchange={edit(name)} />
                </label>
            )
        };
    let is_used = MORE.iter().any(|name| !query.get(name).is_empty());
    // A value opens it; that the last one was deleted does not close it under the hand that types another.
    let was_used = use_state_eq(|| is_used);
    {
        let was_used = was_used.setter();
        use_effect_with(is_used, move |is_used| {
            if *is_used {
                was_used.set(true);
            }
        });
    }
    html!(
        <details class="sl-more sl-more-filters" open={is_used || *was_used}>
            <summary>{ "More filters" }</summary>
            <div class="sl-filters">
                <FilterInput name="requested_model" label="Asked for" placeholder="chat"
                    value={query.get("requested_model").to_owned()} onchange={edit("requested_model")} />
                <ChooserFilter name="key" label="Key" any="Any" source={KEYS} value={key} onchange={to_key} />
                <FilterInput name="status" label="HTTP status" placeholder="503" kind="number"
                    value={query.get("status").to_owned()} onchange={edit("status")} />
                { select("streamed", "Answer", "Either way", streamed.into()) }
                { select("gateway", "Gateway", "Any", gateways.collect()) }
                <ChooserFilter name="exceeded" label="Limit reached" any="Any, or none" source={LIMITS}
                    value={query.get("exceeded").to_owned()} onchange={edit("exceeded")} />
                { select("audited", "Audits", "Either way", audited.into()) }
                <FilterInput name="error_code" label="Error code" placeholder="model_not_found"
                    value={query.get("error_code").to_owned()} onchange={edit("error_code")} />
            </div>
        </details>
    )
}

fn choice((value, label): (&'static str, &'static str)) -> Choice {
    Choice {
        value: value.into(),
        label: label.into(),
    }
}

/// How far back, or between which moments.
fn time(address: &AddressQuery) -> Html {
    let query = &address.query;
    let chosen = match query.get("range") {
        "" => DEFAULT_RANGE.name(),
        range => range,
    };
    let ranges = Range::ALL.into_iter().map(|(range, label)| Choice {
        value: range.name().into(),
        label: format!("Last {label}").into(),
    });
    let between = std::iter::once(choice((BETWEEN, "Between …")));
    let edge = |name: &'static str, label: &'static str| {
        html!(
            <FilterInput {name} {label} kind="datetime-local" value={query.get(name).to_owned()}
                when_done={true} onchange={address.edit(name)} />
        )
    };
    html!(
        <>
            <label class="sl-filter">
                <span>{ "Time" }</span>
                <Select name="range" value={chosen.to_owned()} choices={ranges.chain(between).collect::<Vec<_>>()}
                    onchange={address.edit("range")} />
            </label>
            if chosen == BETWEEN {
                { edge("from", "From (UTC)") }
                { edge("to", "To (UTC)") }
            }
        </>
    )
}

/// How it ended: in one way, or in any that is not good.
fn outcome(address: &AddressQuery) -> Html {
    let query = &address.query;
    let chosen = if query.get("failed") == "true" {
        FAILED
    } else {
        query.get("outcome")
    };
    let all = Outcome::ALL.into_iter().map(|outcome| Choice {
        value: outcome.as_str().into(),
        label: format::words(outcome.as_str()).into(),
    });
    let failed = std::iter::once(choice((FAILED, "Anything but success")));
    let onchange = {
        let query = query.clone();
        address
            .set
            .reform(move |chosen: String| match chosen.as_str() {
                FAILED => query.with("outcome", "").with("failed", "true"),
                outcome => query.with("failed", "").with("outcome", outcome),
            })
    };
    html!(
        <label class="sl-filter">
            <span>{ "Outcome" }</span>
            <Select name="outcome" placeholder="Any" value={chosen.to_owned()} choices={failed.chain(all).collect::<Vec<_>>()}
                {onchange} />
        </label>
    )
}

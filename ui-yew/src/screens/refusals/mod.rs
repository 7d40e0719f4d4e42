//! What was refused, by what and for whom, and what would have been: filtered by what stands in the address.

mod table;

use chrono::{DateTime, Utc};
use events_schema::api::analytics::{RefusalEffect, Refusals};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use self::table::{effect_name, table};
use crate::api::Client;
use crate::browser::{AddressQuery, now, use_query};
use crate::format;
use crate::query::Query;
use crate::range::Range;
use crate::remote::{Content, use_polled};
use crate::route::Screen;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{ChooserFilter, LIMITS, OWNERS};
use crate::widgets::field::{Choice, Select};
use crate::widgets::heading::Heading;
use crate::widgets::paging::encode;

/// How long after its last answer it is asked again, in milliseconds.
const REFRESH_MS: u32 = 5_000;

/// The time range, where the address names none.
const DEFAULT_RANGE: Range = Range::Day;

/// The filters that go to the control plane under the names that they have in the address.
const PASSED_ON: [&str; 3] = ["owner", "by", "effect"];

impl Content for Refusals {}

/// Filters, sums, and a table of who was refused by what.
#[component]
pub(crate) fn RefusalsScreen() -> Html {
    let address = use_query();
    let refusals = use_polled(
        address.query.clone(),
        Some(REFRESH_MS),
        |client: Client, query: Query| async move {
            let path = format!("/analytics/refusals?{}", question(&query, now()));
            client.get::<Refusals>(&path).await
        },
    );
    let query = address.query.clone();
    html!(
        <>
            <Heading screen={Screen::Refusals} />
            <section class="pf-v6-c-page__main-section sl-stack">
                { refusals.show(Html::default, |it| sums(it)) }
                <div class="sl-card">
                    { bar(&address) }
                    { refusals.show(Html::default, |it| if it.items.is_empty() {
                        none()
                    } else {
                        table(it, &query)
                    }) }
                </div>
            </section>
        </>
    )
}

/// The query of the question, from `from=`.
fn question(query: &Query, now: DateTime<Utc>) -> String {
    let mut text = range(query).window(now).query();
    for name in PASSED_ON {
        let value = query.get(name);
        if !value.is_empty() {
            text.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    text
}

fn range(query: &Query) -> Range {
    Range::named(query.get("range")).unwrap_or(DEFAULT_RANGE)
}

fn none() -> Html {
    html!(
        <EmptyState title="Nothing was refused" icon={Icon::CheckCircle}>
            { "In this time nothing stood in the way of a request that matches the filters." }
        </EmptyState>
    )
}

fn sums(it: &Refusals) -> Html {
    let tile = |name: &'static str, number: u64, detail: String| {
        html!(
            <div class="sl-tile" data-tile={name}>
                <div class="sl-tile-name">{ name }</div>
                <div class="sl-tile-figure">{ format::count(number) }</div>
                <div class="sl-tile-detail"><span>{ detail }</span></div>
            </div>
        )
    };
    let share = |number: u64| match it.requests {
        0 => "of no requests".to_owned(),
        all => format!("{} of the requests", format::share(number, all)),
    };
    html!(
        <div class="sl-tiles">
            { tile("Requests", it.requests, String::new()) }
            { tile("Refused", it.refused, share(it.refused)) }
            { tile("Would be refused", it.audited, "by policies that only audit".to_owned()) }
            { tile("Led elsewhere", it.diverted, "a target's limit was reached".to_owned()) }
        </div>
    )
}

fn bar(address: &AddressQuery) -> Html {
    let query = &address.query;
    let clear = address.set.reform(|_: MouseEvent| Query::default());
    let ranges = Range::ALL.into_iter().map(|(range, label)| Choice {
        value: range.name().into(),
        label: format!("Last {label}").into(),
    });
    let effects = RefusalEffect::ALL.into_iter().map(|effect| Choice {
        value: effect.as_str().into(),
        label: effect_name(effect).into(),
    });
    html!(
        <div class="sl-toolbar sl-filters">
            <label class="sl-filter">
                <span>{ "Time" }</span>
                <Select name="range" value={range(query).name()} choices={ranges.collect::<Vec<_>>()} onchange={address.edit("range")} />
            </label>
            <label class="sl-filter">
                <span>{ "What happened" }</span>
                <Select name="effect" placeholder="Anything" value={query.get("effect").to_owned()}
                    choices={effects.collect::<Vec<_>>()} onchange={address.edit("effect")} />
            </label>
            <ChooserFilter name="by" label="By" any="Anything" source={LIMITS} value={query.get("by").to_owned()}
                onchange={address.edit("by")} />
            <ChooserFilter name="owner" label="Owner" any="Anybody" source={OWNERS} value={query.get("owner").to_owned()}
                onchange={address.edit("owner")} />
            if !query.is_empty() {
                <Button variant={Variant::Link} icon={Icon::Times} label="Clear filters" onclick={clear} />
            }
        </div>
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_chosen_is_asked_for() {
        let now = "2026-11-22T12:00:30Z".parse().expect("a time");
        let hour = "from=2026-11-22T11%3A01%3A00.000000Z&to=2026-11-22T12%3A01%3A00.000000Z";
        assert_eq!(question(&Query::parse("?range=1h&colour=blue"), now), hour);
        assert_eq!(
            question(
                &Query::parse("?range=1h&effect=audited&by=budget_policy:00"),
                now
            ),
            format!("{hour}&by=budget_policy%3A00&effect=audited")
        );
    }
}

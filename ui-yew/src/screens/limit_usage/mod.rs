//! How limits and budgets stand over all gateways, as it changes.

pub(crate) mod alerts;

use alerts::BudgetAlerts;
use events_schema::api::limits::{LimitAmount, LimitUsage, LimitUsageItem};
use events_schema::usage::{LimitOf, LimitPeriod};
use patternfly_yew::prelude::*;
use uuid::Uuid;
use yew::prelude::*;

use crate::api::Client;
use crate::browser::{AddressQuery, use_query};
use crate::format;
use crate::remote::{Content, use_polled};
use crate::route::Screen;
use crate::widgets::heading::Heading;
use crate::widgets::menu::HistoryLink;
use crate::widgets::toggle::toggle;

/// How long after its last answer it is asked again, in milliseconds: it is told once a second.
const REFRESH_MS: u32 = 1_500;
/// From this part of a limit on, in percent, it is said in colour that little is left.
const CLOSE_PERCENT: u64 = 75;

impl Content for LimitUsage {}

/// Budgets, then rate limits; of each those first that are used most.
#[component]
pub(crate) fn LimitUsageScreen() -> Html {
    let address = use_query();
    let least = least(address.query.get("percent"));
    let usage = use_polled(
        least,
        Some(REFRESH_MS),
        |client: Client, least: u64| async move {
            let path = format!("/limit-usage?percent={least}");
            client.get::<LimitUsage>(&path).await
        },
    );
    html!(
        <>
            <Heading screen={Screen::LimitUsage}>{ switch(&address, least) }</Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                <BudgetAlerts />
                { usage.show(Html::default, |usage| shown(usage, least)) }
            </section>
        </>
    )
}

/// Of whose limit at least so many percent are used, in words.
const LEAST: [(u64, &str); 4] = [
    (0, "All"),
    (CLOSE_PERCENT, "From 75 %"),
    (90, "From 90 %"),
    (100, "Used up"),
];

/// What is chosen, as the address says it; else all.
fn least(text: &str) -> u64 {
    let wanted = text.parse().unwrap_or(0);
    let known = LEAST.iter().map(|(percent, _)| *percent);
    known
        .filter(|percent| *percent <= wanted)
        .max()
        .unwrap_or(0)
}

fn switch(address: &AddressQuery, least: u64) -> Html {
    let option = |(percent, label): (u64, &'static str)| {
        let text = match percent {
            0 => String::new(),
            _ => percent.to_string(),
        };
        let choose = address.edit("percent");
        let onclick = Callback::from(move |_: MouseEvent| choose.emit(text.clone()));
        toggle(label, least == percent, onclick)
    };
    html!(
        <div class="pf-v6-c-toggle-group" role="group" aria-label="How much is used">{ for LEAST.into_iter().map(option) }</div>
    )
}

fn shown(usage: &LimitUsage, least: u64) -> Html {
    let is_budget = |it: &&LimitUsageItem| matches!(it.of, LimitOf::BudgetPolicy(_));
    let (budgets, rates): (Vec<_>, Vec<_>) = usage.items.iter().partition(is_budget);
    html!(
        <>
            if usage.rates_at.is_none() || usage.budgets_at.is_none() {
                <Alert inline={true} r#type={AlertType::Warning} title="Nobody tells how limits stand">
                    { "The worker that deals out limits has not been heard of for ten seconds. Gateways go on with what they have." }
                </Alert>
            }
            { part("Budgets", &budgets, usage.budgets, least, "No budget has counted anything in its window.") }
            { part("Rate limits", &rates, usage.rates, least, "No rate limit has counted anything in its window.") }
        </>
    )
}

fn part(
    title: &'static str,
    items: &[&LimitUsageItem],
    all: u64,
    least: u64,
    none: &'static str,
) -> Html {
    let listed = items.len() as u64;
    let none = match least {
        0 => none.to_owned(),
        _ => format!("Of none {least} % are used."),
    };
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ title }</h2>
                <Label label={format!("{} in use", format::count(all))} compact={true} />
            </div>
            if items.is_empty() {
                <p class="sl-quiet">{ none }</p>
            } else {
                <ul class="sl-usage">{ for items.iter().map(|it| line(it)) }</ul>
            }
            if listed < all && least == 0 {
                <p class="sl-quiet sl-note">
                    { format!("Of {} counters the {} are shown that are used most.", format::count(all), format::count(listed)) }
                </p>
            }
        </div>
    )
}

fn line(item: &LimitUsageItem) -> Html {
    let at_a_time = item.period == LimitPeriod::AtATime;
    let at_least = if item.is_lower_bound { "at least " } else { "" };
    // Each window is a line of its own; what is under way has none.
    let began_at = (!at_a_time).then_some(item.began_at);
    let key = format!(
        "{}{:?}{:?}{:?}{began_at:?}",
        item.segment,
        item.of,
        item.period,
        std::mem::discriminant(&item.limit)
    );
    html!(
        <li key={key}>
            <div class="sl-usage-head">
                <span class="sl-usage-name">{ whose(item) }</span>
                <span class="sl-mono">{ format!("{at_least}{} of {} {}", amount(item.used), amount_and_unit(item.limit), window(item.period)) }</span>
            </div>
            { bar(item) }
            <div class="sl-usage-foot sl-quiet">
                <span>
                    { format!("{} %", item.percent) }
                    if !nothing_of(item.held) {
                        { format!(", {} of it lent to gateways or under way", amount(item.held)) }
                    }
                </span>
                if let Some(threshold) = item.alert {
                    { alerts::badge(threshold) }
                }
                if item.is_lower_bound {
                    <span>{ "Records are still arriving" }</span>
                }
                if !nothing_of(item.overshot) {
                    <Label label={format!("{} over", amount_and_unit(item.overshot))} color={Color::Red} compact={true} />
                }
                if !nothing_of(item.refused) {
                    <Label label={format!("{} refused", amount_and_unit(item.refused))} color={Color::Orange} compact={true} />
                }
                if at_a_time {
                    <span>{ "Under way now" }</span>
                } else {
                    <span>{ format!("Free again {}", format::time(item.ends_at.to_chrono())) }</span>
                }
            </div>
        </li>
    )
}

fn whose(item: &LimitUsageItem) -> Html {
    let stream = match item.of {
        LimitOf::Key(id) => format!("key.{id}"),
        LimitOf::RateLimitPolicy(id) => format!("rate_limit_policy.{id}"),
        LimitOf::BudgetPolicy(id) => format!("budget_policy.{id}"),
    };
    let name = item.name.clone().unwrap_or_else(|| "gone".to_owned());
    html!(
        <>
            <HistoryLink {name} {stream} />
            { of_counter(item.segment_name.as_deref(), item.segment) }
        </>
    )
}

/// Whose counter it is, after a name; nothing where all share one.
fn of_counter(name: Option<&str>, segment: Uuid) -> Html {
    match counter(name, segment) {
        None => Html::default(),
        Some(Counter::Called(name)) => html!(<>{ " · " }{ name }</>),
        Some(Counter::Unknown(id)) => {
            let title = format!("The counter {id}: no request that counted there was found");
            html!(<>{ " · " }<span class="sl-quiet" {title}>{ "unknown" }</span></>)
        }
    }
}

/// Whose counter it is.
#[derive(Debug, PartialEq, Eq)]
enum Counter {
    /// It has a name.
    Called(String),
    /// There is no more than its id: nobody has found a request that counted there.
    Unknown(String),
}

/// `None`: all share one.
fn counter(name: Option<&str>, segment: Uuid) -> Option<Counter> {
    let is_all = |byte| segment.as_bytes().iter().all(|it| *it == byte);
    match name {
        Some(name) => Some(Counter::Called(name.to_owned())),
        None if segment.is_nil() => None,
        None if is_all(0xff) => Some(Counter::Called("requests without one".to_owned())),
        None if is_all(0xfe) => Some(Counter::Called("all others".to_owned())),
        None => Some(Counter::Unknown(segment.simple().to_string())),
    }
}

fn bar(item: &LimitUsageItem) -> Html {
    let used = part_of(item.used, item.limit).min(100);
    let taken = item.percent.min(100);
    let state = match item.percent {
        100.. => "sl-full",
        CLOSE_PERCENT.. => "sl-close",
        _ => "sl-free",
    };
    let label = format!("{} percent", item.percent);
    html!(
        <svg class={classes!("sl-bar", state)} viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label={label}>
            <rect class="sl-bar-all" width="100" height="4" />
            <rect class="sl-bar-held" width={taken.to_string()} height="4" />
            <rect class="sl-bar-used" width={used.to_string()} height="4" />
        </svg>
    )
}

const fn number(amount: LimitAmount) -> u64 {
    match amount {
        LimitAmount::Requests(number) | LimitAmount::Tokens(number) => number,
        LimitAmount::Cost(cost) => cost.nanos(),
    }
}

const fn nothing_of(amount: LimitAmount) -> bool {
    number(amount) == 0
}

fn part_of(amount: LimitAmount, of: LimitAmount) -> u64 {
    let percent = u128::from(number(amount)) * 100 / u128::from(number(of).max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn amount(amount: LimitAmount) -> String {
    match amount {
        LimitAmount::Requests(number) | LimitAmount::Tokens(number) => format::count(number),
        LimitAmount::Cost(cost) => format::usd(cost.nanos()),
    }
}

fn amount_and_unit(of: LimitAmount) -> String {
    match of {
        LimitAmount::Requests(_) => format!("{} requests", amount(of)),
        LimitAmount::Tokens(_) => format!("{} tokens", amount(of)),
        LimitAmount::Cost(_) => amount(of),
    }
}

const fn window(period: LimitPeriod) -> &'static str {
    match period {
        LimitPeriod::Minute => "a minute",
        LimitPeriod::Hour => "an hour",
        LimitPeriod::Day => "a day",
        LimitPeriod::Week => "a week",
        LimitPeriod::Month => "a month",
        LimitPeriod::Quarter => "a quarter",
        LimitPeriod::AtATime => "at a time",
    }
}

#[cfg(test)]
mod tests {
    use events_schema::money::NanoUsd;

    use super::*;

    #[test]
    fn what_the_address_asks_for_is_one_of_the_choices() {
        assert_eq!(["", "x", "74"].map(least), [0; 3]);
        assert_eq!(["75", "95", "100", "400"].map(least), [75, 90, 100, 100]);
    }

    #[test]
    fn a_counter_without_a_name_is_unknown_unless_it_stands_for_something() {
        let called = |name: &str| Some(Counter::Called(name.to_owned()));
        assert_eq!(counter(None, Uuid::nil()), None);
        assert_eq!(counter(Some("Bob"), Uuid::max()), called("Bob"));
        let told = |byte| counter(None, Uuid::from_bytes([byte; 16]));
        assert_eq!(told(0xff), called("requests without one"));
        assert_eq!(told(0xfe), called("all others"));
        let id = "ab".repeat(16);
        assert_eq!(told(0xab), Some(Counter::Unknown(id)));
    }

    #[test]
    fn an_amount_is_told_in_its_unit_and_a_part_never_runs_over() {
        let dollars = LimitAmount::Cost(NanoUsd::new(2_500_000_000));
        assert_eq!(amount_and_unit(dollars), format::usd(2_500_000_000));
        assert_eq!(
            amount_and_unit(LimitAmount::Requests(1_200)),
            format!("{} requests", format::count(1_200))
        );
        assert_eq!(
            part_of(LimitAmount::Tokens(u64::MAX), LimitAmount::Tokens(0)),
            u64::MAX
        );
        assert_eq!(
            part_of(LimitAmount::Tokens(50), LimitAmount::Tokens(200)),
            25
        );
    }
}

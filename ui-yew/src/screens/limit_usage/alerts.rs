//! Which thresholds budgets have reached, in windows that are not over.

use events_schema::api::Page;
use events_schema::api::limits::BudgetAlertItem;
use events_schema::events::BudgetAmount;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::of_counter;
use crate::api::Client;
use crate::format;
use crate::remote::use_polled;
use crate::route::Screen;
use crate::screens::rules::Limit as _;
use crate::widgets::link::To;
use crate::widgets::menu::HistoryLink;
use crate::widgets::moment::Ago;

/// How long after their last answer they are asked for again, in milliseconds.
const REFRESH_MS: u32 = 3_000;
/// How many are shown.
const SHOWN: u32 = 100;
/// How many are shown beside other things.
const SHOWN_BRIEFLY: u32 = 3;

/// Properties of [`BudgetAlerts`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Whether only the highest are shown, with the way to the others.
    #[prop_or_default]
    pub(crate) brief: bool,
}

/// The alerts, the highest threshold first; nothing where there is none.
#[component]
pub(crate) fn BudgetAlerts(props: &Props) -> Html {
    let shown = if props.brief { SHOWN_BRIEFLY } else { SHOWN };
    let alerts = use_polled(
        shown,
        Some(REFRESH_MS),
        |client: Client, shown| async move {
            let path = format!("/budget-alerts?limit={shown}");
            client.get::<Page<BudgetAlertItem>>(&path).await
        },
    );
    match alerts.state.ready() {
        Some(page) if !page.items.is_empty() => card(page, props.brief),
        // What stands beside it says why nothing can be loaded.
        Some(_) | None => Html::default(),
    }
}

fn card(page: &Page<BudgetAlertItem>, brief: bool) -> Html {
    let has_more = page.next_cursor.is_some();
    html!(
        <div class="sl-card sl-pad" data-part="budget-alerts">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-md">{ "Budget alerts" }</h2>
                if brief {
                    <To screen={Screen::LimitUsage} class="sl-name sl-end">
                        { if has_more { "All alerts" } else { "Limits in use" } }
                    </To>
                }
            </div>
            <ul class="sl-usage">{ for page.items.iter().map(line) }</ul>
            if has_more && !brief {
                <p class="sl-quiet sl-note">
                    { format!("The {SHOWN} highest are shown. Each is an event in the history, and ") }
                    <code class="sl-code">{ "GET /budget-alerts" }</code>{ " lists all." }
                </p>
            }
        </div>
    )
}

fn line(alert: &BudgetAlertItem) -> Html {
    let stream = format!("budget_alert.{}", alert.policy);
    html!(
        <li key={alert.position.to_string()}>
            <div class="sl-usage-head">
                <span class="sl-usage-name">
                    { badge(alert.threshold) }{ " " }
                    <HistoryLink name={alert.policy_name.clone()} {stream} />
                    { of_counter(alert.segment_name.as_deref(), alert.segment) }
                </span>
                <span class="sl-mono">{ format!("{} of {}", amount(alert.used), alert.limit.told()) }</span>
            </div>
            <div class="sl-usage-foot sl-quiet">
                <span>{ "Reached " }<Ago at={alert.raised_at.to_chrono()} /></span>
                <span>{ format!("Until {}", format::time(alert.ends_at.to_chrono())) }</span>
            </div>
        </li>
    )
}

/// That a threshold was reached, the more urgent the higher it is.
pub(crate) fn badge(threshold: u8) -> Html {
    let color = match threshold {
        100.. => Color::Red,
        90..100 => Color::Orange,
        _ => Color::Yellow,
    };
    html!(<Label label={told(threshold)} {color} compact={true} icon={Icon::ExclamationTriangle} />)
}

fn told(threshold: u8) -> String {
    format!("{threshold}\u{a0}% reached")
}

fn amount(amount: BudgetAmount) -> String {
    match amount {
        BudgetAmount::Cost(cost) => format::usd(cost.nanos()),
        BudgetAmount::Tokens(tokens) => format::count(tokens),
    }
}

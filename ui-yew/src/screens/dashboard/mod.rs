//! What passes through the gateways, over time.

mod charts;
mod recent;
mod tiles;

use events_schema::api::analytics::{GroupBy, Series, Summary};
use events_schema::api::status::Status;
use patternfly_yew::prelude::*;
use yew::prelude::*;
use yew_nested_router::prelude::*;

use crate::api::Client;
use crate::browser::now;
use crate::format;
use crate::range::{Range, Window};
use crate::remote::{Content, Remote, use_polled};
use crate::route::Screen;
use crate::screens::limit_usage::alerts::BudgetAlerts;
use crate::widgets::heading::Heading;
use crate::widgets::toggle::toggle;

/// How long after their last answer the figures are asked for again, in milliseconds.
const REFRESH_MS: u32 = 3_000;

impl Content for Summary {}

/// Figures over time, with the window that they lie in.
struct Drawn {
    window: Window,
    series: Series,
}

impl Content for Drawn {}

/// Range and split, figures, charts, and the newest requests.
#[component]
pub(crate) fn Dashboard() -> Html {
    let range = use_state_eq(|| Range::Hour);
    let group_by = use_state_eq(|| GroupBy::None);
    let status = use_polled((), Some(REFRESH_MS), |client: Client, ()| async move {
        client.get::<Status>("/status").await
    });
    // The window goes on with the time, and is therefore not the key: that would change without end.
    let summary = use_polled(
        *range,
        Some(REFRESH_MS),
        |client: Client, range: Range| async move {
            let window = range.window(now());
            let path = format!("/analytics/summary?{}", window.query());
            client.get::<Summary>(&path).await
        },
    );
    let drawn = use_polled(
        (*range, *group_by),
        Some(REFRESH_MS),
        |client: Client, (range, group_by): (Range, GroupBy)| async move {
            let window = range.window(now());
            let path = format!(
                "/analytics/series?{}&by={}",
                window.series_query(),
                by(group_by)
            );
            let series = client.get::<Series>(&path).await?;
            Ok(Drawn { window, series })
        },
    );
    html!(
        <>
            <Heading screen={Screen::Dashboard}>
                { group_switch(&group_by) }
                { range_switch(&range) }
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                { ledger_error(&status.state).unwrap_or_default() }
                <BudgetAlerts brief={true} />
                { summary.show(Html::default, |summary| match summary.records_since {
                    None => html!(<FirstSteps />),
                    Some(since) => html!(
                        <>
                            <p class="sl-quiet sl-since">{ Icon::Database }{ format!(" Records since {}", format::time(since.to_chrono())) }</p>
                            { tiles::tiles(summary) }
                            { drawn.show(Html::default, |drawn| charts::charts(&drawn.series, drawn.window, *group_by)) }
                            <recent::Recent range={*range} pause_ms={REFRESH_MS} />
                        </>
                    ),
                }) }
            </section>
        </>
    )
}

/// The question's word for a split.
const fn by(group: GroupBy) -> &'static str {
    match group {
        GroupBy::None => "none",
        GroupBy::Model => "model",
        GroupBy::Owner => "owner",
    }
}

/// Says when the ledger cannot be asked.
fn ledger_error(status: &Remote<Status>) -> Option<Html> {
    let error = status.ready()?.ledger_error.clone()?;
    Some(html!(
        <Alert inline={true} r#type={AlertType::Warning} title="The ledger is away: figures are missing or old">
            { error }
            { " Requests go on; their records wait and show up here when it is back." }
        </Alert>
    ))
}

/// What to do when nothing has passed through yet.
#[component]
fn FirstSteps() -> Html {
    let router = use_router::<Screen>().expect("the screens lie within the router");
    let to = |screen: Screen| {
        let router = router.clone();
        Callback::from(move |()| router.push(screen.clone()))
    };
    html!(
        <div class="sl-card">
            <EmptyState title="No requests yet" icon={Icon::TachometerAlt}
                primary={Action::new("Open the playground", to(Screen::Playground))}
                secondaries={vec![Action::new("Issue a key", to(Screen::Keys))]}>
                { "Send the first one from the playground, or issue a key and point OpenAI's SDK at the gateway. It shows up \
                   here within seconds." }
            </EmptyState>
        </div>
    )
}

fn range_switch(range: &UseStateHandle<Range>) -> Html {
    let option = |(choice, label): &(Range, &'static str)| {
        let choice = *choice;
        let setter = range.setter();
        toggle(
            label,
            **range == choice,
            Callback::from(move |_| setter.set(choice)),
        )
    };
    html!(
        <div class="pf-v6-c-toggle-group" role="group" aria-label="Time range">{ for Range::ALL.iter().map(option) }</div>
    )
}

fn group_switch(group_by: &UseStateHandle<GroupBy>) -> Html {
    const CHOICES: [(GroupBy, &str); 3] = [
        (GroupBy::None, "Total"),
        (GroupBy::Model, "By model"),
        (GroupBy::Owner, "By owner"),
    ];
    let option = |(choice, label): (GroupBy, &'static str)| {
        let setter = group_by.setter();
        toggle(
            label,
            **group_by == choice,
            Callback::from(move |_| setter.set(choice)),
        )
    };
    html!(
        <div class="pf-v6-c-toggle-group" role="group" aria-label="Split by">{ for CHOICES.into_iter().map(option) }</div>
    )
}

//! The figures of the whole range, beside those of the range before.

use events_schema::api::analytics::{Figures, Summary};
use yew::prelude::*;

use crate::format;

/// Whether more of something is good.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Neutral,
    Bad,
}

/// Requests, tokens, cost, errors, latency.
pub(super) fn tiles(summary: &Summary) -> Html {
    let (now, before) = (&summary.total, &summary.before);
    let tokens = |figures: &Figures| figures.input_tokens.saturating_add(figures.output_tokens);
    let detail = format!(
        "{} in · {} out",
        format::short_count(now.input_tokens),
        format::short_count(now.output_tokens)
    );
    html!(
        <div class="sl-tiles">
            { tile("Requests", format::count(now.requests), None, change(now.requests, before.requests), More::Neutral) }
            { tile("Tokens", format::short_count(tokens(now)), Some(detail), change(tokens(now), tokens(before)), More::Neutral) }
            { tile("Cost", format::usd(now.cost.nanos()), None, change(now.cost.nanos(), before.cost.nanos()), More::Neutral) }
            { tile("Errors", format::share(now.errors, now.requests), Some(of_requests(now.errors)),
                change(now.errors, before.errors), More::Bad) }
            { tile("Latency", latency(now), percentiles(now),
                change(now.p50_us, before.p50_us), More::Bad) }
        </div>
    )
}

fn latency(figures: &Figures) -> String {
    if figures.requests == 0 {
        format::NOTHING.to_owned()
    } else {
        format::latency(figures.p50_us)
    }
}

fn of_requests(number: u64) -> String {
    match number {
        1 => "1 request".to_owned(),
        number => format!("{} requests", format::count(number)),
    }
}

fn percentiles(figures: &Figures) -> Option<String> {
    (figures.requests > 0).then(|| {
        let (p95, p99) = (
            format::latency(figures.p95_us),
            format::latency(figures.p99_us),
        );
        format!("p95 {p95} · p99 {p99}")
    })
}

fn tile(
    name: &'static str,
    figure: String,
    detail: Option<String>,
    change: Option<i64>,
    more: More,
) -> Html {
    let tone = match more {
        More::Bad if change > Some(0) => "pf-m-bad",
        More::Bad if change.is_some_and(|change| change < 0) => "pf-m-good",
        More::Bad | More::Neutral => "",
    };
    html!(
        <div class="sl-tile" data-tile={name}>
            <div class="sl-tile-name">{ name }</div>
            <div class="sl-tile-figure">{ figure }</div>
            <div class="sl-tile-detail">
                if let Some(change) = change {
                    <span class={classes!("sl-change", tone)} title="Compared with the range before">{ format!("{change:+} %") }</span>
                }
                <span>{ detail.unwrap_or_default() }</span>
            </div>
        </div>
    )
}

/// How much more in percent, where there was something to compare with.
fn change(now: u64, before: u64) -> Option<i64> {
    if before == 0 {
        return None;
    }
    let percent = (i128::from(now) - i128::from(before)) * 100 / i128::from(before);
    i64::try_from(percent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_in_percent_of_what_was_before() {
        assert_eq!(
            [
                change(150, 100),
                change(50, 100),
                change(7, 7),
                change(5, 0)
            ],
            [Some(50), Some(-50), Some(0), None]
        );
    }
}

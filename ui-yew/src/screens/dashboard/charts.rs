//! The figures over time, as charts. What is drawn is pure; [`Chart`] draws it.

use events_schema::api::analytics::{Figures, GroupBy, Series, SeriesGroup};
use yew::prelude::*;

use crate::range::Window;
use crate::widgets::chart::{Chart, Plot, Series as Line, Unit, legend};

/// Nano-dollars of a dollar, and microseconds of a millisecond, as charts want them.
const DOLLAR: f64 = 1e9;
const MILLISECOND: f64 = 1e3;

/// All charts.
pub(super) fn charts(series: &Series, window: Window, group_by: GroupBy) -> Html {
    let split =
        |figure: fn(&Figures) -> f64, unit: Unit| by_group(series, window, group_by, figure, unit);
    let latency_title = match group_by {
        GroupBy::None => "Latency",
        GroupBy::Model | GroupBy::Owner => "Latency, 95th percentile",
    };
    html!(
        <div class="sl-charts">
            { card("Requests", split(|figures| float(figures.requests), Unit::Count)) }
            { card(latency_title, latency(series, window, group_by)) }
            { card("Tokens", tokens(series, window, group_by)) }
            { card("Cost", split(|figures| float(figures.cost.nanos()) / DOLLAR, Unit::Usd)) }
            { card("Errors", errors(series, window, group_by)) }
        </div>
    )
}

fn card(title: &'static str, plot: Plot) -> Html {
    html!(
        <div class="sl-card sl-pad sl-chart-card" data-chart={title}>
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-md">{ title }</h2>
                { legend(&plot) }
            </div>
            <Chart label={format!("{title} over time")} {plot} />
        </div>
    )
}

/// A number that only has to be drawn.
#[expect(
    clippy::cast_precision_loss,
    reason = "a chart's pixel is coarser than a float's last bit"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

fn plot(series: &Series, window: Window, unit: Unit) -> Plot {
    let times = series.times.iter().map(|time| time.seconds()).collect();
    Plot {
        unit,
        stacked: false,
        filled: false,
        from: window.from,
        to: window.to,
        step: u64::from(series.step_seconds),
        times,
        series: Vec::new(),
        values: Vec::new(),
    }
}

/// One layer for each group.
fn by_group(
    series: &Series,
    window: Window,
    group_by: GroupBy,
    figure: fn(&Figures) -> f64,
    unit: Unit,
) -> Plot {
    let mut plot = Plot {
        stacked: true,
        ..plot(series, window, unit)
    };
    for group in &series.groups {
        plot.series.push(Line {
            label: group_name(group, group_by),
            color: None,
        });
        plot.values
            .push(group.steps.iter().map(|step| Some(figure(step))).collect());
    }
    plot
}

fn group_name(group: &SeriesGroup, group_by: GroupBy) -> String {
    match group_by {
        GroupBy::None => "All requests".to_owned(),
        GroupBy::Model | GroupBy::Owner if group.name.is_empty() => "None".to_owned(),
        GroupBy::Model | GroupBy::Owner => group.name.clone(),
    }
}

/// Input and output for the total; one layer for each group otherwise.
fn tokens(series: &Series, window: Window, group_by: GroupBy) -> Plot {
    if group_by != GroupBy::None {
        let both =
            |figures: &Figures| float(figures.input_tokens.saturating_add(figures.output_tokens));
        return by_group(series, window, group_by, both, Unit::Count);
    }
    let input = totals(series, |steps| {
        steps.iter().map(|step| float(step.input_tokens)).sum()
    });
    let output = totals(series, |steps| {
        steps.iter().map(|step| float(step.output_tokens)).sum()
    });
    Plot {
        stacked: true,
        series: vec![
            named("Input", "--sl-series-1"),
            named("Output", "--sl-series-2"),
        ],
        values: vec![input, output],
        ..plot(series, window, Unit::Count)
    }
}

fn errors(series: &Series, window: Window, group_by: GroupBy) -> Plot {
    let mut plot = by_group(
        series,
        window,
        group_by,
        |figures| float(figures.errors),
        Unit::Count,
    );
    if group_by == GroupBy::None {
        plot.series = plot
            .series
            .iter()
            .map(|_| named("Errors", "--sl-series-bad"))
            .collect();
    }
    plot
}

/// Percentiles of everything; of a split, each group's own 95th, since those of groups cannot be put together.
fn latency(series: &Series, window: Window, group_by: GroupBy) -> Plot {
    let line = |group: &SeriesGroup, percentile: fn(&Figures) -> u64| {
        group
            .steps
            .iter()
            .map(|step| measured(step, percentile))
            .collect()
    };
    let mut plot = plot(series, window, Unit::Ms);
    for group in &series.groups {
        if group_by == GroupBy::None {
            plot.series.extend([
                named("p50", "--sl-series-1"),
                named("p95", "--sl-series-4"),
                named("p99", "--sl-series-bad"),
            ]);
            plot.values.extend([
                line(group, |step| step.p50_us),
                line(group, |step| step.p95_us),
                line(group, |step| step.p99_us),
            ]);
        } else {
            plot.series.push(Line {
                label: group_name(group, group_by),
                color: None,
            });
            plot.values.push(line(group, |step| step.p95_us));
        }
    }
    plot
}

/// Milliseconds, where there was a request to measure.
fn measured(step: &Figures, percentile: fn(&Figures) -> u64) -> Option<f64> {
    (step.requests > 0).then(|| float(percentile(step)) / MILLISECOND)
}

fn named(label: &str, color: &'static str) -> Line {
    Line {
        label: label.to_owned(),
        color: Some(color),
    }
}

/// A sum over all groups for each step.
fn totals(series: &Series, sum: fn(&[&Figures]) -> f64) -> Vec<Option<f64>> {
    let of_step = |at: usize| {
        let steps: Vec<&Figures> = series
            .groups
            .iter()
            .filter_map(|group| group.steps.get(at))
            .collect();
        Some(sum(&steps))
    };
    (0..series.times.len()).map(of_step).collect()
}

#[cfg(test)]
mod tests {
    use events_schema::time::Timestamp;

    use super::*;

    const WINDOW: Window = Window {
        from: 0,
        to: 120,
        step: 60,
    };

    fn series() -> Series {
        let busy = Figures {
            requests: 4,
            errors: 1,
            input_tokens: 10,
            output_tokens: 5,
            p50_us: 2_500,
            p95_us: 4_000,
            ..Figures::default()
        };
        let idle = Figures::default();
        let group = |name: &str| SeriesGroup {
            key: name.to_owned(),
            name: name.to_owned(),
            total: busy.clone(),
            steps: vec![busy.clone(), idle.clone()],
        };
        let times =
            [0, 60].map(|seconds| Timestamp::from_micros(seconds * 1_000_000).expect("a time"));
        Series {
            step_seconds: 60,
            times: times.to_vec(),
            groups: vec![group("a"), group("b")],
        }
    }

    #[test]
    fn groups_are_layers_of_one_stack() {
        let plot = by_group(
            &series(),
            WINDOW,
            GroupBy::Model,
            |figures| float(figures.requests),
            Unit::Count,
        );
        assert!(plot.stacked);
        assert_eq!(
            plot.series
                .iter()
                .map(|line| line.label.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(
            plot.values,
            [[Some(4.0), Some(0.0)], [Some(4.0), Some(0.0)]]
        );
    }

    #[test]
    fn a_step_without_requests_has_no_latency() {
        let values = latency(&series(), WINDOW, GroupBy::Model).values;
        assert_eq!(values, [[Some(4.0), None], [Some(4.0), None]]);
    }

    #[test]
    fn input_and_output_are_summed_over_all_groups() {
        let plot = tokens(&series(), WINDOW, GroupBy::None);
        assert_eq!(
            plot.values,
            [[Some(20.0), Some(0.0)], [Some(10.0), Some(0.0)]]
        );
    }
}

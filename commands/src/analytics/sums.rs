//! Sums over a time range, as a whole and step by step.

use std::collections::HashMap;

use clickhouse::Row;
use events_schema::{
    api::analytics::{Figures, GroupBy, Series, SeriesGroup, Summary},
    money::NanoUsd,
    time::Timestamp,
};
use serde::Deserialize;

use super::{Analytics, AnalyticsError, MAX_STEPS, Range, ask, or_empty, repricing::nanos, sql};

/// The rollup's own step.
const MINUTE_SECONDS: u64 = 60;

/// One group's sums, over the whole range or one step of it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
struct SumRow {
    key: String,
    step: u64,
    all_requests: u64,
    all_errors: u64,
    all_input: u64,
    all_output: u64,
    all_cost: u64,
    quantiles: Vec<u64>,
}

/// What corrections of prices add to one group's cost, over the whole range or one step of it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
struct CorrectionRow {
    key: String,
    step: u64,
    all_amount: i128,
}

/// A time range in whole steps, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    begin: u64,
    step: u64,
    count: u64,
}

// === impl Analytics ===

impl Analytics {
    /// The sums over a range, and over the range of the same length before it.
    ///
    /// # Errors
    /// When the range makes no sense, or ClickHouse does not answer.
    pub async fn summary(&self, from: Timestamp, to: Timestamp) -> Result<Summary, AnalyticsError> {
        let range = Range::new(from, to)?;
        let now = Steps::minutes(range);
        let before = now.before();
        let (total, before, records_since) =
            tokio::try_join!(self.total(now), self.total(before), self.records_since())?;
        Ok(Summary {
            from,
            to,
            total,
            before,
            records_since,
        })
    }

    /// The sums of each step of a range, in groups. A step is a whole number of minutes.
    ///
    /// # Errors
    /// When the range or the step makes no sense, or ClickHouse does not answer.
    pub async fn series(
        &self,
        from: Timestamp,
        to: Timestamp,
        step_seconds: u32,
        by: GroupBy,
    ) -> Result<Series, AnalyticsError> {
        let steps = Steps::new(Range::new(from, to)?, step_seconds)?;
        let (groups, rows) = tokio::try_join!(
            self.sums(sql::groups(by), sql::corrections_in_groups(by), steps),
            self.sums(sql::steps(by), sql::corrections_in_steps(by), steps)
        )?;
        Ok(Series {
            step_seconds,
            times: steps.times(),
            groups: arrange(groups, rows, steps, by),
        })
    }

    async fn total(&self, steps: Steps) -> Result<Figures, AnalyticsError> {
        let rows = self.sums(sql::total(), sql::corrections_in_total(), steps);
        let rows = rows.await?;
        Ok(rows
            .into_iter()
            .next()
            .map(SumRow::figures)
            .unwrap_or_default())
    }

    /// The sums, with what `corrections` add to them.
    async fn sums(
        &self,
        sql: String,
        corrections: String,
        steps: Steps,
    ) -> Result<Vec<SumRow>, AnalyticsError> {
        let asked = |sql: &str| {
            self.client
                .query(sql)
                .param("from", steps.begin)
                .param("to", steps.end())
                .param("step_seconds", steps.step)
        };
        let (sums, corrections) = (asked(&sql), asked(&corrections));
        let (sums, corrections) = tokio::try_join!(
            async { or_empty(ask(sums.fetch_all()).await, Vec::new) },
            async { or_empty(ask(corrections.fetch_all()).await, Vec::new) },
        )?;
        Ok(corrected(sums, corrections))
    }
}

// === impl SumRow ===

impl SumRow {
    fn figures(self) -> Figures {
        let Self {
            key: _,
            step: _,
            all_requests,
            all_errors,
            all_input,
            all_output,
            all_cost,
            quantiles,
        } = self;
        let quantile = |index: usize| quantiles.get(index).copied().unwrap_or(0);
        Figures {
            requests: all_requests,
            errors: all_errors,
            input_tokens: all_input,
            output_tokens: all_output,
            cost: NanoUsd::new(all_cost),
            p50_us: quantile(0),
            p95_us: quantile(1),
            p99_us: quantile(2),
        }
    }
}

// === impl Steps ===

impl Steps {
    /// One step over all minutes that the range touches.
    fn minutes(range: Range) -> Self {
        let begin = floor(range.from.seconds(), MINUTE_SECONDS);
        let end = range
            .to
            .plus_micros(999_999)
            .seconds()
            .next_multiple_of(MINUTE_SECONDS);
        Self {
            begin,
            step: end - begin,
            count: 1,
        }
    }

    /// Steps that begin at whole multiples of their length, so that they stay the same from one look to the next.
    fn new(range: Range, step_seconds: u32) -> Result<Self, AnalyticsError> {
        let step = u64::from(step_seconds);
        if step == 0 || step % MINUTE_SECONDS != 0 {
            return Err(AnalyticsError::question(
                "step_seconds",
                "a step is a whole number of minutes, in seconds",
            ));
        }
        let begin = floor(range.from.seconds(), step);
        let end = range.to.plus_micros(999_999).seconds();
        let count = (end - begin).div_ceil(step);
        if count > MAX_STEPS {
            let problem = format!(
                "the range has {count} steps of this length; at most {MAX_STEPS} are shown"
            );
            return Err(AnalyticsError::question("step_seconds", problem));
        }
        Ok(Self { begin, step, count })
    }

    /// The range of the same length before it.
    fn before(self) -> Self {
        Self {
            begin: self.begin.saturating_sub(self.step * self.count),
            ..self
        }
    }

    fn end(self) -> u64 {
        self.begin + self.step * self.count
    }

    fn times(self) -> Vec<Timestamp> {
        let micros = |index: u64| {
            i64::try_from((self.begin + index * self.step) * 1_000_000).unwrap_or(i64::MAX)
        };
        (0..self.count)
            .map(|index| Timestamp::from_micros(micros(index)).unwrap_or(Timestamp::MAX))
            .collect()
    }
}

fn floor(seconds: u64, step: u64) -> u64 {
    seconds - seconds % step
}

/// Sums with what corrections add to them.
fn corrected(mut sums: Vec<SumRow>, corrections: Vec<CorrectionRow>) -> Vec<SumRow> {
    let amounts = corrections.into_iter().map(|row| {
        let CorrectionRow {
            key,
            step,
            all_amount,
        } = row;
        ((key, step), all_amount)
    });
    let amounts: HashMap<(String, u64), i128> = amounts.collect();
    for sum in &mut sums {
        // A key is cloned for the look, since pairs are looked up by pairs.
        if let Some(amount) = amounts.get(&(sum.key.clone(), sum.step)) {
            let cost = i128::from(sum.all_cost).saturating_add(*amount);
            sum.all_cost = nanos(cost).nanos();
        }
    }
    sums
}

/// Puts each group's steps in their places; steps without requests are zero.
fn arrange(groups: Vec<SumRow>, rows: Vec<SumRow>, steps: Steps, by: GroupBy) -> Vec<SeriesGroup> {
    let count = usize::try_from(steps.count).unwrap_or(0);
    let mut by_key: HashMap<String, Vec<Figures>> = groups
        .iter()
        .map(|group| (group.key.clone(), vec![Figures::default(); count]))
        .collect();
    for row in rows {
        let place = usize::try_from(row.step).ok();
        // A request may have arrived between the two questions, with a group of its own.
        if let (Some(figures), Some(place)) = (by_key.get_mut(&row.key), place)
            && let Some(figure) = figures.get_mut(place)
        {
            *figure = row.figures();
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let key = group.key.clone();
            let steps = by_key.remove(&key).unwrap_or_default();
            SeriesGroup {
                name: name(&key, by).to_owned(),
                total: group.figures(),
                key,
                steps,
            }
        })
        .collect()
}

/// What to call a group, as far as the ledger knows.
fn name(key: &str, by: GroupBy) -> &str {
    match (key, by) {
        ("", GroupBy::None) => "all",
        ("", GroupBy::Model) => "no answer",
        ("", GroupBy::Owner) => "unknown",
        (key, _) => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn range(from: &str, to: &str) -> Range {
        Range::new(at(from), at(to)).expect("a range")
    }

    fn row(key: &str, step: u64, requests: u64) -> SumRow {
        SumRow {
            key: key.to_owned(),
            step,
            all_requests: requests,
            all_errors: 0,
            all_input: 0,
            all_output: 0,
            all_cost: 0,
            quantiles: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_summary_takes_every_minute_that_it_touches() {
        let steps = Steps::minutes(range("2026-11-22T12:00:30Z", "2026-11-22T12:10:00.000001Z"));
        assert_eq!(steps.times(), [at("2026-11-22T12:00:00Z")]);
        assert_eq!((steps.step, steps.before().end()), (660, steps.begin));
    }

    #[test]
    fn steps_begin_at_multiples_of_their_length() {
        let steps =
            Steps::new(range("2026-11-22T12:07:00Z", "2026-11-22T12:20:00Z"), 300).expect("steps");
        let expected = [
            "2026-11-22T12:05:00Z",
            "2026-11-22T12:10:00Z",
            "2026-11-22T12:15:00Z",
        ]
        .map(at);
        assert_eq!(steps.times(), expected);
    }

    #[test]
    fn questions_without_sense_name_their_field() {
        let field = |from: &str, to: &str, step| {
            let steps = Range::new(at(from), at(to)).and_then(|range| Steps::new(range, step));
            match steps {
                Err(AnalyticsError::Question { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            field("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z", 60),
            "to"
        );
        assert_eq!(
            field("2010-11-22T12:00:00Z", "2026-11-22T12:00:00Z", 60),
            "from"
        );
        assert_eq!(
            field("2026-11-21T12:00:00Z", "2026-11-22T12:00:00Z", 90),
            "step_seconds"
        );
        assert_eq!(
            field("2026-10-22T12:00:00Z", "2026-11-22T12:00:00Z", 60),
            "step_seconds"
        );
    }

    #[test]
    fn a_correction_is_added_to_the_sum_that_it_belongs_to() {
        let sum = |key: &str, step, all_cost| SumRow {
            all_cost,
            ..row(key, step, 1)
        };
        let correction = |key: &str, step, all_amount| CorrectionRow {
            key: key.to_owned(),
            step,
            all_amount,
        };
        let sums = vec![sum("a", 0, 10), sum("a", 1, 10), sum("b", 0, 10)];
        let corrections = vec![
            correction("a", 0, -7),
            correction("b", 0, 5),
            correction("gone", 0, 1),
        ];
        let costs: Vec<u64> = corrected(sums, corrections)
            .into_iter()
            .map(|it| it.all_cost)
            .collect();
        assert_eq!(costs, [3, 10, 15]);
    }

    #[test]
    fn steps_without_requests_are_zero() {
        let steps = Steps {
            begin: 0,
            step: 60,
            count: 3,
        };
        let groups = arrange(
            vec![row("a", 0, 5), row("b", 0, 1)],
            vec![row("b", 1, 1), row("a", 2, 5)],
            steps,
            GroupBy::Model,
        );
        let requests: Vec<Vec<u64>> = groups
            .iter()
            .map(|group| group.steps.iter().map(|step| step.requests).collect())
            .collect();
        assert_eq!(requests, [[0, 0, 5], [0, 1, 0]]);
    }
}

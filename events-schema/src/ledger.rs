//! What who writes the ledger and who reads it must say in the same words: what requests cost by the prices of
//! corrections, in ClickHouse's SQL, and since when requests are whole. Text and arithmetic; nothing here asks anybody.
//!
//! The text names the columns of `requests`, and parameters for all that is a value.

use crate::{id::ModelId, money::Price, time::Timestamp};

/// A day, in seconds.
const DAY: i64 = 24 * 3_600;

/// A correction of a price, as far as the ledger's arithmetic needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repriced {
    /// The position of its event.
    pub position: u64,
    /// The model.
    pub model: ModelId,
    /// From when on, inclusive.
    pub from: Timestamp,
    /// Until when, exclusive.
    pub until: Timestamp,
    /// The price.
    pub price: Price,
}

/// Corrections of prices as the parameters of a statement: lists of one length, the latest in the log first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepricedLists {
    /// Parameter `repriced_positions`: the positions of their events.
    pub positions: Vec<u64>,
    /// Parameter `repriced_models`: the models' ids.
    pub models: Vec<String>,
    /// Parameter `repriced_froms`: from when on, in microseconds since 1970.
    pub froms: Vec<i64>,
    /// Parameter `repriced_untils`: until when, exclusive.
    pub untils: Vec<i64>,
    /// Parameter `repriced_inputs`: nano-dollars per million input tokens.
    pub inputs: Vec<u64>,
    /// Parameter `repriced_cached_inputs`: nano-dollars per million input tokens from the provider's cache.
    pub cached_inputs: Vec<u64>,
    /// Parameter `repriced_outputs`: nano-dollars per million output tokens.
    pub outputs: Vec<u64>,
}

// === impl RepricedLists ===

impl RepricedLists {
    /// Lists these, in whatever order they come.
    #[must_use]
    pub fn new(these: impl IntoIterator<Item = Repriced>) -> Self {
        let mut these: Vec<Repriced> = these.into_iter().collect();
        these.sort_by_key(|it| std::cmp::Reverse(it.position));
        let mut lists = Self::default();
        for it in these {
            let Repriced {
                position,
                model,
                from,
                until,
                price,
            } = it;
            lists.positions.push(position);
            lists.models.push(model.to_string());
            lists.froms.push(from.micros());
            lists.untils.push(until.micros());
            lists.inputs.push(price.input.nanos());
            let cached = price.cached_input.unwrap_or(price.input);
            lists.cached_inputs.push(cached.nanos());
            lists.outputs.push(price.output.nanos());
        }
        lists
    }
}

/// Which of the corrections holds for a request, counted from 1; 0: none, as for one that used nothing. Parameters
/// `repriced_models`, `repriced_froms` and `repriced_untils`.
pub const WHICH: &str = "if(input_tokens = 0 AND output_tokens = 0, 0, arrayFirstIndex((m, f, u) -> m = answered_by \
     AND f <= toUnixTimestamp64Micro(received_at) AND toUnixTimestamp64Micro(received_at) < u, \
     {repriced_models:Array(String)}, {repriced_froms:Array(Int64)}, {repriced_untils:Array(Int64)}))";

/// The position of the correction at place `which`; 0: there is none. Parameter `repriced_positions`.
#[must_use]
pub fn position_sql(which: &str) -> String {
    format!("if({which} = 0, 0, {{repriced_positions:Array(UInt64)}}[{which}])")
}

/// What a request costs by the correction at place `which`, in nano-dollars, as an `Int128`; what was written down at first
/// where there is none. Parameters `repriced_inputs`, `repriced_cached_inputs` and `repriced_outputs`.
#[must_use]
pub fn corrected_cost_sql(which: &str) -> String {
    let cost = cost_sql(
        &format!("{{repriced_inputs:Array(UInt64)}}[{which}]"),
        &format!("{{repriced_cached_inputs:Array(UInt64)}}[{which}]"),
        &format!("{{repriced_outputs:Array(UInt64)}}[{which}]"),
    );
    format!("if({which} = 0, {FIRST_COST}, {cost})")
}

/// What a request cost when it was written down, as an `Int128`; nothing where there was no price.
pub const FIRST_COST: &str = "toInt128(ifNull(cost, 0))";

/// What a request costs by a price, of which these are the parts, as an `Int128`: [`Price::cost`], to the nano-dollar, in integers
/// that hold three products of two columns.
#[must_use]
pub fn cost_sql(input: &str, cached_input: &str, output: &str) -> String {
    format!(
        "toInt128(least(intDiv(\
         (toInt256(input_tokens) - toInt256(least(cached_input_tokens, input_tokens))) * toInt256({input}) \
         + toInt256(least(cached_input_tokens, input_tokens)) * toInt256({cached_input}) \
         + toInt256(output_tokens) * toInt256({output}) + toInt256(999999), toInt256(1000000)), \
         toInt256(18446744073709551615)))"
    )
}

/// For how many days rows were deleted after, and until when that was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Days; 0: nobody knows.
    pub days: u32,
    /// Microseconds since 1970.
    pub until: i64,
}

/// The second from which on requests are whole: none of them was deleted for its age, for however long they were `kept`
/// until now. A request that was past its time at any time may be gone or not, in whatever order its part was merged; the
/// last two days before that are left out, since a change takes its time, and two clocks are never quite the same.
#[must_use]
pub fn whole_since(kept: impl IntoIterator<Item = Kept>) -> u32 {
    let edges = kept
        .into_iter()
        .map(|Kept { days, until }| until / 1_000_000 - i64::from(days) * DAY);
    let edge = edges.max().unwrap_or_default() + 2 * DAY;
    u32::try_from(edge - edge.rem_euclid(DAY)).unwrap_or_default()
}

/// For how many days rows of the table `table` (a parameter) are kept: `UInt32`, 0 when it cannot be told; no row for a
/// table that is not there.
pub const KEPT_DAYS: &str = "SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay[(]([0-9]+)[)]')) \
    FROM system.tables WHERE database = currentDatabase() AND name = {table:String}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::NanoUsd;

    fn check(kept: &[(i64, u32)], expected: i64) {
        let told = kept.iter().map(|(until, days)| Kept {
            days: *days,
            until: (20_000 + until) * DAY * 1_000_000,
        });
        let since = i64::from(whole_since(told));
        assert_eq!(since / DAY - 20_000, expected, "{kept:?}");
        assert_eq!(since % DAY, 0);
    }

    #[test]
    fn requests_are_whole_since_the_last_that_was_ever_past_its_time() {
        check(&[(0, 400)], -398);
        check(&[(-1, 400), (0, 30)], -28);
        // What was deleted while it was kept for 30 days is not there because it is kept for longer now.
        check(&[(-100, 400), (-1, 30), (0, 800)], -29);
        check(&[(-100, 400), (-99, 30), (0, 800)], -127);
        check(&[(-900, 400), (-800, 800), (0, 3_650)], -1_298);
        // Nobody knows.
        check(&[(-5, 0), (0, 400)], -3);
    }

    #[test]
    fn the_latest_correction_stands_first_and_input_stands_in_for_cached_input() {
        let repriced = |position, cached_input: Option<u64>| Repriced {
            position,
            model: ModelId::from_bytes([1; 16]),
            from: Timestamp::MIN,
            until: Timestamp::MAX,
            price: Price {
                input: NanoUsd::new(10 * position),
                output: NanoUsd::new(30),
                cached_input: cached_input.map(NanoUsd::new),
            },
        };
        let lists =
            RepricedLists::new([repriced(7, None), repriced(9, Some(1)), repriced(8, None)]);
        assert_eq!(lists.positions, [9, 8, 7]);
        assert_eq!(lists.inputs, [90, 80, 70]);
        assert_eq!(lists.cached_inputs, [1, 80, 70]);
        assert_eq!(lists.models.len(), 3);
    }
}

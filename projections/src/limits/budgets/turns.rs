//! Which budgets are told of for alerts, where they are too many for one message. Pure.
//!
//! Which thresholds they have is not known here, and every one is a whole percent. So a budget is told of when a further percent
//! of it is used, and all are told of in turns: whoever did not hear it hears it again.

use std::{cmp::Reverse, collections::BTreeMap};

use events_schema::totals::{LimitTotal, MOST_TOTALS};
use gateway_policy::limits::lease::BudgetId;

/// What was told of each budget, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Up to which percent.
    told: BTreeMap<BudgetId, u8>,
    /// The budget after this one is next; `None`: the first is.
    last: Option<BudgetId>,
}

impl Turns {
    /// Those to be told of now, at most [`MOST_TOTALS`]: those of which a further percent is used, those that are used most first;
    /// then, in turns, others of which a percent is used. `all`: how all stand.
    pub(super) fn next(&mut self, all: &[(BudgetId, LimitTotal)]) -> Vec<LimitTotal> {
        let in_use = all.iter().filter(|(_, total)| percent(total) > 0);
        let (mut risen, mut others) = (Vec::new(), Vec::new());
        for it in in_use {
            let told = self.told.get(&it.0).copied().unwrap_or(0);
            if percent(&it.1) > told {
                risen.push(it);
            } else {
                others.push(it);
            }
        }
        if risen.len() > MOST_TOTALS {
            risen.select_nth_unstable_by_key(MOST_TOTALS, |(_, total)| Reverse(percent(total)));
            risen.truncate(MOST_TOTALS);
        }
        let room = MOST_TOTALS - risen.len();
        let turn = self.turn(others, room);
        let told = risen.into_iter().chain(turn);
        let told = told.map(|(budget, total)| {
            // It may be less than before: its limit was raised.
            self.told.insert(*budget, percent(total));
            *total
        });
        told.collect()
    }

    /// As many as there is room for, after those whose turn was before.
    fn turn<'a>(
        &mut self,
        mut others: Vec<&'a (BudgetId, LimitTotal)>,
        room: usize,
    ) -> Vec<&'a (BudgetId, LimitTotal)> {
        others.sort_unstable_by_key(|(budget, _)| *budget);
        let last = self.last;
        let before = others.partition_point(|(budget, _)| Some(*budget) <= last);
        others.rotate_left(before);
        others.truncate(room);
        if let Some((budget, _)) = others.last() {
            self.last = Some(*budget);
        }
        others
    }

    /// A budget's window is over.
    pub(super) fn forget(&mut self, budget: &BudgetId) {
        self.told.remove(budget);
    }
}

/// How much is used, in whole percent; what is above the limit does not count.
fn percent(total: &LimitTotal) -> u8 {
    let percent = u128::from(total.used) * 100 / u128::from(total.most.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use events_schema::{
        time::Timestamp,
        usage::{LimitMeasure, LimitPeriod},
    };
    use gateway_policy::limits::{
        Measure,
        message::CounterId,
        period::{Period, SlotNumber},
    };
    use uuid::Uuid;

    use super::*;

    /// A budget of 100, of which so much is used.
    fn budget(number: usize, used: u64) -> (BudgetId, LimitTotal) {
        let segment = Uuid::from_u128(number as u128);
        let counter = CounterId {
            rule: [1; 16],
            measure: Measure::Tokens,
            period: Period::Day,
            segment: segment.into_bytes(),
        };
        let total = LimitTotal {
            rule: Uuid::from_bytes([1; 16]),
            segment,
            measure: LimitMeasure::Tokens,
            period: LimitPeriod::Day,
            began_at: Timestamp::MIN,
            ends_at: Timestamp::MIN,
            most: 100,
            used,
            held: 0,
            refused: 0,
            is_lower_bound: false,
        };
        let slot = SlotNumber(1);
        (BudgetId { counter, slot }, total)
    }

    fn numbers(told: &[LimitTotal]) -> Vec<u128> {
        told.iter().map(|it| it.segment.as_u128()).collect()
    }

    #[test]
    fn a_budget_of_which_a_further_percent_is_used_is_told_of_before_all_whose_turn_it_is() {
        let mut turns = Turns::default();
        let mut all: Vec<_> = (0..2 * MOST_TOTALS).map(|it| budget(it, 90)).collect();
        let first = turns.next(&all);
        let second = turns.next(&all);
        assert_eq!((first.len(), second.len()), (MOST_TOTALS, MOST_TOTALS));
        assert!(
            numbers(&first)
                .iter()
                .all(|it| !numbers(&second).contains(it))
        );
        all[1_500].1.used = 91;
        all[7].1.used = 92;
        let told = turns.next(&all);
        assert_eq!(told.len(), MOST_TOTALS);
        let mut risen = numbers(&told[..2]);
        risen.sort_unstable();
        assert_eq!(risen, [7, 1_500]);
        // They are told of once out of turn.
        assert_ne!(numbers(&turns.next(&all)[..1]), [7]);
    }

    #[test]
    fn of_more_that_rise_at_once_those_come_first_that_are_used_most() {
        let mut turns = Turns::default();
        let all: Vec<_> = (0..MOST_TOTALS + 10)
            .map(|it| budget(it, if it < 10 { 75 } else { 100 }))
            .collect();
        let told = turns.next(&all);
        assert!(told.iter().all(|it| it.used == 100));
        let told = turns.next(&all);
        let mut late = numbers(&told[..10]);
        late.sort_unstable();
        assert_eq!(late, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn everybody_has_a_turn_though_nothing_changes() {
        let mut turns = Turns::default();
        let all: Vec<_> = (0..3 * MOST_TOTALS - 1).map(|it| budget(it, 1)).collect();
        for _ in 0..3 {
            turns.next(&all);
        }
        let mut heard: Vec<u128> = (0..3).flat_map(|_| numbers(&turns.next(&all))).collect();
        heard.sort_unstable();
        heard.dedup();
        assert_eq!(heard.len(), all.len());
    }

    #[test]
    fn what_is_used_less_than_a_percent_is_not_told_of_and_what_is_over_is_forgotten() {
        let mut turns = Turns::default();
        let (id, total) = budget(1, 0);
        assert_eq!(turns.next(&[(id, total)]), []);
        let all = [budget(1, 150)];
        assert_eq!(numbers(&turns.next(&all)), [1]);
        assert_eq!(turns.told.len(), 1);
        turns.forget(&id);
        assert!(turns.told.is_empty());
    }
}

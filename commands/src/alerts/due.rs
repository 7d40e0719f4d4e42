//! Which alerts are due, and which of them come first. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use events_schema::{
    events::{BudgetAmount, BudgetLimit, BudgetWindow},
    id::BudgetPolicyId,
    money::NanoUsd,
    state::{BudgetAlertKey, Organisation},
    time::Timestamp,
    totals::LimitTotal,
    usage::{LimitMeasure, LimitPeriod},
};
use gateway_policy::limits::period::Period;

use crate::domain::{BudgetAlertCommand, BudgetUse, Command, decide};

/// Events that a process writes at once, which it does once a second: few beside what the log takes, so that nobody waits for
/// them. When 100,000 counters reach a threshold at the same time, the last is told of after 17 minutes.
pub const MOST_AT_ONCE: usize = 100;
/// Counters that wait for it at most. Of more those stay that matter most; the others are told of again later.
pub const MOST_WAITING: usize = 10_000;
/// How far the worker's clock may be ahead of this one: 5 minutes. A window that has not begun by then is none.
const AHEAD_US: i64 = 300_000_000;

/// Counters that have reached thresholds of which the log does not tell yet.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeMap<BudgetAlertKey, (Rank, BudgetUse)>);

/// What comes first: of what the greatest part is used, in parts of 10,000.
type Rank = Reverse<u64>;

impl Due {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes in how counters stand.
    pub(super) fn hear(&mut self, state: &Organisation, told: &[LimitTotal], now: Timestamp) {
        for total in told {
            let Some((policy, reached)) = budget_use(total, now) else {
                continue;
            };
            let key = reached.key(policy);
            match events(state, policy, reached) {
                0 => {
                    self.0.remove(&key);
                }
                _ => {
                    self.0.insert(key, (rank(&reached), reached));
                }
            }
        }
        if self.0.len() > MOST_WAITING {
            let mut all: Vec<_> = std::mem::take(&mut self.0).into_iter().collect();
            all.sort_unstable_by_key(|(key, (rank, _))| (*rank, *key));
            all.truncate(MOST_WAITING);
            self.0 = all.into_iter().collect();
        }
    }

    /// Those that come first, as many as may be written at once. Forgets those of which the log tells by now.
    pub(super) fn next(&mut self, state: &Organisation) -> (Vec<BudgetAlertKey>, Vec<Command>) {
        let mut all: Vec<_> = self.0.iter().map(|(key, it)| (it.0, *key, it.1)).collect();
        all.sort_unstable_by_key(|(rank, key, _)| (*rank, *key));
        let (mut room, mut keys, mut orders) = (MOST_AT_ONCE, Vec::new(), Vec::new());
        for (_, key, reached) in all {
            match events(state, key.policy, reached) {
                0 => {
                    self.0.remove(&key);
                }
                events if events <= room => {
                    room -= events;
                    keys.push(key);
                    orders.push(order(key.policy, reached));
                }
                _ => break,
            }
        }
        (keys, orders)
    }

    /// The log tells of these.
    pub(super) fn done(&mut self, keys: &[BudgetAlertKey]) {
        for key in keys {
            self.0.remove(key);
        }
    }
}

/// What is told of a budget's counter, as alerts are about it; `None`: it is no budget's, or no window of the calendar that
/// has begun.
#[must_use]
pub fn budget_use(total: &LimitTotal, now: Timestamp) -> Option<(BudgetPolicyId, BudgetUse)> {
    let (window, period) = match total.period {
        LimitPeriod::Day => (BudgetWindow::Day, Period::Day),
        LimitPeriod::Week => (BudgetWindow::Week, Period::Week),
        LimitPeriod::Month => (BudgetWindow::Month, Period::Month),
        LimitPeriod::Quarter => (BudgetWindow::Quarter, Period::Quarter),
        LimitPeriod::Minute | LimitPeriod::Hour | LimitPeriod::AtATime => return None,
    };
    let amount = match total.measure {
        LimitMeasure::Cost => BudgetAmount::Cost(NanoUsd::new(total.most)),
        LimitMeasure::Tokens => BudgetAmount::Tokens(total.most),
        LimitMeasure::Requests => return None,
    };
    let slot = period.slot_at(total.began_at);
    let is_a_window = period.slot_begins(slot) == total.began_at
        && period.slot_begins(slot.plus(1)) == total.ends_at;
    let has_begun = total.began_at <= now.plus_micros(AHEAD_US);
    let reached = BudgetUse {
        segment: total.segment,
        limit: BudgetLimit { amount, window },
        began_at: total.began_at,
        ends_at: total.ends_at,
        used: total.used,
        at: now,
    };
    (is_a_window && has_begun).then_some((BudgetPolicyId::from_uuid(total.rule), reached))
}

const fn order(policy: BudgetPolicyId, reached: BudgetUse) -> Command {
    Command::BudgetAlert(policy, BudgetAlertCommand::Raise(reached))
}

/// How many events the log would have to be given.
fn events(state: &Organisation, policy: BudgetPolicyId, reached: BudgetUse) -> usize {
    decide(state, &order(policy, reached)).map_or(0, |events| events.len())
}

fn rank(reached: &BudgetUse) -> Rank {
    let most = u128::from(reached.limit.amount.number().max(1));
    let parts = u128::from(reached.used) * 10_000 / most;
    Reverse(u64::try_from(parts).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events_schema::{
        envelope::DecodedEnvelope,
        events::{BudgetPolicyEvent, BudgetRule, Event, LimitMode, LimitSegment, When, WhenCutOff},
    };
    use uuid::Uuid;

    use super::*;

    const POLICY: BudgetPolicyId = BudgetPolicyId::from_bytes([1; 16]);

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("a time")
    }

    /// Each user may use 100 tokens a day.
    fn per_user() -> Organisation {
        let mut state = Organisation::default();
        let rule = BudgetRule {
            when: When::default(),
            applies_per: BTreeSet::from([LimitSegment::User]),
            limits: BTreeSet::from([BudgetLimit {
                amount: BudgetAmount::Tokens(100),
                window: BudgetWindow::Day,
            }]),
            overrides: BTreeSet::new(),
            mode: LimitMode::Enforce,
            when_cut_off: WhenCutOff::Open,
            alerts: BTreeSet::from([75, 90, 100]),
        };
        let name = "per-user".parse().expect("a name");
        let order = 1;
        fold(
            &mut state,
            &Event::BudgetPolicy(
                POLICY,
                BudgetPolicyEvent::BudgetPolicyCreated { name, order, rule },
            ),
        );
        state
    }

    fn fold(state: &mut Organisation, event: &Event) {
        state.evolve(&DecodedEnvelope {
            position: state.position() + 1,
            recorded_at: noon(),
            stream_version: state.stream_version(event.stream()) + 1,
            event,
        });
    }

    fn write(state: &mut Organisation, orders: &[Command]) -> usize {
        let mut written = 0;
        for order in orders {
            for event in decide(state, order).expect("it is never refused") {
                fold(state, &event);
                written += 1;
            }
        }
        written
    }

    fn total(user: u128, used: u64) -> LimitTotal {
        LimitTotal {
            rule: POLICY.uuid(),
            segment: Uuid::from_u128(user),
            measure: LimitMeasure::Tokens,
            period: LimitPeriod::Day,
            began_at: "2026-11-22T00:00:00Z".parse().expect("a time"),
            ends_at: "2026-11-23T00:00:00Z".parse().expect("a time"),
            most: 100,
            used,
            held: 50,
            refused: 0,
            is_lower_bound: false,
        }
    }

    #[test]
    fn no_more_is_written_at_once_than_is_promised_and_what_is_used_most_comes_first() {
        let mut state = per_user();
        let mut due = Due::default();
        // A third has reached one threshold, a third two, a third all three.
        let used = |user| match user % 3 {
            0 => 76,
            1 => 91,
            _ => 130,
        };
        let told: Vec<_> = (0..300).map(|user| total(user, used(user))).collect();
        due.hear(&state, &told, noon());
        assert_eq!(due.len(), 300);
        let (mut rounds, mut written) = (0, 0);
        while due.len() > 0 {
            let (keys, orders) = due.next(&state);
            if rounds == 0 {
                assert!(keys.iter().all(|key| key.segment.as_u128() % 3 == 2));
            }
            let events = write(&mut state, &orders);
            assert!((1..=MOST_AT_ONCE).contains(&events), "{events}");
            (rounds, written) = (rounds + 1, written + events);
            due.done(&keys);
        }
        assert_eq!((written, rounds), (600, 7));
        due.hear(&state, &told, noon());
        assert_eq!(due.len(), 0, "all of it is told");
    }

    #[test]
    fn what_another_process_has_written_is_not_written_again() {
        let mut state = per_user();
        let mut due = Due::default();
        due.hear(&state, &[total(1, 80), total(2, 80)], noon());
        let mut other = Due::default();
        other.hear(&state, &[total(1, 80)], noon());
        let (_, orders) = other.next(&state);
        write(&mut state, &orders);
        let (keys, orders) = due.next(&state);
        assert_eq!(orders.len(), 1);
        assert_eq!(keys[0].segment, Uuid::from_u128(2));
        // It is not known whether it was written: it stays until the log tells of it.
        assert_eq!(due.len(), 1);
        write(&mut state, &orders);
        assert_eq!(due.next(&state).1, []);
        assert_eq!(due.len(), 0);
    }

    #[test]
    fn of_too_many_those_wait_that_matter_most() {
        let state = per_user();
        let mut due = Due::default();
        let many = MOST_WAITING as u128;
        let told: Vec<_> = (0..many + 100)
            .map(|user| total(user, if user < 200 { 75 } else { 100 }))
            .collect();
        due.hear(&state, &told, noon());
        assert_eq!(due.len(), MOST_WAITING);
        let warned = due.0.keys().filter(|key| key.segment.as_u128() < 200);
        assert_eq!(warned.count(), 100);
    }

    #[test]
    fn what_is_held_does_not_count_and_what_is_no_window_of_a_budget_is_not_heard() {
        let state = per_user();
        let mut due = Due::default();
        let good = total(1, 75);
        let tomorrow = LimitTotal {
            began_at: good.ends_at,
            ends_at: "2026-11-24T00:00:00Z".parse().expect("a time"),
            ..good
        };
        for bad in [
            LimitTotal { used: 74, ..good },
            LimitTotal {
                period: LimitPeriod::Hour,
                ..good
            },
            LimitTotal {
                measure: LimitMeasure::Requests,
                ..good
            },
            LimitTotal {
                ends_at: tomorrow.ends_at,
                ..good
            },
            LimitTotal { most: 99, ..good },
            LimitTotal {
                rule: Uuid::nil(),
                ..good
            },
            tomorrow,
        ] {
            due.hear(&state, &[bad], noon());
            assert_eq!(due.len(), 0, "{bad:?}");
        }
        due.hear(&state, &[good], noon());
        assert_eq!(due.len(), 1);
    }
}

//! The same decision once more, from the record of a request alone: for whoever wants to know why it was refused, or was not.

use events_schema::{
    events::{LimitMode, LimitWhenCutOff},
    usage::{CounterSeen, Instead, LimitPeriod, LimitSeen},
};

use super::share::{Share, fits};

/// Whether a limit or a budget let a request through, by what the record says of it; or would have, if it does not enforce. A
/// budget of which no mode is told only counts. Of records from before what decides instead of numbers was told, some cannot be
/// decided again: a gateway's that was cut off, that is.
#[must_use]
pub fn lets_through(seen: &LimitSeen) -> bool {
    if goes_on(seen) {
        return true;
    }
    match seen.instead {
        Some(Instead::Open | Instead::Unanswered) => true,
        Some(Instead::Closed | Instead::Ended | Instead::Full | Instead::Left) => false,
        None => numbers_do(seen),
    }
}

/// Whether all that it takes ended at this gateway, and was kept for it: it counts there already.
fn goes_on(seen: &LimitSeen) -> bool {
    match seen.counter {
        CounterSeen::Shared { free, .. } if seen.period == LimitPeriod::AtATime => {
            seen.cost <= free.unwrap_or(0)
        }
        CounterSeen::Shared { .. } | CounterSeen::Leased { .. } => false,
    }
}

fn numbers_do(seen: &LimitSeen) -> bool {
    let LimitSeen { most, cost, .. } = *seen;
    match seen.counter {
        CounterSeen::Shared {
            own,
            known,
            share,
            cut_off,
            free: _,
        } => match cut_off {
            Some(LimitWhenCutOff::Open) => true,
            Some(LimitWhenCutOff::Closed) => false,
            Some(LimitWhenCutOff::Alone) | None => {
                fits(own, known, cost, most, Share::of_2_32(share))
            }
        },
        CounterSeen::Leased {
            ceiling,
            taken,
            committed,
            included,
            cut_off: _,
        } => match seen.mode {
            None => true,
            Some(LimitMode::Enforce) => cost <= ceiling.saturating_sub(taken),
            Some(LimitMode::Audit) => {
                let more = taken.saturating_sub(included.unwrap_or(0));
                let used = committed.map_or(taken, |it| it.saturating_add(more));
                cost <= most.saturating_sub(used)
            }
        },
    }
}

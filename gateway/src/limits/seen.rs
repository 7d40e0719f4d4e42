//! Limits and budgets as they are seen when a request is decided on: for its record, whatever comes of it.
//!
//! The numbers are taken while their shards are locked, each as a value; they are written as text where the record is.

use events_schema::{
    events::LimitMode,
    id::Id,
    usage::{CounterSeen, Instead, LimitMeasure, LimitOf, LimitPeriod, LimitSeen},
};
use gateway_policy::{
    Measure,
    limits::{
        admission::{Counters as _, Decision, Moment, Turn},
        counter::{self, Mode},
        lease::{Kept, Lender, Role, Stands, Wallets as _},
        message::CounterId,
        period::Period,
        seen::lets_through,
    },
};
use uuid::Uuid;

use super::{
    Asked, Locked,
    asked::{OfBudget, OfLimit},
};

/// Where and when a request is decided on.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub(super) moment: Moment,
    pub(super) turn: Turn,
}

/// Sees all that is asked, before anything of it is charged.
pub(super) fn see(
    locked: &mut Locked<'_>,
    asked: &Asked<'_>,
    when: When,
    seen: &mut Vec<LimitSeen>,
) {
    for (place, it) in asked.limits().iter().enumerate() {
        let counter = locked.counter(place);
        let (id, Moment { reach, now, .. }) = (counter.id(), when.moment);
        let stood = counter.sees(it.cost, reach, now);
        seen.push(of_limit(asked, it, id, stood));
    }
    for (place, it) in asked.budgets().iter().enumerate() {
        let (wallet, at) = locked.wallet(place);
        let lender = if wallet.has_left() {
            Lender::Left
        } else {
            when.moment.lender
        };
        seen.push(of_budget(it, &wallet.look()[at], lender, when));
    }
    debug_assert!(
        seen.iter().all(|it| it.exceeded != lets_through(it)),
        "what is told decides the same again: {seen:?}"
    );
}

/// Whether what was seen agrees with what was decided.
pub(super) fn agrees(seen: &[LimitSeen], decision: Decision) -> bool {
    let refuses = |mode| move |it: &LimitSeen| it.exceeded && it.mode == Some(mode);
    let [enforces, audits] =
        [LimitMode::Enforce, LimitMode::Audit].map(|mode| seen.iter().any(refuses(mode)));
    match decision {
        Decision::Admitted { limit, budget } => {
            !enforces && audits == (limit.is_some() || budget.is_some())
        }
        Decision::Refused(_) | Decision::Overspent(_) | Decision::Waits => enforces,
    }
}

fn of_limit(asked: &Asked<'_>, it: &OfLimit, id: CounterId, stood: counter::Seen) -> LimitSeen {
    let counter::Seen {
        counter,
        instead,
        fits,
    } = stood;
    let of = if asked.rule().is_some_and(|rule| rule.id == id.rule) {
        LimitOf::RateLimitPolicy(Id::from_bytes(id.rule))
    } else {
        LimitOf::Key(Id::from_bytes(id.rule))
    };
    LimitSeen {
        of,
        segment: Uuid::from_bytes(id.segment),
        measure: measure(id.measure),
        period: period(id.period),
        most: it.most,
        cost: it.cost,
        counter,
        exceeded: !fits,
        mode: Some(match it.mode {
            Mode::Enforce => LimitMode::Enforce,
            Mode::Audit => LimitMode::Audit,
        }),
        instead,
    }
}

fn of_budget(it: &OfBudget, kept: &Kept, lender: Lender, when: When) -> LimitSeen {
    let (purse, most, id) = (kept.purse(), kept.most(), kept.budget().counter);
    let (exceeded, instead) = match it.role {
        Role::Tracks => (false, None),
        Role::Audits => (purse.exceeds(it.cost, most), None),
        Role::Decides { closed } => decides(it.cost, kept, lender, closed, when),
    };
    let counter = CounterSeen::Leased {
        ceiling: if lender == Lender::Nobody {
            most
        } else {
            purse.said().lease.ceiling
        },
        taken: purse.said().taken(),
        committed: purse.committed(),
        cut_off: lender == Lender::Silent,
        included: match it.role {
            Role::Audits => Some(purse.included()).filter(|it| *it > 0),
            Role::Tracks | Role::Decides { .. } => None,
        },
    };
    LimitSeen {
        of: LimitOf::BudgetPolicy(Id::from_bytes(id.rule)),
        segment: Uuid::from_bytes(id.segment),
        measure: measure(id.measure),
        period: period(id.period),
        most,
        cost: it.cost,
        counter,
        exceeded,
        mode: match it.role {
            Role::Tracks => None,
            Role::Audits => Some(LimitMode::Audit),
            Role::Decides { .. } => Some(LimitMode::Enforce),
        },
        instead,
    }
}

/// What a budget that decides says, and what of it its numbers do not tell.
fn decides(
    cost: u64,
    kept: &Kept,
    lender: Lender,
    closed: bool,
    When { moment, turn }: When,
) -> (bool, Option<Instead>) {
    let purse = kept.purse();
    let is_unanswered = match turn {
        Turn::First | Turn::Again => false,
        Turn::Last { since } => !purse.is_answered_since(since),
    };
    let has_ended = || {
        let said = purse.said();
        let is_within = cost <= said.lease.ceiling.saturating_sub(said.taken());
        is_within.then_some(Instead::Ended)
    };
    match purse.stands(cost, kept.most(), lender, moment.steady) {
        Stands::Suffices => (false, None),
        Stands::CutOff if closed => (true, Some(Instead::Closed)),
        Stands::CutOff => (false, Some(Instead::Open)),
        Stands::Lacks if lender == Lender::Left => (true, Some(Instead::Left)),
        Stands::Lacks if !closed && is_unanswered => (false, Some(Instead::Unanswered)),
        Stands::Lacks => (true, has_ended()),
        Stands::Held | Stands::TooLarge { .. } | Stands::UsedUp => (true, None),
    }
}

const fn measure(measure: Measure) -> LimitMeasure {
    match measure {
        Measure::Requests => LimitMeasure::Requests,
        Measure::Tokens => LimitMeasure::Tokens,
        Measure::Cost => LimitMeasure::Cost,
    }
}

const fn period(period: Period) -> LimitPeriod {
    match period {
        Period::SlidingMinute | Period::Minute => LimitPeriod::Minute,
        Period::Hour => LimitPeriod::Hour,
        Period::Day => LimitPeriod::Day,
        Period::Week => LimitPeriod::Week,
        Period::Month => LimitPeriod::Month,
        Period::Quarter => LimitPeriod::Quarter,
        Period::AtATime => LimitPeriod::AtATime,
    }
}

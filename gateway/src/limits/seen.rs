//! Limits as they were seen: for the record of a request that one of them refused, or would have if it did more than audit.

use events_schema::{
    events::{LimitMode, LimitWhenCutOff},
    id::Id,
    usage::{CounterSeen, LimitMeasure, LimitOf, LimitPeriod, LimitSeen},
};
use gateway_policy::{
    Measure,
    limits::{
        admission::{Counters as _, Decision, Moment},
        counter::{Mode, WhenCutOff},
        lease::{Lender, Role, Stands},
        message::CounterId,
        period::Period,
    },
};
use uuid::Uuid;

use super::{Asked, Locked};

/// What is told of a decision; `None`: nothing stood in the way.
pub(super) fn of(
    locked: &mut Locked<'_>,
    asked: &Asked<'_>,
    moment: Moment,
    decision: Decision,
) -> Option<Vec<LimitSeen>> {
    let is_charged = match decision {
        Decision::Waits
        | Decision::Admitted {
            limit: None,
            budget: None,
        } => return None,
        Decision::Admitted { .. } => true,
        Decision::Refused(_) | Decision::Overspent(_) => false,
    };
    let Moment {
        reach,
        lender,
        now,
        steady,
    } = moment;
    let mut seen = Vec::new();
    for (place, it) in asked.limits().iter().enumerate() {
        let charged = if is_charged { it.cost } else { 0 };
        let counter = locked.counter(place);
        let (own, known) = counter.used_by(reach, now);
        let own = own.saturating_sub(charged);
        let id = counter.id();
        let of = if asked.rule().is_some_and(|rule| rule.id == id.rule) {
            LimitOf::RateLimitPolicy(Id::from_bytes(id.rule))
        } else {
            LimitOf::Key(Id::from_bytes(id.rule))
        };
        let state = CounterSeen::Shared {
            own,
            known,
            share: counter.share_of(reach).parts(),
            cut_off: counter.when_cut_off(reach).map(when_cut_off),
        };
        // Of a request that is charged, a limit that enforces was not exceeded.
        let exceeded = if is_charged {
            it.mode == Mode::Audit && !counter.fits(own, known, it.cost, reach)
        } else {
            !counter.admits(it.cost, reach, now)
        };
        let verdict = (exceeded, Some(mode(it.mode)));
        seen.push(limit_seen(of, id, (it.most, it.cost), state, verdict));
    }
    for (place, it) in asked.budgets().iter().enumerate() {
        let kept = locked.kept(place);
        let (mut purse, most) = (*kept.purse(), kept.most());
        if is_charged {
            purse.settle(it.cost, 0);
        }
        let exceeded = match it.role {
            Role::Tracks => false,
            Role::Audits => purse.exceeds(it.cost, most),
            Role::Decides { .. } if is_charged => false,
            Role::Decides { closed } => match purse.stands(it.cost, most, lender, steady) {
                Stands::Suffices => false,
                Stands::CutOff => closed,
                Stands::Lacks | Stands::Held | Stands::TooLarge { .. } | Stands::UsedUp => true,
            },
        };
        let state = CounterSeen::Leased {
            ceiling: purse.said().lease.ceiling,
            taken: purse.said().taken(),
            committed: purse.committed(),
            cut_off: lender == Lender::Silent,
        };
        let id = kept.budget().counter;
        let of = LimitOf::BudgetPolicy(Id::from_bytes(id.rule));
        let mode = match it.role {
            Role::Tracks => None,
            Role::Audits => Some(LimitMode::Audit),
            Role::Decides { .. } => Some(LimitMode::Enforce),
        };
        let verdict = (exceeded, mode);
        seen.push(limit_seen(of, id, (most, it.cost), state, verdict));
    }
    Some(seen)
}

const fn mode(mode: Mode) -> LimitMode {
    match mode {
        Mode::Enforce => LimitMode::Enforce,
        Mode::Audit => LimitMode::Audit,
    }
}

const fn when_cut_off(then: WhenCutOff) -> LimitWhenCutOff {
    match then {
        WhenCutOff::Alone => LimitWhenCutOff::Alone,
        WhenCutOff::Open => LimitWhenCutOff::Open,
        WhenCutOff::Closed => LimitWhenCutOff::Closed,
    }
}

fn limit_seen(
    of: LimitOf,
    id: CounterId,
    (most, cost): (u64, u64),
    counter: CounterSeen,
    (exceeded, mode): (bool, Option<LimitMode>),
) -> LimitSeen {
    LimitSeen {
        of,
        segment: Uuid::from_bytes(id.segment),
        measure: match id.measure {
            Measure::Requests => LimitMeasure::Requests,
            Measure::Tokens => LimitMeasure::Tokens,
            Measure::Cost => LimitMeasure::Cost,
        },
        period: match id.period {
            Period::SlidingMinute | Period::Minute => LimitPeriod::Minute,
            Period::Hour => LimitPeriod::Hour,
            Period::Day => LimitPeriod::Day,
            Period::Week => LimitPeriod::Week,
            Period::Month => LimitPeriod::Month,
            Period::Quarter => LimitPeriod::Quarter,
            Period::AtATime => LimitPeriod::AtATime,
        },
        most,
        cost,
        counter,
        exceeded,
        mode,
    }
}

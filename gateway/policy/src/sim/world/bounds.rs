//! What must hold of what is admitted, and what gateways do that are cut off for too long.

use super::{World, counter_id, terms};
use crate::{
    limits::{
        admission::Refusal,
        counter::{Reach, WhenCutOff},
    },
    sim::{
        setup::LimitSetup,
        truth::{
            Breach, InWindow, closed_admits_nothing, closed_has_no_second_bound,
            cut_off_for_longer_k_times_more, each_that_is_alone_keeps_the_limit,
            never_twice_the_limit, open_refuses_nothing, within_the_stated_bound,
        },
    },
};

/// How many requests were admitted, and how many refused, at gateways that were cut off for too long, by what a limit does there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CutOffs {
    /// Under limits that each gateway keeps by itself.
    pub alone: (u64, u64),
    /// Under limits that let everything through.
    pub open: (u64, u64),
    /// Under limits that let nothing through.
    pub closed: (u64, u64),
}

impl CutOffs {
    /// What two runs decided.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        const fn sum(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
            (one.0 + other.0, one.1 + other.1)
        }
        Self {
            alone: sum(self.alone, other.alone),
            open: sum(self.open, other.open),
            closed: sum(self.closed, other.closed),
        }
    }

    pub(super) const fn count(&mut self, then: WhenCutOff, is_admitted: bool) {
        let (admitted, refused) = match then {
            WhenCutOff::Alone => &mut self.alone,
            WhenCutOff::Open => &mut self.open,
            WhenCutOff::Closed => &mut self.closed,
        };
        if is_admitted {
            *admitted += 1;
        } else {
            *refused += 1;
        }
    }
}

impl World<'_> {
    /// What a request comes to at a gateway that is cut off for too long is what its limits say.
    pub(super) fn choices_are_kept(
        &mut self,
        reach: Reach,
        decided: Result<(), Refusal>,
    ) -> Result<(), Breach> {
        for (at, limit) in self.setup.limits.iter().enumerate() {
            let Some(then) = terms(limit).when_cut_off(reach) else {
                continue;
            };
            let is_refused_by_it = match decided {
                Ok(()) => false,
                Err(refusal) => refusal.counter == counter_id(at, limit),
            };
            self.cut_off.count(then, decided.is_ok());
            match then {
                WhenCutOff::Alone => {}
                WhenCutOff::Open => self.check(
                    "open_refuses_nothing",
                    open_refuses_nothing(limit, is_refused_by_it),
                )?,
                WhenCutOff::Closed => self.check(
                    "closed_admits_nothing",
                    closed_admits_nothing(limit, decided.is_ok()),
                )?,
            }
        }
        Ok(())
    }

    /// What those admit that go by their shares has its bound, whatever the choice; and beside it what that choice says.
    pub(super) fn keeps_the_bounds(
        &self,
        limit: &LimitSetup,
        window: &InWindow,
    ) -> Result<(), Breach> {
        self.check("never_twice_the_limit", never_twice_the_limit(window))?;
        self.check("within_the_stated_bound", within_the_stated_bound(window))?;
        match limit.when_cut_off {
            WhenCutOff::Open => return Ok(()),
            WhenCutOff::Closed if !limit.period.is_at_a_time() => {
                return self.check(
                    "closed_has_no_second_bound",
                    closed_has_no_second_bound(window),
                );
            }
            // What is under way when a gateway is cut off goes on there, and is forgotten elsewhere.
            WhenCutOff::Closed | WhenCutOff::Alone => {}
        }
        self.check(
            "each_that_is_alone_keeps_the_limit",
            each_that_is_alone_keeps_the_limit(window),
        )?;
        self.check(
            "cut_off_for_longer_k_times_more",
            cut_off_for_longer_k_times_more(window),
        )
    }
}

//! One round of dealing: who should have which share, and what silence has left to whom.

use std::collections::BTreeMap;

use events_schema::time::Timestamp;

use super::{
    Member, Office,
    book::{Book, POOL, Wish},
    tally::Tally,
};
use crate::limits::{
    gateway::SHARE_LIFETIME_US,
    message::{Incarnation, Steady},
    period::Period,
};

/// How far gateways' clocks may be from the aggregator's, in microseconds, for what the silent may use to be judged right.
/// Nothing else depends on clocks.
pub const CLOCK_SKEW_US: u64 = 5_000_000;

/// The part of the pool that is dealt equally, so that everyone can begin; the rest follows demand.
const EQUAL_PART: u64 = 8;

/// A round of dealing.
pub(super) struct Round<'m> {
    members: &'m BTreeMap<Incarnation, Member>,
    now: Steady,
    wall: Timestamp,
    /// Since when what an earlier term dealt may have halved.
    since: Steady,
    number: u64,
    may_raise: bool,
    /// What each member would have if all had the same, in parts of 2^32.
    pub(super) equal: u64,
}

impl<'m> Round<'m> {
    pub(super) fn new(
        office: Office,
        members: &'m BTreeMap<Incarnation, Member>,
        now: Steady,
        wall: Timestamp,
    ) -> Self {
        let active = members.values().filter(|it| it.is_active(now)).count() as u64;
        Self {
            members,
            now,
            wall,
            since: office.since,
            number: office.broadcasts,
            may_raise: !office.is_adopting(now),
            equal: POOL / active.max(1),
        }
    }

    /// Deals the shares of a counter towards a target for each member that is heard; `None`: it keeps what it has.
    pub(super) fn deal(
        &self,
        book: &mut Book,
        period: Period,
        target: impl Fn(Incarnation) -> Option<u64>,
    ) {
        let wish = |(incarnation, member): (&Incarnation, &Member)| Wish {
            incarnation: *incarnation,
            target: target(*incarnation).filter(|_| member.is_active(self.now)),
            halvings: self.halvings(self.heard_at(member), period),
        };
        let wishes: Vec<Wish> = self.members.iter().map(wish).collect();
        let unheard = self.halvings(self.since, period);
        book.deal(self.number, &wishes, unheard, self.may_raise);
    }

    /// A small equal part for everyone who has the counter, the rest by what was asked for of late. Where nothing was, all stays as
    /// it is. Who does not have it is dealt nothing.
    pub(super) fn by_demand(&self, tally: &Tally) -> impl Fn(Incarnation) -> Option<u64> {
        let is_active = |it: &Incarnation| {
            let member = self.members.get(it);
            member.is_some_and(|member| member.is_active(self.now))
        };
        let active = tally.parts.iter().filter(|(it, _)| is_active(it));
        let demands = active.map(|(incarnation, part)| (*incarnation, part.demand()));
        let demands: BTreeMap<Incarnation, u64> = demands.collect();
        let all: u128 = demands.values().map(|demand| u128::from(*demand)).sum();
        let least = POOL / EQUAL_PART / (demands.len() as u64).max(1);
        let rest = u128::from(POOL - POOL / EQUAL_PART);
        move |incarnation| {
            let Some(demand) = demands.get(&incarnation).copied() else {
                return Some(0);
            };
            let by_demand = (rest * u128::from(demand)).checked_div(all)?;
            Some(least + u64::try_from(by_demand).unwrap_or(0))
        }
    }

    /// Whether nothing can be in use any more, in this window, of what an earlier term has dealt to somebody who was not heard of in
    /// this one.
    pub(super) fn nothing_unheard_is_left(&self, period: Period) -> bool {
        POOL.checked_shr(self.halvings(self.since, period))
            .unwrap_or(0)
            == 0
    }

    /// Since when a member's shares may have aged. While it obeys an earlier term, that one may have heard it later: until it
    /// ended.
    fn heard_at(&self, member: &Member) -> Steady {
        if member.obeys {
            member.received_at
        } else {
            member.received_at.max(self.since)
        }
    }

    /// How often what somebody may use has halved, who was last heard of at `since`: as of the beginning of the window, since
    /// in all of it no more than that can have been used. Where gateways' clocks differ, of the earliest window that any of
    /// them may still be in, by the clock of one that is ahead.
    fn halvings(&self, since: Steady, period: Period) -> u32 {
        let skew = i64::try_from(CLOCK_SKEW_US).unwrap_or(i64::MAX);
        let earliest = period.window_began(self.wall.plus_micros(-skew));
        let into_us = self.wall.micros_since(earliest) + CLOCK_SKEW_US;
        let age_us = self.now.us_since(since).saturating_sub(into_us);
        u32::try_from(age_us / SHARE_LIFETIME_US).unwrap_or(u32::MAX)
    }
}

//! What all gateways have counted at one counter.

use std::collections::BTreeMap;

use events_schema::time::Timestamp;

use crate::{
    limits::period::SlotNumber,
    limits::{
        marks::Full,
        message::{Amounts, BroadcastSlot, CounterId, Incarnation, ReportRow, ReportSlot},
        period::Period,
    },
};

use super::Standing;

/// How quickly what was asked for is forgotten: an eighth with each broadcast.
const FORGOTTEN: u64 = 8;

/// A counter of which a sixteenth is used gets shares of its own; below that, all use their base shares.
const CONTENDED: u64 = 16;

/// A finer unit of what was asked for, so that forgetting an eighth forgets all in the end.
const FINER: u64 = 256;

/// What one incarnation has counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    slots: Vec<PartSlot>,
    /// The number of the report that told of it last.
    pub(super) told: u64,
    pub(super) asked: u64,
    pub(super) refused: u64,
    /// What was asked for before the last broadcast, when this incarnation's counter was younger.
    asked_before: u64,
    demand: u64,
    /// Whether its incarnation has told of no slot last: it has admitted nothing, and knows of nothing that others have.
    is_bare: bool,
}

#[derive(Debug, Clone, Copy)]
struct PartSlot {
    said: ReportSlot,
    /// Of an earlier term: the total that the gateway knew of, and how much of it was its own. `None`: it obeys this term.
    inherited: Option<(u64, u64)>,
}

/// What all have counted at one counter.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) parts: BTreeMap<Incarnation, Part>,
    pub(super) most: u64,
}

// === impl PartSlot ===

impl PartSlot {
    /// What all have counted, where nobody else of this term has counted anything: see [`Tally::total`].
    fn total(&self) -> u64 {
        let gone = self
            .inherited
            .map_or(0, |(known, own)| known.saturating_sub(own));
        self.said.own.net().saturating_add(gone)
    }
}

// === impl Part ===

impl Part {
    fn amounts(&self, slot: SlotNumber) -> Amounts {
        self.slot(slot).map_or(Amounts::default(), |it| it.said.own)
    }

    fn slot(&self, slot: SlotNumber) -> Option<&PartSlot> {
        self.slots.iter().find(|it| it.said.number == slot)
    }

    /// What its incarnation is told of these totals.
    pub(super) fn tell(&self, totals: &[(SlotNumber, u64)]) -> Vec<BroadcastSlot> {
        let tell = |(number, total): &(SlotNumber, u64)| BroadcastSlot {
            number: *number,
            total: *total,
            included: self.amounts(*number),
        };
        totals.iter().map(tell).collect()
    }

    /// How much is asked for of late, in no particular unit.
    pub(super) const fn demand(&self) -> u64 {
        self.demand
    }

    /// Takes what was asked for since the last broadcast into account.
    pub(super) const fn age(&mut self) {
        let since = self.asked.saturating_sub(self.asked_before);
        self.asked_before = self.asked;
        self.demand -= self.demand.div_ceil(FORGOTTEN);
        self.demand = self.demand.saturating_add(since.saturating_mul(FINER));
    }

    /// Whether its incarnation says that it knows all of these totals.
    pub(super) fn knows(&self, totals: &[(SlotNumber, u64)]) -> bool {
        let mut totals = totals.iter();
        totals.all(|(number, total)| match self.slot(*number) {
            None => *total == 0,
            Some(PartSlot { said, .. }) => said.total == *total && said.included == said.own,
        })
    }

    /// Whether its incarnation may refuse everything only since it takes the counter for one of these, of which nothing is left:
    /// it does so from when the counter came up there until it is told how it stands, and counters are taken for one another where
    /// 32 bits of a hash are the same.
    pub(super) fn may_presume(&self, id: &CounterId, full: &Full) -> bool {
        self.is_bare && full.holds(id)
    }

    /// Says whether anything is new.
    fn merge(&mut self, row: &ReportRow, of_an_earlier_term: bool) -> bool {
        let mut is_news = self.asked != row.asked;
        if row.asked < self.asked_before {
            // The gateway had forgotten the counter, and began again.
            self.asked_before = 0;
        }
        self.asked = row.asked;
        self.refused = row.refused;
        self.is_bare = row.slots.is_empty();
        for said in &row.slots {
            let inherited = if of_an_earlier_term {
                Some((said.total, said.included.net()))
            } else {
                self.slot(said.number).and_then(|it| it.inherited)
            };
            let merged = PartSlot {
                said: *said,
                inherited,
            };
            match self
                .slots
                .iter_mut()
                .find(|it| it.said.number == said.number)
            {
                Some(slot) => {
                    is_news |= slot.said != *said;
                    *slot = merged;
                }
                None => {
                    is_news = true;
                    self.slots.push(merged);
                }
            }
        }
        is_news
    }
}

// === impl Tally ===

impl Tally {
    /// Takes a report's row over. `of_an_earlier_term`: the gateway does not obey this term yet, and tells what it knows from
    /// the one before. Says whether anything is new.
    pub(super) fn merge(
        &mut self,
        from: Incarnation,
        number: u64,
        row: &ReportRow,
        of_an_earlier_term: bool,
    ) -> bool {
        let is_other = self.most != row.most || !self.parts.contains_key(&from);
        self.most = row.most;
        let part = self.parts.entry(from).or_insert_with(|| Part {
            // What was asked for before it came up here says nothing of what is asked for now.
            asked_before: row.asked,
            ..Part::default()
        });
        part.told = number;
        part.merge(row, of_an_earlier_term) || is_other
    }

    /// Nobody is left of whom only an earlier term heard. Says whether that changes anything.
    pub(super) fn disinherit(&mut self) -> bool {
        let slots = self.parts.values_mut().flat_map(|part| &mut part.slots);
        let taken = slots.filter_map(|slot| slot.inherited.take());
        taken.count() > 0
    }

    /// A term begins: what gateways know is from an earlier one.
    pub(super) fn inherit(&mut self) {
        let slots = self.parts.values_mut().flat_map(|part| &mut part.slots);
        for slot in slots {
            slot.inherited = Some((slot.said.total, slot.said.included.net()));
        }
    }

    /// What all have counted in a slot.
    ///
    /// Incarnations that were gone before this term began are in none of its reports. What the latest view of the earlier
    /// term held beyond the reporters' own parts in it was theirs: a little more when reporters have views of different age,
    /// and never less.
    pub(super) fn total(&self, slot: SlotNumber) -> u64 {
        let parts = self.parts.values().filter_map(|part| part.slot(slot));
        let mut reported = 0_u64;
        let mut known = 0_u64;
        let mut owned = 0_u64;
        for part in parts {
            reported = reported.saturating_add(part.said.own.net());
            if let Some((total, own)) = part.inherited {
                known = known.max(total);
                owned = owned.saturating_add(own);
            }
        }
        reported.saturating_add(known.saturating_sub(owned))
    }

    /// The slots that anybody has counted in.
    pub(super) fn slots(&self) -> Vec<SlotNumber> {
        let slots = self.parts.values().flat_map(|part| &part.slots);
        let mut slots: Vec<SlotNumber> = slots.map(|it| it.said.number).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// What all have counted in the window that ends with `newest`.
    pub(super) fn used(&self, period: Period, newest: SlotNumber) -> u64 {
        let mut parts = self.parts.values();
        if let (Some(part), None) = (parts.next(), parts.next()) {
            // As of most counters: one gateway has it.
            let slots = part.slots.iter();
            let counting = slots.filter(|it| period.counts_at(it.said.number, newest));
            return counting.fold(0, |sum, slot| sum.saturating_add(slot.total()));
        }
        let slots = self.slots().into_iter();
        let counting = slots.filter(|slot| period.counts_at(*slot, newest));
        counting.fold(0, |sum, slot| sum.saturating_add(self.total(slot)))
    }

    /// How it stands.
    pub(super) fn standing(&self, period: Period, wall: Timestamp) -> Standing {
        let admitted = self.used(period, period.slot_at(wall));
        let sum = |of: fn(&Part) -> u64| {
            let parts = self.parts.values();
            parts.fold(0_u64, |sum, part| sum.saturating_add(of(part)))
        };
        Standing {
            most: self.most,
            admitted,
            overshot: admitted.saturating_sub(self.most),
            asked: sum(|part| part.asked),
            refused: sum(|part| part.refused),
        }
    }

    /// Whether so much is used that shares should follow demand.
    pub(super) const fn is_contended(&self, used: u64) -> bool {
        used.saturating_mul(CONTENDED) >= self.most
    }

    /// What all have counted, slot by slot.
    pub(super) fn totals(&self) -> Vec<(SlotNumber, u64)> {
        let slots = self.slots().into_iter();
        slots.map(|slot| (slot, self.total(slot))).collect()
    }

    /// Forgets slots that count for no window any more, not even at gateways whose clocks lag by one slot. What counts at a time
    /// has no window: its parts go with those whose they are. `has_it`: who has told of it with its last report, by its number.
    pub(super) fn forget(
        &mut self,
        period: Period,
        newest: SlotNumber,
        has_it: impl Fn(&Incarnation, u64) -> bool,
    ) {
        if period.is_at_a_time() {
            return;
        }
        for part in self.parts.values_mut() {
            part.slots
                .retain(|it| period.counts_at(it.said.number.plus(1), newest));
        }
        self.parts
            .retain(|it, part| !part.slots.is_empty() || has_it(it, part.told));
    }
}

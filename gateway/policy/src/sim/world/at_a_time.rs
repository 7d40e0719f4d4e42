//! What counts as long as it is under way, in the simulated world.

use events_schema::time::Timestamp;

use super::{Event, Open, World, counter_id, terms};
use crate::{
    limits::{message::Steady, period::SlotNumber, share::Share},
    sim::{
        setup::SECOND_US,
        truth::{Breach, View, nothing_is_held_after_all_has_ended},
    },
};

/// How long one request in ten lasts at most that counts as long as it is under way, in microseconds; the others are short.
pub(super) const LONGEST_US: u64 = 25 * SECOND_US;

impl World<'_> {
    /// What is admitted by gateways that share no limit counts for none of the others.
    pub(super) fn note_who_keeps_limits_alone(&mut self) {
        let now = self.steady();
        for at in 0..self.nodes.len() {
            self.note_if_it_keeps_limits_alone(at, now);
        }
    }

    pub(super) fn note_if_it_keeps_limits_alone(&mut self, at: usize, now: Steady) {
        let node = &self.nodes[at];
        let reach = node.gateway.reach(now);
        for (limit, noted) in self.setup.limits.iter().zip(&mut self.under_way) {
            if terms(limit).when_cut_off(reach).is_some() {
                noted.is_by_itself(node.life);
            }
        }
    }

    /// A request was admitted that counts as long as it is under way. `view`: what it was charged by.
    pub(super) fn is_under_way(
        &mut self,
        at: usize,
        limit: usize,
        view: Option<(Share, u64)>,
    ) -> Result<(), Breach> {
        self.orders += 1;
        let number = self.orders;
        let view = view.map(|(share, known)| View {
            order: number,
            share,
            known,
        });
        let life = self.nodes[at].life;
        self.under_way[limit].admitted(life, number, view);
        let now = self.steady();
        self.note_if_it_keeps_limits_alone(at, now);
        let open = Open {
            node: at,
            life,
            limit,
            slot: SlotNumber(0),
            reserved: 1,
            actual: 0,
            number,
        };
        let is_long = self.dice.per_mille(100);
        let longest_us = if is_long { LONGEST_US } else { 3 * SECOND_US };
        let lasts = self.dice.between(1_000, longest_us);
        self.after(lasts, Event::Settle(open));
        let all = self.under_way[limit].now();
        self.keeps_the_bounds(&self.setup.limits[limit], &all)
    }

    pub(super) fn nothing_is_under_way(
        &mut self,
        holder: usize,
        wall: Timestamp,
    ) -> Result<(), Breach> {
        let now = self.steady();
        for (at, limit) in self.setup.limits.iter().enumerate() {
            if !limit.period.is_at_a_time() {
                continue;
            }
            let id = counter_id(at, limit);
            let total = self.centres[holder].aggregator.total(&id, SlotNumber(0));
            let alive = self.nodes.iter_mut().filter(|node| node.is_alive);
            let counted = alive.map(|node| {
                let reach = node.gateway.reach(now);
                let place = node.gateway.place(id, terms(limit));
                node.gateway.counters()[place].used_by(reach, wall)
            });
            let counted: Vec<(u64, u64)> = counted.collect();
            let verdict = nothing_is_held_after_all_has_ended(total, &counted);
            self.check("nothing_is_held_after_all_has_ended", verdict)?;
        }
        Ok(())
    }
}

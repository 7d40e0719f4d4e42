//! Who may use which share of one counter: lowered and confirmed before it is raised elsewhere.
//!
//! For each incarnation the book knows every share that it may be using: the last one that it has confirmed, and those that
//! were dealt to it since. What may be in use is the largest of them. The sum of these never passes [`POOL`].

use std::collections::BTreeMap;

use crate::limits::{counter::JOINER_SHARE, message::Incarnation, share::Share};

/// What is dealt out of every counter, in parts of 2^32. The rest is for joiners, [`JOINERS`] of them at most.
pub const POOL: u64 = Share::WHOLE.parts() - JOINERS * JOINER_SHARE.parts();

/// How many incarnations may use a joiner's share of a counter.
pub const JOINERS: u64 = 256;

/// How many shares an incarnation may have been dealt that it has not confirmed: then its share stays as it is.
const MOST_UNCONFIRMED: usize = 16;

/// A share that was dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dealt {
    /// The number of the broadcast that told it first; 0: an earlier term's.
    number: u64,
    parts: u64,
}

/// The shares of one incarnation: the confirmed one, and those after it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shares {
    dealt: Vec<Dealt>,
    /// How often what it may use was halved while it was silent.
    halvings: u32,
}

/// The shares of one counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    shares: BTreeMap<Incarnation, Shares>,
    /// What incarnations said, before they obeyed this term, that they used of what an earlier term had dealt to them.
    inherited: BTreeMap<Incarnation, u64>,
    /// Whether there was an earlier term: what nobody has told of may be in use as well.
    has_ancestors: bool,
    /// How often that was halved since.
    unheard_halvings: u32,
}

/// What an incarnation should have, and how silence has halved what it may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) incarnation: Incarnation,
    /// `None`: it is silent, and is dealt nothing.
    pub(super) target: Option<u64>,
    pub(super) halvings: u32,
}

// === impl Shares ===

impl Shares {
    fn new(number: u64, parts: u64) -> Self {
        Self {
            dealt: vec![Dealt { number, parts }],
            halvings: 0,
        }
    }

    fn newest(&self) -> u64 {
        self.dealt.last().map_or(0, |dealt| dealt.parts)
    }

    fn in_use(&self) -> u64 {
        let largest = self.dealt.iter().map(|dealt| dealt.parts).max();
        halved(largest.unwrap_or(0), self.halvings)
    }

    /// Everything is confirmed.
    fn is_settled(&self) -> bool {
        self.dealt.len() <= 1
    }

    fn deal(&mut self, number: u64, parts: u64) {
        if self.dealt.len() < MOST_UNCONFIRMED {
            self.dealt.push(Dealt { number, parts });
        }
    }
}

fn halved(parts: u64, times: u32) -> u64 {
    parts.checked_shr(times).unwrap_or(0)
}

// === impl Book ===

impl Book {
    /// Nothing is dealt. With ancestors, what an earlier term dealt may be in use.
    pub(super) fn new(has_ancestors: bool) -> Self {
        Self {
            has_ancestors,
            ..Self::default()
        }
    }

    /// Takes over what an incarnation says that it uses of what an earlier term dealt to it.
    pub(super) fn adopt(&mut self, incarnation: Incarnation, share: Share) {
        self.inherited.insert(incarnation, share.parts());
        let shares = self.shares.entry(incarnation);
        let shares = shares.or_insert_with(|| Shares::new(0, 0));
        // What this term has dealt to it meanwhile it may obey yet.
        shares.dealt.retain(|dealt| dealt.number > 0);
        let inherited = Dealt {
            number: 0,
            parts: share.parts(),
        };
        shares.dealt.insert(0, inherited);
    }

    /// An incarnation uses nothing, and has been dealt nothing.
    pub(super) fn has_nothing(&mut self, incarnation: Incarnation) {
        self.shares.insert(incarnation, Shares::new(0, 0));
    }

    /// An incarnation said, before it obeyed this term, that it used nothing.
    pub(super) fn inherits_nothing(&mut self, incarnation: Incarnation) {
        self.inherited.insert(incarnation, 0);
    }

    /// An incarnation is heard of again, or for the first time: what silence has taken from it is gone.
    pub(super) fn heard(&mut self, incarnation: Incarnation) {
        let shares = self.shares.entry(incarnation);
        let shares = shares.or_insert_with(|| Shares::new(0, 0));
        let halvings = std::mem::take(&mut shares.halvings);
        for dealt in &mut shares.dealt {
            dealt.parts = halved(dealt.parts, halvings);
        }
    }

    /// An incarnation obeys the broadcast with this number, and so none before it.
    pub(super) fn confirm(&mut self, incarnation: Incarnation, number: u64) {
        let Some(shares) = self.shares.get_mut(&incarnation) else {
            return;
        };
        let obeyed = shares
            .dealt
            .iter()
            .rposition(|dealt| dealt.number <= number);
        shares.dealt.drain(..obeyed.unwrap_or(0));
    }

    /// Whether an incarnation may be using anything.
    pub(super) fn is_used_by(&self, incarnation: Incarnation) -> bool {
        self.shares
            .get(&incarnation)
            .is_some_and(|it| it.in_use() > 0)
    }

    /// An incarnation has left, or has been silent until nothing was left to it.
    pub(super) fn release(&mut self, incarnation: Incarnation) {
        self.shares.remove(&incarnation);
    }

    /// Of what an earlier term dealt, nothing is in use any more at incarnations that have not been heard of in this one.
    pub(super) fn disinherit(&mut self) {
        self.has_ancestors = false;
        self.inherited.clear();
    }

    /// The share that an incarnation is to have now.
    pub(super) fn share(&self, incarnation: Incarnation) -> Share {
        let shares = self.shares.get(&incarnation);
        Share::of_2_32(shares.map_or(0, |shares| halved(shares.newest(), shares.halvings)))
    }

    /// Deals towards what is wished: lowers what is too high, and raises what is too low by as much as is free. Small
    /// differences are left alone: each change takes a round trip to be confirmed.
    pub(super) fn deal(
        &mut self,
        number: u64,
        wishes: &[Wish],
        unheard_halvings: u32,
        may_raise: bool,
    ) {
        self.unheard_halvings = self.unheard_halvings.max(unheard_halvings);
        for wish in wishes {
            if let Some(shares) = self.shares.get_mut(&wish.incarnation) {
                shares.halvings = shares.halvings.max(wish.halvings);
                let newest = shares.newest();
                if let Some(target) = wish.target
                    && target < newest - newest / 8
                {
                    shares.deal(number, target);
                }
            }
        }
        let free = POOL.saturating_sub(self.in_use());
        if may_raise && free > 0 {
            self.raise(number, wishes, free);
        }
    }

    fn raise(&mut self, number: u64, wishes: &[Wish], free: u64) {
        let needs = wishes.iter().filter_map(|wish| {
            let shares = self.shares.get(&wish.incarnation)?;
            let newest = shares.newest();
            let lacking = wish.target?.saturating_sub(newest);
            (shares.is_settled() && lacking > newest / 8).then_some((wish.incarnation, lacking))
        });
        let needs: Vec<(Incarnation, u64)> = needs.collect();
        let all: u64 = needs.iter().map(|(_, lacking)| lacking).sum();
        for (incarnation, lacking) in needs {
            let gain = u128::from(lacking) * u128::from(free.min(all)) / u128::from(all.max(1));
            if let (Some(shares), Ok(gain)) =
                (self.shares.get_mut(&incarnation), u64::try_from(gain))
            {
                shares.deal(number, shares.newest() + gain);
            }
        }
    }

    /// What may be in use, in parts of 2^32.
    pub(super) fn in_use(&self) -> u64 {
        let told: u64 = self.shares.values().map(Shares::in_use).sum();
        told + halved(self.unheard(), self.unheard_halvings)
    }

    /// What an earlier term may have dealt to incarnations that have not been heard of in this one.
    fn unheard(&self) -> u64 {
        if self.has_ancestors {
            POOL.saturating_sub(self.inherited.values().sum())
        } else {
            0
        }
    }

    /// Whether this book says the same as another, and everything in both is confirmed.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let settled = |book: &Self| book.shares.values().all(Shares::is_settled);
        let parts = |book: &Self| {
            let shares = book.shares.iter();
            let shares = shares.map(|(incarnation, shares)| (*incarnation, shares.in_use()));
            shares.filter(|(_, parts)| *parts > 0).collect::<Vec<_>>()
        };
        let unheard = |book: &Self| halved(book.unheard(), book.unheard_halvings);
        settled(self)
            && settled(other)
            && parts(self) == parts(other)
            && unheard(self) == unheard(other)
    }
}

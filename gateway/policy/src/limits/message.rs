//! What gateways and the aggregator tell each other about counters; [`super::wire`] writes it down.
//!
//! Every amount is absolute and counted from the beginning of the gateway's incarnation; every message is numbered, and of
//! two the one with the higher number holds. So messages may be lost, late, doubled and out of order.

use serde::{Deserialize, Serialize};

use super::{
    cost::Measure,
    marks::{Apart, Full},
    period::{Period, SlotNumber},
    share::Share,
};
use crate::{configuration::EntryId, mix::mix_id};

/// Microseconds of a clock of one process that never steps: only differences mean anything, and only to that process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Steady(pub u64);

impl Steady {
    /// Microseconds from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many microseconds later.
    #[must_use]
    pub const fn plus_us(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// One life of a gateway's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

/// What is counted together: requests that one rule matches and that agree in what the rule applies to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CounterId {
    /// The rule, or the key whose own limit it is.
    pub rule: EntryId,
    /// What is counted.
    pub measure: Measure,
    /// Which of the rule's windows.
    pub period: Period,
    /// A hash of the values that the rule applies to each; zeros: it applies to all together.
    pub segment: [u8; 16],
}

impl CounterId {
    /// A number that differs for most counters: for tables, and to deal counters out. Those of one rule and segment have the
    /// same, whatever they count and in which time.
    #[must_use]
    pub fn group(&self) -> u64 {
        mix_id(&self.rule) ^ mix_id(&self.segment).rotate_left(32)
    }

    /// As [`Self::group`], and differs within a group.
    pub(crate) fn spread(&self) -> u64 {
        let measure = match self.measure {
            Measure::Requests => 0,
            Measure::Tokens => 1,
            Measure::Cost => 2,
        };
        let kind = u64::from(self.period.tag()) * 3 + measure;
        self.group() ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What was counted in a slot. Both amounts only grow, so that of two reports the later one has the larger ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Reserved at admission, and debts.
    pub charged: u64,
    /// Of that, given back since less was used.
    pub returned: u64,
}

impl Amounts {
    /// What counts.
    #[must_use]
    pub const fn net(self) -> u64 {
        self.charged.saturating_sub(self.returned)
    }
}

/// Which broadcast: the term of the aggregator that sent it, and its number in that term. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BroadcastId {
    /// The term, from 1.
    pub term: u64,
    /// The number in the term, from 1.
    pub number: u64,
}

/// The shares of counters that have none of their own, by [`Period::index`].
pub type BaseShares = [Share; Period::ALL.len()];

/// What a gateway reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub incarnation: Incarnation,
    /// The number of the report in its incarnation, from 1.
    pub number: u64,
    /// When it was made, by the gateway's steady clock.
    pub sent_at: Steady,
    /// The last broadcast that the gateway obeys.
    pub heard: Option<BroadcastId>,
    /// The base shares that it uses: of what was dealt to it, what silence has left.
    pub base: BaseShares,
    /// An echo: the counters of which it uses no base share, where it has no row of them.
    pub apart: Apart,
    /// Whether it admits nothing any more: this is its last report.
    pub leaving: bool,
    /// All its counters.
    pub rows: Vec<ReportRow>,
}

/// What a gateway reports of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Which counter.
    pub counter: CounterId,
    /// The limit, as this gateway knows it.
    pub most: u64,
    /// The share that it uses: of what was dealt to it, what silence has left.
    pub share: Share,
    /// What all requests asked for, admitted or not, since the counter came up in this incarnation.
    pub asked: u64,
    /// Of that, what was refused.
    pub refused: u64,
    /// Its slots.
    pub slots: Vec<ReportSlot>,
}

/// What a gateway reports of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSlot {
    /// Which slot.
    pub number: SlotNumber,
    /// What it has counted itself.
    pub own: Amounts,
    /// Of that, reserved by requests under way.
    pub open: u64,
    /// An echo: its own amounts that the total includes.
    pub included: Amounts,
    /// An echo: what all gateways have counted, as it heard last.
    pub total: u64,
}

/// What the aggregator tells one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Which broadcast; all gateways' of one round have the same.
    pub id: BroadcastId,
    /// Whom it tells.
    pub to: Incarnation,
    /// The last report of that gateway which it includes.
    pub includes: u64,
    /// When that report was sent, by that gateway's steady clock: shares age from then.
    pub sent_at: Steady,
    /// Whether the aggregator is new in office and its totals may lack what others counted.
    pub adopting: bool,
    /// Its shares of counters without a row here that has one, but for those that are marked in `apart`.
    pub base: BaseShares,
    /// Counters that have shares of their own: of those without a row here it has the joiner's share.
    pub apart: Apart,
    /// Counters of which nothing is left.
    pub full: Full,
    /// How counters stand that the gateway has reported.
    pub rows: Vec<BroadcastRow>,
}

/// What the aggregator tells of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastRow {
    /// Which counter.
    pub counter: CounterId,
    /// The limit, as the aggregator knows it.
    pub most: u64,
    /// The gateway's share; `None`: the base share.
    pub share: Option<Share>,
    /// Its slots.
    pub slots: Vec<BroadcastSlot>,
}

/// What the aggregator tells of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastSlot {
    /// Which slot.
    pub number: SlotNumber,
    /// What all gateways have counted, this one among them (`G`).
    pub total: u64,
    /// This gateway's amounts in it.
    pub included: Amounts,
}

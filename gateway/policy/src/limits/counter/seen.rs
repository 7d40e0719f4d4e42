//! How a counter stands when it is asked: for the record of the request.

use events_schema::{
    time::Timestamp,
    usage::{CounterSeen, Instead},
};

use super::{Counter, Reach, WhenCutOff};

/// How a counter stands to a request. With it [`super::super::seen::lets_through`] decides the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The numbers by which it goes.
    pub counter: CounterSeen,
    /// What decides where they do not.
    pub instead: Option<Instead>,
    /// Whether the request fits.
    pub fits: bool,
}

impl Counter {
    /// How it stands to a request of this cost. Nothing is counted, and nothing is allocated.
    #[must_use]
    pub fn sees(&mut self, cost: u64, reach: Reach, now: Timestamp) -> Seen {
        let (own, known) = self.used_by(reach, now);
        let free = if self.id.period.is_at_a_time() {
            self.free(own, known, reach)
        } else {
            0
        };
        Seen {
            counter: CounterSeen::Shared {
                own,
                known,
                share: self.share_of(reach).parts(),
                free: (free > 0).then_some(free),
            },
            instead: self.instead(reach),
            fits: self.admits(cost, reach, now),
        }
    }

    fn instead(&self, reach: Reach) -> Option<Instead> {
        match (self.when_cut_off(reach), reach) {
            (_, Reach::Left) => Some(Instead::Left),
            (Some(WhenCutOff::Closed), _) => Some(Instead::Closed),
            (Some(WhenCutOff::Open), _) => Some(Instead::Open),
            (None, Reach::Together { silent_us: 0, .. }) if self.is_presumed_full => {
                Some(Instead::Full)
            }
            (Some(WhenCutOff::Alone) | None, Reach::Alone | Reach::Together { .. }) => None,
        }
    }
}

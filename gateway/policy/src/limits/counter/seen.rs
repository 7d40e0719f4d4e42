//! How a counter stands when it is asked: for the record of the request.

use events_schema::{
    events::LimitWhenCutOff,
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
                cut_off: self.when_cut_off(reach).map(told),
                free: (free > 0).then_some(free),
            },
            instead: self.instead(reach),
            fits: self.admits(cost, reach, now),
        }
    }

    /// What a gateway that is cut off does is told by itself.
    fn instead(&self, reach: Reach) -> Option<Instead> {
        match (self.when_cut_off(reach), reach) {
            (_, Reach::Left) => Some(Instead::Left),
            (None, Reach::Together { silent_us: 0, .. }) if self.is_presumed_full => {
                Some(Instead::Full)
            }
            (Some(_) | None, Reach::Alone | Reach::Together { .. }) => None,
        }
    }
}

const fn told(then: WhenCutOff) -> LimitWhenCutOff {
    match then {
        WhenCutOff::Alone => LimitWhenCutOff::Alone,
        WhenCutOff::Open => LimitWhenCutOff::Open,
        WhenCutOff::Closed => LimitWhenCutOff::Closed,
    }
}

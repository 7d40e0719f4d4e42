//! Under which load the gateways are, what happens to them meanwhile, and which bound holds then.

use std::time::Duration;

use gateway_policy::limits::counter::JOINER_SHARE;
use gateway_policy::limits::share::Share;

use super::super::super::cpu::ratio;
use super::super::super::{Figures, rounded};
use super::meter::{Measured, Meter};

/// What part of the load the one busy gateway has, where it is uneven.
const BUSY: f64 = 0.9;

/// For how long a gateway is cut off: a share holds for five seconds from the report in whose answer it was dealt.
const CUT: Duration = Duration::from_secs(4);

/// From when on a gateway that is cut off keeps each limit by itself: of the load, so much must be left then.
const ALONE_AFTER: Duration = Duration::from_secs(10);

/// What may be spent above a budget, in nano-dollars: what is spent was lent, and what is lent was written down before.
const MONEY_BOUND: u64 = 0;

/// One load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// All gateways are asked alike.
    Even,
    /// One gateway has nine tenths of the load.
    Uneven,
    /// Who deals out the shares is killed.
    AggregatorKilled,
    /// NATS is restarted.
    NatsRestarted,
    /// A gateway is killed, and another one comes in its place.
    GatewayKilled,
    /// A gateway is cut off from NATS for a while in which its share holds.
    GatewayCutOff,
    /// A gateway is cut off until the end: long enough to keep each limit by itself.
    GatewayCutOffLong,
}

/// What is to be known of a load to say which bound holds on what is admitted under it.
pub(super) struct Circumstances {
    /// How many times the limit was asked for in a second.
    pub(super) rate: f64,
    /// How old any gateway's view became.
    pub(super) delay: Duration,
    /// Lives of gateways.
    pub(super) lives: u64,
    /// Requests that were under way at once, at most.
    pub(super) callers: u64,
    /// The share that the gateway had of the limit that was struck, as a part of 1.
    pub(super) struck: f64,
}

// === impl Trial ===

impl Trial {
    /// All of them.
    const ALL: [Self; 7] = [
        Self::Even,
        Self::Uneven,
        Self::AggregatorKilled,
        Self::NatsRestarted,
        Self::GatewayKilled,
        Self::GatewayCutOff,
        Self::GatewayCutOffLong,
    ];

    /// Those that such a load is long enough for.
    pub(super) fn of(time: Duration) -> impl Iterator<Item = Self> {
        let is_long = time > ALONE_AFTER * 5 / 4;
        let all = Self::ALL.into_iter();
        all.filter(move |it| is_long || *it != Self::GatewayCutOffLong)
    }

    /// What its figures end with.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Even => "",
            Self::Uneven => "_uneven",
            Self::AggregatorKilled => "_aggregator_killed",
            Self::NatsRestarted => "_nats_restarted",
            Self::GatewayKilled => "_gateway_killed",
            Self::GatewayCutOff => "_gateway_cut_off",
            Self::GatewayCutOffLong => "_gateway_cut_off_long",
        }
    }

    /// What it is called, for people and as a part of policies' names.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Even => "even-load",
            Self::Uneven => "uneven-load",
            Self::AggregatorKilled => "aggregator-killed",
            Self::NatsRestarted => "nats-restarted",
            Self::GatewayKilled => "gateway-killed",
            Self::GatewayCutOff => "gateway-cut-off",
            Self::GatewayCutOffLong => "gateway-cut-off-long",
        }
    }

    /// The parts that so many gateways have of the load.
    pub(super) fn parts(self, gateways: usize) -> Vec<f64> {
        let equal = ratio(1, gateways as u64);
        match self {
            Self::Uneven if gateways > 1 => {
                let others = (1.0 - BUSY) / ratio(gateways as u64 - 1, 1);
                let mut parts = vec![others; gateways];
                parts[0] = BUSY;
                parts
            }
            Self::Even
            | Self::Uneven
            | Self::AggregatorKilled
            | Self::NatsRestarted
            | Self::GatewayKilled
            | Self::GatewayCutOff
            | Self::GatewayCutOffLong => vec![equal; gateways],
        }
    }

    /// For how long a gateway is cut off, in a load of this length.
    pub(super) fn cut(self, time: Duration) -> Option<Duration> {
        match self {
            Self::GatewayCutOff => Some(CUT.min(time / 3)),
            Self::GatewayCutOffLong => Some(time),
            Self::Even
            | Self::Uneven
            | Self::AggregatorKilled
            | Self::NatsRestarted
            | Self::GatewayKilled => None,
        }
    }

    /// Whether callers may be left without an answer, and whether they may be told that there will be one later: those of a
    /// gateway that is killed and starts again, and of one that nobody lends to any more.
    pub(super) const fn excuses(self) -> (bool, bool) {
        match self {
            Self::GatewayKilled => (true, true),
            Self::GatewayCutOffLong => (false, true),
            Self::Even
            | Self::Uneven
            | Self::AggregatorKilled
            | Self::NatsRestarted
            | Self::GatewayCutOff => (false, false),
        }
    }

    /// What a gateway may use up of a limit's rest that nobody else sees: its share, or once it keeps the limit by itself, all.
    pub(super) fn unseen(self, share: Share) -> f64 {
        let share = match self {
            Self::GatewayCutOffLong => Share::WHOLE,
            Self::GatewayKilled | Self::GatewayCutOff => share.plus(JOINER_SHARE),
            Self::Even | Self::Uneven | Self::AggregatorKilled | Self::NatsRestarted => Share::NONE,
        };
        ratio(share.parts(), Share::WHOLE.parts())
    }

    /// The figures of one meter: how far its limit was overshot, the bound on that, and how much of it was used. Of money
    /// the first two are amounts: nothing is allowed above a budget, however large it is.
    pub(super) fn figures(self, meter: &Meter, admitted: u64, around: &Circumstances) -> Figures {
        let (name, suffix) = (meter.measured.name(), self.suffix());
        let used = 100.0 * ratio(admitted, meter.limit);
        let (unit, over, bound) = match meter.measured {
            Measured::Requests | Measured::Tokens => {
                let over = rounded((used - 100.0).max(0.0));
                ("pct", over, rounded(100.0 * around.bound(meter)))
            }
            Measured::Money => {
                let over = admitted.saturating_sub(meter.limit);
                ("nanousd", over.into(), MONEY_BOUND.into())
            }
        };
        let figures = [
            (format!("real_over_{name}_{unit}{suffix}"), over),
            (format!("real_bound_{name}_{unit}{suffix}"), bound),
            (
                format!("real_used_{name}_pct{suffix}"),
                rounded(used.min(100.0)),
            ),
        ];
        figures.into_iter().collect()
    }
}

// === impl Circumstances ===

impl Circumstances {
    /// The most that may be admitted above a limit, as a part of it: what gateways could not have seen of one another, one
    /// largest request of each, and what requests under way used beyond what was reserved.
    fn bound(&self, meter: &Meter) -> f64 {
        let Self {
            rate,
            delay,
            lives,
            callers,
            struck,
        } = *self;
        let unseen = rate * delay.as_secs_f64() + struck;
        let requests = lives * meter.measured.largest() + callers * meter.measured.debt();
        unseen.min(1.0) + ratio(requests, meter.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_load_are_all_of_it() {
        for trial in Trial::ALL {
            for gateways in [1, 2, 8] {
                let parts = trial.parts(gateways);
                let sum: f64 = parts.iter().sum();
                assert_eq!(parts.len(), gateways);
                assert!((sum - 1.0).abs() < 1e-9, "{trial:?}: {parts:?}");
            }
        }
    }

    #[test]
    fn a_short_load_has_no_long_cut() {
        let long = |seconds| {
            let mut all = Trial::of(Duration::from_secs(seconds));
            all.any(|it| it == Trial::GatewayCutOffLong)
        };
        assert!(long(15) && !long(10));
    }
}

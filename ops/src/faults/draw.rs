//! What goes wrong in a round, drawn from the seed: the same seed draws the same faults.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use events_schema::subjects;

use crate::dice::Dice;
use crate::stack::links::Link;

/// The processes that faults are drawn for, by their names in the plan.
pub(super) const PROCESSES: [&str; 10] = [
    "postgres",
    "nats",
    "clickhouse",
    "mock-provider",
    "commands",
    "commands-2",
    "projections",
    "projections-2",
    "gateway",
    "gateway-2",
];

/// The control planes among them.
pub(super) const REPLICAS: [&str; 2] = ["commands", "commands-2"];

/// The gateways among them.
pub(super) const GATEWAYS: [&str; 2] = ["gateway", "gateway-2"];

/// The streams that are built again when they are lost.
const STREAMS: [&str; 2] = [subjects::EVENTS, subjects::SNAPSHOTS];

/// When a fault begins, in milliseconds after the round's work has begun.
const BEGINS_MS: std::ops::Range<u64> = 0..1_500;

/// How long a fault that passes lasts.
const LASTS_MS: std::ops::Range<u64> = 300..6_000;

/// How long one in six of them lasts: longer than a gateway may be silent (10 s), and than any timeout of ours that a
/// caller would not outwait.
const LASTS_LONG_MS: std::ops::Range<u64> = 6_000..15_000;

/// By how much a slow way delays each piece.
const SLOW_MS: std::ops::Range<u64> = 5..150;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9`.
    Kill(&'static str),
    /// An orderly end; the supervisor starts it again.
    Restart(&'static str),
    /// `SIGSTOP` to the process and all its children, for a while.
    Freeze(&'static str, Duration),
    /// Connections are reset for a while.
    Cut(Link, Duration),
    /// Connections stand still for a while, and then go on, or are reset.
    Hang {
        link: Link,
        lasts: Duration,
        then_cut: bool,
    },
    /// The stream is deleted. Of `USAGE` there is no second copy, so it is spared.
    Delete(&'static str),
    /// Everything comes late for a while.
    Slow {
        link: Link,
        by: Duration,
        lasts: Duration,
    },
}

/// A fault and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blow {
    pub(super) after: Duration,
    pub(super) fault: Fault,
}

/// What a round's faults explain.
#[derive(Debug, Default)]
pub(super) struct Excuses {
    processes: BTreeSet<&'static str>,
    ended: BTreeSet<&'static str>,
    killed: BTreeSet<&'static str>,
    links: BTreeSet<Link>,
}

/// Draws a round: one fault, or in one round of three two at once.
pub(super) fn round(dice: &mut Dice) -> Vec<Blow> {
    let many = if dice.between(0, 3) == 0 { 2 } else { 1 };
    (0..many)
        .map(|_| Blow {
            after: milliseconds(dice, BEGINS_MS),
            fault: fault(dice),
        })
        .collect()
}

fn fault(dice: &mut Dice) -> Fault {
    let process = *dice.choose(&PROCESSES).expect("there are processes");
    let link = *dice.choose(&Link::ALL).expect("there are links");
    let long = dice.between(0, 6) == 0;
    let lasts = milliseconds(dice, if long { LASTS_LONG_MS } else { LASTS_MS });
    match dice.between(0, 10) {
        0..3 => Fault::Kill(process),
        3 => Fault::Restart(process),
        4..6 => Fault::Freeze(process, lasts),
        6 => Fault::Cut(link, lasts),
        7 => Fault::Hang {
            link,
            lasts,
            then_cut: dice.between(0, 2) == 0,
        },
        8 => Fault::Delete(dice.choose(&STREAMS).expect("there are streams")),
        _ => Fault::Slow {
            link,
            by: milliseconds(dice, SLOW_MS),
            lasts,
        },
    }
}

fn milliseconds(dice: &mut Dice, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.between(range.start, range.end))
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(process) => write!(f, "kill -9 {process}"),
            Self::Restart(process) => write!(f, "restart {process}"),
            Self::Freeze(process, lasts) => write!(f, "freeze {process} for {lasts:?}"),
            Self::Cut(link, lasts) => write!(f, "cut {} for {lasts:?}", link.name()),
            Self::Hang {
                link,
                lasts,
                then_cut,
            } => {
                let then = if *then_cut { ", then cut it" } else { "" };
                write!(f, "black-hole {} for {lasts:?}{then}", link.name())
            }
            Self::Delete(stream) => write!(f, "delete {stream}"),
            Self::Slow { link, by, lasts } => {
                write!(f, "slow {} by {by:?} for {lasts:?}", link.name())
            }
        }
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}: {}", self.after, self.fault)
    }
}

// === impl Excuses ===

impl Excuses {
    /// What these faults explain.
    pub(super) fn of(blows: &[Blow]) -> Self {
        let mut excuses = Self::default();
        for Blow { fault, .. } in blows {
            match fault {
                Fault::Kill(process) => {
                    excuses.processes.insert(process);
                    excuses.ended.insert(process);
                    excuses.killed.insert(process);
                }
                Fault::Restart(process) => {
                    excuses.processes.insert(process);
                    excuses.ended.insert(process);
                }
                Fault::Delete(_) => {}
                Fault::Freeze(process, _) => drop(excuses.processes.insert(process)),
                Fault::Cut(link, _) | Fault::Hang { link, .. } | Fault::Slow { link, .. } => {
                    excuses.links.insert(*link);
                }
            }
        }
        excuses
    }

    /// Whether this process was ended, in whatever way: connections to it may have broken.
    pub(super) fn ended(&self, process: &str) -> bool {
        self.ended.contains(process)
    }

    /// Whether it was killed, and may have lost what was in its memory.
    pub(super) fn killed(&self, process: &str) -> bool {
        self.killed.contains(process)
    }

    /// Whether commands may be refused for now: only for the sake of Postgres, or when a replica of `commands` was struck.
    /// Frozen, or cut off from Postgres, in the middle of a transaction, it holds the log's head until Postgres gives that
    /// up, and so holds up the other replica, too.
    pub(super) fn commands_may_be_refused(&self) -> bool {
        self.processes.contains("postgres")
            || REPLICAS
                .iter()
                .any(|replica| self.processes.contains(replica))
            || self.links.contains(&Link::CommandsPostgres)
            || self.links.contains(&Link::SecondCommandsPostgres)
    }

    /// Whether gateways may have been cut off from whoever deals out shares of limits and lends of budgets.
    pub(super) fn gateways_may_be_cut_off(&self) -> bool {
        const PARTS: [&str; 5] = [
            "nats",
            "projections",
            "projections-2",
            "gateway",
            "gateway-2",
        ];
        const WAYS: [Link; 4] = [
            Link::ProjectionsNats,
            Link::SecondProjectionsNats,
            Link::GatewayNats,
            Link::SecondGatewayNats,
        ];
        PARTS.iter().any(|part| self.processes.contains(part))
            || WAYS.iter().any(|way| self.links.contains(way))
    }

    /// Whether the provider may fail.
    pub(super) fn provider_may_fail(&self) -> bool {
        self.processes.contains("mock-provider") || self.links.contains(&Link::GatewaysProvider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_rounds_and_every_kind_of_fault_comes_up() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            (0..400).flat_map(|_| round(&mut dice)).collect::<Vec<_>>()
        };
        let blows = draw(7);
        assert_eq!(blows, draw(7));
        assert_ne!(blows, draw(8));
        for word in [
            "kill",
            "restart",
            "freeze",
            "cut",
            "black-hole",
            "delete",
            "slow",
        ] {
            assert!(
                blows
                    .iter()
                    .any(|blow| blow.fault.to_string().starts_with(word)),
                "{word} never came up"
            );
        }
        for process in PROCESSES {
            assert!(
                blows.iter().any(|blow| blow.fault == Fault::Kill(process)),
                "{process} was never killed"
            );
        }
    }

    #[test]
    fn only_postgres_and_commands_itself_excuse_a_refused_command() {
        let excuses = |fault| {
            Excuses::of(&[Blow {
                after: Duration::ZERO,
                fault,
            }])
        };
        let second = Duration::from_secs(1);
        assert!(excuses(Fault::Freeze("postgres", second)).commands_may_be_refused());
        assert!(excuses(Fault::Cut(Link::CommandsPostgres, second)).commands_may_be_refused());
        assert!(!excuses(Fault::Kill("nats")).commands_may_be_refused());
        assert!(!excuses(Fault::Cut(Link::CommandsNats, second)).commands_may_be_refused());
    }
}

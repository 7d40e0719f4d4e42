//! The servers of a comparison, and their turns: one after the other, again and again, so that all
//! meet the same conditions.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::cpu::Cores;
use super::load::{Shape, Target};
use super::provider::{self, Question};
use super::proxy::peers::Peer;
use super::round::{Round, measure, middle};
use super::say;
use crate::failure::{Failure, Outcome};

/// Who takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// The mock provider itself.
    Direct,
    /// A yardstick.
    Nginx,
    /// Another one.
    Haproxy,
    /// What is measured, with everything on.
    Gateway,
    /// The same with as much loaded, from its disk: nothing answers where NATS should be.
    WithoutNats,
    /// The same, with hardly anything loaded.
    Small,
    /// An LLM gateway of others.
    Peer(Peer),
}

/// A server that takes its turns.
pub(super) struct Candidate {
    /// Its processes.
    pub(super) pids: Vec<u32>,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// With which key it is asked.
    pub(super) key: String,
    /// With which headers beside that.
    pub(super) headers: Vec<(&'static str, String)>,
    /// As what it knows the models.
    pub(super) models: Models,
}

/// The names of a model that answers at once, and of one that takes its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Models {
    pub(super) at_once: &'static str,
    pub(super) paced: &'static str,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// One JSON document, for a prompt of 600 bytes.
    Whole,
    /// One JSON document, for a prompt of 64 KiB.
    Large,
    /// A stream of 64 chunks at once.
    Burst,
    /// A stream of 64 chunks, 5 ms apart.
    Paced,
}

/// The candidates.
pub(super) struct Field {
    /// Where they run, and where the load does.
    pub(super) cores: Cores,
    /// All of them.
    pub(super) candidates: BTreeMap<Who, Candidate>,
}

/// Rounds under one load.
#[derive(Default)]
pub(super) struct Rounds(BTreeMap<Who, Vec<Round>>);

// === impl Who ===

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "the mock provider",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Gateway => "the gateway",
            Self::WithoutNats => "a gateway without NATS",
            Self::Small => "a gateway with little loaded, without NATS",
            Self::Peer(peer) => peer.name(),
        }
    }
}

// === impl Candidate ===

impl Candidate {
    fn target(&self, kind: Kind) -> Target {
        let (model, question) = match kind {
            Kind::Whole => (self.models.at_once, Question::Short),
            Kind::Large => (self.models.at_once, Question::Long),
            Kind::Burst => (self.models.at_once, Question::Streamed),
            Kind::Paced => (self.models.paced, Question::Streamed),
        };
        let headers = self.headers.iter().map(|(name, value)| (*name, &**value));
        let headers: Vec<_> = headers.collect();
        provider::ask_with(self.address, model, &self.key, question, &headers)
    }
}

// === impl Field ===

impl Field {
    /// Lets some have so many turns each. Who is not in the field is left out.
    pub(super) async fn turns(
        &self,
        who: &[Who],
        turns: u32,
        shape: Shape,
        kind: Kind,
    ) -> Outcome<Rounds> {
        let load = match shape.rate {
            Some(rate) => format!("{rate} a second"),
            None => format!("{} connections", shape.connections),
        };
        let mut rounds = Rounds::default();
        for turn in 1..=turns {
            say(&format!("{kind:?} answers, {load}, turn {turn} of {turns}"));
            for who in who {
                let Some(candidate) = self.candidates.get(who) else {
                    continue;
                };
                let target = candidate.target(kind);
                let round = measure(self.cores, &candidate.pids, &target, shape).await;
                let round =
                    round.map_err(|failure| Failure::new(format!("{}: {failure}", who.name())))?;
                rounds.0.entry(*who).or_default().push(round);
            }
        }
        Ok(rounds)
    }
}

// === impl Rounds ===

impl Rounds {
    /// The median of one of their figures; `None`: they had no turn.
    pub(super) fn of(&self, who: Who, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        self.0.get(&who).map(|rounds| middle(rounds, figure))
    }

    /// The median of the quotients of one's figure and another's, turn by turn: what slowed both of a turn down stands on
    /// both sides.
    pub(super) fn ratio(
        &self,
        one: Who,
        other: Who,
        figure: impl Fn(&Round) -> f64,
    ) -> Option<f64> {
        let turns = self.0.get(&one)?.iter().zip(self.0.get(&other)?);
        let quotients = turns.map(|(one, other)| figure(one) / figure(other));
        Some(super::median(quotients.collect()))
    }
}

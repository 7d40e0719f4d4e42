//! The servers of a comparison, and their turns: one after the other, again and again, so that all
//! meet the same conditions.

use super::cpu::Cores;
use super::load::{Shape, Target};
use super::round::{Round, measure, middle};
use super::say;
use crate::failure::{Failure, Outcome};

/// A server that takes its turns.
pub(super) struct Candidate {
    /// Its processes.
    pub(super) pids: Vec<u32>,
    /// Asks it for a whole answer.
    pub(super) whole: Target,
    /// Asks it for a stream.
    pub(super) streamed: Target,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// One JSON document.
    Whole,
    /// A stream of chunks.
    Stream,
}

/// The candidates, in the order of their turns.
pub(super) struct Field {
    /// Where they run, and where the load does.
    pub(super) cores: Cores,
    /// The mock provider itself.
    pub(super) direct: Candidate,
    /// The yardstick.
    pub(super) nginx: Candidate,
    /// What is measured.
    pub(super) gateway: Candidate,
}

/// Rounds of the three under one load.
#[derive(Default)]
pub(super) struct Rounds {
    direct: Vec<Round>,
    nginx: Vec<Round>,
    gateway: Vec<Round>,
}

// === impl Field ===

impl Field {
    /// Lets each have so many turns.
    pub(super) async fn turns(&self, turns: u32, shape: Shape, kind: Kind) -> Outcome<Rounds> {
        let load = match shape.rate {
            Some(rate) => format!("{rate} a second"),
            None => format!("{} connections", shape.connections),
        };
        let mut rounds = Rounds::default();
        for turn in 1..=turns {
            say(&format!("{kind:?} answers, {load}, turn {turn} of {turns}"));
            let direct = self.round("the mock provider", &self.direct, shape, kind);
            rounds.direct.push(direct.await?);
            let nginx = self.round("nginx", &self.nginx, shape, kind);
            rounds.nginx.push(nginx.await?);
            let gateway = self.round("the gateway", &self.gateway, shape, kind);
            rounds.gateway.push(gateway.await?);
        }
        Ok(rounds)
    }

    async fn round(
        &self,
        name: &str,
        candidate: &Candidate,
        shape: Shape,
        kind: Kind,
    ) -> Outcome<Round> {
        let target = match kind {
            Kind::Whole => &candidate.whole,
            Kind::Stream => &candidate.streamed,
        };
        let round = measure(self.cores, &candidate.pids, target, shape).await;
        round.map_err(|failure| Failure::new(format!("{name}: {failure}")))
    }
}

// === impl Rounds ===

impl Rounds {
    /// The median of one of the mock provider's figures.
    pub(super) fn direct(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        middle(&self.direct, figure)
    }

    /// The median of one of nginx' figures.
    pub(super) fn nginx(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        middle(&self.nginx, figure)
    }

    /// The median of one of the gateway's figures.
    pub(super) fn gateway(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        middle(&self.gateway, figure)
    }
}

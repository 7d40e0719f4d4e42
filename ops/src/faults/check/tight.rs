//! The round's small budget and small limit: neither was overspent, both refuse no longer than they should.

use tokio::time::{Duration, Instant};

use super::Checker;
use crate::dice::Dice;
use crate::failure::Outcome;
use crate::faults::draw::{Excuses, GATEWAYS};
use crate::faults::facts::Tight;
use crate::faults::work::Worker;
use crate::faults::work::tight::Purpose;

/// By how many requests both are raised in the end: more than any round asks for.
const PLENTY: u64 = 100_000;

/// How long what is free may be refused: whoever lends takes office some seconds after the one before it died, and then takes
/// what the gateways tell it.
const FREE_WITHIN: Duration = Duration::from_secs(30);

/// What may stay unused of the budget, in requests: what does not suffice for another one, at either gateway or with whoever
/// lends, for each of which twice its cost is reserved. Of the limit likewise, one for each gateway and its share's rest.
const UNUSED: u64 = 6;

// === impl Checker ===

impl Checker {
    pub(super) async fn small_policies_hold(&self, excuses: &Excuses, dice: &mut Dice) -> Outcome {
        let worker = Worker::alone(&self.place);
        self.are_not_overspent(excuses).await?;
        // What a gateway that was ended had for itself counts as used, until the ledger knows better.
        if !GATEWAYS.iter().any(|gateway| excuses.ended(gateway)) {
            self.are_used_up(&worker).await;
            self.are_not_overspent(excuses).await?;
        }
        worker.raise_by(PLENTY, dice).await?;
        worker.is_served().await?;
        self.all_answer(&worker, FREE_WITHIN, "was raised").await;
        worker.close(dice).await?;
        self.all_answer(&worker, Duration::ZERO, "was deleted")
            .await;
        Ok(())
    }

    /// Not a nano-dollar more than the budget; of the limit less than twice, and one request for each life of a gateway, and
    /// once more for each that may have been cut off.
    async fn are_not_overspent(&self, excuses: &Excuses) -> Outcome {
        let tight = self.tight();
        let recorded = self
            .count(&format!(
                "SELECT toUInt64(sum(ifNull(cost, 0))) FROM requests \
                 WHERE arrayExists(it -> startsWith(it, '{}'), budgets)",
                tight.budget
            ))
            .await?;
        for (spent, whose) in [(tight.spent_nanos, "answers"), (recorded, "the ledger")] {
            if spent > tight.budget_nanos {
                self.place.notebook.found(format!(
                    "{spent} nano-dollars were spent of {}, as {whose} say: {tight:?}",
                    tight.budget_nanos
                ));
            }
        }
        let ended = GATEWAYS.iter().filter(|gateway| excuses.ended(gateway));
        let (gateways, ended) = (GATEWAYS.len() as u64, ended.count() as u64);
        let apart = if excuses.gateways_may_be_cut_off() {
            gateways + ended
        } else {
            0
        };
        let most = (2 + apart) * tight.limit_requests + gateways + ended;
        if tight.admitted > most {
            self.place.notebook.found(format!(
                "{} requests were admitted, at most {most} should be: {tight:?}",
                tight.admitted
            ));
        }
        Ok(())
    }

    /// What there is room for is let through in the end.
    async fn are_used_up(&self, worker: &Worker) {
        let deadline = Instant::now() + FREE_WITHIN;
        for purpose in Purpose::BOTH {
            while self.is_room(purpose) {
                if Instant::now() >= deadline {
                    let tight = self.tight();
                    self.place.notebook.found(format!(
                        "{purpose:?}: requests are refused, and there is room: {tight:?}"
                    ));
                    break;
                }
                for gateway in GATEWAYS {
                    worker.use_up(gateway, purpose).await;
                }
            }
        }
    }

    fn is_room(&self, purpose: Purpose) -> bool {
        let (tight, one) = (self.tight(), self.place.purse.one);
        match purpose {
            Purpose::Budget => {
                let may_be = tight.spent_nanos + (tight.unknown_spends + UNUSED) * one;
                may_be < tight.budget_nanos
            }
            Purpose::Limit => tight.admitted + tight.unknown_asks + UNUSED < tight.limit_requests,
        }
    }

    /// Each gateway lets both kinds of requests through.
    async fn all_answer(&self, worker: &Worker, within: Duration, what: &str) {
        let deadline = Instant::now() + within;
        for purpose in Purpose::BOTH {
            for gateway in GATEWAYS {
                while !worker.use_up(gateway, purpose).await {
                    if Instant::now() >= deadline {
                        let tight = self.tight();
                        self.place.notebook.found(format!(
                            "{gateway} refuses, after the {purpose:?} {what}: {tight:?}"
                        ));
                        break;
                    }
                }
            }
        }
    }

    fn tight(&self) -> Tight {
        self.place.notebook.facts().tight.clone()
    }
}

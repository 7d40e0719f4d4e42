//! Finding the rule of a request allocates nothing, and neither does a decision, whether it admits or refuses: counted by the
//! allocator itself.

mod counting;
#[path = "../it/memory.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod memory;
#[path = "../it/strangers.rs"]
mod strangers;
#[path = "../it/twenty.rs"]
mod twenty;

use std::{collections::BTreeMap, hint::black_box};

use events_schema::time::Timestamp;
use gateway_policy::{
    Caller, Configuration as _, Facts, Target,
    limits::{
        Measure,
        admission::{Counters, Decision, Moment, Turn, admit, decide},
        counter::{Counter, Reach},
        gateway::Gateway,
        lease::{BudgetId, Lender, Role, Spending, Wallet, Wallets},
        message::{CounterId, Incarnation, Steady},
        period::Period,
    },
    resolve,
};

use self::{
    counting::taken,
    memory::{ACCOUNT, BIG, BOB, KEY, Memory, organisation},
    strangers::EVERYBODYS,
};

#[test]
fn the_allocator_counts() {
    assert_eq!(taken(|| drop(black_box(Box::new(7)))), 1);
}

#[test]
fn a_decision_over_twenty_counters_allocates_nothing() {
    let (mut counters, mut charges) = twenty::counters(500);
    let (mut admitted, mut refused) = (0, 0);
    let many = taken(|| {
        // Half an hour, so that slots and windows pass.
        for nth in 0..2_000 {
            let now = twenty::at(nth * 900_000);
            match admit(&mut counters[..], &mut charges, twenty::TOGETHER, now) {
                Ok(_) => admitted += 1,
                Err(_) => refused += 1,
            }
        }
    });
    assert_eq!(many, 0);
    assert!(admitted > 100 && refused > 100, "{admitted} and {refused}");
}

#[test]
fn what_counts_as_long_as_it_is_under_way_allocates_nothing() {
    let mut counters: Vec<Counter> = twenty::counters(10).0;
    for counter in &mut counters {
        let id = CounterId {
            period: Period::AtATime,
            ..counter.id()
        };
        *counter = Counter::new(id, counter.terms(), counter.share());
    }
    let (_, mut charges) = twenty::counters(10);
    let (mut admitted, mut refused) = (0, 0);
    let many = taken(|| {
        for nth in 0..2_000 {
            let now = twenty::at(nth);
            match admit(&mut counters[..], &mut charges, Reach::Alone, now) {
                Ok(_) => admitted += 1,
                Err(_) => {
                    refused += 1;
                    for (counter, charge) in counters.iter_mut().zip(&charges) {
                        (0..10).for_each(|_| counter.settle(charge.slot, charge.cost, 0));
                    }
                }
            }
        }
    });
    assert_eq!(many, 0);
    assert!(admitted > 100 && refused > 100, "{admitted} and {refused}");
}

/// A gateway where a request finds all counters and purses.
struct All(Gateway);

impl Counters for All {
    fn counter(&mut self, place: usize) -> &mut Counter {
        &mut self.0.counters()[place]
    }
}

impl Wallets for All {
    fn wallet(&mut self, place: usize) -> (&mut Wallet, usize) {
        (&mut self.0.wallet, place)
    }
}

#[test]
fn a_decision_over_limits_and_budgets_and_its_settlement_allocate_nothing() {
    let mut all = All(Gateway::new(Incarnation([1; 16]), Steady(0)));
    let (begin, (counters, mut charges)) = (twenty::at(0), twenty::counters(1_000));
    for counter in counters {
        all.0.place(counter.id(), counter.terms());
    }
    let roles = [Role::Decides { closed: true }, Role::Tracks, Role::Audits];
    let budgets: Vec<BudgetId> = (0..12).map(|at| budget(at, begin)).collect();
    for budget in &budgets {
        all.0.wallet.place(*budget, 3_000, Steady(0));
    }
    let spendings: Vec<Spending> = (0..budgets.len())
        .map(|purse| Spending {
            purse,
            cost: 7,
            role: roles[purse % roles.len()],
        })
        .collect();
    let (mut admitted, mut refused) = (0, 0);
    let many = taken(|| {
        for at in 0..2_000_u64 {
            let moment = Moment {
                reach: Reach::Alone,
                lender: Lender::Nobody,
                now: begin.plus_micros(i64::try_from(at).unwrap_or(0) * 10_000_000),
                steady: Steady(at),
            };
            match decide(&mut all, &mut charges, &spendings, moment, Turn::First) {
                Decision::Admitted { .. } => {
                    admitted += 1;
                    for budget in &budgets {
                        let place = all.0.wallet.place_of(budget).unwrap_or(0);
                        all.0.wallet.change(place).settle(7, 5);
                    }
                }
                _ => refused += 1,
            }
        }
    });
    assert_eq!(many, 0);
    assert!(admitted > 100 && refused > 100, "{admitted} and {refused}");
}

fn budget(at: u8, begin: Timestamp) -> BudgetId {
    let periods = [Period::Day, Period::Week, Period::Month, Period::Quarter];
    let period = periods[usize::from(at) % periods.len()];
    BudgetId {
        counter: CounterId {
            rule: [at; 16],
            measure: Measure::Cost,
            period,
            segment: [0; 16],
        },
        slot: period.slot_at(begin),
    }
}

#[test]
fn finding_the_rule_that_applies_and_its_counter_allocates_nothing() {
    let rules = strangers::among(1_000);
    let config = Memory::with(organisation());
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let resolved = resolve(&config, "chat").expect("it is there");
    let metadata = ["project", "environment"].map(|key| (key.to_owned(), "mine".to_owned()));
    let metadata = BTreeMap::from(metadata);
    let facts = Facts::of(&config, caller, resolved, &metadata);
    let attempt = facts.at(Target {
        account: config.account(&ACCOUNT).expect("it is there"),
        model: config.model(&BIG).expect("it is there"),
    });
    let mut found = None;
    let many = taken(|| {
        found = rules.first(&facts).map(|rule| {
            let segment = rule.segments(&facts)[0];
            (rule.id, segment, rule.limits(&segment).len())
        });
        assert!(rules.first_naming(&attempt).is_none());
    });
    assert_eq!(found, Some((EVERYBODYS, BOB, 1)));
    assert_eq!(many, 0);
}

//! A decision allocates nothing, whether it admits or refuses: counted by the allocator itself.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    Measure,
    admission::{Charge, Counters, Decision, Moment, Turn, admit, decide},
    counter::{Counter, Mode, Reach, Terms},
    gateway::Gateway,
    lease::{BudgetId, Lender, Role, Spending, Wallet, Wallets},
    message::{CounterId, Incarnation, Steady},
    period::Period,
    share::Share,
};

/// The system's allocator, which counts what each thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "the one way to count allocations; everything is handed on to the system's allocator"
)]
// SAFETY: each call is handed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `what` takes memory.
fn taken(what: impl FnOnce()) -> u64 {
    let before = TAKEN.with(Cell::get);
    what();
    TAKEN.with(Cell::get) - before
}

/// Twenty counters, some of each period.
fn counters(most: u64) -> Vec<Counter> {
    let counter = |at: u8| {
        let id = CounterId {
            rule: [at; 16],
            measure: Measure::Requests,
            period: Period::ALL[usize::from(at) % Period::ALL.len()],
            segment: [0; 16],
        };
        let terms = Terms {
            most,
            mode: Mode::Enforce,
            cut_off: None,
        };
        Counter::new(id, terms, Share::of_2_32(1 << 30))
    };
    (0..20).map(counter).collect()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(taken(|| drop(black_box(Box::new(7)))), 1);
}

#[test]
fn a_decision_over_twenty_counters_allocates_nothing() {
    let mut counters = counters(500);
    let mut charges: Vec<Charge> = (0..counters.len())
        .map(|counter| Charge::new(counter, 1))
        .collect();
    let reach = Reach::Together {
        halvings: 0,
        silent_us: 0,
    };
    let (mut admitted, mut refused) = (0, 0);
    let many = taken(|| {
        // Half an hour, so that slots and windows pass.
        for at in 0..2_000 {
            let now = Timestamp::MIN.plus_micros(1_795_348_800_000_000 + at * 900_000);
            match admit(&mut counters[..], &mut charges, reach, now) {
                Ok(_) => admitted += 1,
                Err(_) => refused += 1,
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
    let begin = Timestamp::MIN.plus_micros(1_795_348_800_000_000);
    for counter in counters(1_000) {
        all.0.place(counter.id(), counter.terms());
    }
    let limits = all.0.look().len();
    let roles = [Role::Decides { closed: true }, Role::Tracks, Role::Audits];
    let budgets: Vec<BudgetId> = (0..12).map(|at| budget(at, begin)).collect();
    for budget in &budgets {
        all.0.wallet.place(*budget, 3_000, Steady(0));
    }
    let mut charges: Vec<Charge> = (0..limits).map(|at| Charge::new(at, 1)).collect();
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

//! What budgets decide at one gateway, and what of it stands in its purses.

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    Measure,
    admission::{Charge, Counters, Decision, Moment, Turn, decide},
    counter::{Counter, Reach},
    gateway::Gateway,
    lease::{
        BudgetId, LEASE_LIFETIME_US, Lease, LeaseRow, Leases, Lender, PurseReport, Purses, Role,
        Spending, Wallet, Wallets, Why,
    },
    message::{CounterId, Incarnation, Steady},
    period::Period,
};

use crate::counters::{id, limit, time};

const GATEWAY: Incarnation = Incarnation([1; 16]);
const DECIDES: Role = Role::Decides { closed: false };
const DECIDES_CLOSED: Role = Role::Decides { closed: true };

fn noon() -> Timestamp {
    time("2026-11-22T12:00:00Z")
}

const fn counter(rule: u8, period: Period) -> CounterId {
    CounterId {
        rule: [rule; 16],
        measure: Measure::Cost,
        period,
        segment: [0; 16],
    }
}

/// A gateway, what a request finds there, and the time.
struct World {
    gateway: Gateway,
    limits: Vec<usize>,
    purses: Vec<usize>,
    lender: Lender,
    steady: Steady,
    now: Timestamp,
    /// What gateways have spent, as is told.
    spent: u64,
}

impl Counters for World {
    fn counter(&mut self, place: usize) -> &mut Counter {
        let at = self.limits[place];
        &mut self.gateway.counters()[at]
    }
}

impl Wallets for World {
    fn wallet(&mut self, place: usize) -> (&mut Wallet, usize) {
        (&mut self.gateway.wallet, self.purses[place])
    }
}

impl World {
    fn new(lender: Lender) -> Self {
        Self {
            gateway: Gateway::new(GATEWAY, Steady(0)),
            limits: Vec::new(),
            purses: Vec::new(),
            lender,
            steady: Steady(1_000),
            now: noon(),
            spent: 0,
        }
    }

    fn budget(&mut self, id: CounterId) -> BudgetId {
        BudgetId {
            counter: id,
            slot: self.gateway.wallet.slot(&id, self.now),
        }
    }

    /// Decides on a request for these budgets of 100 each.
    fn ask(&mut self, budgets: &[(CounterId, Role)], cost: u64, turn: Turn) -> Decision {
        let (now, steady) = (self.now, self.steady);
        self.purses.clear();
        for (id, _) in budgets {
            let budget = self.budget(*id);
            let place = self.gateway.wallet.place(budget, 100, steady);
            self.purses.push(place);
        }
        let spendings = (0..).zip(budgets).map(|(purse, (_, role))| Spending {
            purse,
            cost,
            role: *role,
        });
        let spendings: Vec<_> = spendings.collect();
        let moment = Moment {
            reach: Reach::Alone,
            lender: self.lender,
            now,
            steady,
        };
        let mut charges: Vec<_> = (0..self.limits.len())
            .map(|at| Charge::new(at, 1))
            .collect();
        decide(self, &mut charges, &spendings, moment, turn)
    }

    /// The last turn of a request that has waited since now.
    fn last(&self) -> Turn {
        Turn::Last { since: self.steady }
    }

    fn said(&mut self, id: CounterId) -> PurseReport {
        let budget = self.budget(id);
        let place = self.gateway.wallet.place_of(&budget);
        let place = place.expect("it has been asked for");
        self.gateway.wallet.look()[place].purse().said()
    }

    fn settle(&mut self, id: CounterId, reserved: u64, actual: u64) {
        let budget = self.budget(id);
        self.settle_in(&budget, reserved, actual);
    }

    fn settle_in(&mut self, budget: &BudgetId, reserved: u64, actual: u64) {
        let wallet = &mut self.gateway.wallet;
        let place = wallet.place_of(budget).expect("it is there");
        wallet.change(place).settle(reserved, actual);
    }

    /// Reports, and is told that it may spend so much, of so much that is committed.
    fn told(&mut self, id: CounterId, version: u64, ceiling: u64, committed: u64) {
        self.told_as(id, version, ceiling, committed, true);
    }

    /// The same; `is_decided`: no more comes for what was asked for.
    fn told_as(
        &mut self,
        id: CounterId,
        version: u64,
        ceiling: u64,
        committed: u64,
        is_decided: bool,
    ) {
        let report = self.gateway.wallet.report(self.steady);
        let row = LeaseRow {
            budget: self.budget(id),
            lease: Lease { version, ceiling },
            committed,
            spent: self.spent,
            is_decided,
        };
        let heard = self.gateway.wallet.hear(&Leases {
            to: GATEWAY,
            includes: report.number,
            sent_at: report.sent_at,
            rows: vec![row],
        });
        assert!(heard);
    }
}

const ADMITTED: Decision = Decision::Admitted {
    limit: None,
    budget: None,
};

fn why(decision: Decision) -> Option<Why> {
    match decision {
        Decision::Overspent(overspent) => Some(overspent.why),
        Decision::Admitted { .. } | Decision::Refused(_) | Decision::Waits => None,
    }
}

#[test]
fn the_first_request_waits_for_its_lease_and_is_paid_from_it() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    assert_eq!(
        world.ask(&[(month, DECIDES)], 30, Turn::First),
        Decision::Waits
    );
    assert_eq!((world.said(month).asked, world.said(month).open), (30, 0));
    world.told(month, 1, 50, 50);
    assert_eq!(world.ask(&[(month, DECIDES)], 30, Turn::Again), ADMITTED);
    let said = world.said(month);
    assert_eq!((said.asked, said.open), (30, 30), "it has asked once");
}

#[test]
fn what_the_budget_cannot_pay_is_refused_at_once_and_what_may_come_after_the_wait() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    world.told(month, 1, 20, 95);
    // 20 are lent to this gateway, and 5 to nobody.
    assert_eq!(
        world.ask(&[(month, DECIDES)], 25, Turn::First),
        Decision::Waits
    );
    let last = world.ask(&[(month, DECIDES)], 25, world.last());
    assert_eq!(why(last), Some(Why::Lacks));
    let too_much = world.ask(&[(month, DECIDES)], 26, Turn::First);
    assert_eq!(why(too_much), Some(Why::Held), "by others");
    let said = world.said(month);
    assert_eq!((said.refused, said.open), (25 + 26, 0));
    assert_eq!(said.asked, 30 + 25, "for what is held nobody is asked");
}

#[test]
fn a_refusal_says_whether_less_would_be_paid_or_the_same_later_or_nothing_any_more() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    // Of the 100, 60 are spent, and all others are lent to somebody else.
    world.spent = 60;
    world.told(month, 0, 0, 100);
    let ask = |world: &mut World, cost| why(world.ask(&[(month, DECIDES)], cost, Turn::First));
    assert_eq!(ask(&mut world, 40), Some(Why::Held));
    let too_large = Why::TooLarge { cost: 41, left: 40 };
    assert_eq!(ask(&mut world, 41), Some(too_large));
    world.spent = 100;
    world.told(month, 0, 0, 100);
    assert_eq!(ask(&mut world, 1), Some(Why::UsedUp));
    assert_eq!(world.said(month).asked, 30, "nobody was asked for that");
}

#[test]
fn one_gateway_alone_tells_what_is_spent_from_what_is_under_way() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Nobody);
    assert_eq!(world.ask(&[(month, DECIDES)], 70, Turn::First), ADMITTED);
    let ask = |world: &mut World, cost| why(world.ask(&[(month, DECIDES)], cost, Turn::First));
    assert_eq!(ask(&mut world, 31), Some(Why::Held));
    world.settle(month, 70, 80);
    let too_large = Why::TooLarge { cost: 31, left: 20 };
    assert_eq!(ask(&mut world, 31), Some(too_large));
    assert_eq!(world.ask(&[(month, DECIDES)], 20, Turn::First), ADMITTED);
    world.settle(month, 20, 20);
    assert_eq!(ask(&mut world, 1), Some(Why::UsedUp));
}

#[test]
fn the_largest_is_told_until_it_was_decided_on() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    // Reports are a tick apart.
    let report = |world: &mut World| {
        world.steady = world.steady.plus_us(1);
        world.gateway.wallet.report(world.steady)
    };
    let answer = |world: &mut World, to: &Purses, ceiling, is_decided| {
        let row = LeaseRow {
            budget: to.rows[0].budget,
            lease: Lease {
                version: 1,
                ceiling,
            },
            committed: ceiling,
            spent: 0,
            is_decided,
        };
        let (includes, sent_at, rows) = (to.number, to.sent_at, vec![row]);
        let to = GATEWAY;
        world.gateway.wallet.hear(&Leases {
            to,
            includes,
            sent_at,
            rows,
        })
    };
    let largest = |purses: &Purses| purses.rows[0].said.largest;
    let before = report(&mut world);
    assert_eq!(before.rows.len(), 0);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    let first = report(&mut world);
    assert_eq!(largest(&first), 30);
    assert!(answer(&mut world, &first, 5, false));
    let _waits = world.ask(&[(month, DECIDES)], 20, Turn::First);
    let second = report(&mut world);
    let third = report(&mut world);
    assert_eq!((largest(&second), largest(&third)), (30, 30));
    // The answer to one that told of all, though another report has been sent since.
    assert!(answer(&mut world, &second, 5, true));
    assert_eq!(largest(&report(&mut world)), 0);
    // What was asked for later is not decided on by an answer to what was reported before.
    let _waits = world.ask(&[(month, DECIDES)], 40, Turn::First);
    let fourth = report(&mut world);
    assert!(answer(&mut world, &third, 5, true));
    assert_eq!((largest(&fourth), largest(&report(&mut world))), (40, 40));
}

#[test]
fn of_what_was_to_spare_for_long_half_is_given_back() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 90, Turn::First);
    world.told(month, 1, 90, 90);
    let small = |world: &mut World| {
        world.steady = world.steady.plus_us(LEASE_LIFETIME_US / 4);
        assert_eq!(world.ask(&[(month, DECIDES)], 1, Turn::First), ADMITTED);
        world.settle(month, 1, 1);
        world.told(month, 1, 90, 90);
    };
    // From the first report on: it began with nothing.
    for _ in 0..5 {
        small(&mut world);
    }
    assert_eq!(world.said(month).lease.ceiling, 90);
    for _ in 0..5 {
        small(&mut world);
    }
    let said = world.said(month);
    assert_eq!((said.lease.ceiling, said.settled), (90 - 40, 10));
}

#[test]
fn what_was_given_back_may_be_asked_for_again() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 90, Turn::First);
    world.told(month, 1, 100, 100);
    world.steady = world.steady.plus_us(2 * LEASE_LIFETIME_US);
    // Nobody has asked for long: the report gives it back, and the answer does not know of that yet.
    world.told(month, 1, 100, 100);
    assert_eq!(world.said(month).lease.ceiling, 0);
    assert_eq!(
        world.ask(&[(month, DECIDES)], 90, Turn::First),
        Decision::Waits
    );
}

#[test]
fn a_limit_that_refuses_leaves_budgets_untouched_and_asks_for_nothing() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let place = world.gateway.place(id(Period::Hour), limit(0));
    world.limits = vec![place];
    let refused = world.ask(&[(month, DECIDES)], 30, Turn::First);
    assert!(matches!(refused, Decision::Refused(_)));
    assert_eq!(world.said(month), PurseReport::default());
}

#[test]
fn a_budget_that_refuses_charges_no_limit() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Nobody);
    let place = world.gateway.place(id(Period::Hour), limit(10));
    world.limits = vec![place];
    let refused = world.ask(&[(month, DECIDES)], 101, Turn::First);
    let too_large = Why::TooLarge {
        cost: 101,
        left: 100,
    };
    assert_eq!(why(refused), Some(too_large));
    let now = world.now;
    assert_eq!(world.gateway.counters()[place].used(now), (0, 0));
    assert_eq!(world.ask(&[(month, DECIDES)], 100, Turn::First), ADMITTED);
    assert_eq!(world.gateway.counters()[place].used(now), (1, 0));
}

#[test]
fn the_first_decides_and_the_others_count() {
    let (first, second) = (counter(1, Period::Month), counter(2, Period::Month));
    let mut world = World::new(Lender::Nobody);
    let both = [(first, DECIDES), (second, Role::Tracks)];
    assert_eq!(world.ask(&both, 60, Turn::First), ADMITTED);
    world.settle(first, 60, 1);
    world.settle(second, 60, 150);
    assert_eq!(world.ask(&both, 60, Turn::First), ADMITTED);
    assert_eq!(world.said(first).taken(), 61);
    assert_eq!(world.said(second).taken(), 210);
    // What only counts asks for no lease.
    assert_eq!(
        (world.said(first).asked, world.said(second).asked),
        (120, 0)
    );
}

#[test]
fn each_window_of_a_budget_has_to_suffice() {
    let (day, month) = (counter(1, Period::Day), counter(1, Period::Month));
    let mut world = World::new(Lender::Nobody);
    assert_eq!(world.ask(&[(month, DECIDES)], 70, Turn::First), ADMITTED);
    let both = [(day, DECIDES), (month, DECIDES)];
    let refused = world.ask(&both, 40, Turn::First);
    assert_eq!(
        refused,
        world.ask(&both, 40, Turn::First),
        "nothing was taken"
    );
    let Decision::Overspent(overspent) = refused else {
        panic!("30 are left of the month")
    };
    assert_eq!((overspent.purse, overspent.why), (1, Why::Held));
    assert_eq!(world.ask(&both, 30, Turn::First), ADMITTED);
}

#[test]
fn of_two_windows_that_are_used_up_the_longer_one_is_named() {
    let (day, month) = (counter(1, Period::Day), counter(1, Period::Month));
    let mut world = World::new(Lender::Nobody);
    let refused = world.ask(&[(month, DECIDES), (day, DECIDES)], 101, Turn::First);
    assert!(matches!(refused, Decision::Overspent(it) if it.purse == 0));
}

#[test]
fn an_audit_refuses_nothing_and_says_so_from_the_end_of_the_budget_on() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let audited = [(month, Role::Audits)];
    assert_eq!(world.ask(&audited, 40, Turn::First), ADMITTED);
    // Of the 90, 40 are its own, which it has reported.
    world.told(month, 0, 0, 90);
    assert_eq!(world.ask(&audited, 10, Turn::First), ADMITTED);
    let over = Decision::Admitted {
        limit: None,
        budget: Some(0),
    };
    assert_eq!(world.ask(&audited, 1, Turn::First), over);
    assert_eq!((world.said(month).open, world.said(month).asked), (51, 0));
}

#[test]
fn while_nobody_lends_open_budgets_let_through_and_closed_ones_do_not() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    world.told(month, 1, 100, 100);
    world.steady = world.steady.plus_us(LEASE_LIFETIME_US);
    world.lender = Lender::Silent;
    let closed = world.ask(&[(month, DECIDES_CLOSED)], 30, Turn::First);
    assert_eq!(why(closed), Some(Why::CutOff));
    assert_eq!(world.said(month).open, 0);
    assert_eq!(world.ask(&[(month, DECIDES)], 130, Turn::First), ADMITTED);
    assert_eq!(world.said(month).open, 130, "and it counts");
}

#[test]
fn what_nobody_has_answered_open_budgets_let_through_and_closed_ones_do_not() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    // Nothing was ever told of it.
    let never = world.ask(&[(month, DECIDES_CLOSED)], 30, world.last());
    assert_eq!(why(never), Some(Why::Lacks));
    assert_eq!(world.ask(&[(month, DECIDES)], 30, world.last()), ADMITTED);
    world.told(month, 1, 60, 80);
    // What was told until now answers reports from before.
    world.steady = world.steady.plus_us(1);
    let last = world.last();
    world.steady = world.steady.plus_us(500_000);
    let closed = world.ask(&[(month, DECIDES_CLOSED)], 40, last);
    assert_eq!(why(closed), Some(Why::Lacks));
    let too_much = world.ask(&[(month, DECIDES)], 51, last);
    assert_eq!(why(too_much), Some(Why::Held), "as far as is known");
    // An answer that says nothing of what was asked for is none.
    world.told_as(month, 1, 60, 80, false);
    assert_eq!(world.ask(&[(month, DECIDES)], 40, last), ADMITTED);
    assert_eq!(world.said(month).open, 70, "and it counts");
    world.told(month, 1, 60, 80);
    let answered = world.ask(&[(month, DECIDES)], 20, last);
    assert_eq!(why(answered), Some(Why::Lacks), "it is for others");
}

#[test]
fn what_has_left_spends_nothing_and_gives_everything_back() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    world.told(month, 1, 100, 100);
    assert_eq!(world.ask(&[(month, DECIDES)], 30, Turn::Again), ADMITTED);
    world.settle(month, 30, 12);
    let last = world.gateway.wallet.leave(world.steady);
    assert_eq!(
        (last.rows[0].said.lease.ceiling, last.rows[0].said.settled),
        (12, 12)
    );
    let after = world.ask(&[(month, DECIDES)], 1, world.last());
    assert_eq!(why(after), Some(Why::Lacks));
}

#[test]
fn a_cost_belongs_to_the_slot_in_which_the_request_arrived() {
    let day = counter(1, Period::Day);
    let mut world = World::new(Lender::Nobody);
    world.now = time("2026-11-22T23:59:59Z");
    assert_eq!(world.ask(&[(day, DECIDES)], 100, Turn::First), ADMITTED);
    let yesterday = world.budget(day);
    world.now = time("2026-11-23T00:00:00Z");
    assert_eq!(world.ask(&[(day, DECIDES)], 100, Turn::First), ADMITTED);
    world.settle_in(&yesterday, 100, 7);
    let place = world
        .gateway
        .wallet
        .place_of(&yesterday)
        .expect("it is kept");
    assert_eq!(world.gateway.wallet.look()[place].purse().said().settled, 7);
    assert_eq!(world.said(day).settled, 0);
}

#[test]
fn a_purse_goes_when_its_slot_is_long_over_and_all_of_it_is_known() {
    let day = counter(1, Period::Day);
    let mut world = World::new(Lender::Heard);
    assert_eq!(world.ask(&[(day, Role::Tracks)], 10, Turn::First), ADMITTED);
    let of_day = world.budget(day);
    let is_there = |world: &mut World, at: &str, alone| {
        world.gateway.wallet.sweep(time(at), alone);
        world.gateway.wallet.place_of(&of_day).is_some()
    };
    let over = "2026-11-23T00:15:00Z";
    assert!(is_there(&mut world, over, false), "something is under way");
    world.settle_in(&of_day, 10, 10);
    assert!(
        is_there(&mut world, over, false),
        "nobody has heard of that"
    );
    // An answer to the next report is one that has heard of it.
    world.told(day, 0, 0, 10);
    assert!(!is_there(&mut world, over, false));
    // What arrived then counts in the first slot that is still kept.
    let late = world.gateway.wallet.slot(&day, noon());
    assert_eq!(late, Period::Day.slot_at(time("2026-11-23T00:00:00Z")));
}

#[test]
fn alone_a_purse_goes_a_quarter_of_an_hour_after_its_slot() {
    let day = counter(1, Period::Day);
    let mut world = World::new(Lender::Nobody);
    assert_eq!(world.ask(&[(day, Role::Tracks)], 10, Turn::First), ADMITTED);
    world.settle(day, 10, 10);
    let of_day = world.budget(day);
    let wallet = &mut world.gateway.wallet;
    wallet.sweep(time("2026-11-23T00:14:59Z"), true);
    assert!(wallet.place_of(&of_day).is_some(), "not yet");
    wallet.sweep(time("2026-11-23T00:15:00Z"), true);
    assert!(wallet.place_of(&of_day).is_none());
}

#[test]
fn an_answer_to_an_older_report_or_for_another_changes_nothing() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    let old = world.gateway.wallet.report(world.steady);
    world.told(month, 2, 50, 60);
    let stale = |to, includes| Leases {
        to,
        includes,
        sent_at: old.sent_at,
        rows: vec![LeaseRow {
            budget: old.rows[0].budget,
            lease: Lease {
                version: 3,
                ceiling: 99,
            },
            committed: 99,
            spent: 0,
            is_decided: true,
        }],
    };
    let wallet = &mut world.gateway.wallet;
    assert!(!wallet.hear(&stale(GATEWAY, old.number)));
    assert!(!wallet.hear(&stale(Incarnation([9; 16]), 9)));
    assert_eq!(world.said(month).lease.ceiling, 50);
}

#[test]
fn a_budget_that_no_request_has_found_for_long_is_reported_without_how_much_it_is() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 30, Turn::First);
    let most = |world: &mut World| world.gateway.wallet.report(world.steady).rows[0].most;
    assert_eq!(most(&mut world), 100);
    world.steady = world.steady.plus_us(LEASE_LIFETIME_US + 1);
    assert_eq!(most(&mut world), 0);
}

#[test]
fn what_lacks_or_runs_low_is_urgent_until_something_is_told() {
    let month = counter(1, Period::Month);
    let mut world = World::new(Lender::Heard);
    let _waits = world.ask(&[(month, DECIDES)], 10, Turn::First);
    let steady = world.steady;
    let urgent = |world: &mut World, lacks| {
        let budget = world.budget(month);
        let place = world.gateway.wallet.place_of(&budget);
        world
            .gateway
            .wallet
            .is_urgent(place.expect("it is there"), lacks, steady)
    };
    assert!(urgent(&mut world, true));
    assert!(!urgent(&mut world, true), "it has been said");
    world.told(month, 0, 0, 0);
    assert!(!urgent(&mut world, true), "it has been reported");
    world.told(month, 1, 50, 50);
    let _admitted = world.ask(&[(month, DECIDES)], 10, Turn::First);
    assert!(
        !urgent(&mut world, false),
        "there is enough for four of them"
    );
    for _ in 0..3 {
        assert_eq!(world.ask(&[(month, DECIDES)], 10, Turn::First), ADMITTED);
    }
    // Since the last report more was asked for than remains.
    assert!(urgent(&mut world, false));
    world.told(month, 1, 50, 100);
    assert_eq!(world.ask(&[(month, DECIDES)], 10, Turn::First), ADMITTED);
    assert!(!urgent(&mut world, false), "nothing can be lent");
}

//! Budgets of money: what is lent, spent, given back and written down.

use gateway_policy::{
    SlotNumber,
    limits::{
        lease::{
            BudgetId, BudgetRecord, LEASE_LIFETIME_US, Lack, Lease, Purse, PurseRow, Treasury,
        },
        message::{Incarnation, Steady},
        period::Period,
    },
};

use crate::counters::id;

const ONE: Incarnation = Incarnation([1; 16]);
const OTHER: Incarnation = Incarnation([2; 16]);

fn budget() -> BudgetId {
    BudgetId {
        counter: id(Period::Month),
        slot: SlotNumber(683),
    }
}

/// How much the budget is, and whoever lends of it.
struct Bank {
    most: u64,
    treasury: Treasury,
}

const fn bank(most: u64, treasury: Treasury) -> Bank {
    Bank { most, treasury }
}

fn treasury(most: u64) -> Bank {
    bank(most, Treasury::default())
}

impl Bank {
    /// A report, and what the ledger says where nothing was known of the budget: that nothing was spent.
    fn merge(&mut self, of: Incarnation, purse: &mut Purse, now: Steady) {
        let row = PurseRow {
            budget: budget(),
            most: self.most,
            said: purse.report(now),
        };
        if self.treasury.merge(of, &row, now) {
            self.treasury.ledger_said(&budget(), [], now);
        }
    }

    fn write(&mut self, records: &[BudgetRecord]) {
        for record in records {
            self.treasury.written(record);
        }
    }

    fn committed(&self) -> u64 {
        self.treasury.committed(&budget())
    }
}

/// Reports, plans, writes and tells: a whole round that nothing disturbs.
fn round(bank: &mut Bank, purse: &mut Purse, of: Incarnation, now: Steady) {
    bank.merge(of, purse, now);
    let records = bank.treasury.plan(now);
    bank.write(&records);
    let row = bank
        .treasury
        .leases(of, now)
        .next()
        .expect("it has reported");
    purse.told(&row, now, true);
}

/// The ceiling of an incarnation in what is to be written down.
fn lent_to(of: Incarnation, records: &[BudgetRecord]) -> Option<u64> {
    let mut leases = records.iter().flat_map(|it| &it.leases);
    leases
        .find(|(whose, _)| *whose == of)
        .map(|(_, lease)| lease.ceiling)
}

#[test]
fn the_first_request_is_refused_and_the_lease_that_it_brings_pays_the_next() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let lacking = Lack { remaining: 0 };
    assert_eq!(purse.reserve(70, Steady(1)), Err(lacking));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(70, Steady(3)), Ok(()));
}

#[test]
fn no_lease_is_told_before_it_is_written_down() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(70, Steady(1));
    treasury.merge(ONE, &mut purse, Steady(1));
    let records = treasury.treasury.plan(Steady(1));
    let ceiling = |bank: &Bank| {
        let lease = bank.treasury.lease(ONE, &budget());
        lease.map(|it| it.ceiling)
    };
    assert_eq!(records.len(), 1);
    assert_eq!(ceiling(&treasury), Some(0));
    assert_eq!(Some(treasury.committed()), lent_to(ONE, &records));
    assert_eq!(treasury.treasury.plan(Steady(1)), [], "one is under way");
    treasury.write(&records);
    assert_eq!(ceiling(&treasury), lent_to(ONE, &records));
}

#[test]
fn an_answer_is_decided_when_what_was_asked_for_is_written_down_or_not_to_be_had() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let is_decided = |bank: &Bank| {
        let mut leases = bank.treasury.leases(ONE, Steady(1));
        leases.next().expect("it has reported").is_decided
    };
    let _ = purse.reserve(70, Steady(1));
    bank.merge(ONE, &mut purse, Steady(1));
    assert!(!is_decided(&bank), "nothing is planned");
    let records = bank.treasury.plan(Steady(1));
    assert!(!is_decided(&bank), "it is not written down");
    bank.write(&records);
    assert!(is_decided(&bank));
    // All there is.
    let _ = purse.reserve(100, Steady(2));
    round(&mut bank, &mut purse, ONE, Steady(2));
    assert_eq!(bank.committed(), 100);
    let _ = purse.reserve(200, Steady(3));
    bank.merge(ONE, &mut purse, Steady(3));
    assert!(!is_decided(&bank));
    assert_eq!(bank.treasury.plan(Steady(3)), []);
    assert!(is_decided(&bank), "there is no more");
}

#[test]
fn for_a_request_that_does_not_fit_nothing_is_kept_from_the_others() {
    let mut bank = treasury(1_000);
    let (mut one, mut other) = (Purse::default(), Purse::default());
    let asks = |bank: &mut Bank, purse: &mut Purse, of, cost, at| {
        let had = purse.reserve(cost, Steady(at));
        round(bank, purse, of, Steady(at));
        had.is_ok() || purse.remaining(Steady(at)) >= cost
    };
    assert!(asks(&mut bank, &mut other, OTHER, 10, 1));
    // More than all that is left, once and again: half of what is left is lent ahead at most.
    for at in 2..6 {
        assert!(!asks(&mut bank, &mut one, ONE, 5_000, at));
    }
    assert!(bank.committed() < 1_000, "{}", bank.committed());
    assert!(asks(&mut bank, &mut other, OTHER, 200, 7));
    // What fits is lent though it is all that is left.
    let left = 1_000 - bank.committed();
    let has = one.remaining(Steady(7));
    assert!(asks(&mut bank, &mut one, ONE, has + left, 8));
    assert_eq!(bank.committed(), 1_000);
}

#[test]
fn what_is_asked_for_beside_giving_back_is_lent_when_that_is_written_down() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(40, Steady(1));
    round(&mut bank, &mut purse, ONE, Steady(2));
    purse.give_back();
    let _ = purse.reserve(60, Steady(3));
    bank.merge(ONE, &mut purse, Steady(3));
    let gives_back = bank.treasury.plan(Steady(3));
    assert_eq!(lent_to(ONE, &gives_back), Some(0));
    bank.write(&gives_back);
    // Without another report.
    assert_eq!(lent_to(ONE, &bank.treasury.plan(Steady(4))), Some(60));
}

#[test]
fn what_was_lent_to_a_gateway_that_is_gone_for_long_is_told_as_spent() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(40, Steady(1));
    round(&mut bank, &mut purse, ONE, Steady(2));
    let spent = |bank: &mut Bank, now| {
        let mut other = Purse::default();
        bank.merge(OTHER, &mut other, now);
        let told = bank.treasury.leases(OTHER, now).next();
        told.expect("it has reported").spent
    };
    assert_eq!(spent(&mut bank, Steady(3)), 0);
    let dead = Steady(3 + LEASE_LIFETIME_US);
    assert_eq!(spent(&mut bank, dead), 0, "its records may be on their way");
    let gone = Steady(3 + 300_000_000);
    assert_eq!(spent(&mut bank, gone), 50, "40, and some ahead");
    let arrived = bank.treasury.records_arrived(ONE, &budget(), 7, gone);
    assert!(!arrived);
    assert_eq!(spent(&mut bank, gone), 7);
}

#[test]
fn a_number_as_large_as_there_is_ends_no_lending() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    for at in 1..4 {
        let _too_large = purse.reserve(u64::MAX, Steady(2 * at));
        round(&mut bank, &mut purse, ONE, Steady(2 * at));
        let now = Steady(2 * at + 1);
        if purse.reserve(90, now).is_err() {
            round(&mut bank, &mut purse, ONE, now);
            assert_eq!(purse.reserve(90, now), Ok(()));
        }
        purse.settle(90, 1);
    }
}

#[test]
fn what_is_lent_never_passes_the_budget() {
    let mut treasury = treasury(100);
    let mut purses = [(ONE, Purse::default()), (OTHER, Purse::default())];
    let mut spent = 0;
    for at in 1..500 {
        let now = Steady(at * 100_000);
        for (of, purse) in &mut purses {
            if purse.reserve(7, now).is_ok() {
                purse.settle(7, 7);
                spent += 7;
            }
            round(&mut treasury, purse, *of, now);
            assert!(treasury.committed() <= 100);
        }
    }
    assert_eq!(spent, 98);
}

#[test]
fn whoever_takes_office_begins_with_what_is_written_down() {
    let lease = Lease {
        version: 4,
        ceiling: 90,
    };
    let record = BudgetRecord {
        budget: budget(),
        leases: vec![(ONE, lease)],
    };
    let mut treasury = bank(100, Treasury::restore([record], Steady(0)));
    assert_eq!(treasury.committed(), 90);
    let mut purse = Purse::default();
    let _ = purse.reserve(10, Steady(1));
    round(&mut treasury, &mut purse, OTHER, Steady(2));
    assert_eq!(purse.remaining(Steady(2)), 10);
}

#[test]
fn what_nobody_asks_for_is_given_back() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(20, Steady(3)), Ok(()));
    purse.settle(20, 15);
    round(&mut treasury, &mut purse, ONE, Steady(4));
    assert!(treasury.committed() > 15);
    let idle = Steady(4 + LEASE_LIFETIME_US);
    round(&mut treasury, &mut purse, ONE, idle);
    assert_eq!(treasury.committed(), 15);
    assert_eq!(purse.remaining(idle), 0);
}

#[test]
fn a_lease_that_is_told_again_does_not_undo_what_was_given_back() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    let before = treasury.treasury.lease(ONE, &budget()).expect("lent");
    purse.give_back();
    purse.hear(before, Steady(3));
    assert_eq!(purse.remaining(Steady(3)), 0);
}

#[test]
fn a_lease_ends_when_nobody_renews_it() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    let last = Steady(1 + LEASE_LIFETIME_US);
    assert_eq!(purse.remaining(last), treasury.committed());
    assert!(purse.remaining(last) >= 50);
    assert_eq!(purse.remaining(Steady(last.0 + 1)), 0);
}

#[test]
fn a_dead_gateways_lease_is_spent_until_its_records_have_arrived_and_it_has_ended() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    let lent = treasury.committed();
    assert!(lent >= 50);
    let arrive = |treasury: &mut Bank, now| {
        let ended = treasury.treasury.records_arrived(ONE, &budget(), 12, now);
        (ended, treasury.committed())
    };
    assert_eq!(
        arrive(&mut treasury, Steady(LEASE_LIFETIME_US)),
        (false, lent)
    );
    assert_eq!(treasury.treasury.plan(Steady(3)), []);
    let over = Steady(3 + LEASE_LIFETIME_US);
    assert_eq!(arrive(&mut treasury, over), (false, lent));
    let records = treasury.treasury.plan(over);
    assert_eq!(treasury.committed(), lent);
    treasury.write(&records);
    assert_eq!(arrive(&mut treasury, over), (true, 12));
}

#[test]
fn a_report_that_comes_after_the_records_of_its_gateway_changes_nothing() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(40, Steady(3)), Ok(()));
    let mut late = purse;
    let over = Steady(3 + LEASE_LIFETIME_US);
    let _ = treasury.treasury.records_arrived(ONE, &budget(), 12, over);
    let records = treasury.treasury.plan(over);
    treasury.write(&records);
    treasury.merge(ONE, &mut late, over);
    assert_eq!(treasury.treasury.plan(over), []);
    assert_eq!(treasury.committed(), 12);
}

#[test]
fn what_a_dead_gateway_had_under_way_counts_no_more_when_its_records_have_arrived() {
    let (mut bank, mut purse) = (treasury(1_000), Purse::default());
    // Taken without a lease, as where nobody lends.
    purse.take(80);
    bank.merge(ONE, &mut purse, Steady(1));
    assert_eq!(bank.committed(), 80);
    let over = Steady(2 + LEASE_LIFETIME_US);
    let _ = bank.treasury.records_arrived(ONE, &budget(), 12, over);
    assert_eq!(bank.committed(), 12);
    let records = bank.treasury.plan(over);
    assert_eq!(bank.committed(), 12, "while that is written down");
    bank.write(&records);
    assert_eq!(bank.committed(), 12);
}

#[test]
fn nothing_is_lent_to_a_gateway_that_has_fallen_silent_since_it_asked() {
    let (mut treasury, mut purse) = (Treasury::default(), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    let row = PurseRow {
        budget: budget(),
        most: 1_000,
        said: purse.report(Steady(1)),
    };
    assert!(treasury.merge(ONE, &row, Steady(1)), "it is new");
    let late = Steady(2 + LEASE_LIFETIME_US);
    treasury.ledger_said(&budget(), [], late);
    assert_eq!(treasury.plan(late), []);
    // It is heard again, and has what it asked for.
    treasury.merge(ONE, &row, late);
    assert!(lent_to(ONE, &treasury.plan(late)) >= Some(50));
}

#[test]
fn what_is_given_back_is_not_lent_before_that_is_written_down() {
    let (mut treasury, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(90, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    purse.give_back();
    treasury.merge(ONE, &mut purse, Steady(3));
    let mut other = Purse::default();
    let _ = other.reserve(50, Steady(3));
    treasury.merge(OTHER, &mut other, Steady(3));
    let records = treasury.treasury.plan(Steady(3));
    assert_eq!(
        lent_to(OTHER, &records),
        None,
        "the other 10 are too little"
    );
    treasury.write(&records);
    let _ = other.reserve(50, Steady(4));
    treasury.merge(OTHER, &mut other, Steady(4));
    let records = treasury.treasury.plan(Steady(4));
    assert_eq!(lent_to(OTHER, &records), Some(50));
}

#[test]
fn without_its_records_a_treasury_takes_over_what_gateways_obey_and_what_the_ledger_says() {
    let (mut first, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut first, &mut purse, ONE, Steady(2));
    let lent = first.committed();
    let mut next = treasury(1_000);
    let row = PurseRow {
        budget: budget(),
        most: 1_000,
        said: purse.report(Steady(3)),
    };
    assert!(next.treasury.merge(ONE, &row, Steady(3)), "it is new");
    assert_eq!(next.committed(), lent);
    let mut other = Purse::default();
    let _ = other.reserve(20, Steady(3));
    next.merge(OTHER, &mut other, Steady(3));
    let waits = next.treasury.plan(Steady(3));
    assert_eq!(waits, [], "the ledger has not said what others spent");
    let dead = Incarnation([9; 16]);
    let said = [(ONE, 0), (dead, 1_000 - lent - 20)];
    next.treasury.ledger_said(&budget(), said, Steady(4));
    let records = next.treasury.plan(Steady(4));
    assert_eq!(lent_to(OTHER, &records), Some(20));
    assert_eq!(next.committed(), 1_000);
}

/// Of two leases with one version a gateway obeys the one of which it hears first.
#[test]
fn a_lease_from_before_the_records_were_lost_counts_also_where_another_has_its_version() {
    let before = |lent: u64| {
        let (mut first, mut purse) = (treasury(1_000), Purse::default());
        let _ = purse.reserve(lent, Steady(1));
        first.merge(ONE, &mut purse, Steady(1));
        let records = first.treasury.plan(Steady(1));
        first.write(&records);
        let under_way = first.treasury.lease(ONE, &budget()).expect("lent");
        let mut next = treasury(1_000);
        next.merge(ONE, &mut purse, Steady(2));
        next.treasury.ledger_said(&budget(), [], Steady(2));
        let _ = purse.reserve(1, Steady(2));
        next.merge(ONE, &mut purse, Steady(2));
        let records = next.treasury.plan(Steady(2));
        (next, purse, under_way, records)
    };
    // It arrives before what is lent anew is written down.
    let (mut next, mut purse, under_way, records) = before(50);
    purse.hear(under_way, Steady(1));
    purse.give_back();
    next.merge(ONE, &mut purse, Steady(3));
    next.write(&records);
    assert_eq!(next.committed(), 0);
    // It arrives afterwards, and before that.
    let (mut next, mut purse, under_way, records) = before(500);
    next.write(&records);
    let anew = next.treasury.lease(ONE, &budget()).expect("lent");
    assert_eq!(anew.version, under_way.version);
    purse.hear(under_way, Steady(1));
    purse.hear(anew, Steady(2));
    next.merge(ONE, &mut purse, Steady(3));
    assert_eq!(next.committed(), purse.said().lease.ceiling);
}

#[test]
fn what_was_used_before_anybody_counted_is_not_lent_and_is_written_down_with_the_leases() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(20, Steady(1));
    bank.merge(ONE, &mut purse, Steady(1));
    bank.treasury.adjusted(&budget(), 80, Steady(1));
    assert_eq!(bank.committed(), 80);
    let records = bank.treasury.plan(Steady(1));
    assert_eq!(lent_to(ONE, &records), Some(20));
    bank.write(&records);
    assert_eq!(bank.committed(), 100);
    let (_, standing) = bank.treasury.standings(Steady(1)).next().expect("one");
    assert_eq!((standing.spent, standing.committed), (80, 100));
    assert_eq!(
        bank.treasury.silent(Steady(u64::MAX)).count(),
        1,
        "ONE alone"
    );
    // Whoever takes office next.
    let next = bank_of(&records);
    let (_, standing) = next.treasury.standings(Steady(1)).next().expect("one");
    assert_eq!((standing.spent, standing.committed), (80, 100));
    assert_eq!(
        next.treasury.silent(Steady(u64::MAX)).count(),
        1,
        "ONE alone"
    );
}

#[test]
fn what_is_known_is_a_lower_bound_while_somebody_who_has_spent_is_not_heard() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let is_lower_bound = |bank: &Bank, now| {
        let mut standings = bank.treasury.standings(now);
        standings.next().expect("one").1.is_lower_bound
    };
    let row = PurseRow {
        budget: budget(),
        most: 100,
        said: purse.report(Steady(1)),
    };
    assert!(bank.treasury.merge(ONE, &row, Steady(1)), "it is new");
    assert!(
        is_lower_bound(&bank, Steady(1)),
        "the ledger has not answered"
    );
    bank.treasury
        .ledger_said(&budget(), [(OTHER, 7)], Steady(1));
    assert!(is_lower_bound(&bank, Steady(1)), "more of OTHER may arrive");
    let over = Steady(2 + LEASE_LIFETIME_US);
    let _ = bank.treasury.records_arrived(OTHER, &budget(), 9, over);
    assert!(is_lower_bound(&bank, over), "ONE is not heard any more");
    bank.merge(ONE, &mut purse, over);
    assert!(!is_lower_bound(&bank, over));
}

#[test]
fn an_adjustment_replaces_the_one_before_and_a_lower_one_frees_when_it_is_written_down() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(20, Steady(1));
    bank.merge(ONE, &mut purse, Steady(1));
    bank.treasury.adjusted(&budget(), 80, Steady(1));
    let records = bank.treasury.plan(Steady(1));
    bank.write(&records);
    bank.treasury.adjusted(&budget(), 10, Steady(2));
    assert_eq!(bank.committed(), 100, "the records say 80");
    let records = bank.treasury.plan(Steady(2));
    bank.write(&records);
    assert_eq!(bank.committed(), 30);
    round(&mut bank, &mut purse, ONE, Steady(3));
    let _ = purse.reserve(90, Steady(4));
    round(&mut bank, &mut purse, ONE, Steady(5));
    assert_eq!((bank.committed(), purse.remaining(Steady(5))), (100, 90));
}

#[test]
fn what_was_charged_too_much_is_lent_again_and_forgotten_with_the_office() {
    let (mut bank, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(100, Steady(1));
    round(&mut bank, &mut purse, ONE, Steady(1));
    assert_eq!(purse.reserve(100, Steady(2)), Ok(()));
    purse.settle(100, 100);
    bank.treasury.adjusted(&budget(), -60, Steady(2));
    assert_eq!(bank.committed(), 40);
    let _ = purse.reserve(60, Steady(3));
    bank.merge(ONE, &mut purse, Steady(3));
    let records = bank.treasury.plan(Steady(3));
    assert_eq!(lent_to(ONE, &records), Some(160));
    bank.write(&records);
    assert_eq!(bank.committed(), 100);
    let mut next = bank_of(&records);
    assert_eq!(next.committed(), 160, "until it is said again");
    next.treasury.adjusted(&budget(), -60, Steady(4));
    assert_eq!(next.committed(), 100);
}

/// Whoever begins with these records.
fn bank_of(records: &[BudgetRecord]) -> Bank {
    bank(100, Treasury::restore(records.to_vec(), Steady(0)))
}

#[test]
fn while_a_budget_changes_the_least_that_a_gateway_knows_of_holds() {
    let (mut all, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(10, Steady(1));
    round(&mut all, &mut purse, ONE, Steady(2));
    all.most = 30;
    let mut other = Purse::default();
    let _ = other.reserve(500, Steady(3));
    round(&mut all, &mut other, OTHER, Steady(3));
    assert!(other.remaining(Steady(3)) <= 30);
    let (_, standing) = all.treasury.standings(Steady(3)).next().expect("one");
    assert_eq!(standing.most, 30);
}

#[test]
fn a_request_that_cost_more_than_was_reserved_is_paid_before_more_is_lent() {
    let (mut treasury, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(50, Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(50, Steady(3)), Ok(()));
    purse.settle(50, 95);
    let _ = purse.reserve(5, Steady(4));
    round(&mut treasury, &mut purse, ONE, Steady(5));
    assert_eq!(treasury.committed(), 100);
    assert_eq!(purse.remaining(Steady(5)), 5);
}

#[test]
fn amounts_that_do_not_fit_are_refused_and_never_wrap() {
    let mut purse = Purse::default();
    let most = u64::MAX;
    assert!(purse.reserve(most, Steady(1)).is_err());
    let (mut treasury, mut purse_of_all) = (treasury(u64::MAX), Purse::default());
    let _ = purse_of_all.reserve(most, Steady(1));
    round(&mut treasury, &mut purse_of_all, ONE, Steady(2));
    assert_eq!(purse_of_all.reserve(most, Steady(3)), Ok(()));
    assert!(purse_of_all.reserve(1, Steady(3)).is_err());
}

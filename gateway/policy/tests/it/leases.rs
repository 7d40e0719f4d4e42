//! Budgets of money: what is lent, spent, given back and written down.

use events_schema::money::NanoUsd;
use gateway_policy::{
    SlotNumber,
    limits::{
        lease::{BudgetId, LEASE_LIFETIME_US, Lack, Lease, LeaseRecord, Purse, Treasury},
        message::{Incarnation, Steady},
        period::Period,
    },
};

use crate::counters::id;

const ONE: Incarnation = Incarnation([1; 16]);
const OTHER: Incarnation = Incarnation([2; 16]);

const fn usd(nanos: u64) -> NanoUsd {
    NanoUsd::new(nanos)
}

fn budget() -> BudgetId {
    BudgetId {
        counter: id(Period::Month),
        slot: SlotNumber(683),
    }
}

fn treasury(most: u64) -> Treasury {
    let mut treasury = Treasury::default();
    treasury.set_budget(budget(), usd(most));
    treasury
}

/// Reports, plans, writes and tells: a whole round that nothing disturbs.
fn round(treasury: &mut Treasury, purse: &mut Purse, of: Incarnation, now: Steady) {
    treasury.merge(of, budget(), &purse.report(now), now);
    for record in treasury.plan() {
        treasury.written(&record);
    }
    let lease = treasury.lease(of, &budget()).expect("it has reported");
    purse.hear(lease, now);
}

#[test]
fn the_first_request_is_refused_and_the_lease_that_it_brings_pays_the_next() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let lacking = Lack {
        remaining: NanoUsd::ZERO,
    };
    assert_eq!(purse.reserve(usd(70), Steady(1)), Err(lacking));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(usd(70), Steady(3)), Ok(()));
}

#[test]
fn no_lease_is_told_before_it_is_written_down() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(usd(70), Steady(1));
    treasury.merge(ONE, budget(), &purse.report(Steady(1)), Steady(1));
    let records = treasury.plan();
    let ceiling = |treasury: &Treasury| treasury.lease(ONE, &budget()).map(|it| it.ceiling);
    assert_eq!(records.len(), 1);
    assert_eq!(ceiling(&treasury), Some(NanoUsd::ZERO));
    assert_eq!(treasury.committed(&budget()), records[0].lease.ceiling);
    treasury.written(&records[0]);
    assert_eq!(ceiling(&treasury), Some(records[0].lease.ceiling));
}

#[test]
fn what_is_lent_never_passes_the_budget() {
    let mut treasury = treasury(100);
    let mut purses = [(ONE, Purse::default()), (OTHER, Purse::default())];
    let mut spent = 0;
    for at in 1..500 {
        let now = Steady(at * 100_000);
        for (of, purse) in &mut purses {
            if purse.reserve(usd(7), now).is_ok() {
                purse.settle(usd(7), usd(7));
                spent += 7;
            }
            round(&mut treasury, purse, *of, now);
            assert!(treasury.committed(&budget()) <= usd(100));
        }
    }
    assert_eq!(spent, 98);
}

#[test]
fn whoever_takes_office_begins_with_what_is_written_down() {
    let lease = Lease {
        version: 4,
        ceiling: usd(90),
    };
    let record = LeaseRecord {
        budget: budget(),
        incarnation: ONE,
        lease,
    };
    let mut treasury = Treasury::restore([record], Steady(0));
    treasury.set_budget(budget(), usd(100));
    assert_eq!(treasury.committed(&budget()), usd(90));
    let mut purse = Purse::default();
    let _ = purse.reserve(usd(20), Steady(1));
    round(&mut treasury, &mut purse, OTHER, Steady(2));
    assert_eq!(purse.remaining(Steady(2)), usd(10));
}

#[test]
fn what_nobody_asks_for_is_given_back() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(usd(50), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(usd(20), Steady(3)), Ok(()));
    purse.settle(usd(20), usd(15));
    round(&mut treasury, &mut purse, ONE, Steady(4));
    assert!(treasury.committed(&budget()) > usd(15));
    let idle = Steady(4 + LEASE_LIFETIME_US);
    round(&mut treasury, &mut purse, ONE, idle);
    assert_eq!(treasury.committed(&budget()), usd(15));
    assert_eq!(purse.remaining(idle), NanoUsd::ZERO);
}

#[test]
fn a_lease_that_is_told_again_does_not_undo_what_was_given_back() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(usd(50), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    let before = treasury.lease(ONE, &budget()).expect("lent");
    purse.give_back();
    purse.hear(before, Steady(3));
    assert_eq!(purse.remaining(Steady(3)), NanoUsd::ZERO);
}

#[test]
fn a_lease_ends_when_nobody_renews_it() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(usd(50), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    let last = Steady(1 + LEASE_LIFETIME_US);
    assert_eq!(purse.remaining(last), treasury.committed(&budget()));
    assert!(purse.remaining(last) >= usd(50));
    assert_eq!(purse.remaining(Steady(last.0 + 1)), NanoUsd::ZERO);
}

#[test]
fn a_dead_gateways_lease_is_spent_until_its_records_have_arrived_and_it_has_ended() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(usd(50), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    let lent = treasury.committed(&budget());
    assert!(lent >= usd(50));
    let arrive = |treasury: &mut Treasury, now| {
        let ended = treasury.records_arrived(ONE, &budget(), usd(12), now);
        (ended, treasury.committed(&budget()))
    };
    assert_eq!(
        arrive(&mut treasury, Steady(LEASE_LIFETIME_US)),
        (false, lent)
    );
    assert_eq!(treasury.plan(), []);
    let over = Steady(3 + LEASE_LIFETIME_US);
    assert_eq!(arrive(&mut treasury, over), (false, lent));
    let records = treasury.plan();
    assert_eq!(treasury.committed(&budget()), lent);
    treasury.written(&records[0]);
    assert_eq!(arrive(&mut treasury, over), (true, usd(12)));
}

#[test]
fn a_report_that_comes_after_the_records_of_its_gateway_changes_nothing() {
    let (mut treasury, mut purse) = (treasury(1_000), Purse::default());
    let _ = purse.reserve(usd(50), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(usd(40), Steady(3)), Ok(()));
    let late = purse.report(Steady(3));
    let over = Steady(3 + LEASE_LIFETIME_US);
    let _ = treasury.records_arrived(ONE, &budget(), usd(12), over);
    for record in treasury.plan() {
        treasury.written(&record);
    }
    treasury.merge(ONE, budget(), &late, over);
    assert_eq!(treasury.plan(), []);
    assert_eq!(treasury.committed(&budget()), usd(12));
}

#[test]
fn what_is_given_back_is_not_lent_before_that_is_written_down() {
    let (mut treasury, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(usd(90), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    purse.give_back();
    treasury.merge(ONE, budget(), &purse.report(Steady(3)), Steady(3));
    let mut other = Purse::default();
    let _ = other.reserve(usd(50), Steady(3));
    treasury.merge(OTHER, budget(), &other.report(Steady(3)), Steady(3));
    let records = treasury.plan();
    let lent_to_other = |records: &[LeaseRecord]| {
        let of_other = records.iter().filter(|it| it.incarnation == OTHER);
        of_other.map(|it| it.lease.ceiling.nanos()).max()
    };
    assert_eq!(lent_to_other(&records), Some(10));
    for record in &records {
        treasury.written(record);
    }
    let _ = other.reserve(usd(50), Steady(4));
    treasury.merge(OTHER, budget(), &other.report(Steady(4)), Steady(4));
    assert_eq!(lent_to_other(&treasury.plan()), Some(50));
}

#[test]
fn a_request_that_cost_more_than_was_reserved_is_paid_before_more_is_lent() {
    let (mut treasury, mut purse) = (treasury(100), Purse::default());
    let _ = purse.reserve(usd(50), Steady(1));
    round(&mut treasury, &mut purse, ONE, Steady(2));
    assert_eq!(purse.reserve(usd(50), Steady(3)), Ok(()));
    purse.settle(usd(50), usd(95));
    let _ = purse.reserve(usd(50), Steady(4));
    round(&mut treasury, &mut purse, ONE, Steady(5));
    assert_eq!(treasury.committed(&budget()), usd(100));
    assert_eq!(purse.remaining(Steady(5)), usd(5));
}

#[test]
fn amounts_that_do_not_fit_are_refused_and_never_wrap() {
    let mut purse = Purse::default();
    let most = usd(u64::MAX);
    assert!(purse.reserve(most, Steady(1)).is_err());
    let (mut treasury, mut purse_of_all) = (treasury(u64::MAX), Purse::default());
    let _ = purse_of_all.reserve(most, Steady(1));
    round(&mut treasury, &mut purse_of_all, ONE, Steady(2));
    assert_eq!(purse_of_all.reserve(most, Steady(3)), Ok(()));
    assert!(purse_of_all.reserve(usd(1), Steady(3)).is_err());
}

//! How the aggregator adds what gateways report, and deals out the shares.

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    aggregator::{Aggregator, OFFICE_US, POOL},
    counter::JOINER_SHARE,
    gateway::{Gateway, SHARE_LIFETIME_US},
    marks::Full,
    message::{CounterId, Incarnation, Report, Steady},
    period::Period,
};

use crate::counters::{id, limit, time};

const STEP_US: u64 = 100_000;

/// Gateways and an aggregator that hear each other at once, every 100 ms.
struct Table {
    aggregator: Aggregator,
    gateways: Vec<Gateway>,
    now: Steady,
    wall: Timestamp,
}

fn counter() -> CounterId {
    id(Period::Hour)
}

impl Table {
    fn new(gateways: u8) -> Self {
        let mut table = Self {
            aggregator: Aggregator::new(),
            gateways: Vec::new(),
            now: Steady(0),
            wall: time("2026-11-22T12:00:00Z"),
        };
        (0..gateways).for_each(|at| table.join(at));
        table.aggregator.take_office(1, table.now);
        table
    }

    fn join(&mut self, at: u8) {
        let gateway = Gateway::new(Incarnation([at; 16]), self.now);
        self.gateways.push(gateway);
    }

    fn steps(&mut self, steps: u32) {
        for _ in 0..steps {
            self.now = self.now.plus_us(STEP_US);
            self.wall = self.wall.plus_micros(100_000);
            for gateway in &mut self.gateways {
                self.aggregator.merge(&gateway.report(self.now), self.now);
            }
            self.aggregator.renew(self.now);
            for broadcast in self.aggregator.broadcast(self.now, self.wall) {
                let hearing = self.gateways.iter_mut();
                hearing.for_each(|gateway| gateway.hear(&broadcast));
            }
        }
    }

    fn charge(&mut self, at: usize, cost: u64) {
        let place = self.gateways[at].place(counter(), limit(1_000));
        let counter = &mut self.gateways[at].counters()[place];
        counter.note(cost, false);
        let _ = counter.charge(cost, self.wall);
    }

    /// The shares of the counter, in percent of all that is dealt out.
    fn shares(&self) -> Vec<u64> {
        let shares = self.gateways.iter().map(|it| it.dealt(&counter()).parts());
        shares.map(|parts| (parts * 100).div_ceil(POOL)).collect()
    }

    fn total(&self) -> u64 {
        let slot = Period::Hour.slot_at(self.wall);
        self.aggregator.total(&counter(), slot)
    }
}

#[test]
fn everyone_has_an_equal_part_of_what_nobody_has_used() {
    let mut table = Table::new(4);
    table.steps(5);
    assert_eq!(table.shares(), [25, 25, 25, 25]);
}

#[test]
fn a_joiner_waits_until_the_others_have_confirmed_less() {
    let mut table = Table::new(1);
    table.steps(3);
    table.join(9);
    table.steps(1);
    assert_eq!(table.shares(), [50, 0]);
    table.steps(1);
    assert_eq!(table.shares(), [50, 50]);
}

#[test]
fn shares_follow_what_is_asked_for_once_a_limit_is_close() {
    let mut table = Table::new(2);
    table.steps(3);
    for _ in 0..20 {
        table.charge(0, 9);
        table.charge(1, 1);
        table.steps(1);
    }
    let shares = table.shares();
    assert!(shares[0] >= 80 && shares[1] >= 6, "{shares:?}");
    assert!(shares.iter().sum::<u64>() <= 101, "{shares:?}");
}

/// Two counters that are told apart by no bit of what is said of those that are used up.
fn taken_for_each_other() -> [CounterId; 2] {
    const AT_ONCE: u32 = 8_192;
    let of = |number: u32| {
        let mut segment = [0; 16];
        segment[..4].copy_from_slice(&number.to_be_bytes());
        CounterId {
            segment,
            ..counter()
        }
    };
    let some: Vec<CounterId> = (0..AT_ONCE).map(of).collect();
    let full = Full::of(&some);
    let mut others = (AT_ONCE..u32::MAX).map(of);
    let other = others.find(|it| full.holds(it)).expect("one in 2^19 is");
    let one = some.into_iter().find(|it| Full::of([it]).holds(&other));
    [one.expect("it is one of them"), other]
}

#[test]
fn a_counter_that_is_taken_for_one_that_is_used_up_refuses_until_it_is_told_how_it_stands() {
    let [used_up, other] = taken_for_each_other();
    let mut table = Table::new(2);
    let place = table.gateways[0].place(used_up, limit(1_000));
    let _ = table.gateways[0].counters()[place].charge(1_000, table.wall);
    table.steps(3);
    let ask = |table: &mut Table, counter| {
        let (reach, wall) = (table.gateways[1].reach(table.now), table.wall);
        let place = table.gateways[1].place(counter, limit(1_000));
        let counter = &mut table.gateways[1].counters()[place];
        let admits = counter.admits(1, reach, wall);
        counter.note(1, !admits);
        admits
    };
    assert!(!ask(&mut table, other), "it is not known which one it is");
    table.steps(1);
    assert!(ask(&mut table, other), "it is another");
    // Of the one that is used up it is told so.
    assert!(!ask(&mut table, used_up));
    table.steps(1);
    assert!(!ask(&mut table, used_up));
}

#[test]
fn reports_that_are_lost_late_or_doubled_change_nothing() {
    let mut table = Table::new(1);
    let mut reports: Vec<Report> = Vec::new();
    for _ in 0..3 {
        table.charge(0, 5);
        reports.push(table.gateways[0].report(table.now));
    }
    for at in [2, 0, 2, 1, 0] {
        table.aggregator.merge(&reports[at], table.now);
        assert_eq!(table.total(), 15, "report {at}");
    }
}

#[test]
fn the_totals_say_what_was_admitted_refused_and_overshot() {
    let mut table = Table::new(2);
    table.charge(0, 600);
    table.charge(1, 700);
    let place = table.gateways[1].place(counter(), limit(1_000));
    table.gateways[1].counters()[place].note(50, true);
    table.steps(1);
    let standing = table.aggregator.standing(&counter(), table.wall);
    let standing = standing.expect("counted");
    assert_eq!((standing.admitted, standing.overshot), (1_300, 300));
    assert_eq!((standing.asked, standing.refused), (1_350, 50));
}

#[test]
fn a_gateway_that_leaves_gives_its_share_to_the_others_at_once() {
    let mut table = Table::new(2);
    table.charge(0, 100);
    table.steps(3);
    let last = table.gateways[1].leave(table.now);
    table.aggregator.merge(&last, table.now);
    table.gateways.pop();
    table.aggregator.merge(&last, table.now);
    for _ in 0..3 {
        table.charge(0, 1);
        table.steps(1);
    }
    assert!(table.shares()[0] >= 90, "{:?}", table.shares());
    assert_eq!(table.total(), 103);
}

#[test]
fn what_a_dead_gateway_had_is_dealt_again_for_later_windows_only() {
    let mut table = Table::new(2);
    table.charge(0, 100);
    table.steps(3);
    table.gateways.pop();
    let after_a_minute = 600;
    table.steps(after_a_minute);
    assert!(table.shares()[0] <= 51, "{:?}", table.shares());
    // The next hour.
    table.wall = time("2026-11-22T13:10:00Z");
    table.now = table.now.plus_us(4_000 * 1_000_000);
    table.aggregator.renew(table.now);
    table.charge(0, 100);
    table.steps(5);
    assert!(table.shares()[0] >= 90, "{:?}", table.shares());
}

#[test]
fn whoever_takes_office_adopts_what_is_and_raises_nothing_for_a_lifetime() {
    let mut table = Table::new(2);
    for _ in 0..20 {
        table.charge(0, 9);
        table.steps(1);
    }
    let before = table.shares();
    // The one who was in office is dead, and nobody else has listened.
    table.aggregator = Aggregator::new();
    table.aggregator.take_office(2, table.now);
    table.join(9);
    table.steps(1);
    let [first, second, joiner] = table.shares()[..] else {
        panic!("three gateways");
    };
    assert_eq!([first, second], before[..]);
    assert_eq!(joiner, 0);
    assert_eq!(table.total(), 180);
    let lifetime = u32::try_from(SHARE_LIFETIME_US / STEP_US).expect("few");
    table.steps(lifetime - 2);
    assert_eq!(table.shares()[2], 0);
    for _ in 0..10 {
        table.charge(2, 5);
        table.steps(1);
    }
    assert!(table.shares()[2] >= 50, "{:?}", table.shares());
}

#[test]
fn what_the_dead_of_an_earlier_term_had_counted_is_not_forgotten() {
    let mut table = Table::new(2);
    table.charge(0, 30);
    table.charge(1, 12);
    table.steps(2);
    table.gateways.pop();
    table.aggregator = Aggregator::new();
    table.aggregator.take_office(2, table.now);
    table.steps(2);
    assert_eq!(table.total(), 42);
    table.charge(0, 5);
    table.steps(2);
    assert_eq!(table.total(), 47);
}

#[test]
fn an_office_that_is_not_renewed_says_nothing() {
    let mut table = Table::new(1);
    table.steps(1);
    let late = table.now.plus_us(OFFICE_US + 1);
    assert_eq!(table.aggregator.term(late), None);
    assert_eq!(table.aggregator.broadcast(late, table.wall), []);
}

#[test]
fn an_aggregator_that_hears_of_a_later_term_stands_by() {
    let mut table = Table::new(1);
    table.steps(1);
    let mut successor = Aggregator::new();
    successor.take_office(2, table.now);
    successor.merge(&table.gateways[0].report(table.now), table.now);
    let told = successor.broadcast(table.now, table.wall);
    told.iter().for_each(|it| table.gateways[0].hear(it));
    table.steps(1);
    assert_eq!(table.aggregator.term(table.now), None);
}

#[test]
fn the_joiners_share_is_set_aside() {
    let joiners = u128::from(JOINER_SHARE.parts()) * 256;
    assert_eq!(u128::from(POOL) + joiners, 1 << 32);
}

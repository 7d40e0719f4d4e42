//! What counts as long as it is under way: at one gateway, and among many.

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    admission::{Charge, Refusal, admit},
    aggregator::{Aggregator, OFFICE_US},
    counter::{CUT_OFF_AFTER_US, Counter, CutOff, Mode, Reach, Terms, WhenCutOff},
    gateway::{Gateway, HELD_US, SHARE_LIFETIME_US},
    message::{Amounts, BroadcastRow, BroadcastSlot, CounterId, Incarnation, Steady},
    period::{Period, SlotNumber},
    share::Share,
};

use crate::counters::{id, limit, time};

const STEP_US: u64 = 100_000;
const SLOT: SlotNumber = SlotNumber(0);
const TOGETHER: Reach = Reach::Together {
    halvings: 0,
    silent_us: 0,
};

fn counter_id() -> CounterId {
    id(Period::AtATime)
}

fn noon() -> Timestamp {
    time("2026-11-22T12:00:00Z")
}

/// A counter that may use all of what is left.
fn counter(most: u64) -> Counter {
    Counter::new(counter_id(), limit(most), Share::WHOLE)
}

fn ask(counter: &mut Counter, reach: Reach) -> Result<(), Refusal> {
    let mut charges = [Charge::new(0, 1)];
    admit(std::slice::from_mut(counter), &mut charges, reach, noon()).map(drop)
}

/// So many requests that are admitted; the next one is not.
fn admits(counter: &mut Counter, reach: Reach) -> u64 {
    let admitted = (0..100).take_while(|_| ask(counter, reach).is_ok());
    admitted.count() as u64
}

/// All that this gateway charged and gave back is known, and so much of others.
fn told(counter: &mut Counter, others: u64) {
    let own = reported(counter);
    let row = BroadcastRow {
        counter: counter_id(),
        most: counter.terms().most,
        share: Some(counter.share()),
        slots: vec![BroadcastSlot {
            number: SLOT,
            total: own.net() + others,
            included: own,
        }],
    };
    counter.hear(&row, 1, false);
}

/// What is reported of it, as a gateway does that is heard.
fn reported(counter: &mut Counter) -> Amounts {
    counter.give_back();
    let row = counter.report();
    let slot = row.slots.first();
    slot.map_or(Amounts::default(), |slot| slot.own)
}

#[test]
fn it_never_ends_and_has_one_slot() {
    let period = Period::AtATime;
    for now in [Timestamp::MIN, noon(), Timestamp::MAX] {
        assert_eq!(period.slot_at(now), SLOT);
        assert!(period.counts_at(SLOT, period.slot_at(now)));
        assert_eq!(period.window_began(now), Timestamp::MIN);
    }
    assert_eq!(period.slot_begins(SLOT.plus(1)), Timestamp::MAX);
}

#[test]
fn so_many_are_admitted_and_one_more_once_one_has_ended() {
    for reach in [Reach::Alone, TOGETHER] {
        let mut counter = counter(3);
        assert_eq!(admits(&mut counter, reach), 3, "{reach:?}");
        let refusal = ask(&mut counter, reach).expect_err("three are under way");
        assert_eq!(
            (refusal.limit, refusal.remaining, refusal.retry_after_us),
            (3, 0, Some(1_000_000))
        );
        counter.settle(SLOT, 1, 0);
        assert_eq!(counter.stands(reach, noon()).remaining, 1);
        assert_eq!(admits(&mut counter, reach), 1, "{reach:?}");
        (0..3).for_each(|_| counter.settle(SLOT, 1, 0));
        assert!(counter.is_idle(noon()));
    }
}

#[test]
fn what_others_know_of_is_free_at_once_for_the_next_here_and_for_others_once_it_is_not_needed() {
    let mut counter = counter(4);
    assert_eq!(admits(&mut counter, TOGETHER), 4);
    told(&mut counter, 0);
    (0..3).for_each(|_| counter.settle(SLOT, 1, 0));
    assert_eq!(
        admits(&mut counter, TOGETHER),
        3,
        "the rooms that they left"
    );
    (0..3).for_each(|_| counter.settle(SLOT, 1, 0));
    assert_eq!(
        reported(&mut counter).net(),
        4,
        "four were needed meanwhile"
    );
    assert_eq!(reported(&mut counter).net(), 1, "and one since");
    assert_eq!(
        admits(&mut counter, TOGETHER),
        0,
        "others may have it, once they are told, and so may this one"
    );
    told(&mut counter, 3);
    assert_eq!(admits(&mut counter, TOGETHER), 0);
    told(&mut counter, 0);
    assert_eq!(admits(&mut counter, TOGETHER), 3);
}

#[test]
fn nothing_takes_the_room_of_what_has_ended_while_there_is_more_than_the_limit() {
    let mut counter = counter(5);
    assert_eq!(admits(&mut counter, TOGETHER), 5);
    told(&mut counter, 0);
    counter.set_terms(limit(2));
    (0..3).for_each(|_| counter.settle(SLOT, 1, 0));
    assert_eq!(admits(&mut counter, TOGETHER), 0, "five are counted");
    counter.settle(SLOT, 1, 0);
    reported(&mut counter);
    told(&mut counter, 0);
    assert_eq!(admits(&mut counter, TOGETHER), 1);
}

#[test]
fn a_gateway_that_is_cut_off_counts_what_is_under_way_here_and_nothing_else() {
    let mut counter = counter(3);
    counter.set_terms(Terms {
        cut_off: Some(CutOff {
            after_us: 5_000_000,
            then: WhenCutOff::Alone,
        }),
        ..limit(3)
    });
    told(&mut counter, 3);
    assert_eq!(admits(&mut counter, TOGETHER), 0);
    let long = Reach::Together {
        halvings: 2,
        silent_us: 5_000_001,
    };
    assert_eq!(admits(&mut counter, long), 3);
    for _ in 0..10 {
        counter.settle(SLOT, 1, 0);
        assert_eq!(admits(&mut counter, long), 1);
    }
}

#[test]
fn a_limit_on_what_is_under_way_may_be_closed_or_open_where_a_gateway_is_cut_off() {
    let long = Reach::Together {
        halvings: 0,
        silent_us: CUT_OFF_AFTER_US + 1,
    };
    let check = |then, expected: bool| {
        let mut counter = counter(3);
        counter.set_terms(Terms::of_rate_limit(3, Mode::Enforce, then));
        assert_eq!(admits(&mut counter, TOGETHER), 3);
        // One has ended, and nobody else counts what is under way here.
        counter.settle(SLOT, 1, 0);
        assert_eq!(counter.admits(1, long, noon()), expected, "{then:?}");
        assert_eq!(counter.admits(9, long, noon()), expected, "{then:?}");
        // A further attempt of what is under way already.
        assert!(counter.admits(0, long, noon()), "{then:?}");
    };
    check(WhenCutOff::Open, true);
    check(WhenCutOff::Closed, false);
}

#[test]
fn what_was_told_of_a_counter_that_was_forgotten_is_not_taken_for_its_next_life() {
    let mut table = Table::new(1, 10);
    (0..5).for_each(|_| assert!(table.ask(0)));
    table.steps(2);
    (0..5).for_each(|_| table.end(0));
    table.steps(3);
    let stale = table.broadcast_for(0);
    table.gateways[0].sweep(table.wall);
    assert!(table.gateways[0].look().is_empty());
    // Its first request after that is not among the five that were charged and given back before.
    assert!(table.ask(0));
    table.gateways[0].hear(&stale);
    let wall = table.wall;
    assert_eq!(table.counter(0).used(wall), (1, 0));
}

/// Gateways and an aggregator that hear each other at once, every 100 ms.
struct Table {
    aggregator: Aggregator,
    /// Those of which it hears.
    heard: Vec<bool>,
    gateways: Vec<Gateway>,
    most: u64,
    term: u64,
    now: Steady,
    wall: Timestamp,
}

impl Table {
    fn new(gateways: u8, most: u64) -> Self {
        let gateways = (0..gateways).map(|at| Gateway::new(Incarnation([at; 16]), Steady(0)));
        let gateways: Vec<Gateway> = gateways.collect();
        let mut table = Self {
            aggregator: Aggregator::new(),
            heard: vec![true; gateways.len()],
            gateways,
            most,
            term: 1,
            now: Steady(0),
            wall: noon(),
        };
        table.aggregator.take_office(1, table.now);
        table.steps(3);
        table
    }

    fn broadcast_for(&mut self, at: usize) -> gateway_policy::limits::message::Broadcast {
        let told = self.aggregator.broadcast(self.now, self.wall);
        told.into_iter().nth(at).expect("it is heard")
    }

    fn steps(&mut self, steps: u64) {
        for _ in 0..steps {
            self.now = self.now.plus_us(STEP_US);
            self.wall = self.wall.plus_micros(100_000);
            for (gateway, is_heard) in self.gateways.iter_mut().zip(&self.heard) {
                if *is_heard {
                    self.aggregator.merge(&gateway.report(self.now), self.now);
                }
            }
            self.aggregator.renew(self.now);
            for broadcast in self.aggregator.broadcast(self.now, self.wall) {
                for (gateway, is_heard) in self.gateways.iter_mut().zip(&self.heard) {
                    if *is_heard {
                        gateway.hear(&broadcast);
                    }
                }
            }
        }
    }

    fn pass(&mut self, us: u64) {
        self.steps(us / STEP_US);
    }

    fn counter(&mut self, at: usize) -> &mut Counter {
        let place = self.gateways[at].place(counter_id(), limit(self.most));
        &mut self.gateways[at].counters()[place]
    }

    fn ask(&mut self, at: usize) -> bool {
        let reach = self.gateways[at].reach(self.now);
        ask(self.counter(at), reach).is_ok()
    }

    /// All that it can get, while messages go to and fro.
    fn fill(&mut self, at: usize) -> u64 {
        let mut admitted = 0;
        for _ in 0..50 {
            while self.ask(at) {
                admitted += 1;
            }
            self.steps(1);
        }
        admitted
    }

    fn take(&mut self, at: usize, many: u64) {
        for _ in 0..many {
            assert!(self.ask(at));
            self.steps(1);
        }
    }

    fn end(&mut self, at: usize) {
        self.counter(at).settle(SLOT, 1, 0);
    }

    fn total(&self) -> u64 {
        self.aggregator.total(&counter_id(), SLOT)
    }
}

#[test]
fn one_gateway_uses_what_the_others_do_not_and_gives_it_back() {
    let mut table = Table::new(3, 30);
    assert_eq!(table.fill(0), 30);
    assert!(!table.ask(1));
    (0..30).for_each(|_| table.end(0));
    table.steps(3);
    assert_eq!(table.total(), 0);
    assert_eq!(table.fill(1), 30);
}

#[test]
fn whoever_came_first_does_not_keep_all_while_others_ask() {
    let mut table = Table::new(2, 20);
    let mut under_way = [table.fill(0), 0];
    assert_eq!(under_way, [20, 0]);
    for _ in 0..100 {
        for (at, under_way) in under_way.iter_mut().enumerate() {
            if *under_way > 0 {
                table.end(at);
                *under_way -= 1;
            }
            // All at once, as many as there could be room for.
            *under_way += (0..20).filter(|_| table.ask(at)).count() as u64;
        }
        table.steps(1);
        let all: u64 = under_way.iter().sum();
        assert!(all <= 22, "{under_way:?}");
    }
    assert!(under_way.iter().all(|it| *it >= 8), "{under_way:?}");
}

#[test]
fn what_a_gateway_that_died_held_is_free_when_it_would_keep_limits_by_itself_and_not_before() {
    let mut table = Table::new(2, 10);
    assert_eq!(table.fill(0), 10);
    table.heard[0] = false;
    table.pass(HELD_US - STEP_US);
    assert_eq!((table.total(), table.ask(1)), (10, false));
    table.pass(2 * STEP_US);
    assert_eq!(table.total(), 0);
    assert_eq!(table.fill(1), 10);
    // It was not dead: what is under way there counts again, and nobody goes on until there is room.
    table.heard[0] = true;
    table.steps(2);
    assert_eq!(table.total(), 20);
    (0..9).for_each(|_| table.end(1));
    table.steps(3);
    assert!(!table.ask(0) && !table.ask(1), "eleven are under way");
    (0..2).for_each(|_| table.end(0));
    table.steps(3);
    assert!(table.ask(0) || table.ask(1), "nine are");
}

#[test]
fn a_gateway_that_leaves_holds_nothing() {
    let mut table = Table::new(2, 10);
    assert_eq!(table.fill(0), 10);
    (0..10).for_each(|_| table.end(0));
    // It leaves before it has told of any end.
    let now = table.now;
    let last = table.gateways[0].leave(now);
    table.heard[0] = false;
    table.aggregator.merge(&last, now);
    table.steps(1);
    assert_eq!(table.total(), 0);
}

#[test]
fn whoever_takes_office_counts_whom_it_has_not_heard_for_as_long() {
    let mut table = Table::new(3, 12);
    table.take(0, 6);
    table.take(1, 6);
    // The first one dies with who was in office.
    table.heard[0] = false;
    table.pass(OFFICE_US);
    table.aggregator = Aggregator::new();
    table.term += 1;
    table.aggregator.take_office(table.term, table.now);
    table.steps(3);
    assert_eq!(table.total(), 12);
    table.pass(SHARE_LIFETIME_US);
    assert_eq!((table.total(), table.ask(2)), (12, false));
    table.pass(HELD_US);
    assert_eq!(table.total(), 6);
    assert_eq!(table.fill(2), 6);
}

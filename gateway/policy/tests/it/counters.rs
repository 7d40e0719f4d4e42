//! What a gateway counts, admits and refuses, and what it makes of broadcasts.

use events_schema::time::Timestamp;
use gateway_policy::limits::{
    Measure,
    admission::{Charge, Refusal, admit},
    counter::{CUT_OFF_AFTER_US, Counter, CutOff, JOINER_SHARE, Mode, Reach, Terms, WhenCutOff},
    gateway::{Gateway, SHARE_LIFETIME_US},
    marks::{Apart, Full, Marks},
    message::{
        Amounts, Broadcast, BroadcastId, BroadcastRow, BroadcastSlot, CounterId, Incarnation,
        Steady,
    },
    period::Period,
    share::Share,
};

pub(crate) const GATEWAY: Incarnation = Incarnation([1; 16]);
const SECOND: u64 = 1_000_000;
const TOGETHER: Reach = Reach::Together {
    halvings: 0,
    silent_us: 0,
};

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn noon() -> Timestamp {
    time("2026-11-22T12:00:00Z")
}

pub(crate) const fn id(period: Period) -> CounterId {
    CounterId {
        rule: [7; 16],
        measure: Measure::Requests,
        period,
        segment: [0; 16],
    }
}

pub(crate) const fn limit(most: u64) -> Terms {
    Terms {
        most,
        mode: Mode::Enforce,
        cut_off: None,
    }
}

fn half() -> Share {
    Share::of_2_32(1 << 31)
}

/// Whether a request of this cost is admitted, by one counter.
fn ask(counter: &mut Counter, cost: u64, reach: Reach, now: Timestamp) -> Result<(), Refusal> {
    let mut charges = [Charge::new(0, cost)];
    admit(std::slice::from_mut(counter), &mut charges, reach, now).map(drop)
}

/// What is told of a counter: `(total, this gateway's own part)` in the slot of a time.
fn told(
    period: Period,
    now: Timestamp,
    share: Option<Share>,
    total: u64,
    own: u64,
) -> BroadcastRow {
    BroadcastRow {
        counter: id(period),
        most: 100,
        share,
        slots: vec![BroadcastSlot {
            number: period.slot_at(now),
            total,
            included: Amounts {
                charged: own,
                returned: 0,
            },
        }],
    }
}

fn broadcast(term: u64, number: u64, sent_at: Steady, rows: Vec<BroadcastRow>) -> Broadcast {
    Broadcast {
        id: BroadcastId { term, number },
        to: GATEWAY,
        includes: 1,
        sent_at,
        adopting: false,
        base: [Share::NONE; _],
        apart: Apart::default(),
        full: Full::default(),
        rows,
    }
}

#[test]
fn periods_begin_where_the_calendar_says() {
    let check = |period: Period, at: &str, begins: &str, next: &str| {
        let slot = period.slot_at(time(at));
        assert_eq!(period.slot_begins(slot), time(begins), "{period:?} of {at}");
        assert_eq!(period.slot_begins(slot.plus(1)), time(next), "{period:?}");
        let last = time(next).plus_micros(-1);
        assert_eq!(period.slot_at(last), slot, "{period:?} until {next}");
    };
    let at = "2026-11-22T12:34:56.789Z";
    check(
        Period::SlidingMinute,
        at,
        "2026-11-22T12:34:50Z",
        "2026-11-22T12:35:00Z",
    );
    check(
        Period::Minute,
        at,
        "2026-11-22T12:34:00Z",
        "2026-11-22T12:35:00Z",
    );
    check(
        Period::Hour,
        at,
        "2026-11-22T12:00:00Z",
        "2026-11-22T13:00:00Z",
    );
    check(
        Period::Day,
        at,
        "2026-11-22T00:00:00Z",
        "2026-11-23T00:00:00Z",
    );
    // A Sunday: the week began on the Monday before.
    check(
        Period::Week,
        at,
        "2026-11-16T00:00:00Z",
        "2026-11-23T00:00:00Z",
    );
    check(
        Period::Month,
        at,
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    );
    check(
        Period::Quarter,
        at,
        "2026-10-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
    );
    check(
        Period::Month,
        "2028-02-29T23:59:59Z",
        "2028-02-01T00:00:00Z",
        "2028-03-01T00:00:00Z",
    );
    check(
        Period::Week,
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1970-01-05T00:00:00Z",
    );
}

#[test]
fn a_window_of_the_clock_is_free_again_when_the_next_begins() {
    let mut counter = Counter::new(id(Period::Hour), limit(2), Share::NONE);
    let late = time("2026-11-22T12:59:58Z");
    assert!(ask(&mut counter, 2, Reach::Alone, late).is_ok());
    let refusal = ask(&mut counter, 1, Reach::Alone, late).expect_err("all is used");
    let expected = Refusal {
        counter: id(Period::Hour),
        limit: 2,
        remaining: 0,
        reset_us: 2 * SECOND,
        retry_after_us: Some(2 * SECOND),
        is_cut_off: false,
    };
    assert_eq!(refusal, expected);
    assert!(ask(&mut counter, 1, Reach::Alone, time("2026-11-22T13:00:00Z")).is_ok());
}

#[test]
fn a_cost_above_the_limit_never_fits() {
    let mut counter = Counter::new(id(Period::Day), limit(2), Share::NONE);
    let refusal = ask(&mut counter, 3, Reach::Alone, noon()).expect_err("too much");
    assert_eq!(refusal.retry_after_us, None);
}

#[test]
fn a_sliding_minute_covers_fifty_to_sixty_seconds() {
    let at = |micros: i64| noon().plus_micros(micros);
    let check = |asked_at: i64| {
        let mut counter = Counter::new(id(Period::SlidingMinute), limit(1), Share::NONE);
        let free_at = 60_000_000;
        for (at_us, is_admitted) in [(asked_at, true), (free_at - 1, false), (free_at, true)] {
            let asked = ask(&mut counter, 1, Reach::Alone, at(at_us));
            assert_eq!(asked.is_ok(), is_admitted, "{asked_at}: {at_us}");
        }
    };
    check(0);
    check(9_999_999);
}

#[test]
fn a_period_is_written_as_the_number_that_it_always_had() {
    let written = |period: Period| (period.tag(), Period::try_from(period.tag()));
    let all = Period::ALL.into_iter().chain([Period::AtATime]);
    let tags: Vec<u8> = all.map(|it| written(it).0).collect();
    assert_eq!(tags, [0, 2, 3, 4, 5, 6, 7, 8]);
    assert!(Period::try_from(1).is_err());
    assert_eq!(written(Period::Month).1, Ok(Period::Month));
}

#[test]
fn one_refusal_counts_at_no_counter() {
    let counter = |most, period| Counter::new(id(period), limit(most), Share::NONE);
    let mut counters = [counter(10, Period::Minute), counter(1, Period::Hour)];
    let mut charges = [0, 1].map(|counter| Charge::new(counter, 1));
    let mut decide = |counters: &mut [Counter]| admit(counters, &mut charges, Reach::Alone, noon());
    assert!(decide(&mut counters).is_ok());
    let refusal = decide(&mut counters).expect_err("one an hour");
    assert_eq!(refusal.counter, id(Period::Hour));
    assert_eq!(counters[0].standing(noon()).remaining, 9);
}

#[test]
fn an_audit_refuses_nothing_and_says_what_it_would_have() {
    let terms = Terms {
        mode: Mode::Audit,
        ..limit(1)
    };
    let mut counters = [Counter::new(id(Period::Hour), terms, Share::NONE)];
    let mut charges = [Charge::new(0, 1)];
    let mut decide = || admit(&mut counters[..], &mut charges, Reach::Alone, noon());
    assert_eq!(decide(), Ok(None));
    assert_eq!(decide(), Ok(Some(id(Period::Hour))));
    let row = counters[0].report();
    assert_eq!((row.asked, row.refused), (2, 1));
    assert_eq!(row.slots[0].own.charged, 2);
}

#[test]
fn a_gateway_admits_its_share_of_what_the_others_left() {
    let mut counter = Counter::new(id(Period::Hour), limit(100), half());
    counter.hear(&told(Period::Hour, noon(), None, 60, 0), 1, false);
    assert!(ask(&mut counter, 20, TOGETHER, noon()).is_ok());
    assert!(ask(&mut counter, 1, TOGETHER, noon()).is_err());
    // Heard of by all, its own part no longer counts against its share.
    counter.hear(&told(Period::Hour, noon(), None, 80, 20), 1, false);
    assert!(ask(&mut counter, 10, TOGETHER, noon()).is_ok());
    assert!(ask(&mut counter, 1, TOGETHER, noon()).is_err());
    assert_eq!(counter.standing(noon()).remaining, 10);
}

#[test]
fn one_request_is_in_flight_where_the_share_is_too_small() {
    let mut counter = Counter::new(id(Period::Hour), limit(100), Share::NONE);
    counter.hear(&told(Period::Hour, noon(), None, 98, 0), 1, false);
    assert!(ask(&mut counter, 2, TOGETHER, noon()).is_ok());
    assert!(ask(&mut counter, 1, TOGETHER, noon()).is_err());
    counter.hear(&told(Period::Hour, noon(), None, 99, 2), 1, false);
    assert!(ask(&mut counter, 1, TOGETHER, noon()).is_ok());
    counter.hear(&told(Period::Hour, noon(), None, 100, 3), 1, false);
    assert!(ask(&mut counter, 1, TOGETHER, noon()).is_err());
}

#[test]
fn what_comes_back_is_free_at_once_only_while_nobody_knows_of_it() {
    let mut counter = Counter::new(id(Period::Hour), limit(10), Share::NONE);
    let slot = Period::Hour.slot_at(noon());
    let remaining = |counter: &mut Counter| counter.standing(noon()).remaining;
    assert_eq!(counter.charge(8, noon()), slot);
    counter.settle(slot, 8, 3);
    assert_eq!(remaining(&mut counter), 7);
    let _ = counter.charge(4, noon());
    assert_eq!(counter.report().slots[0].own.net(), 7);
    counter.settle(slot, 4, 1);
    assert_eq!(remaining(&mut counter), 3);
    let row = counter.report();
    let own = Amounts {
        charged: 7,
        returned: 3,
    };
    assert_eq!((row.slots[0].own, row.slots[0].open), (own, 0));
    let heard = BroadcastRow {
        slots: vec![BroadcastSlot {
            number: slot,
            total: 4,
            included: own,
        }],
        ..told(Period::Hour, noon(), None, 0, 0)
    };
    counter.hear(&heard, 1, false);
    assert_eq!(remaining(&mut counter), 6);
}

#[test]
fn a_debt_is_paid_by_the_next_requests() {
    let mut counter = Counter::new(id(Period::Hour), limit(10), Share::NONE);
    let slot = counter.charge(2, noon());
    counter.settle(slot, 2, 9);
    assert!(ask(&mut counter, 2, Reach::Alone, noon()).is_err());
    assert!(ask(&mut counter, 1, Reach::Alone, noon()).is_ok());
}

#[test]
fn a_late_settlement_does_not_touch_the_slot_that_took_its_place() {
    let mut counter = Counter::new(id(Period::Hour), limit(10), Share::NONE);
    let old = counter.charge(5, time("2026-11-22T08:10:00Z"));
    let _ = counter.charge(5, time("2026-11-22T11:10:00Z"));
    counter.settle(old, 5, 0);
    assert_eq!(counter.standing(time("2026-11-22T11:10:00Z")).remaining, 5);
}

#[test]
fn a_changed_limit_keeps_what_was_used() {
    let mut counter = Counter::new(id(Period::Hour), limit(10), Share::NONE);
    let _ = counter.charge(6, noon());
    counter.set_terms(limit(8));
    assert_eq!(counter.standing(noon()).remaining, 2);
}

#[test]
fn a_share_halves_with_each_lifetime_that_nobody_is_heard() {
    let mut gateway = Gateway::new(GATEWAY, Steady(0));
    gateway.hear(&broadcast(1, 1, Steady(SECOND), Vec::new()));
    let share = |gateway: &Gateway, after: u64| {
        let reach = gateway.reach(Steady(SECOND + after));
        reach.of(Share::of_2_32(1 << 30)).parts()
    };
    let joiner = JOINER_SHARE.parts();
    assert_eq!(share(&gateway, SHARE_LIFETIME_US - 1), (1 << 30) + joiner);
    assert_eq!(share(&gateway, SHARE_LIFETIME_US), (1 << 29) + joiner);
    assert_eq!(share(&gateway, 3 * SHARE_LIFETIME_US), (1 << 27) + joiner);
    assert_eq!(share(&gateway, 100 * SHARE_LIFETIME_US), joiner);
}

#[test]
fn what_happens_after_too_long_a_silence_is_the_rules_choice() {
    let check = |then: WhenCutOff, one_more: bool, any: bool| {
        let terms = Terms {
            cut_off: Some(CutOff {
                after_us: SECOND,
                then,
            }),
            ..limit(5)
        };
        let mut counter = Counter::new(id(Period::Hour), terms, half());
        let silent = |silent_us| Reach::Together {
            halvings: 0,
            silent_us,
        };
        assert!(ask(&mut counter, 2, silent(SECOND), noon()).is_ok());
        assert!(ask(&mut counter, 1, silent(SECOND), noon()).is_err());
        let after = ask(&mut counter, 1, silent(SECOND + 1), noon()).is_ok();
        assert_eq!(after, one_more, "{then:?}");
        let beyond = ask(&mut counter, 9, silent(SECOND + 1), noon()).is_ok();
        assert_eq!(beyond, any, "{then:?}");
    };
    check(WhenCutOff::Open, true, true);
    check(WhenCutOff::Closed, false, false);
    check(WhenCutOff::Alone, true, false);
}

#[test]
fn a_limit_that_is_closed_says_that_the_gateway_is_cut_off_and_not_that_it_is_used_up() {
    let terms = Terms::of_rate_limit(5, Mode::Enforce, WhenCutOff::Closed);
    let cut_off = Reach::Together {
        halvings: 2,
        silent_us: CUT_OFF_AFTER_US + 1,
    };
    for period in [Period::Hour, Period::AtATime] {
        let mut counter = Counter::new(id(period), terms, Share::WHOLE);
        assert!(ask(&mut counter, 5, TOGETHER, noon()).is_ok());
        let used_up = ask(&mut counter, 1, TOGETHER, noon()).expect_err("five of five");
        assert!(!used_up.is_cut_off, "{used_up:?}");
        let refusal = ask(&mut counter, 1, cut_off, noon()).expect_err("closed");
        assert!(refusal.is_cut_off, "{refusal:?}");
        assert_eq!(refusal.retry_after_us, Some(SECOND));
        let left = ask(&mut counter, 1, Reach::Left, noon()).expect_err("it has left");
        assert!(!left.is_cut_off, "{left:?}");
    }
}

#[test]
fn where_only_the_share_is_used_up_there_is_room_soon() {
    let mut counter = Counter::new(id(Period::Hour), limit(10), half());
    assert!(ask(&mut counter, 5, TOGETHER, noon()).is_ok());
    let refusal = ask(&mut counter, 1, TOGETHER, noon()).expect_err("half of ten");
    assert_eq!(
        (refusal.remaining, refusal.retry_after_us),
        (5, Some(300_000))
    );
    counter.hear(&told(Period::Hour, noon(), None, 10, 5), 1, false);
    let refusal = ask(&mut counter, 1, TOGETHER, noon()).expect_err("all is used");
    assert_eq!(refusal.retry_after_us, Some(3_600 * SECOND));
}

#[test]
fn a_broadcast_that_is_older_or_for_another_is_not_obeyed() {
    let mut gateway = Gateway::new(GATEWAY, Steady(0));
    let row = |share| vec![told(Period::Hour, noon(), Some(share), 10, 0)];
    let dealt = |gateway: &Gateway| gateway.dealt(&id(Period::Hour));
    gateway.place(id(Period::Hour), limit(10));
    gateway.hear(&broadcast(2, 1, Steady(0), row(half())));
    assert_eq!(dealt(&gateway), half());
    gateway.hear(&broadcast(1, 9, Steady(0), row(Share::WHOLE)));
    gateway.hear(&broadcast(2, 1, Steady(0), row(Share::WHOLE)));
    gateway.hear(&Broadcast {
        to: Incarnation([2; 16]),
        ..broadcast(2, 2, Steady(0), row(Share::WHOLE))
    });
    assert_eq!(dealt(&gateway), half());
    gateway.hear(&broadcast(2, 2, Steady(0), Vec::new()));
    assert_eq!(dealt(&gateway), Share::NONE);
}

#[test]
fn an_aggregator_that_is_new_in_office_makes_nobody_forget() {
    let mut counter = Counter::new(id(Period::Hour), limit(100), Share::WHOLE);
    counter.hear(&told(Period::Hour, noon(), None, 90, 0), 1, false);
    counter.hear(&told(Period::Hour, noon(), None, 5, 0), 1, true);
    assert_eq!(counter.standing(noon()).remaining, 10);
    counter.hear(&told(Period::Hour, noon(), None, 70, 0), 1, false);
    assert_eq!(counter.standing(noon()).remaining, 30);
}

#[test]
fn a_gateway_that_left_admits_nothing() {
    let mut gateway = Gateway::new(GATEWAY, Steady(0));
    let place = gateway.place(id(Period::Hour), limit(100));
    assert!(gateway.leave(Steady(1)).leaving);
    let reach = gateway.reach(Steady(2));
    let refused = ask(&mut gateway.counters()[place], 1, reach, noon());
    assert!(refused.is_err());
}

#[test]
fn a_clock_that_steps_back_does_not_forget() {
    let mut counter = Counter::new(id(Period::Hour), limit(5), Share::NONE);
    let _ = counter.charge(5, time("2026-11-22T13:00:01Z"));
    let back = time("2026-11-22T12:59:59Z");
    assert!(ask(&mut counter, 1, Reach::Alone, back).is_err());
}

#[test]
fn counters_that_nobody_uses_are_forgotten() {
    let mut gateway = Gateway::new(GATEWAY, Steady(0));
    let place = gateway.place(id(Period::SlidingMinute), limit(5));
    let slot = gateway.counters()[place].charge(1, noon());
    gateway.sweep(noon().plus_micros(50_000_000));
    assert_eq!(gateway.look().len(), 1);
    gateway.sweep(noon().plus_micros(60_000_000));
    assert_eq!(gateway.look().len(), 1, "its request has not ended");
    gateway.counters()[0].settle(slot, 1, 1);
    gateway.sweep(noon().plus_micros(60_000_000));
    assert_eq!(gateway.look().len(), 0);
}

#[test]
fn of_a_counter_that_others_have_a_gateway_that_begins_to_use_it_has_the_joiners_share_and_asks() {
    let mut gateway = Gateway::new(GATEWAY, Steady(0));
    let hour = id(Period::Hour);
    let other = CounterId {
        segment: [9; 16],
        ..hour
    };
    let mut apart = Apart::default();
    apart[Period::Hour.index()] = Marks::with_room_for(1);
    apart[Period::Hour.index()].add(&hour);
    assert!(!apart[Period::Hour.index()].holds(&other));
    let all = |number, apart: &Apart, rows| Broadcast {
        base: [half(); _],
        apart: apart.clone(),
        ..broadcast(1, number, Steady(0), rows)
    };
    let row = || vec![told(Period::Hour, noon(), Some(half()), 60, 0)];
    gateway.hear(&all(1, &apart, row()));
    assert_eq!(gateway.look().len(), 0, "it has used nothing");
    assert_eq!(gateway.dealt(&hour), Share::NONE);
    assert_eq!(gateway.dealt(&other), half());
    gateway.place(hour, limit(100));
    gateway.place(other, limit(100));
    assert_eq!(gateway.dealt(&hour), Share::NONE);
    assert_eq!(gateway.report(Steady(1)).apart, apart);
    // Once the aggregator has heard of it, it is told what is its own.
    gateway.hear(&all(2, &apart, row()));
    assert_eq!(gateway.dealt(&hour), half());
    assert_eq!(gateway.look()[0].clone().used(noon()), (0, 60));
    // And when nobody has shares of its own any more, what all have.
    gateway.hear(&all(3, &Apart::default(), Vec::new()));
    assert_eq!(gateway.dealt(&hour), half());
    assert_eq!(gateway.look().len(), 2);
}

#[test]
fn of_a_counter_that_is_used_up_the_first_request_of_a_gateway_is_refused_until_it_is_told_more() {
    let hour = id(Period::Hour);
    let used_up = || {
        let mut gateway = Gateway::new(GATEWAY, Steady(0));
        gateway.hear(&Broadcast {
            full: Full::of([&hour]),
            ..broadcast(1, 1, Steady(0), Vec::new())
        });
        let place = gateway.place(hour, limit(5));
        (gateway, place)
    };
    let passes = |gateway: &mut Gateway, place: usize, now| {
        let reach = gateway.reach(now);
        ask(&mut gateway.counters()[place], 1, reach, noon()).is_ok()
    };
    let (mut gateway, place) = used_up();
    let refused = ask(&mut gateway.counters()[place], 1, TOGETHER, noon());
    let refused = refused.expect_err("nothing is left");
    assert_eq!(
        (refused.remaining, refused.retry_after_us),
        (0, Some(300_000))
    );
    // It is told that two are left.
    let row = told(Period::Hour, noon(), None, 3, 0);
    gateway.hear(&Broadcast {
        full: Full::of([&hour]),
        ..broadcast(1, 2, Steady(1), vec![row])
    });
    assert!(passes(&mut gateway, place, Steady(2)));
    // Or only that it is used up no longer.
    let (mut gateway, place) = used_up();
    gateway.hear(&broadcast(1, 2, Steady(1), Vec::new()));
    assert!(passes(&mut gateway, place, Steady(2)));
    // Or nothing at all any more.
    let (mut gateway, place) = used_up();
    let silent = Steady(SHARE_LIFETIME_US + 1);
    assert!(passes(&mut gateway, place, silent));
    let other = gateway.place(id(Period::Day), limit(5));
    assert!(passes(&mut gateway, other, Steady(2)), "another one");
}

//! What limits and budgets decide here, alone and together.

use events_schema::{
    events::LimitMode,
    usage::{CounterSeen, Instead},
};
use gateway_policy::{
    RuleLimit,
    limits::{
        Estimate, Share,
        counter::WhenCutOff,
        lease::Leases,
        marks::{Apart, Full},
        message::{Amounts, BroadcastId, BroadcastRow, BroadcastSlot},
    },
};

use super::*;

const KEY: EntryId = [1; 16];
const TOKENS: u64 = 100;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_795_348_800 + seconds) * 1_000_000).expect("a time in 2026")
}

fn alone() -> Limits {
    Limits::new(Incarnation([7; 16]), true)
}

const fn estimate(tokens: u64) -> Estimate {
    Estimate {
        input: tokens,
        output: 0,
        most_output: 0,
        is_open: false,
    }
}

fn asked(requests: Option<u64>, tokens: Option<u64>) -> Asked<'static> {
    let own = [(Measure::Requests, requests), (Measure::Tokens, tokens)];
    let own = own
        .iter()
        .filter_map(|(measure, most)| Some((*measure, (*most)?)));
    let mut asked = Asked::new(estimate(TOKENS));
    asked.limits_of_key(KEY, &own.collect::<Vec<_>>());
    asked
}

fn decided(limits: &Limits, asked: &Asked<'_>, now: Timestamp) -> Decided {
    limits.decide(asked, now, Turn::First)
}

fn reservation(decided: Decided) -> Reservation {
    match decided.outcome {
        Outcome::Admitted(admitted) => admitted.reservation,
        other => panic!("it is admitted: {other:?}"),
    }
}

const fn is_admitted(decided: &Decided) -> bool {
    matches!(decided.outcome, Outcome::Admitted(_))
}

const fn used(tokens: u64) -> Settled {
    Settled { tokens, cost: 0 }
}

/// How much of a limit was used, as far as was known.
fn used_up(seen: &LimitSeen) -> u64 {
    match seen.counter {
        CounterSeen::Shared { own, known, .. } => own + known,
        CounterSeen::Leased { taken, .. } => taken,
    }
}

fn left(decided: &Decided, measure: Measure) -> u64 {
    let mut stoods = decided.stood.iter().flatten();
    let stood = stoods.find(|it| it.measure == measure).expect("limited");
    stood.standing.remaining
}

#[test]
fn tokens_come_back_when_fewer_were_used_and_go_when_more_were() {
    let limits = alone();
    let asked = asked(None, Some(1_000));
    let first = decided(&limits, &asked, at(0));
    assert_eq!(left(&first, Measure::Tokens), 900);
    reservation(first).settle(&limits, used(30));
    let second = decided(&limits, &asked, at(1));
    assert_eq!(left(&second, Measure::Tokens), 870);
    reservation(second).settle(&limits, used(960));
    let Outcome::Refused(refused) = decided(&limits, &asked, at(2)).outcome else {
        panic!("990 of 1,000 are used")
    };
    assert_eq!((refused.measure, refused.most), (Measure::Tokens, 1_000));
    assert_eq!(refused.by, By::Key);
    assert_eq!(refused.retry_after_us, Some(58_000_000));
}

#[test]
fn what_a_slot_counted_does_not_outlive_the_window() {
    let limits = alone();
    let asked = asked(Some(2), None);
    let admitted = |seconds: i64| is_admitted(&decided(&limits, &asked, at(seconds)));
    assert_eq!(
        [admitted(0), admitted(9), admitted(9), admitted(59)],
        [true, true, false, false]
    );
    assert_eq!(
        [admitted(60), admitted(61), admitted(62)],
        [true, true, false]
    );
    assert!(admitted(100_000));
}

#[test]
fn a_late_settlement_does_not_touch_the_slot_that_took_its_place() {
    let limits = alone();
    let asked = asked(None, Some(1_000));
    let early = reservation(decided(&limits, &asked, at(0)));
    assert_eq!(
        left(&decided(&limits, &asked, at(90)), Measure::Tokens),
        900
    );
    early.settle(&limits, used(0));
    assert_eq!(
        left(&decided(&limits, &asked, at(90)), Measure::Tokens),
        800
    );
}

#[test]
fn a_refusal_by_one_limit_charges_none_and_says_how_all_stood() {
    let limits = alone();
    let both = asked(Some(10), Some(150));
    let first = decided(&limits, &both, at(0));
    assert!(is_admitted(&first));
    let stood = |decided: &Decided| -> Vec<_> {
        let seen = decided.seen.iter();
        seen.map(|it| (it.most, it.cost, used_up(it), it.exceeded))
            .collect()
    };
    let before = [(10, 1, 0, false), (150, 100, 0, false)];
    assert_eq!(stood(&first), before, "as it was before it was charged");
    let refused = decided(&limits, &both, at(0));
    assert!(matches!(refused.outcome, Outcome::Refused(_)));
    let after = [(10, 1, 1, false), (150, 100, 100, true)];
    assert_eq!(stood(&refused), after);
    let after = decided(&limits, &asked(Some(10), None), at(0));
    assert_eq!(left(&after, Measure::Requests), 8);
}

#[test]
fn threads_that_race_never_admit_more_than_the_limit() {
    let limits = alone();
    let admitted: usize = std::thread::scope(|scope| {
        let race = || {
            let (limits, asked) = (&limits, asked(Some(1_000), Some(50_000)));
            scope.spawn(move || {
                (0..1_000)
                    .filter(|_| is_admitted(&decided(limits, &asked, at(0))))
                    .count()
            })
        };
        let threads: Vec<_> = std::iter::repeat_with(race).take(4).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    assert_eq!(admitted, 500);
}

#[test]
fn a_counter_is_forgotten_once_nothing_of_it_counts() {
    let limits = alone();
    let admitted = decided(&limits, &asked(None, Some(900)), at(0));
    let counters = || limits.counters();
    limits.sweep(at(3_600));
    assert_eq!(counters(), 1, "it is under way");
    reservation(admitted).settle(&limits, used(7));
    limits.sweep(at(59));
    assert_eq!(counters(), 1);
    limits.sweep(at(60));
    assert_eq!(counters(), 0);
}

#[test]
fn callers_cannot_make_counters_without_end_and_all_are_limited() {
    let limits = alone();
    let ask = |value: u32| {
        let mut segment = [9; 16];
        segment[..4].copy_from_slice(&value.to_be_bytes());
        let limit = RuleLimit {
            measure: Measure::Requests,
            period: Period::Day,
            most: 5,
        };
        let mut asked = Asked::new(estimate(0));
        asked.limits_of(
            [8; 16],
            segment,
            (Mode::Enforce, WhenCutOff::Alone),
            &[limit],
        );
        let decided = decided(&limits, &asked, at(0));
        let is_admitted = is_admitted(&decided);
        if is_admitted {
            reservation(decided).settle(&limits, used(0));
        }
        is_admitted
    };
    let most = SHARDS * MOST_COUNTERS;
    let many = u32::try_from(most).expect("small") * 2;
    let admitted = (0..many).filter(|value| ask(*value)).count();
    assert!(limits.counters() <= most + SHARDS);
    // Of each shard the first have a counter each, and all others five requests between them.
    assert!(admitted <= limits.counters() + 5 * SHARDS);
    assert!(ask(0), "what has a counter keeps it");
    assert_eq!(limits.pause(), exchange::REPORT * 32);
}

#[test]
fn what_others_count_makes_no_counters_here() {
    let limits = Limits::new(Incarnation([7; 16]), false);
    let decide = |asked: &Asked<'_>| drop(decided(&limits, asked, at(0)));
    decide(&asked(Some(10), None));
    let own = CounterId {
        rule: KEY,
        measure: Measure::Requests,
        period: Period::SlidingMinute,
        segment: [0; 16],
    };
    let others = (0..100_000_u32).map(|number| {
        let mut segment = [9; 16];
        segment[..4].copy_from_slice(&number.to_be_bytes());
        CounterId { segment, ..own }
    });
    let rows = others.chain([own]).map(|counter| BroadcastRow {
        counter,
        most: 10,
        share: Some(Share::NONE),
        slots: vec![BroadcastSlot {
            number: counter.period.slot_at(at(0)),
            total: 4,
            included: Amounts::default(),
        }],
    });
    let broadcast = Broadcast {
        id: BroadcastId { term: 1, number: 1 },
        to: Incarnation([7; 16]),
        includes: 0,
        sent_at: Steady(0),
        adopting: false,
        base: [Share::WHOLE; _],
        apart: Apart::default(),
        full: Full::default(),
        rows: rows.collect(),
    };
    limits.hear(&[(shard_of(&own), broadcast)]);
    assert_eq!(limits.counters(), 1);
    let mut gateway = limits.lock(shard_of(&own));
    assert_eq!(gateway.counters()[0].used(at(0)), (1, 4));
}

#[test]
fn the_least_that_is_left_is_told() {
    let limits = alone();
    let mut both = asked(Some(10), None);
    let hourly = RuleLimit {
        measure: Measure::Requests,
        period: Period::Hour,
        most: 5,
    };
    both.limits_of(
        [9; 16],
        [0; 16],
        (Mode::Enforce, WhenCutOff::Alone),
        &[hourly],
    );
    let audited = RuleLimit { most: 1, ..hourly };
    both.limits_of(
        [8; 16],
        [0; 16],
        (Mode::Audit, WhenCutOff::Alone),
        &[audited],
    );
    let first = decided(&limits, &both, at(0));
    assert_eq!(left(&first, Measure::Requests), 4);
    let [enforces, audits] = [LimitMode::Enforce, LimitMode::Audit].map(Some);
    let stood = |decided: &Decided, exceeded| {
        let stood: Vec<_> = decided
            .seen
            .iter()
            .map(|it| (it.exceeded, it.mode))
            .collect();
        let expected = [(false, enforces), (false, enforces), (exceeded, audits)];
        assert_eq!(stood, expected);
    };
    stood(&first, false);
    let Outcome::Admitted(first) = first.outcome else {
        panic!("it is admitted")
    };
    assert_eq!(first.audited, None);
    let second = decided(&limits, &both, at(0));
    stood(&second, true);
    let Outcome::Admitted(second) = second.outcome else {
        panic!("it is admitted")
    };
    assert_eq!(second.audited, Some([8; 16]));
}

// === at a time ===

fn at_a_time(most: u64) -> Asked<'static> {
    let mut asked = Asked::new(estimate(TOKENS));
    let limit = RuleLimit {
        measure: Measure::Requests,
        period: Period::AtATime,
        most,
    };
    asked.limits_of(
        [5; 16],
        [0; 16],
        (Mode::Enforce, WhenCutOff::Alone),
        &[limit],
    );
    asked
}

#[test]
fn so_many_are_under_way_and_the_counter_is_forgotten_when_none_is() {
    let limits = alone();
    let two = at_a_time(2);
    let first = decided(&limits, &two, at(0));
    let [None, None, Some(stood)] = first.stood else {
        panic!("it is no limit in a time: {:?}", first.stood)
    };
    assert_eq!((stood.standing.most, stood.standing.remaining), (2, 1));
    let second = reservation(decided(&limits, &two, at(1)));
    let Outcome::Refused(refused) = decided(&limits, &two, at(1_000_000)).outcome else {
        panic!("two are under way")
    };
    assert_eq!(refused.retry_after_us, Some(1_000_000));
    second.settle(&limits, used(9));
    limits.sweep(at(1_000_000));
    assert_eq!(limits.counters(), 1);
    reservation(decided(&limits, &two, at(1_000_000))).settle(&limits, used(0));
    reservation(first).settle(&limits, used(9));
    limits.sweep(at(1_000_000));
    assert_eq!(limits.counters(), 0);
}

#[test]
fn a_request_counts_once_however_many_of_its_attempts_are_under_way() {
    let limits = alone();
    let is_full = || !is_admitted(&decided(&limits, &at_a_time(1), at(0)));
    let mut first = reservation(decided(&limits, &at_a_time(1), at(0)));
    let mut beside = at_a_time(1);
    beside.count_once(|counter| first.is_under_way_at(counter));
    let mut second = reservation(decided(&limits, &beside, at(0)));
    let mut goes_on = first.is_over(&limits, |counter| second.is_under_way_at(counter));
    second.goes_on_with(&mut goes_on);
    first.settle(&limits, used(0));
    assert!(is_full(), "the second one is under way");
    let _nothing = second.is_over(&limits, |_| false);
    second.settle(&limits, used(0));
    assert!(!is_full());
}

#[test]
fn threads_that_race_never_have_more_under_way_than_the_limit_nor_lose_one() {
    use std::sync::atomic::AtomicU64;

    let limits = alone();
    let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    // Two at a time: together more than may be.
                    let both = [0; 2].map(|_| decided(&limits, &at_a_time(5), at(0)));
                    let admitted: Vec<_> = both
                        .into_iter()
                        .filter(is_admitted)
                        .map(reservation)
                        .collect();
                    let many = admitted.len() as u64;
                    most.fetch_max(now.fetch_add(many, Relaxed) + many, Relaxed);
                    now.fetch_sub(many, Relaxed);
                    for it in admitted {
                        it.settle(&limits, used(0));
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= 5);
    limits.sweep(at(0));
    assert_eq!(limits.counters(), 0, "all have come back");
}

// === budgets ===

const MONTH: RuleLimit = RuleLimit {
    measure: Measure::Cost,
    period: Period::Month,
    most: 1_000,
};
const DECIDES: Role = Role::Decides { closed: false };

/// A request that may cost so much of a budget of 1,000 a month.
fn paid(segment: EntryId, role: Role, cost: u64) -> Asked<'static> {
    let mut asked = Asked::new(estimate(0));
    asked.budget_of([6; 16], segment, role, MONTH, cost);
    asked
}

fn cost(cost: u64) -> Settled {
    Settled { tokens: 0, cost }
}

fn together() -> Limits {
    Limits::new(Incarnation([7; 16]), false)
}

/// What is reported of the first purse there is.
fn reported(limits: &Limits) -> gateway_policy::limits::lease::PurseReport {
    let messages = limits.report_purses(false, wire::MOST_BYTES);
    let parts = messages.messages.iter().flat_map(|message| {
        wire::read::<gateway_policy::limits::lease::Purses>(message).expect("ours")
    });
    let rows = parts.flat_map(|(_, purses)| purses.rows);
    rows.map(|row| row.said).next().expect("one")
}

/// An answer to the last report, in which nothing is lent.
fn nothing_lent(limits: &Limits) -> Vec<(usize, Leases)> {
    let reports = limits.report_purses(true, wire::MOST_BYTES);
    let parts = reports.messages.iter().flat_map(|message| {
        wire::read::<gateway_policy::limits::lease::Purses>(message).expect("ours")
    });
    parts
        .map(|(shard, purses)| {
            let leases = Leases {
                to: purses.incarnation,
                includes: purses.number,
                sent_at: purses.sent_at,
                rows: Vec::new(),
            };
            (shard, leases)
        })
        .collect()
}

#[test]
fn alone_a_budget_is_spent_to_its_end_and_settled_exactly() {
    let limits = alone();
    let first = decided(&limits, &paid([0; 16], DECIDES, 600), at(0));
    let left = first.budget[0].expect("it decides").standing.remaining;
    assert_eq!(left, 400);
    let refused = decided(&limits, &paid([0; 16], DECIDES, 500), at(0));
    let Outcome::Overspent(overspent) = refused.outcome else {
        panic!("400 are left")
    };
    assert_eq!((overspent.why, overspent.most), (Why::Held, 1_000));
    assert_eq!(
        overspent.resets_at.to_string(),
        "2026-12-01T00:00:00.000000Z"
    );
    reservation(first).settle(&limits, cost(123));
    let second = decided(&limits, &paid([0; 16], DECIDES, 877), at(0));
    assert!(is_admitted(&second));
    let said = reported(&limits);
    assert_eq!((said.settled, said.open, said.refused), (123, 877, 500));
}

#[test]
fn budgets_that_do_not_decide_count_and_refuse_nothing() {
    let limits = alone();
    for _ in 0..3 {
        let tracked = decided(&limits, &paid([0; 16], Role::Tracks, 600), at(0));
        assert!(tracked.budget[0].is_none());
        let seen = tracked.seen[0];
        assert_eq!((seen.exceeded, seen.mode), (false, None));
        reservation(tracked).settle(&limits, cost(600));
    }
    assert_eq!(reported(&limits).settled, 1_800);
    let audited = decided(&limits, &paid([0; 16], Role::Audits, 1), at(0));
    let Outcome::Admitted(admitted) = audited.outcome else {
        panic!("it only audits")
    };
    assert_eq!(admitted.audited_budget, Some([6; 16]));
    let seen = audited.seen[0];
    assert_eq!((seen.exceeded, seen.mode), (true, Some(LimitMode::Audit)));
}

#[test]
fn what_is_counted_later_is_settled_then_and_by_its_estimate_where_it_never_is() {
    let limits = Arc::new(alone());
    let later = |cost_so_far| {
        let decided = decided(&limits, &paid([0; 16], DECIDES, 300), at(0));
        let unsettled = reservation(decided).settle_later(&limits, cost(cost_so_far));
        unsettled.expect("it has a budget")
    };
    let mut counted = later(10);
    assert_eq!(reported(&limits).open, 300);
    counted.is(cost(25));
    drop(counted);
    drop(later(10));
    let said = reported(&limits);
    assert_eq!((said.settled, said.open), (35, 0));
}

#[test]
fn a_request_waits_while_the_treasury_may_answer_and_not_when_it_is_silent() {
    let limits = together();
    let closed = Role::Decides { closed: true };
    let asked = |role| paid([0; 16], role, 10);
    let waits = |role, turn| match limits.decide(&asked(role), at(0), turn).outcome {
        Outcome::Waits(since) => since,
        other => panic!("it waits: {other:?}"),
    };
    let first = waits(closed, Turn::First);
    assert_eq!(first.answers, 0);
    limits.hear_leases(&nothing_lent(&limits));
    assert_eq!(waits(closed, Turn::Again).answers, 1);
    let last = Turn::Last { since: first.at };
    let refused = limits.decide(&asked(closed), at(0), last);
    let Outcome::Overspent(overspent) = refused.outcome else {
        panic!("it has waited")
    };
    assert_eq!(overspent.why, Why::Lacks);
    let why = |seen: &[LimitSeen]| (seen[0].exceeded, seen[0].instead);
    assert_eq!(why(&refused.seen), (true, None), "no lease");
    let open = limits.decide(&asked(DECIDES), at(0), last);
    assert!(is_admitted(&open), "nobody has said anything of it");
    assert_eq!(why(&open.seen), (false, Some(Instead::Unanswered)));
    let silent = limits.steady().plus_us(11_000_000);
    assert_eq!(limits.lender(silent), Lender::Silent);
    assert_eq!(limits.lender(limits.steady()), Lender::Heard);
}

#[test]
fn what_lacks_is_reported_at_once_and_once() {
    let limits = together();
    let _waits = decided(&limits, &paid([0; 16], DECIDES, 10), at(0));
    assert_eq!(limits.report_urgent(wire::MOST_BYTES).messages.len(), 1);
    let _waits = decided(&limits, &paid([0; 16], DECIDES, 10), at(0));
    assert_eq!(
        limits.report_urgent(wire::MOST_BYTES).messages.len(),
        0,
        "an answer is on its way"
    );
}

//! What limits admit at a gateway alone, and what requests cost under them.

use events_schema::{
    money::{NanoUsd, Price},
    time::Timestamp,
};
use gateway_policy::{
    Measure, Share,
    limits::{
        AnswerBound, Estimate, Spend,
        admission::{Charge, Refusal, admit},
        counter::{Counter, Mode, Reach, Terms},
        message::CounterId,
        period::Period,
    },
};
use proptest::prelude::*;

use crate::memory::now;

const SECOND: u64 = 1_000_000;

fn counter(measure: Measure, most: u64, share: Share) -> Counter {
    let id = CounterId {
        rule: [7; 16],
        measure,
        period: Period::SlidingMinute,
        segment: [0; 16],
    };
    let terms = Terms {
        most,
        mode: Mode::Enforce,
        cut_off: None,
    };
    Counter::new(id, terms, share)
}

/// A request and its tokens, at two counters.
fn ask(counters: &mut [Counter], tokens: u64, at: Timestamp) -> Result<(), Refusal> {
    let mut charges = [Charge::new(0, 1), Charge::new(1, tokens)];
    admit(counters, &mut charges, Reach::Alone, at).map(drop)
}

fn later(at: Timestamp, micros: u64) -> Timestamp {
    at.plus_micros(i64::try_from(micros).expect("small"))
}

#[test]
fn what_was_reserved_is_settled_against_what_was_used() {
    let used_after = |actual| {
        let mut counter = counter(Measure::Tokens, 1_000, Share::NONE);
        let slot = counter.charge(100, now());
        counter.settle(slot, 100, actual);
        counter.used(now())
    };
    assert_eq!(used_after(40), (40, 0));
    assert_eq!(used_after(140), (140, 0));
    assert_eq!(used_after(100), (100, 0));
}

#[test]
fn the_estimate_is_the_prompt_and_what_the_answer_may_be() {
    let bound = |most, choices| AnswerBound { most, choices };
    let of = |bytes, most| Estimate::of_text(bytes, bound(most, 1), 1_024);
    let tokens = |bytes, most| of(bytes, most).tokens();
    assert_eq!(tokens(400, Some(7)), 107);
    assert_eq!(tokens(401, Some(1_000_000)), 101 + 1_024);
    assert_eq!(tokens(0, None), 1_024);
    assert_eq!(Estimate::of_input(401).tokens(), 101);
    let price = Price {
        input: NanoUsd::new(2_000_000_000),
        output: NanoUsd::new(4_000_000_000),
        cached_input: Some(NanoUsd::ZERO),
    };
    let spend = |estimate: Estimate| estimate.spend(Some(price));
    let cost = |output: u64| 100 * 2_000 + output * 4_000;
    // Of a budget that is large enough for all.
    let of_all = |spend: Spend| {
        let of = |measure| spend.of(measure, 1_000_000_000_000);
        (of(Measure::Tokens), of(Measure::Cost))
    };
    assert_eq!(of_all(spend(of(400, Some(7)))), (107, cost(7)));
    assert_eq!(of_all(of(400, Some(7)).spend(None)), (107, 0));
    // A budget reserves what the caller bounds, however much that is; where nothing is bounded, what is usual.
    let long = of(400, Some(100_000));
    assert_eq!(long.tokens(), 1_124);
    assert_eq!(of_all(spend(long)), (100_100, cost(100_000)));
    assert_eq!(of_all(spend(of(400, None))), (1_124, cost(1_024)));
    // Each of several answers.
    let several = Estimate::of_text(400, bound(Some(2_000), 3), 1_024);
    assert_eq!((several.tokens(), of_all(spend(several)).0), (3_172, 6_100));
    let either = spend(of(400, Some(7))).or(of(4_000, Some(5)).spend(None));
    assert_eq!(of_all(either), (1_005, cost(7)));
}

#[test]
fn a_guess_reserves_a_budget_at_most_and_what_the_caller_allows_may_be_more_than_it_has() {
    let of = |most| Estimate::of_text(0, AnswerBound { most, choices: 1 }, 1_024).spend(None);
    let (guess, bounded) = (of(None), of(Some(2_000)));
    assert_eq!(guess.of(Measure::Tokens, 500), 500);
    assert_eq!(bounded.of(Measure::Tokens, 500), 501, "it does not fit");
    assert_eq!(bounded.of(Measure::Tokens, 2_000), 2_000);
    // Of two targets, of which one is bounded.
    assert_eq!(bounded.or(guess).of(Measure::Tokens, 500), 501);
    assert_eq!(of(Some(u64::MAX)).of(Measure::Tokens, 500), 501);
    assert_eq!(guess.of(Measure::Requests, 500), 1);
}

#[test]
fn the_limit_that_refuses_longest_is_named() {
    let mut counters = [
        counter(Measure::Requests, 3, Share::NONE),
        counter(Measure::Tokens, 1_000, Share::NONE),
    ];
    for _ in 0..3 {
        ask(&mut counters, 10, now()).expect("admitted");
    }
    let at = later(now(), 20 * SECOND);
    let refused = ask(&mut counters, 980, at).expect_err("three requests a minute");
    // Both refuse until the first slot has left the window.
    assert_eq!(refused.retry_after_us, Some(40 * SECOND));
    let at = later(now(), 60 * SECOND);
    ask(&mut counters, 980, at).expect("admitted");
    let refused = ask(&mut counters, 980, later(at, SECOND)).expect_err("1,000 tokens a minute");
    assert_eq!(refused.counter.measure, Measure::Tokens);
    assert_eq!(refused.retry_after_us, Some(59 * SECOND));
}

/// A gateway alone, driven through time: what it admits within any window never exceeds the limit.
fn admitted_within_windows(most: u64, asks: &[(u64, u64)]) -> Result<(), TestCaseError> {
    let mut counters = [
        counter(Measure::Requests, most, Share::NONE),
        counter(Measure::Tokens, most * 50, Share::NONE),
    ];
    let mut at = now();
    let mut admitted = Vec::new();
    for (wait_us, tokens) in asks {
        at = later(at, *wait_us);
        let (tokens, slot) = ((*tokens).min(most * 50), Period::SlidingMinute.slot_at(at));
        match ask(&mut counters, tokens, at) {
            Ok(()) => admitted.push((slot, tokens)),
            Err(refusal) => {
                let wait = refusal.retry_after_us.expect("it will fit at some time");
                prop_assert!(wait <= 60 * SECOND);
                let then = later(at, wait);
                prop_assert!(ask(&mut counters.clone(), tokens, then).is_ok());
                let just_before = then.plus_micros(-1);
                prop_assert!(ask(&mut counters.clone(), tokens, just_before).is_err());
            }
        }
        let counts = |of| Period::SlidingMinute.counts_at(of, slot);
        let recent = || admitted.iter().filter(|(of, _)| counts(*of));
        prop_assert!(recent().count() as u64 <= most);
        prop_assert!(recent().map(|(_, tokens)| tokens).sum::<u64>() <= most * 50);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_gateway_alone_never_passes_the_limit_and_its_retry_times_are_exact(
        most in 1u64..20,
        asks in proptest::collection::vec((0u64..8_000_000, 1u64..200), 1..200),
    ) {
        admitted_within_windows(most, &asks)?;
    }

    #[test]
    fn a_share_is_never_more_than_its_part(parts in 0u64..=(1 << 32), amount: u64) {
        let share = Share::of_2_32(parts).of(amount);
        prop_assert!(share <= amount);
        prop_assert!(u128::from(share) << 32 <= u128::from(amount) * u128::from(parts));
    }
}

//! What limits admit.

use gateway_policy::{
    Admission, Ask, Limit, Measure, Refusal, Settlement, Share, Slot, SlotNumber, Standing, Used,
    Window, admit, limits::estimate_tokens, settle,
};
use proptest::prelude::*;

use crate::memory::{NOW, now};

const SECOND: u64 = 1_000_000;
const ASK: Ask = Ask { tokens: 100 };

fn requests(most: u64) -> Limit {
    Limit {
        measure: Measure::Requests,
        most,
        share: Share::WHOLE,
    }
}

fn tokens(most: u64) -> Limit {
    Limit {
        measure: Measure::Tokens,
        most,
        share: Share::WHOLE,
    }
}

/// Used by this gateway, `(slots ago, amount)`; `NOW` is at the very beginning of a slot.
fn own(amounts: &[(u64, u64)]) -> Used {
    Used {
        own: window(amounts),
        elsewhere: Window::default(),
    }
}

fn window(amounts: &[(u64, u64)]) -> Window {
    let newest = SlotNumber::at(now());
    let mut window = Window::default();
    for (ago, amount) in amounts {
        window.add(SlotNumber(newest.0 - ago), *amount);
    }
    window
}

fn check(limits: &[Limit], used: &[Used], refused: Option<(usize, Option<u64>)>) {
    let expected = match refused {
        None => Admission::Admitted,
        Some((limit, retry_after_us)) => Admission::Refused(Refusal {
            limit,
            retry_after_us,
        }),
    };
    assert_eq!(admit(limits, used, ASK, now()), expected);
}

#[test]
fn now_is_the_beginning_of_a_slot() {
    assert_eq!(NOW % 10_000_000, 0);
}

#[test]
fn without_limits_everything_is_admitted() {
    check(&[], &[], None);
}

#[test]
fn the_last_request_that_fits_is_admitted_and_the_next_is_not() {
    check(&[requests(3)], &[own(&[(0, 2)])], None);
    check(
        &[requests(3)],
        &[own(&[(0, 3)])],
        Some((0, Some(60 * SECOND))),
    );
    check(&[requests(0)], &[own(&[])], Some((0, None)));
}

#[test]
fn what_was_used_a_minute_ago_no_longer_counts() {
    check(&[requests(3)], &[own(&[(6, 3)])], None);
    check(
        &[requests(3)],
        &[own(&[(5, 3)])],
        Some((0, Some(10 * SECOND))),
    );
}

#[test]
fn a_refusal_says_when_enough_will_have_left_the_window() {
    check(
        &[tokens(1_000)],
        &[own(&[(5, 50), (3, 60), (0, 890)])],
        Some((0, Some(30 * SECOND))),
    );
}

#[test]
fn the_limit_that_refuses_longest_is_named() {
    check(
        &[requests(3), tokens(1_000)],
        &[own(&[(5, 3)]), own(&[(4, 950)])],
        Some((1, Some(20 * SECOND))),
    );
    check(
        &[requests(3), tokens(1_000)],
        &[own(&[(5, 3)]), own(&[(4, 900)])],
        Some((0, Some(10 * SECOND))),
    );
}

#[test]
fn an_estimate_larger_than_the_limit_waits_for_an_empty_window_but_is_not_impossible() {
    check(&[tokens(60)], &[own(&[])], None);
    check(
        &[tokens(60)],
        &[own(&[(0, 1)])],
        Some((0, Some(60 * SECOND))),
    );
    check(&[tokens(0)], &[own(&[])], Some((0, None)));
}

#[test]
fn a_gateway_admits_its_share_of_what_the_others_left() {
    let half = Limit {
        share: Share::of_2_32(1 << 31),
        ..requests(100)
    };
    let used = |own: u64| Used {
        own: window(&[(0, own)]),
        elsewhere: window(&[(1, 40)]),
    };
    check(&[half], &[used(29)], None);
    check(&[half], &[used(30)], Some((0, Some(50 * SECOND))));
}

#[test]
fn one_request_is_admitted_where_the_share_is_too_small_for_any() {
    let sliver = Limit {
        share: Share::of_2_32(1),
        ..requests(100)
    };
    let used = |own: u64, elsewhere: u64| Used {
        own: window(&[(0, own)]),
        elsewhere: window(&[(0, elsewhere)]),
    };
    check(&[sliver], &[used(0, 99)], None);
    check(&[sliver], &[used(1, 98)], Some((0, Some(60 * SECOND))));
    check(&[sliver], &[used(0, 100)], Some((0, Some(60 * SECOND))));
}

#[test]
fn the_standing_says_what_is_left_and_when_all_is_free() {
    let used = own(&[(5, 1), (2, 2), (6, 9)]);
    assert_eq!(
        requests(10).standing(&used, now()),
        Standing {
            most: 10,
            remaining: 7,
            reset_us: 40 * SECOND
        }
    );
    let unused = Standing {
        most: 10,
        remaining: 10,
        reset_us: 0,
    };
    assert_eq!(requests(10).standing(&own(&[]), now()), unused);
    assert_eq!(requests(10).standing(&own(&[(6, 9)]), now()), unused);
    assert_eq!(requests(10).standing(&own(&[(0, 99)]), now()).remaining, 0);
}

#[test]
fn what_was_reserved_is_settled_against_what_was_used() {
    assert_eq!(settle(100, 40), Settlement::Refund(60));
    assert_eq!(settle(100, 140), Settlement::Debt(40));
    assert_eq!(settle(100, 100), Settlement::Exact);
}

#[test]
fn the_estimate_is_the_prompt_and_what_the_answer_may_be() {
    assert_eq!(estimate_tokens(400, Some(7)), 107);
    assert_eq!(estimate_tokens(401, Some(1_000_000)), 101 + 1_024);
    assert_eq!(estimate_tokens(0, None), 1_024);
}

#[test]
fn a_clock_that_steps_back_does_not_forget() {
    let mut slots = [Slot::default(); 6];
    slots[0] = Slot {
        number: SlotNumber::at(now()),
        count: 3,
    };
    let earlier = now().plus_micros(-25_000_000);
    assert_eq!(Window::new(slots).total(SlotNumber::at(earlier)), 3);
}

/// A gateway alone, driven through time: what it admits within any window never exceeds the limit.
fn admitted_within_windows(most: u64, asks: &[(u64, u64)]) -> Result<(), TestCaseError> {
    let limits = [requests(most), tokens(most * 50)];
    let mut used = [Used::default(), Used::default()];
    let mut at = now();
    let mut admitted: Vec<(SlotNumber, u64)> = Vec::new();
    for (wait_us, tokens) in asks {
        at = at.plus_micros(i64::try_from(*wait_us).expect("small"));
        let ask = Ask { tokens: *tokens };
        let slot = SlotNumber::at(at);
        match admit(&limits, &used, ask, at) {
            Admission::Admitted => {
                limits
                    .iter()
                    .zip(&mut used)
                    .for_each(|(limit, used)| used.own.add(slot, limit.cost(ask)));
                admitted.push((slot, limits[1].cost(ask)));
            }
            Admission::Refused(refusal) => {
                let wait = refusal.retry_after_us.expect("it will fit at some time");
                let then = at.plus_micros(i64::try_from(wait).expect("at most a minute"));
                prop_assert!(wait <= 60 * SECOND);
                prop_assert_eq!(admit(&limits, &used, ask, then), Admission::Admitted);
                let just_before = then.plus_micros(-1);
                prop_assert!(matches!(
                    admit(&limits, &used, ask, just_before),
                    Admission::Refused(_)
                ));
            }
        }
        let recent = || admitted.iter().filter(|(at, _)| at.counts_at(slot));
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
    fn a_burst_at_all_gateways_at_once_admits_no_more_than_the_limit_and_one_each(
        most in 1u64..500,
        gateways in 1u64..20,
        burst in 1usize..200,
    ) {
        let limit = Limit { share: Share::of_2_32((1 << 32) / gateways), ..requests(most) };
        let mut total = 0;
        for _ in 0..gateways {
            let mut used = Used::default();
            for _ in 0..burst {
                if admit(&[limit], &[used], ASK, now()) == Admission::Admitted {
                    used.own.add(SlotNumber::at(now()), 1);
                    total += 1;
                }
            }
        }
        prop_assert!(total <= most + gateways);
    }

    #[test]
    fn a_share_is_never_more_than_its_part(parts in 0u64..=(1 << 32), amount: u64) {
        let share = Share::of_2_32(parts).of(amount);
        prop_assert!(share <= amount);
        prop_assert!(u128::from(share) << 32 <= u128::from(amount) * u128::from(parts));
    }
}

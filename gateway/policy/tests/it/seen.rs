//! What a record says of a limit or a budget decides the same again, however it stands.

use events_schema::{
    events::LimitMode,
    id::{Id, KeyId},
    time::Timestamp,
    usage::{CounterSeen, Instead, LimitMeasure, LimitOf, LimitPeriod, LimitSeen},
};
use gateway_policy::{
    SlotNumber,
    limits::{
        counter::{Counter, CutOff, Mode, Reach, Seen, Terms, WhenCutOff},
        lease::{BudgetId, Lease, LeaseRow, Leases, Lender, Stands, Wallet},
        message::{Amounts, BroadcastRow, BroadcastSlot, Incarnation, Steady},
        period::Period,
        seen::lets_through,
        share::Share,
    },
};
use proptest::{collection::vec, prelude::*};

use crate::counters::{id, time};

fn noon() -> Timestamp {
    time("2026-11-22T12:00:00Z")
}

/// What happens at a gateway.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Charge(u64),
    SettleOne,
    /// All that it charged is known, and so much of others; `None`: all that is left.
    Told {
        others: Option<u64>,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..4_u64).prop_map(Happens::Charge),
        2 => Just(Happens::SettleOne),
        1 => (0..12_u64).prop_map(|others| Happens::Told { others: Some(others) }),
        1 => Just(Happens::Told { others: None }),
    ]
}

fn reach() -> impl Strategy<Value = Reach> {
    let together = (0..4_u32, prop_oneof![Just(0), 1..10_000_u64]);
    prop_oneof![
        1 => Just(Reach::Alone),
        6 => together.prop_map(|(halvings, silent_us)| Reach::Together { halvings, silent_us }),
        1 => Just(Reach::Left),
    ]
}

fn cut_off() -> impl Strategy<Value = Option<CutOff>> {
    let then = prop_oneof![
        Just(WhenCutOff::Open),
        Just(WhenCutOff::Alone),
        Just(WhenCutOff::Closed)
    ];
    proptest::option::of(then.prop_map(|then| CutOff {
        after_us: 5_000,
        then,
    }))
}

fn told(counter: &mut Counter, others: Option<u64>) {
    counter.give_back();
    let own = counter.report().slots.first().map(|it| it.own);
    let own = own.unwrap_or_default();
    let left = counter.terms().most.saturating_sub(own.net());
    let row = BroadcastRow {
        counter: counter.id(),
        most: counter.terms().most,
        share: None,
        slots: vec![BroadcastSlot {
            number: counter.id().period.slot_at(noon()),
            total: own.net() + others.unwrap_or(left),
            included: Amounts {
                charged: own.charged,
                returned: own.returned,
            },
        }],
    };
    counter.hear(&row, 1, false);
}

/// As a gateway writes it down.
fn written(counter: &mut Counter, cost: u64, reach: Reach) -> LimitSeen {
    let Seen {
        counter: stood,
        instead,
        fits,
    } = counter.sees(cost, reach, noon());
    LimitSeen {
        of: LimitOf::Key(Id::from_bytes([1; 16])),
        segment: KeyId::from_bytes([0; 16]).uuid(),
        measure: LimitMeasure::Requests,
        period: match counter.id().period {
            Period::AtATime => LimitPeriod::AtATime,
            _ => LimitPeriod::Minute,
        },
        most: counter.terms().most,
        cost,
        counter: stood,
        exceeded: !fits,
        mode: Some(LimitMode::Enforce),
        instead,
    }
}

proptest! {
    #[test]
    fn of_a_limit(
        (at_a_time, most, share) in (any::<bool>(), 0..20_u64, 0..=1_u64 << 32),
        (cut_off, reach) in (cut_off(), reach()),
        (ops, costs) in (vec(happens(), 0..20), vec(0..5_u64, 1..4)),
    ) {
        let period = if at_a_time { Period::AtATime } else { Period::SlidingMinute };
        let terms = Terms { most, mode: Mode::Enforce, cut_off };
        let mut counter = Counter::new(id(period), terms, Share::of_2_32(share));
        let mut charged = Vec::new();
        for it in ops {
            match it {
                Happens::Charge(cost) => charged.push((counter.charge(cost, noon()), cost)),
                Happens::SettleOne => if let Some((slot, cost)) = charged.pop() {
                    counter.settle(slot, cost, if at_a_time { 0 } else { cost / 2 });
                },
                Happens::Told { others } => told(&mut counter, others),
            }
        }
        for cost in costs {
            let admits = counter.admits(cost, reach, noon());
            let seen = written(&mut counter, cost, reach);
            prop_assert_eq!(seen.exceeded, !admits);
            prop_assert_eq!(lets_through(&seen), admits, "{:?}", seen);
        }
    }

    #[test]
    fn of_a_budget(
        (most, ceiling, others) in (0..100_u64, 0..100_u64, 0..100_u64),
        (before, after, returned) in (0..60_u64, 0..60_u64, 0..60_u64),
        cost in 0..100_u64,
    ) {
        let budget = BudgetId { counter: id(Period::Month), slot: SlotNumber(683) };
        let mut wallet = Wallet::new(Incarnation([1; 16]));
        let place = wallet.place(budget, most, Steady(0));
        wallet.change(place).take(before);
        let number = wallet.report(Steady(1)).number;
        wallet.hear(&Leases {
            to: Incarnation([1; 16]),
            includes: number,
            sent_at: Steady(1),
            rows: vec![LeaseRow {
                budget,
                lease: Lease { version: 1, ceiling },
                committed: others.saturating_add(ceiling),
                spent: others,
                is_decided: true,
            }],
        });
        wallet.change(place).take(after);
        // Also where less is taken in the end than was known.
        wallet.change(place).settle(returned, 0);
        let purse = *wallet.look()[place].purse();
        let seen = |mode, included| LimitSeen {
            of: LimitOf::BudgetPolicy(Id::from_bytes([1; 16])),
            segment: KeyId::from_bytes([0; 16]).uuid(),
            measure: LimitMeasure::Cost,
            period: LimitPeriod::Month,
            most,
            cost,
            counter: CounterSeen::Leased {
                ceiling,
                taken: purse.said().taken(),
                committed: purse.committed(),
                cut_off: false,
                included,
            },
            exceeded: false,
            mode,
            instead: None,
        };
        let suffices = purse.stands(cost, most, Lender::Heard, Steady(2)) == Stands::Suffices;
        let enforced = seen(Some(LimitMode::Enforce), None);
        prop_assert_eq!(lets_through(&enforced), suffices, "{:?}", enforced);
        let audited = seen(Some(LimitMode::Audit), Some(purse.included()));
        prop_assert_eq!(lets_through(&audited), !purse.exceeds(cost, most), "{:?}", audited);
        prop_assert!(lets_through(&seen(None, None)), "it only counts");
        let ended = LimitSeen { instead: Some(Instead::Ended), ..enforced };
        prop_assert!(!lets_through(&ended));
    }
}

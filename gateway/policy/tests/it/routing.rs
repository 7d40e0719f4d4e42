//! Strategies, health, sessions, metadata and retries: what a virtual model with a routing entry does.

use std::collections::BTreeMap;

use events_schema::{
    snapshot::{
        entries::Entry,
        routing::{RetryEntry, RoutedTargetEntry, RoutingEntry, StrategyEntry},
    },
    usage::{Circuit, Endpoint, Health, RetryWish},
};
use gateway_policy::{
    Asking, Denial, Ended, EntryId, Plan, Progress, RoutedTarget, health::relevant, plan, resolve,
};
use proptest::prelude::*;

use crate::{
    memory::{ACCOUNT, BIG, CHAT, Memory, SMALL, id, model, organisation},
    plan::models,
};

/// A third model for chat.
const THIRD: EntryId = id(14);

fn target(model: EntryId) -> RoutedTargetEntry {
    RoutedTargetEntry {
        model,
        weight: 1,
        priority: 0,
        fallback_status_codes: vec![429, 503],
        fallback_candidate: true,
        retry: None,
        cutoff_first_token_ms: None,
        cutoff_per_token_ms: None,
        override_params: Vec::new(),
        headers_set: Vec::new(),
        headers_remove: Vec::new(),
        metadata_match: Vec::new(),
    }
}

fn with_priority(model: EntryId, priority: u32) -> RoutedTargetEntry {
    RoutedTargetEntry {
        priority,
        ..target(model)
    }
}

fn routed(strategy: StrategyEntry, targets: Vec<RoutedTargetEntry>) -> Memory {
    let mut entries = organisation();
    entries.push(Entry::Model(model(THIRD, ACCOUNT, "third")));
    entries.push(Entry::Routing(RoutingEntry {
        virtual_model: CHAT,
        strategy,
        targets,
        sticky: None,
        deadline_ms: None,
        hedge_after_ms: None,
    }));
    Memory::with(entries)
}

/// What a request says, and how targets fare.
#[derive(Default)]
struct Given {
    seed: u64,
    bound: Option<EntryId>,
    metadata: BTreeMap<String, String>,
    health: Vec<(EntryId, Health)>,
}

impl Given {
    fn planned<'c>(&self, config: &'c Memory) -> Result<Plan<'c>, Denial> {
        self.planned_with(config, |_, health| health)
    }

    fn planned_with<'c>(
        &self,
        config: &'c Memory,
        seen: impl Fn(RoutedTarget<'_>, Health) -> Health,
    ) -> Result<Plan<'c>, Denial> {
        let asking = Asking {
            endpoint: Endpoint::ChatCompletions,
            metadata: &self.metadata,
            seed: self.seed,
            bound: self.bound,
        };
        let resolved = resolve(config, "chat").expect("it is there");
        plan(config, resolved, &asking, |target| {
            let known = self
                .health
                .iter()
                .find(|(model, _)| model == target.model());
            seen(target, known.map(|(_, health)| *health).unwrap_or_default())
        })
    }
}

fn check(config: &Memory, given: &Given, expected: &[EntryId]) {
    let plan = given.planned(config).expect("it can be planned");
    assert_eq!(models(config, plan), expected);
}

fn given(health: &[(EntryId, Health)]) -> Given {
    Given {
        health: health.to_vec(),
        ..Given::default()
    }
}

fn fast(per_token_us: u64) -> Health {
    Health {
        calls: 3,
        per_token_us: Some(per_token_us),
        ..Health::default()
    }
}

const OPEN: Health = Health {
    circuit: Circuit::Open,
    calls: 0,
    per_token_us: None,
    recent_first_token_us: None,
    recent_per_token_us: None,
};

#[test]
fn the_highest_priority_goes_first_and_the_others_follow_in_their_order() {
    let config = routed(
        StrategyEntry::Priority,
        vec![
            with_priority(BIG, 2),
            with_priority(SMALL, 0),
            with_priority(THIRD, 1),
        ],
    );
    for seed in [0, u64::MAX] {
        let given = Given {
            seed,
            ..Given::default()
        };
        check(&config, &given, &[SMALL, THIRD, BIG]);
    }
}

#[test]
fn a_target_whose_circuit_is_open_goes_last_and_is_tried_all_the_same() {
    let by_priority = routed(
        StrategyEntry::Priority,
        vec![with_priority(BIG, 0), with_priority(SMALL, 1)],
    );
    check(&by_priority, &given(&[(BIG, OPEN)]), &[SMALL, BIG]);
    check(
        &by_priority,
        &given(&[(BIG, OPEN), (SMALL, OPEN)]),
        &[BIG, SMALL],
    );
    let probe = Health {
        circuit: Circuit::Probe,
        ..OPEN
    };
    check(&by_priority, &given(&[(BIG, probe)]), &[BIG, SMALL]);
    let by_weight = routed(StrategyEntry::Weight, vec![target(BIG), target(SMALL)]);
    for seed in [0, u64::MAX] {
        let given = Given {
            seed,
            ..given(&[(BIG, OPEN)])
        };
        check(&by_weight, &given, &[SMALL, BIG]);
    }
}

#[test]
fn one_that_nobody_may_fall_back_to_does_not_stand_in_for_one_that_is_open() {
    let alone = RoutedTargetEntry {
        fallback_candidate: false,
        ..with_priority(SMALL, 1)
    };
    let config = routed(StrategyEntry::Priority, vec![with_priority(BIG, 0), alone]);
    check(&config, &given(&[(BIG, OPEN)]), &[BIG]);
}

#[test]
fn a_target_above_its_cutoff_is_left_for_one_that_is_not() {
    let cut = RoutedTargetEntry {
        cutoff_first_token_ms: Some(800),
        cutoff_per_token_ms: Some(50),
        ..with_priority(BIG, 0)
    };
    let config = routed(StrategyEntry::Priority, vec![cut, with_priority(SMALL, 1)]);
    let check_means = |first: u64, each: u64, expected: &[EntryId]| {
        let health = Health {
            recent_first_token_us: Some(first),
            recent_per_token_us: Some(each),
            ..Health::default()
        };
        // The other one has no cutoff: it may be as slow as it likes.
        check(&config, &given(&[(BIG, health), (SMALL, health)]), expected);
    };
    check_means(800_000, 50_000, &[BIG, SMALL]);
    check_means(800_001, 1, &[SMALL, BIG]);
    check_means(1, 50_001, &[SMALL, BIG]);
}

#[test]
fn targets_within_a_fifth_of_the_fastest_are_equal_and_unknown_ones_are_tried() {
    let targets = vec![target(BIG), target(SMALL), target(THIRD)];
    let config = routed(StrategyEntry::Latency, targets);
    let first_of = |health: &[(EntryId, Health)]| {
        let first = |seed| {
            let given = Given {
                seed,
                ..given(health)
            };
            models(&config, given.planned(&config).expect("planned"))[0]
        };
        [first(0), first(u64::MAX)]
    };
    assert_eq!(
        first_of(&[(BIG, fast(100)), (SMALL, fast(120)), (THIRD, fast(121))]),
        [BIG, SMALL]
    );
    assert_eq!(
        first_of(&[(BIG, fast(900)), (SMALL, fast(100)), (THIRD, fast(500))]),
        [SMALL, SMALL]
    );
    let twice = Health {
        calls: 2,
        ..fast(900)
    };
    assert_eq!(
        first_of(&[(BIG, fast(100)), (SMALL, twice), (THIRD, fast(500))]),
        [BIG, SMALL]
    );
    check(
        &config,
        &given(&[(BIG, fast(900)), (SMALL, fast(100)), (THIRD, fast(500))]),
        &[SMALL, THIRD, BIG],
    );
}

#[test]
fn a_session_stays_with_its_target_unless_its_circuit_is_open() {
    let config = routed(
        StrategyEntry::Priority,
        vec![with_priority(BIG, 0), with_priority(SMALL, 1)],
    );
    let bound = |health: &[(EntryId, Health)]| Given {
        bound: Some(SMALL),
        ..given(health)
    };
    check(&config, &bound(&[]), &[SMALL, BIG]);
    check(&config, &bound(&[(SMALL, OPEN)]), &[BIG, SMALL]);
    let gone = Given {
        bound: Some(id(99)),
        ..Given::default()
    };
    check(&config, &gone, &[BIG, SMALL]);
}

#[test]
fn a_target_takes_only_requests_with_its_metadata() {
    let gold = RoutedTargetEntry {
        metadata_match: vec![
            ("tier".into(), "gold".into()),
            ("region".into(), "eu".into()),
        ],
        ..target(BIG)
    };
    let config = routed(
        StrategyEntry::Priority,
        vec![gold.clone(), with_priority(SMALL, 1)],
    );
    let with = |pairs: &[(&str, &str)]| Given {
        metadata: pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Given::default()
    };
    check(
        &config,
        &with(&[("region", "eu"), ("tier", "gold"), ("x", "y")]),
        &[BIG, SMALL],
    );
    check(&config, &with(&[("tier", "gold")]), &[SMALL]);
    check(
        &config,
        &with(&[("region", "us"), ("tier", "gold")]),
        &[SMALL],
    );
    let only = routed(StrategyEntry::Priority, vec![gold]);
    assert_eq!(with(&[]).planned(&only).err(), Some(Denial::NoTarget));
}

#[test]
fn a_target_is_tried_again_as_often_as_its_rule_or_the_caller_says_before_another_is() {
    let again = RoutedTargetEntry {
        retry: Some(RetryEntry {
            attempts: 2,
            delay_ms: 250,
            on_status_codes: vec![500],
        }),
        ..with_priority(BIG, 0)
    };
    let config = routed(
        StrategyEntry::Priority,
        vec![again, with_priority(SMALL, 1)],
    );
    let plan = Given::default().planned(&config).expect("planned");
    // Each attempt ends so: the delays before those that follow, and what they try.
    let follows = |ended: Ended, wish: Option<&RetryWish>| {
        let (mut progress, mut followed) = (Progress::default(), Vec::new());
        while let Some(next) = plan.next(progress, ended, wish) {
            progress = next.progress;
            let step = plan.step(&config, progress).expect("planned");
            followed.push((next.delay_ms, step.target.model.id));
        }
        followed
    };
    assert_eq!(follows(Ended::Status(500), None), [(250, BIG), (250, BIG)]);
    assert_eq!(follows(Ended::Status(503), None), [(0, SMALL)]);
    assert_eq!(
        follows(Ended::Unanswered, None),
        [(250, BIG), (250, BIG), (0, SMALL)]
    );
    assert_eq!(follows(Ended::NotMade, None), [(0, SMALL)]);
    assert_eq!(follows(Ended::Status(400), None), []);
    let once = RetryWish {
        attempts: 1,
        on_status_codes: vec![503],
    };
    assert_eq!(
        follows(Ended::Status(503), Some(&once)),
        [(250, BIG), (0, SMALL), (100, SMALL)]
    );
    let never = RetryWish {
        attempts: 0,
        on_status_codes: vec![500],
    };
    assert_eq!(follows(Ended::Status(500), Some(&never)), []);
}

fn any_health() -> impl Strategy<Value = Health> {
    let circuit = prop_oneof![
        4 => Just(Circuit::Closed), 1 => Just(Circuit::Open), 1 => Just(Circuit::Probe)
    ];
    let mean = || prop::option::of(0_u64..200);
    (circuit, 0_u32..5, mean(), mean(), mean()).prop_map(
        |(circuit, calls, per_token_us, recent_first_token_us, recent_per_token_us)| Health {
            circuit,
            calls,
            per_token_us,
            recent_first_token_us,
            recent_per_token_us,
        },
    )
}

fn any_target() -> impl Strategy<Value = RoutedTargetEntry> {
    let model = prop::sample::select(vec![BIG, SMALL, THIRD, id(99)]);
    let cutoff = || prop::option::of(0_u32..2);
    (model, 0_u32..3, 0_u32..3, any::<bool>(), cutoff(), cutoff()).prop_map(
        |(model, weight, priority, fallback_candidate, first, each)| RoutedTargetEntry {
            weight,
            priority,
            fallback_candidate,
            cutoff_first_token_ms: first,
            cutoff_per_token_ms: each,
            ..target(model)
        },
    )
}

proptest! {
    /// What the record keeps is enough: with it, the same plan comes out again.
    #[test]
    fn a_plan_follows_from_what_is_recorded(
        strategy in prop::sample::select(vec![
            StrategyEntry::Weight, StrategyEntry::Latency, StrategyEntry::Priority,
        ]),
        targets in prop::collection::vec(any_target(), 0..6),
        health in prop::collection::vec(any_health(), 3),
        seed: u64,
        bound in prop::option::of(prop::sample::select(vec![BIG, SMALL])),
    ) {
        let config = routed(strategy, targets.clone());
        let health = [BIG, SMALL, THIRD].into_iter().zip(health).collect();
        let given = Given { seed, bound, health, ..Given::default() };
        let order = |planned: Result<Plan<'_>, Denial>| planned.map(|plan| match plan {
            Plan::Routed { order, .. } => order.indices().collect::<Vec<_>>(),
            Plan::Direct(_) => Vec::new(),
        });
        let planned = order(given.planned(&config));
        let again = order(given.planned_with(&config, |target, health| {
            relevant(strategy, target, health)
        }));
        prop_assert_eq!(&planned, &again);
        let usable: Vec<usize> = (0..targets.len()).filter(|at| targets[*at].model != id(99)).collect();
        let Ok(order) = planned else {
            prop_assert!(usable.is_empty());
            return Ok(());
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), order.len());
        prop_assert!(order.iter().all(|at| usable.contains(at)));
        let others = order.iter().skip(1);
        prop_assert!(others.clone().all(|at| targets[*at].fallback_candidate));
        let candidates = usable.iter().filter(|at| targets[**at].fallback_candidate && **at != order[0]);
        prop_assert_eq!(others.count(), candidates.count());
    }
}

//! Which targets are tried, in which order.

use std::collections::BTreeMap;

use events_schema::{
    money::{NanoUsd, Price},
    snapshot::entries::{
        CompletionModelEntry, Entry, PriceEntry, ProviderDialect, TargetEntry, VirtualModelEntry,
    },
    usage::{Endpoint, Health},
};
use gateway_policy::{
    Asking, Configuration, Denial, Ended, EntryId, Plan, Progress, Resolved, plan, price_at,
    resolve,
};
use proptest::prelude::*;

use crate::memory::{
    ACCOUNT, BIG, CHAT, EMBED, Memory, NOW, OTHER_ACCOUNT, SMALL, changed, id, now, organisation,
    target, virtual_model,
};

const FIRST: u64 = 0;
const LAST: u64 = u64::MAX;

fn order(
    config: &Memory,
    name: &str,
    endpoint: Endpoint,
    seed: u64,
) -> Result<Vec<EntryId>, Denial> {
    Ok(models(config, planned(config, name, endpoint, seed)?))
}

/// The plan while nothing is known of any target.
fn planned<'c>(
    config: &'c Memory,
    name: &str,
    endpoint: Endpoint,
    seed: u64,
) -> Result<Plan<'c>, Denial> {
    let asking = Asking {
        endpoint,
        metadata: &BTreeMap::new(),
        seed,
        bound: None,
    };
    plan(config, resolve(config, name)?, &asking, |_| {
        Health::default()
    })
}

/// The models that a plan tries when none of them can be reached.
pub(crate) fn models(config: &Memory, plan: Plan<'_>) -> Vec<EntryId> {
    let mut tried = Vec::new();
    let mut progress = Some(Progress::default());
    while let Some(now) = progress {
        let step = plan
            .step(config, now)
            .expect("planned with this configuration");
        tried.push(step.target.model.id);
        progress = plan
            .next(now, Ended::Unanswered, None)
            .map(|next| next.progress);
    }
    tried
}

fn check(
    config: &Memory,
    (name, endpoint, seed): (&str, Endpoint, u64),
    expected: Result<&[EntryId], Denial>,
) {
    assert_eq!(
        order(config, name, endpoint, seed),
        expected.map(<[_]>::to_vec),
        "{name}"
    );
}

fn routed(targets: Vec<TargetEntry>) -> Memory {
    let mut entries = organisation();
    entries.retain(|it| !matches!(it, Entry::VirtualModel(_)));
    entries.push(Entry::VirtualModel(virtual_model(targets)));
    Memory::with(entries)
}

#[test]
fn the_seed_chooses_the_first_and_the_others_follow() {
    let config = Memory::with(organisation());
    check(
        &config,
        ("chat", Endpoint::ChatCompletions, FIRST),
        Ok(&[BIG, SMALL]),
    );
    check(
        &config,
        ("chat", Endpoint::ChatCompletions, LAST),
        Ok(&[SMALL, BIG]),
    );
}

#[test]
fn a_model_asked_for_directly_is_the_only_attempt() {
    let config = Memory::with(organisation());
    check(
        &config,
        ("main/big", Endpoint::ChatCompletions, LAST),
        Ok(&[BIG]),
    );
    check(
        &config,
        ("main/embed", Endpoint::Embeddings, LAST),
        Ok(&[EMBED]),
    );
    check(
        &config,
        ("main/big", Endpoint::Embeddings, LAST),
        Err(Denial::WrongKind),
    );
    check(
        &config,
        ("main/embed", Endpoint::ChatCompletions, LAST),
        Err(Denial::WrongKind),
    );
}

#[test]
fn anthropics_own_api_goes_to_anthropics_accounts_alone() {
    let config = changed(|entry| {
        if let Entry::ProviderAccount(account) = entry
            && account.id == OTHER_ACCOUNT
        {
            account.provider = ProviderDialect::Anthropic;
        }
    });
    for endpoint in [Endpoint::Messages, Endpoint::CountTokens] {
        check(&config, ("chat", endpoint, FIRST), Ok(&[SMALL]));
        check(&config, ("other/org/small", endpoint, FIRST), Ok(&[SMALL]));
        check(
            &config,
            ("main/big", endpoint, FIRST),
            Err(Denial::NotAnthropic),
        );
        check(
            &config,
            ("main/embed", endpoint, FIRST),
            Err(Denial::WrongKind),
        );
        let nobody = Memory::with(organisation());
        check(
            &nobody,
            ("chat", endpoint, FIRST),
            Err(Denial::NotAnthropic),
        );
    }
    check(
        &config,
        ("chat", Endpoint::ChatCompletions, FIRST),
        Ok(&[BIG, SMALL]),
    );
}

#[test]
fn a_model_completes_texts_when_an_entry_says_so() {
    let completions = Endpoint::Completions;
    let mut entries = organisation();
    check(
        &Memory::with(entries.clone()),
        ("main/big", completions, FIRST),
        Err(Denial::WrongKind),
    );
    let entry = CompletionModelEntry { model: BIG };
    entries.push(Entry::CompletionModel(entry));
    let config = Memory::with(entries);
    check(&config, ("main/big", completions, FIRST), Ok(&[BIG]));
    check(&config, ("chat", completions, LAST), Ok(&[BIG]));
}

#[test]
fn a_target_without_weight_is_only_fallen_back_to() {
    let config = routed(vec![target(BIG, 0), target(SMALL, 1)]);
    for seed in [FIRST, LAST] {
        check(
            &config,
            ("chat", Endpoint::ChatCompletions, seed),
            Ok(&[SMALL, BIG]),
        );
    }
    let config = routed(vec![target(BIG, 0), target(SMALL, 0)]);
    check(
        &config,
        ("chat", Endpoint::ChatCompletions, LAST),
        Ok(&[BIG, SMALL]),
    );
}

#[test]
fn a_target_that_is_no_candidate_is_never_fallen_back_to() {
    let config = routed(vec![
        target(BIG, 1),
        TargetEntry {
            fallback_candidate: false,
            ..target(SMALL, 1)
        },
    ]);
    check(
        &config,
        ("chat", Endpoint::ChatCompletions, FIRST),
        Ok(&[BIG]),
    );
    check(
        &config,
        ("chat", Endpoint::ChatCompletions, LAST),
        Ok(&[SMALL, BIG]),
    );
}

#[test]
fn targets_that_are_gone_disabled_or_of_another_kind_are_left_out() {
    check(
        &routed(vec![target(id(99), 9), target(EMBED, 9), target(SMALL, 1)]),
        CHAT_LAST,
        Ok(&[SMALL]),
    );
    check(
        &routed(vec![target(id(99), 9), target(EMBED, 9)]),
        CHAT_LAST,
        Err(Denial::NoTarget),
    );
    check(&routed(vec![]), CHAT_LAST, Err(Denial::NoTarget));
    let account_disabled = changed(|entry| {
        if let Entry::ProviderAccount(account) = entry {
            account.disabled = account.id == OTHER_ACCOUNT;
        }
    });
    check(&account_disabled, CHAT_LAST, Ok(&[BIG]));
    let model_disabled = changed(|entry| {
        if let Entry::Model(model) = entry {
            model.disabled = model.id == SMALL;
        }
    });
    check(&model_disabled, CHAT_LAST, Ok(&[BIG]));
}

const CHAT_LAST: (&str, Endpoint, u64) = ("chat", Endpoint::ChatCompletions, LAST);

#[test]
fn what_is_disabled_says_so() {
    let disabled = changed(|entry| match entry {
        Entry::ProviderAccount(account) => account.disabled = account.id == ACCOUNT,
        Entry::Model(model) => model.disabled = model.id == SMALL,
        Entry::VirtualModel(VirtualModelEntry { id, disabled, .. }) => *disabled = *id == CHAT,
        _ => {}
    });
    let chat = Endpoint::ChatCompletions;
    check(
        &disabled,
        ("main/big", chat, FIRST),
        Err(Denial::AccountDisabled),
    );
    check(
        &disabled,
        ("other/org/small", chat, FIRST),
        Err(Denial::ModelDisabled),
    );
    check(
        &disabled,
        ("chat", chat, FIRST),
        Err(Denial::VirtualModelDisabled),
    );
}

#[test]
fn only_the_statuses_that_a_target_names_lead_to_another() {
    let config = Memory::with(organisation());
    let falls_back = |name: &str, status: u16| {
        let plan =
            planned(&config, name, Endpoint::ChatCompletions, FIRST).expect("it can be planned");
        let next = plan.next(Progress::default(), Ended::Status(status), None);
        next.is_some()
    };
    assert!(falls_back("chat", 503));
    assert!(!falls_back("chat", 500));
    assert!(!falls_back("main/big", 503));
}

#[test]
fn the_price_is_the_latest_that_already_applies() {
    let at = |offset: i64, input: u64| PriceEntry {
        effective_at_us: NOW + offset,
        input,
        output: 0,
        cached_input: 0,
    };
    let config = changed(|entry| match entry {
        Entry::Model(model) if model.id == BIG => {
            model.prices = vec![at(-9, 1), at(0, 2), at(1, 3)]
        }
        Entry::Model(model) if model.id == SMALL => model.prices = vec![at(1, 3)],
        _ => {}
    });
    let price = |id: EntryId| price_at(config.model(&id).expect("it is there"), now());
    let free = Some(NanoUsd::ZERO);
    assert_eq!(
        price(BIG),
        Some(Price {
            input: NanoUsd::new(2),
            output: NanoUsd::ZERO,
            cached_input: free
        })
    );
    assert_eq!(price(SMALL), None);
}

proptest! {
    #[test]
    fn any_plan_tries_each_usable_target_at_most_once_and_is_the_same_again(
        weights in proptest::collection::vec((0u32..5, any::<bool>(), 0usize..4), 0..9),
        seed: u64,
    ) {
        let models = [BIG, SMALL, EMBED, id(99)];
        let targets: Vec<TargetEntry> = weights
            .iter()
            .map(|(weight, fallback_candidate, model)| TargetEntry {
                fallback_candidate: *fallback_candidate,
                ..target(models[*model], *weight)
            })
            .collect();
        let config = routed(targets.clone());
        let usable = |it: &&TargetEntry| it.model == BIG || it.model == SMALL;
        let order = order(&config, "chat", Endpoint::ChatCompletions, seed);
        match &order {
            Err(denial) => {
                prop_assert_eq!(*denial, Denial::NoTarget);
                prop_assert_eq!(targets.iter().filter(usable).count(), 0);
            }
            Ok(order) => {
                prop_assert!(!order.is_empty());
                prop_assert!(order.len() <= targets.iter().filter(usable).count());
                prop_assert!(order.iter().all(|it| *it == BIG || *it == SMALL));
            }
        }
        prop_assert_eq!(self::order(&config, "chat", Endpoint::ChatCompletions, seed), order);
    }

    #[test]
    fn over_all_seeds_the_first_attempts_follow_the_weights(one in 1u32..1000, other in 1u32..1000) {
        let config = routed(vec![target(BIG, one), target(SMALL, other)]);
        let resolved = resolve(&config, "chat").expect("it is there");
        prop_assert!(matches!(resolved, Resolved::Virtual(_)));
        let border = u128::from(one) << 64;
        let border = u64::try_from(border / u128::from(one + other)).expect("a weight is part of the sum");
        let first = |seed: u64| {
            let plan = planned(&config, "chat", Endpoint::ChatCompletions, seed).expect("planned");
            plan.step(&config, Progress::default()).expect("one").target.model.id
        };
        prop_assert_eq!(first(border.saturating_sub(1_000)), BIG);
        prop_assert_eq!(first(border.saturating_add(1_000)), SMALL);
    }
}

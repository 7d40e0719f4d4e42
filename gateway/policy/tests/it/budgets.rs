//! Which budget policies concern a request: the first decides, and all that match count.

use events_schema::snapshot::{
    budgets::{
        ArchivedBudgetPolicyEntry, BudgetLimitEntry, BudgetOverrideEntry, BudgetPolicyEntry,
        BudgetUnitEntry, BudgetWindowEntry,
    },
    entries::{Entry, ModelRefEntry},
    limits::{LimitedSubjectEntry as Subject, SegmentEntry, SegmentValueEntry},
};
use gateway_policy::{
    Caller, Configuration as _, Facts, Measure, RuleLimit, Rules, Target,
    limits::{counter::WhenCutOff, period::Period},
    resolve,
    rules::MOST_MATCHING,
};
use proptest::{collection::vec, prelude::*, sample::select};
use rkyv::{rancor::Error, util::AlignedVec};

use crate::{
    memory::{BIG, BOB, BOT, CHAT, KEY, OTHER_ACCOUNT, SMALL, id},
    rules::{BOBS, OTHER_TEAM, TEAM, metadata, organisation_with_bob_in, organisation_with_key_of},
};

/// A budget for everything.
fn budget(number: u8) -> BudgetPolicyEntry {
    BudgetPolicyEntry {
        id: id(number),
        name: format!("budget-{number}"),
        order: u32::from(number),
        created_at_us: 0,
        subjects_in: Vec::new(),
        subjects_not_in: Vec::new(),
        models_in: Vec::new(),
        models_not_in: Vec::new(),
        metadata: Vec::new(),
        applies_per: Vec::new(),
        limits: vec![monthly(600)],
        overrides: Vec::new(),
        audits: false,
        closed_when_cut_off: false,
        alerts: vec![75, 100],
        disabled: false,
    }
}

const fn monthly(most: u64) -> BudgetLimitEntry {
    BudgetLimitEntry {
        amount: BudgetUnitEntry::Cost,
        window: BudgetWindowEntry::Month,
        most,
    }
}

fn compiled(policies: impl IntoIterator<Item = BudgetPolicyEntry>) -> Rules {
    let archives: Vec<AlignedVec> = policies
        .into_iter()
        .map(|it| Entry::BudgetPolicy(it).archive())
        .collect();
    let archived = archives.iter().map(|archive| {
        rkyv::access::<ArchivedBudgetPolicyEntry, Error>(archive).expect("made by this version")
    });
    Rules::compile_budgets(archived)
}

/// The numbers of the budgets that match a request of Bob's for `chat`, in order, and of the first that is left out.
fn matching(policies: impl IntoIterator<Item = BudgetPolicyEntry>) -> (Vec<u8>, Option<u8>) {
    let rules = compiled(policies);
    let config = organisation_with_key_of(BOBS);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let none = metadata(&[]);
    let resolved = resolve(&config, "chat").expect("it is there");
    let all = rules.all(&Facts::of(&config, caller, resolved, &none));
    let numbers = all.iter().map(|rule| rule.id[0]).collect();
    (numbers, all.left_out().map(|rule| rule.id[0]))
}

#[test]
fn all_that_match_are_found_in_their_order_however_they_are_found() {
    let mut of_team = budget(4);
    of_team.subjects_in = vec![Subject::User(BOB), Subject::Team(TEAM)];
    let mut of_model = budget(3);
    of_model.models_in = vec![ModelRefEntry::VirtualModel(CHAT)];
    let mut of_others = budget(2);
    of_others.subjects_in = vec![Subject::VirtualAccount(BOT)];
    let mut off = budget(1);
    off.disabled = true;
    let all = [budget(5), of_team, of_model, of_others, off];
    assert_eq!(matching(all), (vec![3, 4, 5], None));
}

#[test]
fn of_more_than_there_is_room_for_the_first_are_found_and_that_is_told() {
    let most = u8::try_from(MOST_MATCHING).expect("few");
    let fits = (1..=most).rev().map(budget);
    assert_eq!(matching(fits), ((1..=most).collect(), None));
    let more = (1..=most + 3).rev().map(budget);
    assert_eq!(matching(more), ((1..=most).collect(), Some(most + 1)));
}

#[test]
fn what_a_budget_says_is_compiled() {
    let mut closed = budget(1);
    closed.closed_when_cut_off = true;
    closed.audits = true;
    closed.applies_per = vec![SegmentEntry::Team];
    closed.limits = vec![
        monthly(7),
        BudgetLimitEntry {
            amount: BudgetUnitEntry::Tokens,
            window: BudgetWindowEntry::Week,
            most: 8,
        },
    ];
    closed.overrides = vec![BudgetOverrideEntry {
        of: vec![SegmentValueEntry::Team(OTHER_TEAM)],
        limits: vec![BudgetLimitEntry {
            amount: BudgetUnitEntry::Cost,
            window: BudgetWindowEntry::Quarter,
            most: 9,
        }],
    }];
    let rules = compiled([closed, budget(2)]);
    let config = organisation_with_bob_in(BOBS, vec![TEAM, OTHER_TEAM]);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let none = metadata(&[]);
    let resolved = resolve(&config, "chat").expect("it is there");
    let facts = Facts::of(&config, caller, resolved, &none);
    let all: Vec<_> = rules.all(&facts).iter().collect();
    let told = all.iter().map(|rule| (rule.audits, rule.when_cut_off));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(true, WhenCutOff::Closed), (false, WhenCutOff::Open)]
    );
    let limit = |measure, period, most| RuleLimit {
        measure,
        period,
        most,
    };
    let segments = all[0].segments(&facts);
    assert_eq!(segments.to_vec(), [TEAM, OTHER_TEAM]);
    assert_eq!(
        all[0].limits(&TEAM),
        [
            limit(Measure::Cost, Period::Month, 7),
            limit(Measure::Tokens, Period::Week, 8)
        ]
    );
    assert_eq!(
        all[0].limits(&OTHER_TEAM),
        [limit(Measure::Cost, Period::Quarter, 9)]
    );
}

#[test]
fn an_attempt_counts_for_the_budgets_that_name_its_target_and_that_the_request_has_not() {
    let mut of_account = budget(1);
    of_account.models_in = vec![ModelRefEntry::ProviderAccount(OTHER_ACCOUNT)];
    let mut of_both = budget(2);
    of_both.models_in = vec![
        ModelRefEntry::VirtualModel(CHAT),
        ModelRefEntry::Model(SMALL),
    ];
    let rules = compiled([of_account, of_both, budget(3)]);
    let config = organisation_with_key_of(BOBS);
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let none = metadata(&[]);
    let resolved = resolve(&config, "chat").expect("it is there");
    let request = Facts::of(&config, caller, resolved, &none);
    let target = |account, model| Target {
        account: config.account(&account).expect("it is there"),
        model: config.model(&model).expect("it is there"),
    };
    let at = |target| {
        let found = rules.all_naming(&request.at(target), &request);
        found.iter().map(|rule| rule.id[0]).collect::<Vec<_>>()
    };
    assert_eq!(at(target(OTHER_ACCOUNT, SMALL)), [1]);
    assert_eq!(at(target(crate::memory::ACCOUNT, BIG)), [0_u8; 0]);
}

fn any_budget() -> impl Strategy<Value = BudgetPolicyEntry> {
    let subject = select(vec![
        Subject::User(BOB),
        Subject::Team(TEAM),
        Subject::Team(OTHER_TEAM),
        Subject::VirtualAccount(BOT),
    ]);
    let model = select(vec![
        ModelRefEntry::VirtualModel(CHAT),
        ModelRefEntry::Model(BIG),
        ModelRefEntry::Model(id(98)),
    ]);
    (vec(subject, 0..3), vec(model, 0..2)).prop_map(|(subjects_in, models_in)| BudgetPolicyEntry {
        subjects_in,
        models_in,
        ..budget(0)
    })
}

proptest! {
    /// One rule alone needs no index that could lead astray.
    #[test]
    fn the_budgets_that_match_are_those_that_would_alone(
        mut policies in vec(any_budget(), 0..40),
    ) {
        for (number, policy) in (1_u8..).zip(&mut policies) {
            (policy.id, policy.order) = (id(number), u32::from(number));
        }
        let alone: Vec<u8> = policies
            .iter()
            .filter(|policy| !matching([(*policy).clone()]).0.is_empty())
            .map(|policy| policy.id[0])
            .collect();
        let (found, left_out) = matching(policies);
        let (first, rest) = alone.split_at(alone.len().min(MOST_MATCHING));
        prop_assert_eq!(found, first);
        prop_assert_eq!(left_out, rest.first().copied());
    }
}

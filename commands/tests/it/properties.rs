//! What holds after any commands in any order: the properties behind the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use commands::domain::{
    BudgetPolicyCommand, Command, KeyCommand, ModelCommand, OperatorCommand,
    ProviderAccountCommand, RateLimitPolicyCommand, Rejection, TeamCommand, UserCommand,
    VirtualAccountCommand, VirtualModelCommand, decide, uses,
};
use events_schema::{
    envelope::GENESIS,
    events::{
        GrantedModels, LimitSegment, LimitedSubject, ModelRef, Override, Owner, Role,
        RoutingStrategy, RoutingTarget, SegmentValue, Stream, Subject, When,
    },
    state::{Organisation, User},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

use crate::support::{journal::Journal, strategies};

/// Each of these is a sequence of up to 110 commands.
const SEQUENCES: u32 = 128;

fn config() -> Config {
    Config {
        cases: SEQUENCES,
        // What fails is printed in full, and made a rule in `domain`.
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_any_commands_whatever_is_referred_to_exists_and_names_are_unique(
        commands in strategies::commands()
    ) {
        let (mut journal, mut ever_owned) = (Journal::default(), false);
        for command in &commands {
            if journal.submit(command).is_err() {
                continue;
            }
            whatever_is_referred_to_exists(&journal.state);
            names_are_unique_and_found(&journal.state);
            numbers_are_within_bounds(&journal.state);
            let owned = has_an_owner(&journal.state);
            prop_assert!(owned || !ever_owned, "nobody can manage operators after {command:?}");
            ever_owned |= owned;
        }
    }

    #[test]
    fn a_command_that_was_done_has_nothing_more_to_do(commands in strategies::commands()) {
        let mut journal = Journal::default();
        for command in &commands {
            if journal.submit(command).is_err() {
                continue;
            }
            match decide(&journal.state, command) {
                Ok(events) => prop_assert!(
                    events.is_empty() || changes_what_lies_beside_the_log(command),
                    "{command:?} again: {events:?}"
                ),
                // What it made is made, what it deleted is gone.
                Err(Rejection::IdUsed(_) | Rejection::TokenIdUsed | Rejection::NotFound(_) | Rejection::EpochNotHigher) => {}
                Err(rejection) => prop_assert!(false, "{command:?} again: {rejection}"),
            }
        }
    }

    #[test]
    fn the_same_commands_give_the_same_events_and_the_same_events_the_same_state(
        commands in strategies::commands()
    ) {
        let (mut one, mut other) = (Journal::default(), Journal::default());
        for command in &commands {
            prop_assert_eq!(one.submit(command), other.submit(command));
        }
        prop_assert_eq!(&one.rows, &other.rows);

        let (mut folded, mut hash) = (Organisation::default(), GENESIS);
        for row in &one.rows {
            prop_assert_eq!(row.check_follows(folded.position(), &hash), Ok(()));
            folded.apply(row).expect("it was written by this version");
            hash = row.hash;
        }
        prop_assert_eq!(&folded, &one.state);
        let kept = serde_json::to_string(&one.state).expect("JSON");
        let again = Organisation::from_checkpoint(serde_json::from_str(&kept).expect("JSON"));
        prop_assert_eq!(&again.expect("of this version"), &one.state);
        prop_assert_eq!(folded.state_digest(), one.state.state_digest());
    }
}

proptest! {
    #![proptest_config(config())]

    /// Who looks at what refers to a thing knows whether it can be deleted.
    #[test]
    fn a_thing_is_deleted_exactly_when_nothing_that_refers_to_it_blocks(
        commands in strategies::commands()
    ) {
        let mut journal = Journal::default();
        for command in &commands {
            let _refused = journal.submit(command);
        }
        let state = &journal.state;
        for deletion in deletions(state) {
            let thing = thing_of(&deletion);
            let blocked = uses(state, thing).any(|found| found.relation.blocks(thing));
            for found in uses(state, thing) {
                prop_assert!(state.has(found.by), "{found:?} refers to {thing}");
            }
            match decide(state, &deletion) {
                Ok(_) => prop_assert!(!blocked, "{thing} is deleted"),
                Err(Rejection::StillUsed { .. }) => prop_assert!(blocked, "{thing} is kept"),
                Err(rejection) => prop_assert!(false, "{rejection}"),
            }
        }
    }
}

/// The deletion of each thing that there is.
fn deletions(state: &Organisation) -> Vec<Command> {
    let accounts = state.provider_accounts().keys();
    let accounts = accounts.map(|id| Command::ProviderAccount(*id, ProviderAccountCommand::Delete));
    let models = state.models().keys();
    let models = models.map(|id| Command::Model(*id, ModelCommand::Delete));
    let routes = state.virtual_models().keys();
    let routes = routes.map(|id| Command::VirtualModel(*id, VirtualModelCommand::Delete));
    let users = state.users().keys();
    let users = users.map(|id| Command::User(*id, UserCommand::Delete));
    let owners = state.virtual_accounts().keys();
    let owners = owners.map(|id| Command::VirtualAccount(*id, VirtualAccountCommand::Delete));
    let keys = state.keys().keys();
    let keys = keys.map(|id| Command::Key(*id, KeyCommand::Revoke));
    let teams = state.teams().keys();
    let teams = teams.map(|id| Command::Team(*id, TeamCommand::Delete));
    let policies = state.rate_limit_policies().keys();
    let policies = policies.map(|id| Command::RateLimitPolicy(*id, RateLimitPolicyCommand::Delete));
    let budgets = state.budget_policies().keys();
    let budgets = budgets.map(|id| Command::BudgetPolicy(*id, BudgetPolicyCommand::Delete));
    let policies = policies.chain(budgets);
    let callers = users.chain(owners).chain(keys).chain(teams).chain(policies);
    accounts
        .chain(models)
        .chain(routes)
        .chain(callers)
        .collect()
}

fn thing_of(command: &Command) -> Stream {
    match command {
        Command::Log(_) => Stream::Log,
        Command::ProviderAccount(id, _) => Stream::ProviderAccount(*id),
        Command::Model(id, _) => Stream::Model(*id),
        Command::VirtualModel(id, _) => Stream::VirtualModel(*id),
        Command::User(id, _) => Stream::User(*id),
        Command::VirtualAccount(id, _) => Stream::VirtualAccount(*id),
        Command::Key(id, _) => Stream::Key(*id),
        Command::Grant(id, _) => Stream::Grant(*id),
        Command::Operator(id, _) => Stream::Operator(*id),
        Command::Team(id, _) => Stream::Team(*id),
        Command::RateLimitPolicy(id, _) => Stream::RateLimitPolicy(*id),
        Command::BudgetPolicy(id, _) => Stream::BudgetPolicy(*id),
        Command::BudgetAlert(id, _) => Stream::BudgetAlert(*id),
        Command::Settings(_) => Stream::Settings,
    }
}

/// A property that is never put to the test proves nothing.
#[test]
fn the_strategies_reach_every_kind_of_event_and_every_rejection() {
    let mut runner = TestRunner::deterministic();
    let (mut kinds, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..ENOUGH {
        let commands = strategies::commands().new_tree(&mut runner);
        let mut journal = Journal::default();
        for command in &commands.expect("a sequence").current() {
            if let Err(rejection) = journal.submit(command) {
                codes.insert(rejection.outcome().code);
            }
        }
        kinds.extend(journal.rows.into_iter().map(|row| row.kind));
        if kinds.len() == KINDS && codes.len() == CODES.len() {
            break;
        }
    }
    assert_eq!(codes, BTreeSet::from(CODES));
    assert_eq!(kinds.len(), KINDS, "{kinds:#?}");
}

/// Within this many sequences each rule must have had its turn.
const ENOUGH: u32 = 2_000;

/// Every code that a rejection has, but for those of teams and of models that are full: the world here is small.
const CODES: [&str; 26] = [
    "bad_grant",
    "bad_policy",
    "bad_repricing",
    "bad_routing",
    "bad_setting",
    "credential_for_elsewhere",
    "credential_needed",
    "difference_changed",
    "email_taken",
    "epoch_not_higher",
    "expiry_in_past",
    "grace_too_long",
    "id_used",
    "key_not_unique",
    "label_taken",
    "last_owner",
    "limit_too_low",
    "missing_reference",
    "name_taken",
    "no_model_type",
    "not_a_member",
    "not_found",
    "person_erased",
    "price_too_high",
    "still_an_operator",
    "still_used",
];

/// How many kinds of events there are.
const KINDS: usize = 87;

/// A password or a name: whether it is the same again is not to be seen in the state.
fn changes_what_lies_beside_the_log(command: &Command) -> bool {
    matches!(
        command,
        Command::Operator(
            _,
            OperatorCommand::ChangePassword | OperatorCommand::Rename { .. }
        ) | Command::User(_, UserCommand::Rename { .. })
    )
}

fn has_an_owner(state: &Organisation) -> bool {
    state
        .operators()
        .values()
        .any(|it| it.role == Role::Owner && !it.disabled)
}

fn whatever_is_referred_to_exists(state: &Organisation) {
    for model in state.models().values() {
        assert!(
            state.provider_accounts().contains_key(&model.account),
            "{model:?}"
        );
    }
    for it in state.virtual_models().values() {
        let targets = &it.routing.targets;
        assert!(
            targets
                .iter()
                .all(|target| state.models().contains_key(&target.model)),
            "{it:?}"
        );
        assert!(targets.iter().all(|target| {
            state
                .virtual_models_over(target.model)
                .any(|over| over.id == it.id)
        }));
    }
    for key in state.keys().values() {
        assert!(owner_exists(state, key.owner), "{key:?}");
        assert!(state.keys_of(key.owner).any(|it| it.id == key.id));
    }
    for team in state.teams().values() {
        assert_eq!(state.members_of(team.id).count() as u64, team.members);
        for (user, _) in state.members_of(team.id) {
            assert!(state.users().contains_key(&user), "{team:?}: {user}");
            assert!(state.teams_of(user).any(|(of, _)| of.id == team.id));
        }
    }
    for it in state.rate_limit_policies().values() {
        let (rule, policy) = (&it.rule, Stream::RateLimitPolicy(it.id));
        what_a_rule_names_exists(
            state,
            policy,
            &rule.when,
            &rule.applies_per,
            &rule.overrides,
        );
    }
    for it in state.budget_policies().values() {
        let (rule, policy) = (&it.rule, Stream::BudgetPolicy(it.id));
        what_a_rule_names_exists(
            state,
            policy,
            &rule.when,
            &rule.applies_per,
            &rule.overrides,
        );
    }
    for user in state.users().values() {
        for (team, membership) in state.teams_of(user.id) {
            assert_eq!(state.membership(team.id, user.id), Some(membership));
        }
    }
    for grant in state.grants().values() {
        assert!(subject_exists(state, grant.subject), "{grant:?}");
        assert!(state.grants_of(grant.subject).any(|it| it.id == grant.id));
        if let GrantedModels::Listed(models) = &grant.models {
            assert!(
                models.iter().all(|model| model_exists(state, *model)),
                "{grant:?}"
            );
            assert!(
                models
                    .iter()
                    .all(|model| { state.grants_on(*model).any(|it| it.id == grant.id) })
            );
        }
    }
}

/// And the policy is found by it.
fn what_a_rule_names_exists<L: Ord>(
    state: &Organisation,
    policy: Stream,
    when: &When,
    applies_per: &BTreeSet<LimitSegment>,
    overrides: &BTreeSet<Override<L>>,
) {
    let of = |subject: &LimitedSubject| match *subject {
        LimitedSubject::User(id) => Stream::User(id),
        LimitedSubject::Team(id) => Stream::Team(id),
        LimitedSubject::VirtualAccount(id) => Stream::VirtualAccount(id),
    };
    let model = |model: &ModelRef| match *model {
        ModelRef::Model(id) => Stream::Model(id),
        ModelRef::VirtualModel(id) => Stream::VirtualModel(id),
        ModelRef::ProviderAccount(id) => Stream::ProviderAccount(id),
    };
    let mut named: BTreeSet<Stream> = when.subjects.named().map(of).collect();
    named.extend(when.models.named().map(model));
    for value in overrides.iter().flat_map(|it| &it.of) {
        assert!(applies_per.contains(&value.segment()));
        named.extend(match value {
            SegmentValue::User(id) => Some(Stream::User(*id)),
            SegmentValue::VirtualAccount(id) => Some(Stream::VirtualAccount(*id)),
            SegmentValue::Model(it) => Some(model(it)),
            SegmentValue::Metadata { .. } => None,
            SegmentValue::Team(id) => Some(Stream::Team(*id)),
        });
    }
    for thing in named {
        assert!(state.has(thing), "{policy} names {thing}");
        assert!(
            state.policies_naming(thing).any(|it| it == policy),
            "{policy} is not found by {thing}"
        );
    }
}

fn owner_exists(state: &Organisation, owner: Owner) -> bool {
    match owner {
        Owner::User(id) => state.users().contains_key(&id),
        Owner::VirtualAccount(id) => state.virtual_accounts().contains_key(&id),
    }
}

fn subject_exists(state: &Organisation, subject: Subject) -> bool {
    match subject {
        Subject::Everyone => true,
        Subject::User(id) => state.users().contains_key(&id),
        Subject::VirtualAccount(id) => state.virtual_accounts().contains_key(&id),
        Subject::Key(id) => state.keys().contains_key(&id),
        Subject::Team(id) => state.teams().contains_key(&id),
    }
}

fn model_exists(state: &Organisation, model: ModelRef) -> bool {
    match model {
        ModelRef::Model(id) => state.models().contains_key(&id),
        ModelRef::VirtualModel(id) => state.virtual_models().contains_key(&id),
        ModelRef::ProviderAccount(id) => state.provider_accounts().contains_key(&id),
    }
}

/// No two things of a kind have the same name, and by its name each is found.
fn names_are_unique_and_found(state: &Organisation) {
    unique(state.provider_accounts().values().map(|it| &it.name));
    unique(state.models().values().map(|it| (it.account, &it.name)));
    unique(state.virtual_models().values().map(|it| &it.name));
    unique(state.virtual_accounts().values().map(|it| &it.name));
    let named = |it: &&User| !state.is_erased(Stream::User(it.id));
    unique(state.users().values().filter(named).map(|it| &it.email));
    unique(state.rate_limit_policies().values().map(|it| &it.name));
    unique(state.budget_policies().values().map(|it| &it.name));
    unique(state.teams().values().map(|it| &it.name));
    unique(state.operators().values().map(|it| &it.email));
    unique(state.keys().values().map(|it| (it.owner, &it.label)));
    unique(state.keys().values().flat_map(|it| {
        std::iter::once(&it.hash).chain(it.former.as_ref().map(|former| &former.hash))
    }));
    for it in state.provider_accounts().values() {
        assert_eq!(
            state.provider_account_named(&it.name).map(|found| found.id),
            Some(it.id)
        );
        let models: BTreeMap<_, _> = (state.models().values())
            .filter(|model| model.account == it.id)
            .map(|model| (&model.name, model.id))
            .collect();
        assert!(
            state
                .models_of(it.id)
                .map(|model| model.id)
                .eq(models.into_values())
        );
    }
    for it in state.models().values() {
        assert_eq!(
            state
                .model_named(it.account, &it.name)
                .map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.virtual_models().values() {
        assert_eq!(
            state.virtual_model_named(&it.name).map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.virtual_accounts().values() {
        assert_eq!(
            state.virtual_account_named(&it.name).map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.teams().values() {
        assert_eq!(
            state.team_named(&it.name).map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.rate_limit_policies().values() {
        assert_eq!(
            state
                .rate_limit_policy_named(&it.name)
                .map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.budget_policies().values() {
        assert_eq!(
            state.budget_policy_named(&it.name).map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.users().values().filter(named) {
        assert_eq!(
            state.user_by_email(&it.email).map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.operators().values() {
        assert_eq!(
            state.operator_by_email(&it.email).map(|found| found.id),
            Some(it.id)
        );
    }
    for it in state.keys().values() {
        let labelled = state.keys_labelled(it.owner, &it.label);
        assert!(labelled.map(|found| found.id).eq([it.id]));
        assert_eq!(
            state.key_by_hash(&it.hash).map(|found| found.id),
            Some(it.id)
        );
    }
}

fn unique<T: Ord + Debug>(names: impl Iterator<Item = T>) {
    let mut seen = BTreeSet::new();
    for name in names {
        let text = format!("{name:?}");
        assert!(seen.insert(name), "twice: {text}");
    }
}

/// What gateways rely on without looking.
fn numbers_are_within_bounds(state: &Organisation) {
    for model in state.models().values() {
        assert!(!model.model_types.is_empty(), "{model:?}");
        assert!(
            model
                .prices
                .is_sorted_by(|one, next| one.effective_at < next.effective_at)
        );
    }
    for it in state.virtual_models().values() {
        let targets = &it.routing.targets;
        assert!((1..=32).contains(&targets.len()), "{it:?}");
        unique(targets.iter().map(|target| target.model));
        let goes_by = |target: &RoutingTarget| match it.routing.strategy {
            RoutingStrategy::WeightBased => target.weight.is_some(),
            RoutingStrategy::PriorityBased => target.priority.is_some(),
            RoutingStrategy::LatencyBased => true,
        };
        assert!(targets.iter().all(goes_by), "{it:?}");
        let by_weight = it.routing.strategy == RoutingStrategy::WeightBased;
        assert!(!by_weight || targets.iter().any(|target| target.weight > Some(0)));
    }
    let settings = state.settings();
    assert!((14..=3_650).contains(&settings.retention.requests_days));
    assert!((settings.retention.requests_days..=3_650).contains(&settings.retention.sums_days));
    assert!(settings.sessions.idle_us() >= 5 * 60_000_000);
    assert!(settings.sessions.idle_us() <= settings.sessions.longest_us());
    assert!(settings.sessions.longest_hours <= 2_160);
    for key in state.keys().values() {
        let limits = [key.limits.requests_per_minute, key.limits.tokens_per_minute];
        assert!(!limits.contains(&Some(0)), "{key:?}");
    }
}

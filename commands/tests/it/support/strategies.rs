//! Arbitrary commands over a small world: few ids and few names, so that commands meet.
//!
//! What a shell would make afresh (ids, hashes) is drawn from the same few values here: the rules must hold also
//! where it was not fresh.

use std::collections::{BTreeMap, BTreeSet};

use commands::domain::{
    BudgetAlertCommand, BudgetUse, Command, Fingerprints, GrantCommand, KeyCommand, LogCommand,
    ModelCommand, OperatorCommand, PolicyCommand, ProviderAccountCommand, SealedCredential,
    SettingsCommand, TeamCommand, UserCommand, VirtualAccountCommand, VirtualModelCommand,
};
use events_schema::{
    envelope::Epoch,
    events::{
        BudgetRule, Choice, CostDifference, GrantedModels, KeyLimits, LimitSegment, LimitedSubject,
        ModelRef, ModelType, Override, Owner, Provider, RateLimitRule, Role, Routing,
        RoutingStrategy, RoutingTarget, SegmentValue, Subject, TeamRole, When,
    },
    id::{Id, ModelId},
    money::{NanoUsd, Price},
    names::{BaseUrl, Label, ModelName, Slug, VirtualModelName},
    secrets::{KeyedHash, SealedRef},
    state::{Retention, SessionBounds},
    time::Timestamp,
};
use proptest::{collection, option, prelude::*, sample::select};
use uuid::Uuid;

use super::{journal::NOW, world};

/// How many things of each kind there are.
const THINGS: u8 = 4;

/// Commands in a row.
const COMMANDS: std::ops::Range<usize> = 1..100;

/// A sequence of commands, as they come in: in an empty world, or in one that is settled.
pub(crate) fn commands() -> impl Strategy<Value = Vec<Command>> {
    let rest = collection::vec(command(), COMMANDS);
    (any::<bool>(), rest).prop_map(|(settled, rest)| {
        let mut commands = if settled { settlement() } else { Vec::new() };
        commands.extend(rest);
        commands
    })
}

/// One of each thing, the way it should be.
fn settlement() -> Vec<Command> {
    vec![
        world::register_account(0, "a"),
        world::add_model(0, 0, "fast", &[ModelType::Chat]),
        world::add_model(1, 0, "slow", &[ModelType::Chat]),
        world::create_virtual_model(0, "a", vec![world::target(0, 1), world::target(1, 0)]),
        world::add_user(0),
        world::create_virtual_account(0, "a"),
        world::issue_key(0, Owner::User(world::id(0))),
        world::grant_models(
            0,
            Subject::Key(world::id(0)),
            &[ModelRef::VirtualModel(world::id(0))],
        ),
        world::add_operator(0, Role::Owner),
        world::create_team(0, "a"),
        world::add_member(0, 0, TeamRole::Member),
        world::create_policy(0, "a", world::requests_per_minute(60)),
        world::create_budget(0, "a", world::dollars_per_month(60)),
    ]
}

/// Any command.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => log().prop_map(Command::Log),
        4 => (id(), provider_account()).prop_map(|(id, it)| Command::ProviderAccount(id, it)),
        5 => (id(), model()).prop_map(|(id, it)| Command::Model(id, it)),
        4 => (id(), virtual_model()).prop_map(|(id, it)| Command::VirtualModel(id, it)),
        4 => (id(), user()).prop_map(|(id, it)| Command::User(id, it)),
        3 => (id(), virtual_account()).prop_map(|(id, it)| Command::VirtualAccount(id, it)),
        7 => (id(), key()).prop_map(|(id, it)| Command::Key(id, it)),
        4 => (id(), grant()).prop_map(|(id, it)| Command::Grant(id, it)),
        6 => (id(), operator()).prop_map(|(id, it)| Command::Operator(id, it)),
        4 => (id(), team()).prop_map(|(id, it)| Command::Team(id, it)),
        4 => (id(), policy(rule)).prop_map(|(id, it)| Command::RateLimitPolicy(id, it)),
        4 => (id(), policy(budget_rule)).prop_map(|(id, it)| Command::BudgetPolicy(id, it)),
        4 => (id(), alert()).prop_map(|(id, it)| Command::BudgetAlert(id, it)),
        2 => settings().prop_map(Command::Settings),
    ]
}

fn log() -> impl Strategy<Value = LogCommand> {
    let epoch = || {
        (0..5_u64).prop_map(|seconds| Epoch {
            seconds,
            id: Uuid::nil(),
        })
    };
    prop_oneof![
        epoch().prop_map(|epoch| LogCommand::Initialise { epoch }),
        epoch().prop_map(|epoch| LogCommand::StartEpoch { epoch }),
    ]
}

fn provider_account() -> impl Strategy<Value = ProviderAccountCommand> {
    use ProviderAccountCommand as C;
    let provider = || {
        select(vec![
            Provider::Openai,
            Provider::Anthropic,
            Provider::OpenaiCompatible,
        ])
    };
    prop_oneof![
        6 => (slug(), provider(), base_url(), credential(), any::<bool>()).prop_map(
            |(name, provider, base_url, credential, allows_private_addresses)| {
                C::Register { name, provider, base_url, credential, allows_private_addresses }
            }
        ),
        1 => slug().prop_map(|name| C::Rename { name }),
        2 => (base_url(), credential())
            .prop_map(|(base_url, credential)| C::Move { base_url, credential }),
        1 => credential().prop_map(|credential| C::ReplaceCredential { credential }),
        1 => Just(C::ShredCredential),
        1 => Just(C::AllowPrivateAddresses),
        1 => Just(C::ForbidPrivateAddresses),
        1 => Just(C::Disable),
        2 => Just(C::Enable),
        1 => Just(C::Delete),
    ]
}

fn model() -> impl Strategy<Value = ModelCommand> {
    use ModelCommand as C;
    prop_oneof![
        8 => (id(), model_name(), model_name(), model_types()).prop_map(
            |(account, name, upstream_name, model_types)| C::Add { account, name, upstream_name, model_types }
        ),
        1 => model_name().prop_map(|name| C::Rename { name }),
        1 => model_name().prop_map(|upstream_name| C::ChangeUpstreamName { upstream_name }),
        2 => (price(), time())
            .prop_map(|(price, effective_at)| C::SetPrice { price, effective_at }),
        3 => (price(), lately(), time(), 0..2_usize, 0..3_u64).prop_map(|(price, from, until, known, requests)| {
            let found = CostDifference { requests: requests / 2, ..CostDifference::default() };
            C::RepriceUsage { from, until, price, shown: CostDifference::default(), found, known, now: NOW }
        }),
        2 => Just(C::Disable),
        3 => Just(C::Enable),
        1 => Just(C::Delete),
    ]
}

fn virtual_model() -> impl Strategy<Value = VirtualModelCommand> {
    use VirtualModelCommand as C;
    prop_oneof![
        6 => (virtual_name(), routing()).prop_map(|(name, routing)| C::Create { name, routing }),
        1 => virtual_name().prop_map(|name| C::Rename { name }),
        2 => routing().prop_map(|routing| C::ChangeRouting { routing }),
        2 => Just(C::Disable),
        3 => Just(C::Enable),
        1 => Just(C::Delete),
    ]
}

fn user() -> impl Strategy<Value = UserCommand> {
    use UserCommand as C;
    prop_oneof![
        4 => address().prop_map(|email| C::Add { email }),
        2 => address().prop_map(|email| C::ChangeEmail { email }),
        1 => any::<bool>().prop_map(|differs| C::Rename { differs }),
        2 => Just(C::Erase),
        1 => Just(C::Disable),
        2 => Just(C::Enable),
        1 => Just(C::Delete),
    ]
}

fn virtual_account() -> impl Strategy<Value = VirtualAccountCommand> {
    use VirtualAccountCommand as C;
    prop_oneof![
        4 => slug().prop_map(|name| C::Create { name }),
        1 => slug().prop_map(|name| C::Rename { name }),
        1 => Just(C::Disable),
        2 => Just(C::Enable),
        1 => Just(C::Delete),
    ]
}

fn key() -> impl Strategy<Value = KeyCommand> {
    use KeyCommand as C;
    let issue = (owner(), label(), hash(), option::of(time()), limits()).prop_map(
        |(owner, label, hash, expires_at, limits)| C::Issue {
            owner,
            label,
            hash,
            hint: "abcd".into(),
            expires_at,
            limits,
            now: NOW,
        },
    );
    prop_oneof![
        6 => issue,
        1 => label().prop_map(|label| C::Relabel { label, now: NOW }),
        1 => limits().prop_map(|limits| C::ChangeLimits { limits }),
        1 => option::of(time()).prop_map(|expires_at| C::ChangeExpiry { expires_at, now: NOW }),
        3 => (hash(), select(vec![0, 1, 1, 7_776_000, 7_776_001])).prop_map(|(hash, grace_seconds)| C::Rotate {
            hash,
            hint: "efgh".into(),
            grace_seconds,
            now: NOW,
        }),
        3 => Just(C::RevokeFormerSecret),
        1 => Just(C::Disable),
        2 => Just(C::Enable),
        1 => Just(C::Revoke),
    ]
}

fn grant() -> impl Strategy<Value = GrantCommand> {
    use GrantCommand as C;
    prop_oneof![
        4 => (subject(), granted()).prop_map(|(subject, models)| C::Grant { subject, models }),
        1 => granted().prop_map(|models| C::ChangeModels { models }),
        1 => Just(C::Revoke),
    ]
}

fn operator() -> impl Strategy<Value = OperatorCommand> {
    use OperatorCommand as C;
    let issue =
        (id(), label(), option::of(time())).prop_map(|(token, label, expires_at)| C::IssueToken {
            token,
            label,
            expires_at,
            now: NOW,
        });
    prop_oneof![
        4 => (role(), address()).prop_map(|(role, email)| C::Add { role, email }),
        2 => role().prop_map(|role| C::ChangeRole { role }),
        1 => Just(C::ChangePassword),
        1 => any::<bool>().prop_map(|differs| C::Rename { differs }),
        2 => address().prop_map(|email| C::ChangeEmail { email }),
        2 => Just(C::Disable),
        2 => Just(C::Enable),
        2 => Just(C::Remove),
        2 => Just(C::Erase),
        4 => issue,
        5 => id().prop_map(|token| C::RevokeToken { token }),
    ]
}

fn team() -> impl Strategy<Value = TeamCommand> {
    use TeamCommand as C;
    let role = || select(vec![TeamRole::Member, TeamRole::Manager]);
    prop_oneof![
        4 => slug().prop_map(|name| C::Create { name }),
        1 => slug().prop_map(|name| C::Rename { name }),
        1 => Just(C::Disable),
        2 => Just(C::Enable),
        1 => Just(C::Delete),
        4 => (id(), role()).prop_map(|(user, role)| C::AddMember { user, role }),
        2 => (id(), role()).prop_map(|(user, role)| C::ChangeMemberRole { user, role }),
        1 => id().prop_map(|user| C::RemoveMember { user }),
    ]
}

fn policy<R: Clone + std::fmt::Debug, S: Strategy<Value = R>>(
    rule: fn() -> S,
) -> impl Strategy<Value = PolicyCommand<R>> {
    use PolicyCommand as C;
    prop_oneof![
        6 => (slug(), 0..3_u32, rule()).prop_map(|(name, order, rule)| C::Create { name, order, rule }),
        1 => slug().prop_map(|name| C::Rename { name }),
        1 => (0..3_u32).prop_map(|order| C::Move { order }),
        2 => rule().prop_map(|rule| C::ChangeRule { rule }),
        1 => Just(C::Disable),
        2 => Just(C::Enable),
        1 => Just(C::Delete),
    ]
}

fn settings() -> impl Strategy<Value = SettingsCommand> {
    use SettingsCommand as C;
    let days = || select(vec![13, 14, 30, 400, 3_650, 3_651]);
    let retention = (days(), days()).prop_map(|(requests_days, sums_days)| Retention {
        requests_days,
        sums_days,
    });
    let bounds = (
        select(vec![4, 5, 61, 10_080, 10_081]),
        select(vec![0, 1, 168, 2_160, 2_161]),
    );
    let bounds = bounds.prop_map(|(idle_minutes, longest_hours)| SessionBounds {
        idle_minutes,
        longest_hours,
    });
    prop_oneof![
        option::of(label()).prop_map(|name| C::RenameOrganisation { name }),
        retention.prop_map(|retention| C::ChangeRetention { retention }),
        bounds.prop_map(|bounds| C::ChangeSessionBounds { bounds }),
    ]
}

fn rule() -> impl Strategy<Value = RateLimitRule> {
    let limit = prop_oneof![6 => 1..100_u64, 1 => Just(0)];
    let other = (1..3_u64).prop_map(world::rate_limit);
    (when(), limit, counted(other)).prop_map(|(when, limit, (applies_per, overrides))| {
        RateLimitRule {
            when,
            applies_per,
            overrides,
            ..world::requests_per_minute(limit)
        }
    })
}

fn budget_rule() -> impl Strategy<Value = BudgetRule> {
    let limit = prop_oneof![6 => 1..100_u64, 1 => Just(0)];
    let other = (1..3_u64).prop_map(world::monthly);
    let alerts = collection::btree_set(select(vec![75_u8, 90, 100]), 0..3);
    (when(), limit, counted(other), alerts).prop_map(
        |(when, limit, (applies_per, overrides), alerts)| BudgetRule {
            when,
            applies_per,
            overrides,
            alerts,
            ..world::dollars_per_month(limit)
        },
    )
}

fn alert() -> impl Strategy<Value = BudgetAlertCommand> {
    let limit = select(vec![1, 2, 60]).prop_map(world::monthly);
    (0..3_u128, limit, 0..110_u64).prop_map(|(segment, limit, percent)| {
        BudgetAlertCommand::Raise(BudgetUse {
            segment: Uuid::from_u128(segment),
            limit,
            used: limit.amount.number() / 100 * percent,
            ..world::of_this_month()
        })
    })
}

fn when() -> impl Strategy<Value = When> {
    let subject = || {
        prop_oneof![
            id().prop_map(LimitedSubject::User),
            id().prop_map(LimitedSubject::Team),
            id().prop_map(LimitedSubject::VirtualAccount),
        ]
    };
    let subjects = prop_oneof![
        2 => Just(Choice::all()),
        1 => (collection::btree_set(subject(), 0..2), collection::btree_set(subject(), 0..2))
            .prop_map(|(within, not_in)| Choice { within, not_in }),
    ];
    let models = granted().prop_map(|models| match models {
        GrantedModels::All => Choice::all(),
        GrantedModels::Listed(models) => Choice::only(models),
    });
    let models = prop_oneof![2 => Just(Choice::all()), 1 => models];
    (subjects, models).prop_map(|(subjects, models)| When {
        subjects,
        models,
        metadata: BTreeMap::new(),
    })
}

/// What has a counter of its own, and other limits, mostly for one of these.
fn counted<L: Ord + Clone + std::fmt::Debug>(
    limit: impl Strategy<Value = L> + Clone + 'static,
) -> impl Strategy<Value = (BTreeSet<LimitSegment>, BTreeSet<Override<L>>)> {
    let segment = select(vec![
        LimitSegment::User,
        LimitSegment::VirtualAccount,
        LimitSegment::Model,
        LimitSegment::Team,
        LimitSegment::Key,
    ]);
    let applies_per = collection::btree_set(segment, 0..3);
    let others = move |of: BoxedStrategy<SegmentValue>| {
        let other = (of, limit.clone()).prop_map(|(of, limit)| Override {
            of: BTreeSet::from([of]),
            limits: BTreeSet::from([limit]),
        });
        collection::btree_set(other, 1..2)
    };
    let users = || id().prop_map(SegmentValue::User).boxed();
    let teams = || id().prop_map(SegmentValue::Team).boxed();
    prop_oneof![
        6 => applies_per.prop_map(|per| (per, BTreeSet::new())),
        2 => others(users()).prop_map(|others| (BTreeSet::from([LimitSegment::User]), others)),
        2 => others(teams()).prop_map(|others| (BTreeSet::from([LimitSegment::Team]), others)),
        1 => others(users()).prop_map(|others| (BTreeSet::new(), others)),
    ]
}

/// One of the few ids of a kind.
fn id<T>() -> impl Strategy<Value = Id<T>>
where
    Id<T>: std::fmt::Debug,
{
    (0..THINGS).prop_map(|number| Id::from_bytes([number; 16]))
}

fn slug() -> impl Strategy<Value = Slug> {
    select(vec!["a", "b", "c", "d"]).prop_map(|name| name.parse().expect("a slug"))
}

/// Some of them are names of models.
fn virtual_name() -> impl Strategy<Value = VirtualModelName> {
    select(vec!["a", "b", "a/fast", "d/Meta/Llama:70b"])
        .prop_map(|name| name.parse().expect("a name"))
}

fn model_name() -> impl Strategy<Value = ModelName> {
    select(vec!["fast", "slow", "Meta/Llama:70b"]).prop_map(|name| name.parse().expect("a name"))
}

fn label() -> impl Strategy<Value = Label> {
    select(vec!["Bob's laptop", "CI"]).prop_map(|text| text.parse().expect("a label"))
}

fn base_url() -> impl Strategy<Value = BaseUrl> {
    select(vec![
        "https://api.example/v1",
        "https://api.example/v2",
        "http://127.0.0.1:7705",
    ])
    .prop_map(|url| url.parse().expect("a URL"))
}

fn credential() -> impl Strategy<Value = Option<SealedCredential>> {
    let sealed = (id(), base_url()).prop_map(|(id, url)| SealedCredential {
        sealed: SealedRef { id, version: 1 },
        origin: url.origin(),
    });
    option::of(sealed)
}

/// An address whose fingerprint under a former key may be another's under the active one.
fn address() -> impl Strategy<Value = Fingerprints> {
    (hash(), collection::vec(hash(), 0..2))
        .prop_map(|(active, former)| Fingerprints { active, former })
}

fn hash() -> impl Strategy<Value = KeyedHash> {
    (0..THINGS + 2).prop_map(|number| KeyedHash {
        key: "k1".into(),
        hash: [number; 32],
    })
}

fn model_types() -> impl Strategy<Value = BTreeSet<ModelType>> {
    let (chat, embedding) = (ModelType::Chat, ModelType::Embedding);
    let completion = ModelType::Completion;
    prop_oneof![
        6 => Just(BTreeSet::from([chat])),
        2 => Just(BTreeSet::from([chat, embedding])),
        2 => Just(BTreeSet::from([embedding])),
        1 => Just(BTreeSet::from([chat, completion])),
        1 => Just(BTreeSet::from([completion])),
        1 => Just(BTreeSet::new()),
    ]
}

fn price() -> impl Strategy<Value = Price> {
    let amount = || {
        prop_oneof![
            4 => 0..10_000_000_000_u64,
            1 => Just(u64::MAX),
        ]
        .prop_map(NanoUsd::new)
    };
    (amount(), amount(), option::of(amount())).prop_map(|(input, output, cached_input)| Price {
        input,
        output,
        cached_input,
    })
}

/// Around now, a microsecond and a day away, and at the ends of time.
fn lately() -> impl Strategy<Value = Timestamp> {
    (-3_i64..1).prop_map(|micros| NOW.plus_micros(micros))
}

fn time() -> impl Strategy<Value = Timestamp> {
    select(vec![
        Timestamp::MIN,
        NOW.plus_micros(-1),
        NOW,
        NOW.plus_micros(1),
        NOW.plus_micros(86_400_000_000),
        Timestamp::MAX,
    ])
}

fn routing() -> impl Strategy<Value = Routing> {
    let code = select(vec![399_u16, 400, 429, 503, 599, 600]);
    let codes = prop_oneof![
        4 => Just(None),
        1 => collection::btree_set(code, 0..3).prop_map(Some),
    ];
    let weight =
        prop_oneof![2 => Just(0), 6 => 1..100_u32, 1 => Just(1_000_000), 1 => Just(u32::MAX)];
    let target = (id(), weight, codes, any::<bool>()).prop_map(
        |(model, weight, fallback_status_codes, fallback_candidate)| RoutingTarget {
            fallback_status_codes,
            fallback_candidate,
            priority: Some(weight % 3),
            ..RoutingTarget::weighted(model, weight)
        },
    );
    let few = collection::vec(target, 0..4);
    let many = Just(
        (0..33)
            .map(|number| RoutingTarget::weighted(ModelId::from_bytes([number; 16]), 1))
            .collect(),
    );
    let strategy = select(RoutingStrategy::ALL.to_vec());
    (strategy, prop_oneof![20 => few, 1 => many]).prop_map(|(strategy, targets)| Routing {
        strategy,
        ..Routing::weighted(targets)
    })
}

fn limits() -> impl Strategy<Value = KeyLimits> {
    let limit =
        || prop_oneof![4 => Just(None), 3 => (1..100_u64).prop_map(Some), 1 => Just(Some(0))];
    (limit(), limit()).prop_map(|(requests_per_minute, tokens_per_minute)| KeyLimits {
        requests_per_minute,
        tokens_per_minute,
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        id().prop_map(Owner::User),
        id().prop_map(Owner::VirtualAccount),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        1 => Just(Subject::Everyone),
        1 => id().prop_map(Subject::User),
        1 => id().prop_map(Subject::VirtualAccount),
        2 => id().prop_map(Subject::Key),
        2 => id().prop_map(Subject::Team),
    ]
}

fn granted() -> impl Strategy<Value = GrantedModels> {
    let model = prop_oneof![
        id().prop_map(ModelRef::Model),
        id().prop_map(ModelRef::VirtualModel),
        id().prop_map(ModelRef::ProviderAccount),
    ];
    prop_oneof![
        1 => Just(GrantedModels::All),
        4 => collection::btree_set(model, 0..3).prop_map(GrantedModels::Listed),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![
        Role::Owner,
        Role::Operator,
        Role::Auditor,
        Role::Viewer,
    ])
}

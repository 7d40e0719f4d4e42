//! Arbitrary events. Ids and names come from small pools, so that events meet: a thing is changed after it was
//! made, made twice, or gone; two things have one name.

use std::{collections::BTreeSet, ops::Range};

use events_schema::{
    envelope::Epoch,
    events::{
        BudgetAlertEvent, BudgetAmount, BudgetLimit, BudgetPolicyEvent, BudgetRule, BudgetWindow,
        Choice, CostDifference, Event, GrantEvent, GrantedModels, HeadersOverride, KeyEvent,
        KeyLimits, LimitMode, LimitSegment, LimitUnit, LimitWhenCutOff, LimitWindow,
        LimitedSubject, LogEvent, ModelEvent, ModelRef, ModelType, OperatorEvent, Override, Owner,
        Provider, ProviderAccountEvent, RateLimit, RateLimitPolicyEvent, RateLimitRule, Retry,
        Role, Routing, RoutingStrategy, RoutingTarget, SegmentValue, SessionIdentifier,
        SessionSource, SettingsEvent, SlaCutoff, StickySessions, Subject, TeamEvent, TeamRole,
        UserEvent, VirtualAccountEvent, VirtualModelEvent, When, WhenCutOff,
    },
    id::Id,
    money::{NanoUsd, Price},
    names::{BaseUrl, Label, MetadataKey, ModelName, Slug, VirtualModelName},
    secrets::{KeyedHash, SealedRef},
    time::Timestamp,
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use uuid::Uuid;

/// An event somewhere in a log.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) stream_version: u64,
    pub(crate) event: Event,
}

/// Events at arbitrary places.
pub(crate) fn placed(how_many: Range<usize>) -> impl Strategy<Value = Vec<Placed>> {
    let one = (any::<u64>(), time(), any::<u64>(), event()).prop_map(
        |(position, recorded_at, stream_version, event)| Placed {
            position,
            recorded_at,
            stream_version,
            event,
        },
    );
    vec(one, how_many)
}

/// Events.
pub(crate) fn events(how_many: Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    vec(event(), how_many)
}

/// An event of any kind.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => log().prop_map(Event::Log),
        3 => (id(), provider_account()).prop_map(|(id, event)| Event::ProviderAccount(id, event)),
        3 => (id(), model()).prop_map(|(id, event)| Event::Model(id, event)),
        3 => (id(), virtual_model()).prop_map(|(id, event)| Event::VirtualModel(id, event)),
        3 => (id(), user()).prop_map(|(id, event)| Event::User(id, event)),
        3 => (id(), virtual_account()).prop_map(|(id, event)| Event::VirtualAccount(id, event)),
        3 => (id(), key()).prop_map(|(id, event)| Event::Key(id, event)),
        3 => (id(), grant()).prop_map(|(id, event)| Event::Grant(id, event)),
        3 => (id(), operator()).prop_map(|(id, event)| Event::Operator(id, event)),
        4 => (id(), team()).prop_map(|(id, event)| Event::Team(id, event)),
        2 => (id(), policy()).prop_map(|(id, event)| Event::RateLimitPolicy(id, event)),
        2 => (id(), budget()).prop_map(|(id, event)| Event::BudgetPolicy(id, event)),
        3 => (id(), alert()).prop_map(|(id, event)| Event::BudgetAlert(id, event)),
        1 => settings().prop_map(Event::Settings),
    ]
}

// === what happens ===

fn log() -> impl Strategy<Value = LogEvent> {
    prop_oneof![
        epoch().prop_map(|epoch| LogEvent::LogInitialised { epoch }),
        epoch().prop_map(|epoch| LogEvent::EpochStarted { epoch }),
    ]
}

fn provider_account() -> impl Strategy<Value = ProviderAccountEvent> {
    use ProviderAccountEvent as E;
    let provider = select(vec![
        Provider::Openai,
        Provider::Anthropic,
        Provider::OpenaiCompatible,
    ]);
    prop_oneof![
        3 => (slug(), provider, base_url(), credential(), any::<bool>()).prop_map(|(name, provider, base_url, credential, private)| {
            E::ProviderAccountRegistered { name, provider, base_url, credential, allows_private_addresses: private }
        }),
        1 => slug().prop_map(|name| E::ProviderAccountRenamed { name }),
        1 => (base_url(), credential()).prop_map(|(base_url, credential)| E::ProviderAccountMoved { base_url, credential }),
        1 => credential().prop_map(|credential| E::ProviderCredentialReplaced { credential }),
        1 => Just(E::ProviderCredentialShredded {}),
        1 => Just(E::ProviderPrivateAddressesAllowed {}),
        1 => Just(E::ProviderPrivateAddressesForbidden {}),
        1 => Just(E::ProviderAccountDisabled {}),
        1 => Just(E::ProviderAccountEnabled {}),
        1 => Just(E::ProviderAccountDeleted {}),
    ]
}

fn model() -> impl Strategy<Value = ModelEvent> {
    use ModelEvent as E;
    let kinds = vec![ModelType::Chat, ModelType::Embedding, ModelType::Completion];
    let types = btree_set(select(kinds), 0..4);
    prop_oneof![
        3 => (id(), model_name(), model_name(), types).prop_map(|(account, name, upstream_name, model_types)| {
            E::ModelAdded { account, name, upstream_name, model_types }
        }),
        1 => model_name().prop_map(|name| E::ModelRenamed { name }),
        1 => model_name().prop_map(|upstream_name| E::ModelUpstreamNameChanged { upstream_name }),
        2 => (price(), time()).prop_map(|(price, effective_at)| E::ModelPriced { price, effective_at }),
        1 => (time(), time(), price(), any::<(u64, u64, u64)>()).prop_map(|(from, until, price, shown)| {
            let (requests, before, after) = shown;
            let shown = CostDifference {
                requests,
                cost_before: NanoUsd::new(before),
                cost_after: NanoUsd::new(after),
            };
            E::UsageRepriced { from, until, price, shown }
        }),
        1 => Just(E::ModelDisabled {}),
        1 => Just(E::ModelEnabled {}),
        1 => Just(E::ModelDeleted {}),
    ]
}

fn virtual_model() -> impl Strategy<Value = VirtualModelEvent> {
    use VirtualModelEvent as E;
    prop_oneof![
        3 => (virtual_name(), routing()).prop_map(|(name, routing)| E::VirtualModelCreated { name, routing }),
        1 => virtual_name().prop_map(|name| E::VirtualModelRenamed { name }),
        1 => routing().prop_map(|routing| E::VirtualModelRoutingChanged { routing }),
        1 => Just(E::VirtualModelDisabled {}),
        1 => Just(E::VirtualModelEnabled {}),
        1 => Just(E::VirtualModelDeleted {}),
    ]
}

fn user() -> impl Strategy<Value = UserEvent> {
    use UserEvent as E;
    prop_oneof![
        3 => keyed_hash().prop_map(|email| E::UserAdded { email }),
        1 => keyed_hash().prop_map(|email| E::UserEmailChanged { email }),
        1 => Just(E::UserRenamed {}),
        1 => Just(E::UserDisabled {}),
        1 => Just(E::UserEnabled {}),
        1 => Just(E::UserErased {}),
        1 => Just(E::UserDeleted {}),
    ]
}

fn virtual_account() -> impl Strategy<Value = VirtualAccountEvent> {
    use VirtualAccountEvent as E;
    prop_oneof![
        3 => slug().prop_map(|name| E::VirtualAccountCreated { name }),
        1 => slug().prop_map(|name| E::VirtualAccountRenamed { name }),
        1 => Just(E::VirtualAccountDisabled {}),
        1 => Just(E::VirtualAccountEnabled {}),
        1 => Just(E::VirtualAccountDeleted {}),
    ]
}

fn key() -> impl Strategy<Value = KeyEvent> {
    use KeyEvent as E;
    let issued = (
        owner(),
        label(),
        keyed_hash(),
        "[A-Za-z0-9]{4}",
        option::of(time()),
        limits(),
    );
    prop_oneof![
        3 => issued.prop_map(|(owner, label, hash, hint, expires_at, limits)| {
            E::KeyIssued { owner, label, hash, hint, expires_at, limits }
        }),
        1 => label().prop_map(|label| E::KeyRelabelled { label }),
        1 => limits().prop_map(|limits| E::KeyLimitsChanged { limits }),
        1 => option::of(time()).prop_map(|expires_at| E::KeyExpiryChanged { expires_at }),
        2 => (keyed_hash(), "[A-Za-z0-9]{4}", option::of(time())).prop_map(|(hash, hint, former_works_until)| {
            E::KeyRotated { hash, hint, former_works_until }
        }),
        1 => Just(E::KeyFormerSecretRevoked {}),
        1 => Just(E::KeyDisabled {}),
        1 => Just(E::KeyEnabled {}),
        1 => Just(E::KeyRevoked {}),
    ]
}

fn grant() -> impl Strategy<Value = GrantEvent> {
    use GrantEvent as E;
    prop_oneof![
        3 => (subject(), granted()).prop_map(|(subject, models)| E::AccessGranted { subject, models }),
        1 => granted().prop_map(|models| E::GrantedModelsChanged { models }),
        1 => Just(E::AccessRevoked {}),
    ]
}

fn operator() -> impl Strategy<Value = OperatorEvent> {
    use OperatorEvent as E;
    prop_oneof![
        3 => (role(), keyed_hash()).prop_map(|(role, email)| E::OperatorAdded { role, email }),
        1 => role().prop_map(|role| E::OperatorRoleChanged { role }),
        1 => Just(E::OperatorRenamed {}),
        1 => keyed_hash().prop_map(|email| E::OperatorEmailChanged { email }),
        1 => Just(E::OperatorPasswordChanged {}),
        1 => Just(E::OperatorDisabled {}),
        1 => Just(E::OperatorEnabled {}),
        1 => Just(E::OperatorRemoved {}),
        1 => Just(E::OperatorErased {}),
        2 => (id(), label(), option::of(time())).prop_map(|(token, label, expires_at)| {
            E::OperatorTokenIssued { token, label, expires_at }
        }),
        1 => id().prop_map(|token| E::OperatorTokenRevoked { token }),
    ]
}

fn team() -> impl Strategy<Value = TeamEvent> {
    use TeamEvent as E;
    let role = || select(vec![TeamRole::Member, TeamRole::Manager]);
    prop_oneof![
        3 => slug().prop_map(|name| E::TeamCreated { name }),
        1 => slug().prop_map(|name| E::TeamRenamed { name }),
        1 => Just(E::TeamDisabled {}),
        1 => Just(E::TeamEnabled {}),
        1 => Just(E::TeamDeleted {}),
        4 => (id(), role()).prop_map(|(user, role)| E::TeamMemberAdded { user, role }),
        1 => (id(), role()).prop_map(|(user, role)| E::TeamMemberRoleChanged { user, role }),
        1 => id().prop_map(|user| E::TeamMemberRemoved { user }),
    ]
}

fn policy() -> impl Strategy<Value = RateLimitPolicyEvent> {
    use RateLimitPolicyEvent as E;
    prop_oneof![
        3 => (slug(), any::<u32>(), rule())
            .prop_map(|(name, order, rule)| E::RateLimitPolicyCreated { name, order, rule }),
        1 => slug().prop_map(|name| E::RateLimitPolicyRenamed { name }),
        1 => any::<u32>().prop_map(|order| E::RateLimitPolicyMoved { order }),
        1 => rule().prop_map(|rule| E::RateLimitRuleChanged { rule }),
        1 => Just(E::RateLimitPolicyDisabled {}),
        1 => Just(E::RateLimitPolicyEnabled {}),
        1 => Just(E::RateLimitPolicyDeleted {}),
    ]
}

fn budget() -> impl Strategy<Value = BudgetPolicyEvent> {
    use BudgetPolicyEvent as E;
    prop_oneof![
        3 => (slug(), any::<u32>(), budget_rule())
            .prop_map(|(name, order, rule)| E::BudgetPolicyCreated { name, order, rule }),
        1 => slug().prop_map(|name| E::BudgetPolicyRenamed { name }),
        1 => any::<u32>().prop_map(|order| E::BudgetPolicyMoved { order }),
        1 => budget_rule().prop_map(|rule| E::BudgetRuleChanged { rule }),
        1 => Just(E::BudgetPolicyDisabled {}),
        1 => Just(E::BudgetPolicyEnabled {}),
        1 => Just(E::BudgetPolicyDeleted {}),
    ]
}

fn alert() -> impl Strategy<Value = BudgetAlertEvent> {
    let window = (time(), time());
    let told = (budget_limit(), budget_amount(), 1..=100_u8);
    ((0..3_u128), window, told).prop_map(
        |(segment, (began_at, ends_at), (limit, used, threshold))| {
            BudgetAlertEvent::BudgetAlertRaised {
                segment: Uuid::from_u128(segment),
                limit,
                began_at,
                ends_at,
                threshold,
                used,
            }
        },
    )
}

fn settings() -> impl Strategy<Value = SettingsEvent> {
    use SettingsEvent as E;
    prop_oneof![
        option::of(label()).prop_map(|name| E::OrganisationRenamed { name }),
        (any::<u32>(), any::<u32>()).prop_map(|(requests_days, sums_days)| {
            E::RetentionChanged {
                requests_days,
                sums_days,
            }
        }),
        (any::<u32>(), any::<u32>()).prop_map(|(idle_minutes, longest_hours)| {
            E::SessionBoundsChanged {
                idle_minutes,
                longest_hours,
            }
        }),
    ]
}

// === what it is made of ===

fn id<T: 'static>() -> impl Strategy<Value = Id<T>> {
    (1_u8..4).prop_map(|byte| Id::from_bytes([byte; 16]))
}

fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.micros()..=Timestamp::MAX.micros())
        .prop_map(|micros| Timestamp::from_micros(micros).expect("in range"))
}

/// An epoch.
pub(crate) fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), any::<u128>()).prop_map(|(seconds, id)| Epoch {
        seconds,
        id: Uuid::from_u128(id),
    })
}

fn slug() -> impl Strategy<Value = Slug> {
    prop_oneof![3 => "[ab]", 1 => "[a-z0-9][a-z0-9._-]{0,62}"]
        .prop_map(|text| text.parse().expect("a slug"))
}

fn virtual_name() -> impl Strategy<Value = VirtualModelName> {
    prop_oneof![3 => "[ab]", 1 => "[ab]/[ab]", 1 => "[a-z0-9][a-z0-9._-]{0,62}/[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}"]
        .prop_map(|text| text.parse().expect("a virtual model's name"))
}

fn model_name() -> impl Strategy<Value = ModelName> {
    prop_oneof![3 => "[ab]", 1 => "[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}"]
        .prop_map(|text| text.parse().expect("a model's name"))
}

fn label() -> impl Strategy<Value = Label> {
    prop_oneof![2 => "[ab]", 1 => "[!-~é☕]([ -~é☕]{0,30}[!-~é☕])?"]
        .prop_map(|text| text.parse().expect("a label"))
}

fn base_url() -> impl Strategy<Value = BaseUrl> {
    "https?://[a-z][a-z0-9.-]{0,20}(:[1-9][0-9]{0,3})?(/[a-z0-9%~.-]{1,10}){0,2}"
        .prop_map(|text| text.parse().expect("a base URL"))
}

fn keyed_hash() -> impl Strategy<Value = KeyedHash> {
    ("k[12]", 0_u8..3).prop_map(|(key, byte)| KeyedHash {
        key: key.into(),
        hash: [byte; 32],
    })
}

fn credential() -> impl Strategy<Value = Option<SealedRef>> {
    option::of((id(), any::<u32>()).prop_map(|(id, version)| SealedRef { id, version }))
}

fn money() -> impl Strategy<Value = NanoUsd> {
    any::<u64>().prop_map(NanoUsd::new)
}

fn price() -> impl Strategy<Value = Price> {
    (money(), money(), option::of(money())).prop_map(|(input, output, cached_input)| Price {
        input,
        output,
        cached_input,
    })
}

fn routing() -> impl Strategy<Value = Routing> {
    let strategy = prop::sample::select(RoutingStrategy::ALL.to_vec());
    let sessions =
        (1_u32..9_999, vec(identifier(), 1..3)).prop_map(|(ttl_seconds, session_identifiers)| {
            StickySessions {
                ttl_seconds,
                session_identifiers,
            }
        });
    let milliseconds = || option::of(any::<u32>());
    (
        strategy,
        vec(target(), 0..4),
        option::of(sessions),
        milliseconds(),
        milliseconds(),
    )
        .prop_map(
            |(strategy, targets, sticky, deadline_ms, hedge_after_ms)| Routing {
                strategy,
                targets,
                sticky,
                deadline_ms,
                hedge_after_ms,
            },
        )
}

fn identifier() -> impl Strategy<Value = SessionIdentifier> {
    let source = prop_oneof![Just(SessionSource::Headers), Just(SessionSource::Metadata)];
    (source, "[a-zA-Z-]{1,9}").prop_map(|(source, key)| SessionIdentifier {
        source,
        key: key.parse().expect("a key"),
    })
}

fn target() -> impl Strategy<Value = RoutingTarget> {
    let codes = || option::of(btree_set(100_u16..600, 0..4));
    let number = || option::of(any::<u32>());
    let retry =
        (any::<u8>(), number(), codes()).prop_map(|(attempts, delay_ms, on_status_codes)| Retry {
            attempts,
            delay_ms,
            on_status_codes,
        });
    let cutoff = (number(), number()).prop_map(|(first, each)| SlaCutoff {
        time_to_first_token_ms: first,
        time_per_output_token_ms: each,
    });
    let params = (any::<u16>(), "[a-z\" é]{0,9}").prop_map(|(number, text)| {
        let object = serde_json::json!({ "top_p": number, text.as_str(): [text.as_str()] });
        object.to_string().parse().expect("an object")
    });
    let header = || "[a-z]{3,9}".prop_map(|name| format!("x-{name}").parse().expect("a header"));
    let value = "[!-~]{1,9}".prop_map(|value| value.parse().expect("a value"));
    let headers = (btree_map(header(), value, 0..3), btree_set(header(), 0..3))
        .prop_map(|(set, remove)| HeadersOverride { set, remove });
    let key = "[a-z]{1,9}".prop_map(|key| key.parse().expect("a key"));
    let metadata = btree_map(key, "[a-z ]{0,9}", 0..3);
    let usual = (id(), number(), number(), codes(), any::<bool>());
    let special = (
        option::of(retry),
        option::of(cutoff),
        option::of(params),
        option::of(headers),
        option::of(metadata),
    );
    (usual, special).prop_map(
        |(
            (model, weight, priority, fallback_status_codes, fallback_candidate),
            (retry, sla_cutoff, override_params, headers_override, metadata_match),
        )| RoutingTarget {
            model,
            weight,
            priority,
            fallback_status_codes,
            fallback_candidate,
            retry,
            sla_cutoff,
            override_params,
            headers_override,
            metadata_match,
        },
    )
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        id().prop_map(Owner::User),
        id().prop_map(Owner::VirtualAccount)
    ]
}

fn limits() -> impl Strategy<Value = KeyLimits> {
    (option::of(any::<u64>()), option::of(any::<u64>())).prop_map(
        |(requests_per_minute, tokens_per_minute)| KeyLimits {
            requests_per_minute,
            tokens_per_minute,
        },
    )
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Everyone),
        id().prop_map(Subject::User),
        id().prop_map(Subject::VirtualAccount),
        id().prop_map(Subject::Key),
        id().prop_map(Subject::Team),
    ]
}

fn granted() -> impl Strategy<Value = GrantedModels> {
    prop_oneof![
        Just(GrantedModels::All),
        btree_set(model_ref(), 0..4)
            .prop_map(|models: BTreeSet<ModelRef>| GrantedModels::Listed(models)),
    ]
}

fn rule() -> impl Strategy<Value = RateLimitRule> {
    let counted = (
        segments(),
        rate_limits(),
        overrides(rate_limits),
        mode(),
        select(vec![
            LimitWhenCutOff::Alone,
            LimitWhenCutOff::Open,
            LimitWhenCutOff::Closed,
        ]),
    );
    (when(), counted).prop_map(
        |(when, (applies_per, limits, overrides, mode, when_cut_off))| RateLimitRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off,
        },
    )
}

fn budget_rule() -> impl Strategy<Value = BudgetRule> {
    let counted = (
        segments(),
        budget_limits(),
        overrides(budget_limits),
        mode(),
        select(vec![WhenCutOff::Open, WhenCutOff::Closed]),
        btree_set(any::<u8>(), 0..4),
    );
    (when(), counted).prop_map(
        |(when, (applies_per, limits, overrides, mode, when_cut_off, alerts))| BudgetRule {
            when,
            applies_per,
            limits,
            overrides,
            mode,
            when_cut_off,
            alerts,
        },
    )
}

fn when() -> impl Strategy<Value = When> {
    let subject = || {
        prop_oneof![
            id().prop_map(LimitedSubject::User),
            id().prop_map(LimitedSubject::Team),
            id().prop_map(LimitedSubject::VirtualAccount),
        ]
    };
    let metadata = btree_map(metadata_key(), choice(metadata_value), 0..3);
    (choice(subject), choice(model_ref), metadata).prop_map(|(subjects, models, metadata)| When {
        subjects,
        models,
        metadata,
    })
}

fn segments() -> impl Strategy<Value = BTreeSet<LimitSegment>> {
    let segment = prop_oneof![
        Just(LimitSegment::User),
        Just(LimitSegment::VirtualAccount),
        Just(LimitSegment::Model),
        metadata_key().prop_map(LimitSegment::Metadata),
        Just(LimitSegment::Team),
        Just(LimitSegment::Key),
    ];
    btree_set(segment, 0..3)
}

fn overrides<L, S>(limits: fn() -> S) -> impl Strategy<Value = BTreeSet<Override<L>>>
where
    L: Ord + std::fmt::Debug,
    S: Strategy<Value = BTreeSet<L>>,
{
    let one_of = prop_oneof![
        id().prop_map(SegmentValue::User),
        id().prop_map(SegmentValue::VirtualAccount),
        model_ref().prop_map(SegmentValue::Model),
        (metadata_key(), metadata_value())
            .prop_map(|(key, value)| SegmentValue::Metadata { key, value }),
        id().prop_map(SegmentValue::Team),
    ];
    let other =
        (btree_set(one_of, 0..3), limits()).prop_map(|(of, limits)| Override { of, limits });
    btree_set(other, 0..3)
}

fn mode() -> impl Strategy<Value = LimitMode> {
    select(vec![LimitMode::Enforce, LimitMode::Audit])
}

fn metadata_value() -> impl Strategy<Value = String> {
    "[ -~é☕]{0,20}"
}

fn budget_limits() -> impl Strategy<Value = BTreeSet<BudgetLimit>> {
    btree_set(budget_limit(), 0..4)
}

fn budget_amount() -> impl Strategy<Value = BudgetAmount> {
    prop_oneof![
        money().prop_map(BudgetAmount::Cost),
        any::<u64>().prop_map(BudgetAmount::Tokens),
    ]
}

fn budget_limit() -> impl Strategy<Value = BudgetLimit> {
    let window = select(vec![
        BudgetWindow::Day,
        BudgetWindow::Week,
        BudgetWindow::Month,
        BudgetWindow::Quarter,
    ]);
    (budget_amount(), window).prop_map(|(amount, window)| BudgetLimit { amount, window })
}

fn choice<T: Ord + std::fmt::Debug, S: Strategy<Value = T>>(
    of: impl Fn() -> S,
) -> impl Strategy<Value = Choice<T>> {
    (btree_set(of(), 0..3), btree_set(of(), 0..3))
        .prop_map(|(within, not_in)| Choice { within, not_in })
}

fn rate_limits() -> impl Strategy<Value = BTreeSet<RateLimit>> {
    let limit = (
        select(vec![LimitUnit::Requests, LimitUnit::Tokens]),
        select(vec![
            LimitWindow::Minute,
            LimitWindow::Hour,
            LimitWindow::Day,
            LimitWindow::AtATime,
        ]),
        any::<u64>(),
    );
    let limit = limit.prop_map(|(unit, window, limit)| RateLimit {
        unit,
        window,
        limit,
    });
    btree_set(limit, 0..4)
}

fn model_ref() -> impl Strategy<Value = ModelRef> {
    prop_oneof![
        id().prop_map(ModelRef::Model),
        id().prop_map(ModelRef::VirtualModel),
        id().prop_map(ModelRef::ProviderAccount),
    ]
}

fn metadata_key() -> impl Strategy<Value = MetadataKey> {
    "[ -~é☕]{1,64}".prop_map(|text| text.parse().expect("a key"))
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![
        Role::Owner,
        Role::Operator,
        Role::Auditor,
        Role::Viewer,
    ])
}

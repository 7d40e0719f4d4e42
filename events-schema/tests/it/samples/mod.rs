//! Histories in which every kind of event occurs: what the golden files are first made of. What is new comes in a
//! history of its own, so that the old ones stay as they are.

mod alerts;
mod policies;

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    envelope::Epoch,
    events::{
        CostDifference, Event, GrantEvent, GrantedModels, HeadersOverride, KeyEvent, KeyLimits,
        LogEvent, ModelEvent, ModelRef, ModelType, OperatorEvent, Owner, Provider,
        ProviderAccountEvent, Retry, Role, Routing, RoutingStrategy, RoutingTarget,
        SessionIdentifier, SessionSource, SettingsEvent, SlaCutoff, StickySessions, Subject,
        TeamEvent, TeamRole, UserEvent, VirtualAccountEvent, VirtualModelEvent,
    },
    id::{
        GrantId, Id, KeyId, ModelId, OperatorId, ProviderAccountId, SecretId, TeamId, TokenId,
        UserId, VirtualAccountId, VirtualModelId,
    },
    money::{NanoUsd, Price},
    secrets::{KeyedHash, SealedRef},
    time::Timestamp,
};
use uuid::Uuid;

use crate::log::{EPOCH, a_time};

const ACCOUNT: ProviderAccountId = Id::from_bytes([0x11; 16]);
const SPARE_ACCOUNT: ProviderAccountId = Id::from_bytes([0x12; 16]);
const MODEL: ModelId = Id::from_bytes([0x21; 16]);
const SPARE_MODEL: ModelId = Id::from_bytes([0x22; 16]);
const VIRTUAL_MODEL: VirtualModelId = Id::from_bytes([0x31; 16]);
const SPARE_VIRTUAL_MODEL: VirtualModelId = Id::from_bytes([0x32; 16]);
const USER: UserId = Id::from_bytes([0x41; 16]);
const SPARE_USER: UserId = Id::from_bytes([0x42; 16]);
const APP: VirtualAccountId = Id::from_bytes([0x51; 16]);
const SPARE_APP: VirtualAccountId = Id::from_bytes([0x52; 16]);
const KEY: KeyId = Id::from_bytes([0x61; 16]);
const SPARE_KEY: KeyId = Id::from_bytes([0x62; 16]);
const GRANT: GrantId = Id::from_bytes([0x71; 16]);
const SPARE_GRANT: GrantId = Id::from_bytes([0x72; 16]);
const OPERATOR: OperatorId = Id::from_bytes([0x81; 16]);
const SPARE_OPERATOR: OperatorId = Id::from_bytes([0x82; 16]);
const TEAM: TeamId = Id::from_bytes([0xb1; 16]);
const SPARE_TEAM: TeamId = Id::from_bytes([0xb2; 16]);
const TOKEN: TokenId = Id::from_bytes([0x91; 16]);
const SECRET: SecretId = Id::from_bytes([0xa1; 16]);

/// The histories, by the names of their golden logs.
pub(crate) fn histories() -> [(&'static str, Vec<Event>); 16] {
    [
        ("first", history()),
        ("rotation", rotation()),
        ("teams", teams()),
        ("erasure", erasure()),
        ("policies", policies::policies()),
        ("renaming", renaming()),
        ("settings", settings()),
        ("routing", routing()),
        ("addresses", addresses()),
        ("limits", policies::limits()),
        ("budgets", policies::budgets()),
        ("alerts", alerts::alerts()),
        ("at_a_time", policies::at_a_time()),
        ("repricing", repricing()),
        ("per_key", policies::per_key()),
        ("cut_off", policies::cut_off()),
    ]
}

/// Provider accounts that may lead to private addresses, and may not any more, and the other way round.
fn addresses() -> Vec<Event> {
    use ProviderAccountEvent as E;
    let registered =
        |called: &str, base_url: &str, allows_private_addresses| E::ProviderAccountRegistered {
            name: name(called),
            provider: Provider::OpenaiCompatible,
            base_url: name(base_url),
            credential: None,
            allows_private_addresses,
        };
    let open = [
        registered("next-door", "http://10.0.0.7:8000/v1", false),
        E::ProviderPrivateAddressesAllowed {},
    ];
    let closed = [
        registered("far-away", "https://api.example.com/v1", true),
        E::ProviderPrivateAddressesForbidden {},
    ];
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    let accounts = of(Event::ProviderAccount, ACCOUNT, open, SPARE_ACCOUNT, closed);
    begin.into_iter().chain(accounts).collect()
}

/// A model whose price was wrong for a day, and then for an hour of it otherwise.
fn repricing() -> Vec<Event> {
    use ModelEvent as E;
    let at = |text: &str| text.parse().expect("a time");
    let price = |input, output, cached_input: Option<u64>| Price {
        input: NanoUsd::new(input),
        output: NanoUsd::new(output),
        cached_input: cached_input.map(NanoUsd::new),
    };
    let shown = |requests, before, after| CostDifference {
        requests,
        cost_before: NanoUsd::new(before),
        cost_after: NanoUsd::new(after),
    };
    let its = [
        E::ModelAdded {
            account: ACCOUNT,
            name: name("large"),
            upstream_name: name("large"),
            model_types: BTreeSet::from([ModelType::Chat]),
        },
        E::ModelPriced {
            price: price(25_000_000_000, 100_000_000_000, None),
            effective_at: at("2026-11-01T00:00:00Z"),
        },
        E::UsageRepriced {
            from: at("2026-11-20T00:00:00Z"),
            until: at("2026-11-21T00:00:00Z"),
            price: price(2_500_000_000, 10_000_000_000, Some(1_250_000_000)),
            shown: shown(1_200, 30_000_000_000, 2_900_000_000),
        },
        E::UsageRepriced {
            from: at("2026-11-20T13:00:00Z"),
            until: at("2026-11-20T14:00:00Z"),
            price: price(5_000_000_000, 20_000_000_000, None),
            shown: shown(50, 120_000_000, 240_000_000),
        },
    ];
    let begin = [
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::ProviderAccount(
            ACCOUNT,
            ProviderAccountEvent::ProviderAccountRegistered {
                name: name("openai"),
                provider: Provider::OpenaiCompatible,
                base_url: name("https://api.example.com/v1"),
                credential: None,
                allows_private_addresses: false,
            },
        ),
    ];
    let its = its.into_iter().map(|event| Event::Model(MODEL, event));
    begin.into_iter().chain(its).collect()
}

/// A virtual model that chooses by everything that there is, and then by weights alone.
fn routing() -> Vec<Event> {
    use VirtualModelEvent as E;
    let first = RoutingTarget {
        model: MODEL,
        weight: None,
        priority: Some(0),
        fallback_status_codes: Some(BTreeSet::from([429, 500])),
        fallback_candidate: true,
        retry: Some(Retry {
            attempts: 2,
            delay_ms: Some(250),
            on_status_codes: Some(BTreeSet::from([503])),
        }),
        sla_cutoff: Some(SlaCutoff {
            time_to_first_token_ms: Some(800),
            time_per_output_token_ms: Some(50),
        }),
        override_params: Some(r#"{"temperature":0.50,"stop":["x"]}"#.parse().expect("an object")),
        headers_override: Some(HeadersOverride {
            set: BTreeMap::from([(
                "x-region".parse().expect("a header"),
                "us-east-1".parse().expect("a value"),
            )]),
            remove: BTreeSet::from(["x-internal-debug".parse().expect("a header")]),
        }),
        metadata_match: Some(BTreeMap::from([(
            "tier".parse().expect("a key"),
            "gold".to_owned(),
        )])),
    };
    let second = RoutingTarget {
        priority: Some(1),
        ..RoutingTarget::weighted(SPARE_MODEL, 1)
    };
    let identifier = |source, key: &str| SessionIdentifier {
        source,
        key: key.parse().expect("a key"),
    };
    let routing = Routing {
        strategy: RoutingStrategy::PriorityBased,
        targets: vec![first, second],
        sticky: Some(StickySessions {
            ttl_seconds: 3_600,
            session_identifiers: vec![
                identifier(SessionSource::Headers, "X-User-Id"),
                identifier(SessionSource::Metadata, "conversation"),
            ],
        }),
        deadline_ms: Some(20_000),
        hedge_after_ms: Some(1_500),
    };
    let model = |id, name_of: &str| {
        let added = ModelEvent::ModelAdded {
            account: ACCOUNT,
            name: name(name_of),
            upstream_name: name(name_of),
            model_types: BTreeSet::from([ModelType::Chat]),
        };
        Event::Model(id, added)
    };
    vec![
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::ProviderAccount(
            ACCOUNT,
            ProviderAccountEvent::ProviderAccountRegistered {
                name: name("openai"),
                provider: Provider::OpenaiCompatible,
                base_url: name("http://127.0.0.1:1"),
                credential: None,
                allows_private_addresses: true,
            },
        ),
        model(MODEL, "large"),
        model(SPARE_MODEL, "small"),
        Event::VirtualModel(
            VIRTUAL_MODEL,
            E::VirtualModelCreated {
                name: name("chat"),
                routing: routing.clone(),
            },
        ),
        Event::VirtualModel(
            SPARE_VIRTUAL_MODEL,
            E::VirtualModelCreated {
                name: name("fastest"),
                routing: Routing {
                    strategy: RoutingStrategy::LatencyBased,
                    sticky: None,
                    ..routing.clone()
                },
            },
        ),
        Event::VirtualModel(
            SPARE_VIRTUAL_MODEL,
            E::VirtualModelRoutingChanged {
                routing: Routing::weighted(vec![RoutingTarget::weighted(MODEL, 1)]),
            },
        ),
    ]
}

/// Settings that are changed, and a name that is taken away again.
fn settings() -> Vec<Event> {
    use SettingsEvent as E;
    let its = [
        E::OrganisationRenamed {
            name: Some(name("Acme ☕")),
        },
        E::RetentionChanged {
            requests_days: 30,
            sums_days: 365,
        },
        E::SessionBoundsChanged {
            idle_minutes: 15,
            longest_hours: 8,
        },
        E::OrganisationRenamed { name: None },
    ];
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    begin.into_iter().chain(its.map(Event::Settings)).collect()
}

/// A user and an operator who are called otherwise, and an operator with another address.
fn renaming() -> Vec<Event> {
    let operator = OperatorEvent::OperatorAdded {
        role: Role::Owner,
        email: fingerprint(4),
    };
    let user = UserEvent::UserAdded {
        email: fingerprint(3),
    };
    vec![
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::Operator(OPERATOR, operator),
        Event::User(USER, user),
        Event::User(USER, UserEvent::UserRenamed {}),
        Event::Operator(OPERATOR, OperatorEvent::OperatorRenamed {}),
        Event::Operator(
            OPERATOR,
            OperatorEvent::OperatorEmailChanged {
                email: fingerprint(5),
            },
        ),
    ]
}

/// A user and an operator whose names are erased, and a credential that is shredded.
fn erasure() -> Vec<Event> {
    let added = UserEvent::UserAdded {
        email: fingerprint(3),
    };
    let operator = OperatorEvent::OperatorAdded {
        role: Role::Viewer,
        email: fingerprint(4),
    };
    let registered = ProviderAccountEvent::ProviderAccountRegistered {
        name: name("openai"),
        provider: Provider::OpenaiCompatible,
        base_url: name("https://api.openai.com/v1"),
        credential: Some(sealed(1)),
        allows_private_addresses: true,
    };
    vec![
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::User(USER, added.clone()),
        Event::User(USER, UserEvent::UserErased {}),
        Event::User(SPARE_USER, added),
        Event::Operator(OPERATOR, operator),
        Event::Operator(OPERATOR, OperatorEvent::OperatorRemoved {}),
        Event::Operator(OPERATOR, OperatorEvent::OperatorErased {}),
        Event::ProviderAccount(ACCOUNT, registered),
        Event::ProviderAccount(ACCOUNT, ProviderAccountEvent::ProviderCredentialShredded {}),
    ]
}

/// A team with a member who was a manager, and one who left; a team that is gone.
fn teams() -> Vec<Event> {
    use TeamEvent as E;
    let added = |user, role| E::TeamMemberAdded { user, role };
    let kept = [
        E::TeamCreated {
            name: name("backend"),
        },
        E::TeamRenamed {
            name: name("platform"),
        },
        added(USER, TeamRole::Manager),
        added(SPARE_USER, TeamRole::Member),
        E::TeamMemberRoleChanged {
            user: USER,
            role: TeamRole::Member,
        },
        E::TeamMemberRemoved { user: SPARE_USER },
        E::TeamDisabled {},
        E::TeamEnabled {},
    ];
    let gone = [
        E::TeamCreated { name: name("old") },
        added(SPARE_USER, TeamRole::Manager),
        E::TeamMemberRemoved { user: SPARE_USER },
        E::TeamDeleted {},
    ];
    let begin = [
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::User(
            USER,
            UserEvent::UserAdded {
                email: fingerprint(3),
            },
        ),
        Event::User(
            SPARE_USER,
            UserEvent::UserAdded {
                email: fingerprint(4),
            },
        ),
    ];
    let granted = Event::Grant(
        GRANT,
        GrantEvent::AccessGranted {
            subject: Subject::Team(TEAM),
            models: GrantedModels::All,
        },
    );
    let teams = of(Event::Team, TEAM, kept, SPARE_TEAM, gone);
    begin.into_iter().chain(teams).chain([granted]).collect()
}

/// A key whose secret is replaced: with a grace period, whose end comes early, and without one.
fn rotation() -> Vec<Event> {
    use KeyEvent as E;
    let rotated = |byte, former_works_until| E::KeyRotated {
        hash: fingerprint(byte),
        hint: format!("ro{byte:02}"),
        former_works_until,
    };
    let kept = [
        issued(Owner::User(USER), 10, None, KeyLimits::default()),
        rotated(11, Some(later())),
        E::KeyFormerSecretRevoked {},
        rotated(12, Some(later())),
    ];
    let other = [
        issued(Owner::User(USER), 20, None, KeyLimits::default()),
        rotated(21, Some(later())),
        rotated(22, None),
    ];
    let begin = [
        Event::Log(LogEvent::LogInitialised { epoch: EPOCH }),
        Event::User(
            USER,
            UserEvent::UserAdded {
                email: fingerprint(3),
            },
        ),
    ];
    let keys = of(Event::Key, KEY, kept, SPARE_KEY, other);
    begin.into_iter().chain(keys).collect()
}

/// The history of the beginning.
pub(crate) fn history() -> Vec<Event> {
    let begin = [Event::Log(LogEvent::LogInitialised { epoch: EPOCH })];
    let end = [Event::Log(LogEvent::EpochStarted {
        epoch: Epoch {
            seconds: EPOCH.seconds + 86_400,
            id: Uuid::from_bytes([0xef; 16]),
        },
    })];
    let parts: [Vec<Event>; 8] = [
        operators(),
        provider_accounts(),
        models(),
        virtual_models(),
        users(),
        virtual_accounts(),
        keys(),
        grants(),
    ];
    begin
        .into_iter()
        .chain(parts.into_iter().flatten())
        .chain(end)
        .collect()
}

fn operators() -> Vec<Event> {
    use OperatorEvent as E;
    let added = |role, byte| E::OperatorAdded {
        role,
        email: fingerprint(byte),
    };
    let issued = |token, label: &str, expires_at| E::OperatorTokenIssued {
        token,
        label: name(label),
        expires_at,
    };
    let kept = [
        added(Role::Owner, 1),
        E::OperatorRoleChanged {
            role: Role::Operator,
        },
        E::OperatorPasswordChanged {},
        E::OperatorDisabled {},
        E::OperatorEnabled {},
        issued(TOKEN, "deploy ☕", Some(later())),
        issued(Id::from_bytes([0x92; 16]), "nightly", None),
        E::OperatorTokenRevoked { token: TOKEN },
    ];
    let gone = [added(Role::Auditor, 2), E::OperatorRemoved {}];
    of(Event::Operator, OPERATOR, kept, SPARE_OPERATOR, gone)
}

fn provider_accounts() -> Vec<Event> {
    use ProviderAccountEvent as E;
    let registered =
        |account: &str, provider, base_url: &str, credential| E::ProviderAccountRegistered {
            name: name(account),
            provider,
            base_url: name(base_url),
            credential,
            allows_private_addresses: true,
        };
    let kept = [
        registered(
            "openai",
            Provider::Openai,
            "https://api.openai.com/v1",
            Some(sealed(1)),
        ),
        E::ProviderAccountRenamed {
            name: name("openai-main"),
        },
        E::ProviderAccountMoved {
            base_url: name("https://eu.api.openai.com/v1"),
            credential: Some(sealed(2)),
        },
        E::ProviderCredentialReplaced {
            credential: Some(sealed(3)),
        },
        E::ProviderAccountDisabled {},
        E::ProviderAccountEnabled {},
    ];
    let gone = [
        registered(
            "local",
            Provider::OpenaiCompatible,
            "http://127.0.0.1:8080",
            None,
        ),
        E::ProviderCredentialReplaced { credential: None },
        E::ProviderAccountDeleted {},
    ];
    of(Event::ProviderAccount, ACCOUNT, kept, SPARE_ACCOUNT, gone)
}

fn models() -> Vec<Event> {
    use ModelEvent as E;
    let added = |model: &str, model_types| E::ModelAdded {
        account: ACCOUNT,
        name: name(model),
        upstream_name: name(model),
        model_types,
    };
    let kept = [
        added("gpt-4o", BTreeSet::from([ModelType::Chat])),
        E::ModelRenamed {
            name: name("GPT-4o"),
        },
        E::ModelUpstreamNameChanged {
            upstream_name: name("gpt-4o-2026-08-06"),
        },
        E::ModelPriced {
            price: Price {
                input: NanoUsd::new(2_500_000_000),
                output: NanoUsd::new(10_000_000_000),
                cached_input: Some(NanoUsd::new(1_250_000_000)),
            },
            effective_at: a_time(),
        },
        E::ModelDisabled {},
        E::ModelEnabled {},
    ];
    let gone = [
        added(
            "text-embedding-3",
            BTreeSet::from([ModelType::Chat, ModelType::Embedding]),
        ),
        E::ModelDeleted {},
    ];
    of(Event::Model, MODEL, kept, SPARE_MODEL, gone)
}

fn virtual_models() -> Vec<Event> {
    use VirtualModelEvent as E;
    let weighted = |fallback_status_codes| {
        Routing::weighted(vec![RoutingTarget {
            fallback_status_codes,
            ..RoutingTarget::weighted(MODEL, 9)
        }])
    };
    let created = |slug: &str| E::VirtualModelCreated {
        name: name(slug),
        routing: weighted(None),
    };
    let kept = [
        created("fast"),
        E::VirtualModelRenamed { name: name("chat") },
        E::VirtualModelRoutingChanged {
            routing: weighted(Some(BTreeSet::from([429, 503]))),
        },
        E::VirtualModelDisabled {},
        E::VirtualModelEnabled {},
    ];
    let gone = [created("slow"), E::VirtualModelDeleted {}];
    of(
        Event::VirtualModel,
        VIRTUAL_MODEL,
        kept,
        SPARE_VIRTUAL_MODEL,
        gone,
    )
}

fn users() -> Vec<Event> {
    use UserEvent as E;
    let kept = [
        E::UserAdded {
            email: fingerprint(3),
        },
        E::UserEmailChanged {
            email: fingerprint(4),
        },
        E::UserDisabled {},
        E::UserEnabled {},
    ];
    let gone = [
        E::UserAdded {
            email: fingerprint(5),
        },
        E::UserDeleted {},
    ];
    of(Event::User, USER, kept, SPARE_USER, gone)
}

fn virtual_accounts() -> Vec<Event> {
    use VirtualAccountEvent as E;
    let kept = [
        E::VirtualAccountCreated { name: name("ci") },
        E::VirtualAccountRenamed {
            name: name("ci-runner"),
        },
        E::VirtualAccountDisabled {},
        E::VirtualAccountEnabled {},
    ];
    let gone = [
        E::VirtualAccountCreated { name: name("old") },
        E::VirtualAccountDeleted {},
    ];
    of(Event::VirtualAccount, APP, kept, SPARE_APP, gone)
}

fn issued(owner: Owner, byte: u8, expires_at: Option<Timestamp>, limits: KeyLimits) -> KeyEvent {
    KeyEvent::KeyIssued {
        owner,
        label: name("Bob's laptop ☕"),
        hash: fingerprint(byte),
        hint: "x9Zq".to_owned(),
        expires_at,
        limits,
    }
}

fn keys() -> Vec<Event> {
    use KeyEvent as E;
    let limits = KeyLimits {
        requests_per_minute: Some(600),
        tokens_per_minute: None,
    };
    let kept = [
        issued(Owner::VirtualAccount(APP), 6, Some(later()), limits),
        E::KeyRelabelled {
            label: name("the build"),
        },
        E::KeyLimitsChanged {
            limits: KeyLimits {
                requests_per_minute: None,
                tokens_per_minute: Some(u64::MAX),
            },
        },
        E::KeyExpiryChanged { expires_at: None },
        E::KeyDisabled {},
        E::KeyEnabled {},
    ];
    let gone = [
        issued(Owner::User(USER), 7, None, KeyLimits::default()),
        E::KeyRevoked {},
    ];
    of(Event::Key, KEY, kept, SPARE_KEY, gone)
}

fn grants() -> Vec<Event> {
    use GrantEvent as E;
    let listed = GrantedModels::Listed(BTreeSet::from([
        ModelRef::Model(MODEL),
        ModelRef::VirtualModel(VIRTUAL_MODEL),
        ModelRef::ProviderAccount(ACCOUNT),
    ]));
    let granted = |subject, models| E::AccessGranted { subject, models };
    let kept = [
        granted(Subject::VirtualAccount(APP), listed),
        E::GrantedModelsChanged {
            models: GrantedModels::Listed(BTreeSet::from([ModelRef::VirtualModel(VIRTUAL_MODEL)])),
        },
    ];
    let gone = [
        granted(Subject::Everyone, GrantedModels::All),
        E::AccessRevoked {},
    ];
    of(Event::Grant, GRANT, kept, SPARE_GRANT, gone)
}

/// The events of a thing that stays, and of one that goes.
fn of<I: Copy, E, const KEPT: usize, const GONE: usize>(
    event: impl Fn(I, E) -> Event,
    kept: I,
    its: [E; KEPT],
    gone: I,
    of_the_other: [E; GONE],
) -> Vec<Event> {
    let stays = its.into_iter().map(|it| event(kept, it));
    let goes = of_the_other.into_iter().map(|it| event(gone, it));
    stays.chain(goes).collect()
}

fn name<N: std::str::FromStr>(text: &str) -> N {
    match text.parse() {
        Ok(name) => name,
        Err(_) => panic!("'{text}' is no name of this type"),
    }
}

fn fingerprint(byte: u8) -> KeyedHash {
    KeyedHash {
        key: "k1".into(),
        hash: [byte; 32],
    }
}

fn sealed(version: u32) -> SealedRef {
    SealedRef {
        id: SECRET,
        version,
    }
}

fn later() -> Timestamp {
    a_time().plus_micros(86_400_000_000)
}

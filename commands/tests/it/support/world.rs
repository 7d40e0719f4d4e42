//! A small world for the rules: each thing has a number for an id, and a builder with what rules do not look at.

use std::collections::BTreeSet;

use commands::domain::{
    BudgetPolicyCommand, BudgetUse, Command, Fingerprints, GrantCommand, KeyCommand, ModelCommand,
    OperatorCommand, ProviderAccountCommand, RateLimitPolicyCommand, SealedCredential, TeamCommand,
    UserCommand, VirtualAccountCommand, VirtualModelCommand,
};
use events_schema::{
    events::{
        BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, GrantedModels, KeyLimits, LimitMode,
        LimitUnit, LimitWhenCutOff, LimitWindow, ModelRef, ModelType, Owner, Provider, RateLimit,
        RateLimitRule, Role, Routing, RoutingTarget, Subject, TeamRole, When, WhenCutOff,
    },
    id::Id,
    money::NanoUsd,
    secrets::{KeyedHash, SealedRef},
    time::Timestamp,
};
use uuid::Uuid;

use super::journal::NOW;

/// The id of this number.
pub(crate) fn id<T>(number: u8) -> Id<T> {
    Id::from_bytes([number; 16])
}

/// A hash that is this number all over.
pub(crate) fn hash(number: u8) -> KeyedHash {
    KeyedHash {
        key: "k1".into(),
        hash: [number; 32],
    }
}

/// An address whose fingerprint has this number.
pub(crate) fn address(number: u8) -> Fingerprints {
    Fingerprints {
        active: hash(number),
        former: Vec::new(),
    }
}

/// A name of whatever type is wanted.
pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a good name")
}

/// A credential sealed for this origin.
pub(crate) fn sealed(number: u8, origin: &str) -> SealedCredential {
    SealedCredential {
        sealed: SealedRef {
            id: id(number),
            version: 1,
        },
        origin: origin.into(),
    }
}

/// Registers an account at `https://api.example/v1`, with a credential.
pub(crate) fn register_account(number: u8, called: &str) -> Command {
    account(
        number,
        ProviderAccountCommand::Register {
            name: name(called),
            provider: Provider::OpenaiCompatible,
            base_url: name("https://api.example/v1"),
            credential: Some(sealed(number, "https://api.example")),
            allows_private_addresses: false,
        },
    )
}

pub(crate) fn account(number: u8, command: ProviderAccountCommand) -> Command {
    Command::ProviderAccount(id(number), command)
}

/// Adds a model of these types to an account.
pub(crate) fn add_model(number: u8, to: u8, called: &str, types: &[ModelType]) -> Command {
    model(
        number,
        ModelCommand::Add {
            account: id(to),
            name: name(called),
            upstream_name: name(called),
            model_types: types.iter().copied().collect(),
        },
    )
}

pub(crate) fn model(number: u8, command: ModelCommand) -> Command {
    Command::Model(id(number), command)
}

/// A target with this weight.
pub(crate) fn target(model: u8, weight: u32) -> RoutingTarget {
    RoutingTarget::weighted(id(model), weight)
}

/// Creates a virtual model over these targets.
pub(crate) fn create_virtual_model(
    number: u8,
    called: &str,
    targets: Vec<RoutingTarget>,
) -> Command {
    virtual_model(
        number,
        VirtualModelCommand::Create {
            name: name(called),
            routing: Routing::weighted(targets),
        },
    )
}

pub(crate) fn virtual_model(number: u8, command: VirtualModelCommand) -> Command {
    Command::VirtualModel(id(number), command)
}

/// Adds a user whose address has the fingerprint of the same number.
pub(crate) fn add_user(number: u8) -> Command {
    user(
        number,
        UserCommand::Add {
            email: address(number),
        },
    )
}

pub(crate) fn user(number: u8, command: UserCommand) -> Command {
    Command::User(id(number), command)
}

pub(crate) fn create_virtual_account(number: u8, called: &str) -> Command {
    virtual_account(number, VirtualAccountCommand::Create { name: name(called) })
}

pub(crate) fn virtual_account(number: u8, command: VirtualAccountCommand) -> Command {
    Command::VirtualAccount(id(number), command)
}

/// Issues a key whose hash has the same number, without limits and end.
pub(crate) fn issue_key(number: u8, owner: Owner) -> Command {
    issue_key_with(number, owner, None, KeyLimits::default())
}

pub(crate) fn issue_key_with(
    number: u8,
    owner: Owner,
    expires_at: Option<Timestamp>,
    limits: KeyLimits,
) -> Command {
    key(
        number,
        KeyCommand::Issue {
            owner,
            label: name(&format!("Bob's laptop {number}")),
            hash: hash(number),
            hint: "wxyz".into(),
            expires_at,
            limits,
            now: NOW,
        },
    )
}

pub(crate) fn key(number: u8, command: KeyCommand) -> Command {
    Command::Key(id(number), command)
}

/// Grants a subject these models.
pub(crate) fn grant_models(number: u8, subject: Subject, models: &[ModelRef]) -> Command {
    grant(
        number,
        GrantCommand::Grant {
            subject,
            models: listed(models),
        },
    )
}

pub(crate) fn listed(models: &[ModelRef]) -> GrantedModels {
    GrantedModels::Listed(models.iter().copied().collect::<BTreeSet<_>>())
}

pub(crate) fn grant(number: u8, command: GrantCommand) -> Command {
    Command::Grant(id(number), command)
}

pub(crate) fn create_team(number: u8, called: &str) -> Command {
    team(number, TeamCommand::Create { name: name(called) })
}

/// Lets a user come into a team.
pub(crate) fn add_member(number: u8, user: u8, role: TeamRole) -> Command {
    team(
        number,
        TeamCommand::AddMember {
            user: id(user),
            role,
        },
    )
}

pub(crate) fn team(number: u8, command: TeamCommand) -> Command {
    Command::Team(id(number), command)
}

pub(crate) fn create_policy(number: u8, called: &str, rule: RateLimitRule) -> Command {
    policy(
        number,
        RateLimitPolicyCommand::Create {
            name: name(called),
            order: 10,
            rule,
        },
    )
}

pub(crate) fn policy(number: u8, command: RateLimitPolicyCommand) -> Command {
    Command::RateLimitPolicy(id(number), command)
}

/// So many requests a minute for everybody together.
pub(crate) fn requests_per_minute(limit: u64) -> RateLimitRule {
    RateLimitRule {
        when: When::default(),
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([rate_limit(limit)]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    }
}

/// So many requests a minute.
pub(crate) const fn rate_limit(limit: u64) -> RateLimit {
    RateLimit {
        unit: LimitUnit::Requests,
        window: LimitWindow::Minute,
        limit,
    }
}

pub(crate) fn create_budget(number: u8, called: &str, rule: BudgetRule) -> Command {
    budget(
        number,
        BudgetPolicyCommand::Create {
            name: name(called),
            order: 10,
            rule,
        },
    )
}

pub(crate) fn budget(number: u8, command: BudgetPolicyCommand) -> Command {
    Command::BudgetPolicy(id(number), command)
}

/// So many dollars a month for everybody together.
pub(crate) fn dollars_per_month(dollars: u64) -> BudgetRule {
    BudgetRule {
        when: When::default(),
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([monthly(dollars)]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: WhenCutOff::Open,
        alerts: BTreeSet::from([75, 100]),
    }
}

/// So many dollars a month.
pub(crate) const fn monthly(dollars: u64) -> BudgetLimit {
    BudgetLimit {
        amount: BudgetAmount::Cost(NanoUsd::new(dollars * 1_000_000_000)),
        window: BudgetWindow::Month,
    }
}

/// Nothing was used yet of 60 dollars in the month of [`NOW`], by everybody together.
pub(crate) fn of_this_month() -> BudgetUse {
    let at = |time: &str| time.parse().expect("a time");
    BudgetUse {
        segment: Uuid::nil(),
        limit: monthly(60),
        began_at: at("2026-11-01T00:00:00Z"),
        ends_at: at("2026-12-01T00:00:00Z"),
        used: 0,
        at: NOW,
    }
}

/// Adds an operator whose address has the fingerprint of the same number.
pub(crate) fn add_operator(number: u8, role: Role) -> Command {
    operator(
        number,
        OperatorCommand::Add {
            role,
            email: address(number),
        },
    )
}

pub(crate) fn operator(number: u8, command: OperatorCommand) -> Command {
    Command::Operator(id(number), command)
}

//! What stands in a document: things by the names that people know them by. Ids, times and secrets' texts never do.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{
        BudgetWindow, KeyLimits, LimitMode, LimitSegment, LimitWhenCutOff, ModelType, Provider,
        RateLimit, Retry, Role, RoutingStrategy, SlaCutoff, StickySessions, TeamRole, WhenCutOff,
    },
    names::{
        BaseUrl, HeaderName, HeaderText, Label, MetadataKey, ModelName, Slug, VirtualModelName,
    },
    secrets::KeyedHash,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// The version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    /// The first.
    #[serde(rename = "v1")]
    V1,
}

/// A document. A section that is missing says nothing about its things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) sluice: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settings: Option<Settings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) provider_accounts: Option<Vec<ProviderAccount>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) models: Option<Vec<Model>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) virtual_models: Option<Vec<VirtualModel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) users: Option<Vec<User>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) teams: Option<Vec<Team>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) virtual_accounts: Option<Vec<VirtualAccount>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keys: Option<Vec<Key>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grants: Option<Vec<Grant>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rate_limit_policies: Option<Vec<RateLimitPolicy>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) budget_policies: Option<Vec<BudgetPolicy>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operators: Option<Vec<Operator>>,
}

/// What holds for the whole organisation. What is missing stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) organisation: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retention: Option<Retention>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) console_sessions: Option<ConsoleSessions>,
}

/// How long what the ledger counts is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    pub(super) requests_days: u32,
    pub(super) sums_days: u32,
}

/// How long sessions of the console last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsoleSessions {
    pub(super) idle_minutes: u32,
    pub(super) longest_hours: u32,
}

/// A provider account, known by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderAccount {
    pub(super) name: Slug,
    pub(super) provider: Provider,
    pub(super) base_url: BaseUrl,
    /// Only ever read. Missing: the account keeps the one that it has.
    #[serde(default, skip_serializing)]
    pub(super) credential: Option<String>,
    /// Whether its host may have private and local addresses. Missing: as it is, and for a new account no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) allows_private_addresses: Option<bool>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// A model, known by its full name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// `account/name`.
    pub(super) name: String,
    /// Missing: the name within the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upstream_name: Option<ModelName>,
    pub(super) types: BTreeSet<ModelType>,
    /// Points in time from which prices apply. What is missing here stays: prices are a history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) prices: Vec<PricePoint>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// A price in dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PricePoint {
    /// Missing: from now on, unless the price that applies now is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    pub(super) input: String,
    pub(super) output: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cached_input: Option<String>,
}

/// A virtual model, known by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VirtualModel {
    pub(super) name: VirtualModelName,
    #[serde(default = "by_weight", skip_serializing_if = "is_by_weight")]
    pub(super) strategy: RoutingStrategy,
    pub(super) targets: Vec<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sticky: Option<StickySessions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hedge_after_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// A target of a virtual model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    /// `account/name`.
    pub(super) model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fallback_status_codes: Option<BTreeSet<u16>>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub(super) fallback_candidate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sla_cutoff: Option<SlaCutoff>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) override_params: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) headers_override: Option<Headers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metadata_match: Option<BTreeMap<MetadataKey, String>>,
}

/// Headers to a provider that differ from the caller's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Headers {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) set: BTreeMap<HeaderName, HeaderText>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) remove: BTreeSet<HeaderName>,
}

const fn by_weight() -> RoutingStrategy {
    RoutingStrategy::WeightBased
}

fn is_by_weight(strategy: &RoutingStrategy) -> bool {
    *strategy == by_weight()
}

/// A user, known by the e-mail address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) email: String,
    pub(super) name: Label,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// A team, known by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Team {
    pub(super) name: Slug,
    /// All of them: who is in the team and not in this list leaves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) members: Vec<Member>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// A member of a team.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    /// By the e-mail address.
    pub(super) user: String,
    pub(super) role: TeamRole,
}

/// A virtual account, known by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VirtualAccount {
    pub(super) name: Slug,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// Who owns a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Owner {
    /// By the e-mail address.
    User(String),
    /// By the name.
    VirtualAccount(Slug),
}

/// A key, known by its owner and label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) owner: Owner,
    pub(super) label: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_unlimited")]
    pub(super) limits: KeyLimits,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
    /// The hash of a secret that exists already, under a pepper of this deployment; missing: a new secret is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<KnownSecret>,
}

/// A key's secret, without the secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnownSecret {
    pub(super) hash: KeyedHash,
    /// Its last four characters.
    pub(super) hint: String,
}

/// To whom access is granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    /// Whoever has a key that works.
    Everyone,
    /// By the e-mail address.
    User(String),
    /// By the name.
    Team(Slug),
    /// By the name.
    VirtualAccount(Slug),
    /// By owner and label.
    Key(KeyName),
}

/// What a key is known by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyName {
    pub(super) owner: Owner,
    pub(super) label: Label,
}

/// A grant of access, known by its subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    pub(super) to: Subject,
    pub(super) models: Models,
}

/// Which models a grant opens, or a policy limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Models {
    /// All, also those that come later.
    #[default]
    All,
    /// These.
    Listed(Vec<ModelRef>),
}

/// Something that a grant opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelRef {
    /// By the full name.
    Model(String),
    /// By the name.
    VirtualModel(VirtualModelName),
    /// All models of an account, by its name.
    ProviderAccount(Slug),
}

/// A rate-limit policy, known by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimitPolicy {
    pub(super) name: Slug,
    pub(super) order: u32,
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub(super) when: When,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) applies_per: BTreeSet<LimitSegment>,
    pub(super) limits: Vec<RateLimit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) overrides: Vec<Override<RateLimit>>,
    #[serde(default = "enforced")]
    pub(super) mode: LimitMode,
    #[serde(default = "alone")]
    pub(super) when_cut_off: LimitWhenCutOff,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// A budget policy, known by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetPolicy {
    pub(super) name: Slug,
    pub(super) order: u32,
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub(super) when: When,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) applies_per: BTreeSet<LimitSegment>,
    pub(super) limits: Vec<BudgetLimit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) overrides: Vec<Override<BudgetLimit>>,
    #[serde(default = "enforced")]
    pub(super) mode: LimitMode,
    #[serde(default = "open")]
    pub(super) when_cut_off: WhenCutOff,
    /// In percent of a limit.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) alerts: BTreeSet<u8>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

/// How much may be used in a window: either cost or tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetLimit {
    /// In dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cost: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<u64>,
    pub(super) window: BudgetWindow,
}

/// Which requests a policy matches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    #[serde(default, skip_serializing_if = "Choice::is_all")]
    pub(super) subjects: Choice<LimitedSubject>,
    #[serde(default, skip_serializing_if = "Choice::is_all")]
    pub(super) models: Choice<ModelRef>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<MetadataKey, Choice<String>>,
}

/// Some of all there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice<T> {
    /// These; none: all.
    #[serde(
        rename = "in",
        default = "Vec::new",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) within: Vec<T>,
    /// But none of these.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub(super) not_in: Vec<T>,
}

/// Limits that apply in place of a policy's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override<L> {
    /// For the counter of these.
    pub(super) of: Vec<SegmentValue>,
    pub(super) limits: Vec<L>,
}

/// One of those that have a counter of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SegmentValue {
    /// By the e-mail address.
    User(String),
    /// By the name.
    VirtualAccount(Slug),
    /// By the full name.
    Model(String),
    /// By the name.
    VirtualModel(VirtualModelName),
    /// A value of a key of the metadata.
    Metadata { key: MetadataKey, value: String },
    /// By the name.
    Team(Slug),
}

impl When {
    /// Whether it matches every request.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Self {
            within: Vec::new(),
            not_in: Vec::new(),
        }
    }
}

impl<T> Choice<T> {
    pub(super) const fn is_all(&self) -> bool {
        self.within.is_empty() && self.not_in.is_empty()
    }

    /// These alone.
    pub(super) const fn only(within: Vec<T>) -> Self {
        Self {
            within,
            not_in: Vec::new(),
        }
    }
}

/// One whose requests a policy matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LimitedSubject {
    /// By the e-mail address.
    User(String),
    /// By the name.
    Team(Slug),
    /// By the name.
    VirtualAccount(Slug),
}

const fn enforced() -> LimitMode {
    LimitMode::Enforce
}

const fn alone() -> LimitWhenCutOff {
    LimitWhenCutOff::USUAL
}

const fn open() -> WhenCutOff {
    WhenCutOff::Open
}

/// An operator, known by the e-mail address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operator {
    pub(super) email: String,
    pub(super) name: Label,
    pub(super) role: Role,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

const fn is_unlimited(limits: &KeyLimits) -> bool {
    limits.requests_per_minute.is_none() && limits.tokens_per_minute.is_none()
}

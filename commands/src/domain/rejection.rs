//! Why a command is refused: one closed enum, one total table from it to code, HTTP status and field, and its
//! wording for people.

use events_schema::{
    events::{Aggregate, CostDifference},
    names::{Label, Slug, VirtualModelName},
};
use gateway_policy::rules::fault::Fault;

/// Why a command is refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// What the command is for does not exist (any more).
    #[error("There is no {} with this id.", noun(*.0))]
    NotFound(Aggregate),
    /// Something that the command refers to does not exist (any more).
    #[error("There is no {} with the id {id}.", noun(*.what))]
    MissingReference {
        /// What kind of thing.
        what: Aggregate,
        /// Its id.
        id: String,
        /// Where in the request it stands.
        field: &'static str,
    },
    /// Another thing of the kind has this name.
    #[error("There is already a {} named '{name}'{}.", noun(*.what), in_account(.account.as_ref()))]
    NameTaken {
        /// What kind of thing.
        what: Aggregate,
        /// The name.
        name: String,
        /// The provider account within which the name is taken, for a model.
        account: Option<Slug>,
    },
    /// Another key of the owner's has this label.
    #[error("This owner already has a key labelled '{label}'.{}", holds_its_label(*.expired))]
    LabelTaken {
        /// The label.
        label: Label,
        /// Whether that key has expired.
        expired: bool,
    },
    /// Another person of the kind has this e-mail address.
    #[error("There is already {} {} with this e-mail address.", article(*.0), noun(*.0))]
    EmailTaken(Aggregate),
    /// The fresh id is not fresh.
    #[error("The id of the new {} has been used before. Send the command again.", noun(*.0))]
    IdUsed(Aggregate),
    /// The fresh id of a token is not fresh.
    #[error("The id of the new token has been used before. Send the command again.")]
    TokenIdUsed,
    /// The key's hash is that of another key.
    #[error("The new key could not be told apart from another one. Send the command again.")]
    KeyNotUnique,
    /// Other things refer to what would be deleted.
    #[error("The {} {name}cannot be deleted: {by}.", noun(*.what))]
    StillUsed {
        /// What kind of thing.
        what: Aggregate,
        /// Its name in quotes and a blank; empty for what has none.
        name: String,
        /// What refers to it.
        by: UsedBy,
    },
    /// A routing that cannot be followed.
    #[error("{0}.")]
    Routing(RoutingFault),
    /// A model that can be asked for nothing.
    #[error("A model needs at least one type: chat, embedding or completion.")]
    NoModelType,
    /// A grant that lists nothing, or too much.
    #[error(
        "A grant lists 1 to {most} models, virtual models and provider accounts, and this one lists {found}."
    )]
    GrantSize {
        /// How many it lists.
        found: usize,
        /// How many it may list.
        most: usize,
    },
    /// A price above what any model costs.
    #[error("A price is at most 1,000,000 dollars per million tokens.")]
    PriceTooHigh(&'static str),
    /// A correction of a price that cannot be made.
    #[error("{0}.")]
    Repricing(#[from] RepricingFault),
    /// A limit that no request passes.
    #[error("A limit is at least 1. To let a key not work at all, disable it.")]
    LimitTooLow(&'static str),
    /// An end that lies in the past.
    #[error("The expiry must lie in the future.")]
    ExpiryInPast,
    /// A secret that would work beside its successor for too long.
    #[error("After a rotation the former secret works for at most 90 days.")]
    GraceTooLong,
    /// The account had a credential and goes elsewhere without one.
    #[error(
        "The credential is bound to {old_origin}. Give it again to move the provider account to {new_origin}."
    )]
    CredentialNeeded {
        /// Where the credential may be used.
        old_origin: String,
        /// Where the account would go.
        new_origin: String,
    },
    /// The account was moved while the credential was sealed.
    #[error(
        "The provider account was moved to {origin} in the meantime. Give the credential again."
    )]
    CredentialForElsewhere {
        /// Where the account is.
        origin: String,
    },
    /// Somebody who is not in the team.
    #[error("The user is not in the team '{0}'.")]
    NotAMember(Slug),
    /// A team that can take nobody more.
    #[error("A team has at most 10,000 members, and '{0}' has as many.")]
    TeamFull(Slug),
    /// A user who can come into no other team.
    #[error("A user is in at most 100 teams, and this one is in as many.")]
    InTooManyTeams,
    /// Somebody without a name, who gets none again.
    #[error("The person's name and address were erased. Somebody who comes back is a new user.")]
    PersonErased,
    /// Somebody whose name is still needed.
    #[error("This is an operator. Remove the operator first: whoever may sign in has a name.")]
    StillAnOperator,
    /// A rate-limit policy or a budget policy that cannot be followed.
    #[error("{0}.")]
    Policy(PolicyFault),
    /// A setting out of its bounds.
    #[error("{0}.")]
    Setting(SettingFault),
    /// Nobody would be left to manage operators.
    #[error("This is the last owner who can sign in. Make somebody else an owner first.")]
    LastOwner,
    /// An epoch that is not higher than the one before.
    #[error("A new epoch must be higher than the log's.")]
    EpochNotHigher,
}

/// What refers to a thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsedBy {
    /// A provider account's models.
    #[error("it has {} (for example '{example}')", counted(*.count, "model"))]
    Models {
        /// How many.
        count: usize,
        /// The name of one.
        example: String,
    },
    /// A virtual model routes to the model.
    #[error("the virtual model '{0}' routes to it")]
    VirtualModel(VirtualModelName),
    /// An owner's keys.
    #[error("it owns {}; revoke them first", counted(*.0, "key"))]
    Keys(usize),
    /// Policies that name it.
    #[error("{} it; change what they limit first", policies_name(*.rate_limits, *.budgets))]
    Policies {
        /// How many rate-limit policies.
        rate_limits: usize,
        /// How many budget policies.
        budgets: usize,
    },
    /// Grants to a subject, or on a model.
    #[error("{} of access name it; revoke them first", counted(*.0, "grant"))]
    Grants(usize),
}

/// What is wrong with a routing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingFault {
    /// It has no target, or too many.
    #[error("A virtual model has 1 to {most} targets, and this one has {found}")]
    Count {
        /// How many it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// A model stands in it twice.
    #[error("The model '{0}' is a target twice")]
    Twice(String),
    /// No target has a weight.
    #[error("At least one target needs a weight above 0")]
    NoWeight,
    /// A weight is too large.
    #[error("A weight is at most {most}, and '{model}' has {found}")]
    Weight {
        /// The target's name.
        model: String,
        /// Its weight.
        found: u32,
        /// The largest allowed.
        most: u32,
    },
    /// The targets cannot be asked for the same thing.
    #[error(
        "The targets have no type in common: '{first}' and '{second}' cannot stand for each other"
    )]
    NoCommonType {
        /// The name of one target.
        first: String,
        /// The name of the first that does not fit.
        second: String,
    },
    /// A status that is none of an error.
    #[error("{code} is no HTTP status to fall back or try again on: those are 400 to 599")]
    StatusCode {
        /// Where it stands.
        field: &'static str,
        /// The status.
        code: u16,
    },
    /// A number that is too small or too large.
    #[error("`{field}` is {least} to {most}, and here it is {found}")]
    OutOfRange {
        /// The number's name.
        field: &'static str,
        /// What it is.
        found: u32,
        /// The smallest allowed.
        least: u32,
        /// The largest allowed.
        most: u32,
    },
    /// A strategy whose targets lack what it goes by.
    #[error("Each target of {strategy} routing needs a {field}, and '{model}' has none")]
    Lacks {
        /// The strategy.
        strategy: &'static str,
        /// What is lacking.
        field: &'static str,
        /// The target's name.
        model: String,
    },
    /// Something that is there, but says nothing.
    #[error("`{0}` is empty: leave it out")]
    Empty(&'static str),
    /// Too many of something.
    #[error("`{field}` has at most {most}, and here there are {found}")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// A parameter that the gateway itself writes.
    #[error("`{0}` cannot be overridden: the gateway writes it itself")]
    ReservedParam(String),
    /// A header that is set and left out.
    #[error("The header `{0}` cannot be both set and left out")]
    SetAndRemoved(String),
}

/// What is wrong with a rate-limit policy or a budget policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// There are as many as there may be.
    #[error("There are at most 10,000 {0}")]
    TooMany(&'static str),
    /// Its rule cannot be followed.
    #[error(transparent)]
    Rule(Fault),
    /// Requests are kept for less than a window.
    #[error(
        "It has a window of up to {window} days, and request records, from which a budget is added up again, are kept for {kept}: keep them for longer first"
    )]
    KeptTooShort {
        /// The days of the longest window.
        window: u32,
        /// For how many days requests are kept.
        kept: u32,
    },
}

impl From<PolicyFault> for Rejection {
    fn from(fault: PolicyFault) -> Self {
        Self::Policy(fault)
    }
}

/// What is wrong with a correction of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RepricingFault {
    /// No time at all.
    #[error("The range must end after it begins")]
    Empty,
    /// A time that is not over.
    #[error("A range ends now at the latest: what is to come gets its price by setting it")]
    ToCome,
    /// Too long a time.
    #[error("A range has at most {most} days: correct a longer one in parts")]
    TooLong {
        /// The longest, in days.
        most: u64,
    },
    /// The price was corrected too often.
    #[error("The price of a model is corrected at most {most} times")]
    TooMany {
        /// How often.
        most: usize,
    },
    /// Prices were corrected too often, whosever.
    #[error("The prices of all models together are corrected at most {most} times")]
    TooManyInAll {
        /// How often.
        most: usize,
    },
    /// Another correction came first.
    #[error("The price was corrected otherwise meanwhile. Look at the difference again")]
    Meanwhile,
    /// The ledger tells something else than was shown.
    #[error(
        "By now the difference is another: {requests} requests cost ${before}, and ${after} after the correction. Look at it again",
        requests = .found.requests, before = .found.cost_before.to_dollars(), after = .found.cost_after.to_dollars()
    )]
    Differs {
        /// What it tells.
        found: CostDifference,
    },
}

/// What is wrong with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingFault {
    /// Too short or too long.
    #[error("Request records are kept for 14 to 3,650 days")]
    RequestsDays,
    /// Shorter than a budget's window.
    #[error(
        "Request records are kept at least as long as the longest window of a budget, which is added up from them: that is {0} days"
    )]
    RequestsShorter(u32),
    /// Too short or too long.
    #[error("Sums by the minute are kept for 14 to 3,650 days")]
    SumsDays,
    /// What was added up would outlive its sum.
    #[error("Sums by the minute are kept at least as long as the request records")]
    SumsShorter,
    /// Too short or too long.
    #[error("A session ends after 5 to 10,080 minutes (7 days) without use")]
    Idle,
    /// Too short or too long.
    #[error("A session ends after 1 to 2,160 hours (90 days) in any case")]
    Longest,
    /// It would never be reached.
    #[error("A session cannot go unused for longer than it lasts")]
    IdleLonger,
}

impl SettingFault {
    /// The field of the request that it belongs to.
    const fn field(self) -> &'static str {
        match self {
            Self::RequestsDays | Self::RequestsShorter(_) => "requests_days",
            Self::SumsDays | Self::SumsShorter => "sums_days",
            Self::Idle | Self::IdleLonger => "idle_minutes",
            Self::Longest => "longest_hours",
        }
    }
}

impl RoutingFault {
    /// Which part of the target, or of the routing, it concerns, as documents have it; `None`: all of the target.
    pub(crate) const fn part(&self) -> Option<&'static str> {
        match self {
            Self::Count { .. } | Self::NoWeight | Self::NoCommonType { .. } => Some("targets"),
            Self::Twice(_) => Some("model"),
            Self::Weight { .. } => Some("weight"),
            Self::StatusCode { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::Empty(field)
            | Self::TooMany { field, .. } => Some(field),
            Self::ReservedParam(_) => Some("override_params"),
            Self::SetAndRemoved(_) => Some("headers_override"),
            Self::Lacks { .. } => None,
        }
    }
}

impl PolicyFault {
    /// The field of the request that it belongs to.
    const fn field(&self) -> &'static str {
        match self {
            Self::TooMany(_) | Self::KeptTooShort { .. } => "rule",
            Self::Rule(fault) => fault.field(),
        }
    }
}

/// How a rejection goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectionOutcome {
    /// For programs.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The field of the request that it belongs to, as a path within `command`.
    pub field: Option<&'static str>,
}

impl Rejection {
    /// The one table from a rejection to what goes over the wire. The wording for people is its `Display`.
    #[must_use]
    pub const fn outcome(&self) -> RejectionOutcome {
        const fn row(
            code: &'static str,
            status: u16,
            field: Option<&'static str>,
        ) -> RejectionOutcome {
            RejectionOutcome {
                code,
                status,
                field,
            }
        }
        match self {
            Self::NotFound(_) => row("not_found", 404, None),
            Self::MissingReference { field, .. } => row("missing_reference", 422, Some(*field)),
            Self::NameTaken { .. } => row("name_taken", 409, Some("name")),
            Self::LabelTaken { .. } => row("label_taken", 409, Some("label")),
            Self::EmailTaken(_) => row("email_taken", 409, Some("email")),
            Self::IdUsed(_) | Self::TokenIdUsed => row("id_used", 409, None),
            Self::KeyNotUnique => row("key_not_unique", 409, None),
            Self::StillUsed { .. } => row("still_used", 409, None),
            Self::Routing(
                RoutingFault::Count { .. }
                | RoutingFault::Twice(_)
                | RoutingFault::NoWeight
                | RoutingFault::Weight { .. }
                | RoutingFault::NoCommonType { .. }
                | RoutingFault::StatusCode { .. }
                | RoutingFault::OutOfRange { .. }
                | RoutingFault::Lacks { .. }
                | RoutingFault::Empty(_)
                | RoutingFault::TooMany { .. }
                | RoutingFault::ReservedParam(_)
                | RoutingFault::SetAndRemoved(_),
            ) => row("bad_routing", 422, Some("routing")),
            Self::NoModelType => row("no_model_type", 422, Some("model_types")),
            Self::GrantSize { .. } => row("bad_grant", 422, Some("models")),
            Self::PriceTooHigh(field) => row("price_too_high", 422, Some(*field)),
            Self::Repricing(RepricingFault::Differs { .. } | RepricingFault::Meanwhile) => {
                row("difference_changed", 409, Some("shown"))
            }
            Self::Repricing(RepricingFault::Empty | RepricingFault::ToCome) => {
                row("bad_repricing", 422, Some("until"))
            }
            Self::Repricing(RepricingFault::TooLong { .. }) => {
                row("bad_repricing", 422, Some("from"))
            }
            Self::Repricing(
                RepricingFault::TooMany { .. } | RepricingFault::TooManyInAll { .. },
            ) => row("too_many_repricings", 409, None),
            Self::LimitTooLow(field) => row("limit_too_low", 422, Some(*field)),
            Self::GraceTooLong => row("grace_too_long", 422, Some("grace_seconds")),
            Self::ExpiryInPast => row("expiry_in_past", 422, Some("expires_at")),
            Self::CredentialNeeded { .. } => row("credential_needed", 422, Some("credential")),
            Self::CredentialForElsewhere { .. } => {
                row("credential_for_elsewhere", 409, Some("credential"))
            }
            Self::PersonErased => row("person_erased", 409, Some("user")),
            Self::StillAnOperator => row("still_an_operator", 409, Some("operator")),
            Self::Policy(fault) => row("bad_policy", 422, Some(fault.field())),
            Self::Setting(fault) => row("bad_setting", 422, Some(fault.field())),
            Self::NotAMember(_) => row("not_a_member", 409, Some("user")),
            Self::TeamFull(_) => row("team_full", 409, Some("team")),
            Self::InTooManyTeams => row("in_too_many_teams", 409, Some("user")),
            Self::LastOwner => row("last_owner", 409, None),
            Self::EpochNotHigher => row("epoch_not_higher", 409, None),
        }
    }
}

/// What people call a thing of this kind.
const fn noun(what: Aggregate) -> &'static str {
    match what {
        Aggregate::Log => "log",
        Aggregate::ProviderAccount => "provider account",
        Aggregate::Model => "model",
        Aggregate::VirtualModel => "virtual model",
        Aggregate::User => "user",
        Aggregate::VirtualAccount => "virtual account",
        Aggregate::Key => "key",
        Aggregate::Grant => "grant",
        Aggregate::Operator => "operator",
        Aggregate::Team => "team",
        Aggregate::RateLimitPolicy => "rate-limit policy",
        Aggregate::BudgetPolicy => "budget policy",
        Aggregate::BudgetAlert => "budget alert",
        Aggregate::Settings => "settings",
    }
}

const fn article(what: Aggregate) -> &'static str {
    match what {
        Aggregate::Operator => "an",
        Aggregate::Log
        | Aggregate::ProviderAccount
        | Aggregate::Model
        | Aggregate::VirtualModel
        | Aggregate::User
        | Aggregate::VirtualAccount
        | Aggregate::Key
        | Aggregate::Grant
        | Aggregate::Team
        | Aggregate::RateLimitPolicy
        | Aggregate::BudgetPolicy
        | Aggregate::BudgetAlert
        | Aggregate::Settings => "a",
    }
}

fn in_account(account: Option<&Slug>) -> String {
    account
        .map(|name| format!(" in the account '{name}'"))
        .unwrap_or_default()
}

const fn holds_its_label(expired: bool) -> &'static str {
    if expired {
        " That one has expired, and keeps its label until it is revoked or relabelled."
    } else {
        ""
    }
}

fn policies_name(rate_limits: usize, budgets: usize) -> String {
    let counted = |count, sort| match count {
        0 => None,
        1 => Some(format!("1 {sort} policy")),
        _ => Some(format!("{count} {sort} policies")),
    };
    let counted = [
        counted(rate_limits, "rate-limit"),
        counted(budgets, "budget"),
    ];
    let counted: Vec<_> = counted.into_iter().flatten().collect();
    let verb = if rate_limits + budgets == 1 {
        "names"
    } else {
        "name"
    };
    format!("{} {verb}", counted.join(" and "))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

//! What rate-limit policies and budget policies have in common: which requests they match, and what has a counter of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ModelRef, Stream, Subject};
use crate::{
    id::{TeamId, UserId, VirtualAccountId},
    names::MetadataKey,
};

/// Which requests a policy matches: those that meet all conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Whose requests.
    pub subjects: Choice<LimitedSubject>,
    /// Requests to which models.
    pub models: Choice<ModelRef>,
    /// Requests with which metadata; at most 16 keys, values of at most 128 characters. A request without a key has none
    /// of its values.
    pub metadata: BTreeMap<MetadataKey, Choice<String>>,
}

/// Some of all there are; at most 1,000 are named on each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct Choice<T: Ord> {
    /// These; empty: all.
    #[serde(rename = "in")]
    pub within: BTreeSet<T>,
    /// But none of these.
    pub not_in: BTreeSet<T>,
}

/// Somebody whose requests a policy matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitedSubject {
    /// A user.
    User(UserId),
    /// All members of a team.
    Team(TeamId),
    /// A virtual account.
    VirtualAccount(VirtualAccountId),
}

impl From<LimitedSubject> for Subject {
    fn from(subject: LimitedSubject) -> Self {
        match subject {
            LimitedSubject::User(id) => Self::User(id),
            LimitedSubject::Team(id) => Self::Team(id),
            LimitedSubject::VirtualAccount(id) => Self::VirtualAccount(id),
        }
    }
}

/// Limits that apply in place of a rule's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, bound(deserialize = "L: Ord + Deserialize<'de>"))]
pub struct Override<L: Ord> {
    /// Where they do: for the counter of these, all of which the rule applies per; of each kind one at most.
    pub of: BTreeSet<SegmentValue>,
    /// The limits; as those of a rule.
    pub limits: BTreeSet<L>,
}

/// One of those that have a counter of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SegmentValue {
    /// A user.
    User(UserId),
    /// A virtual account.
    VirtualAccount(VirtualAccountId),
    /// A model, or a virtual model.
    Model(ModelRef),
    /// A value of a key of the metadata.
    Metadata {
        /// The key.
        key: MetadataKey,
        /// The value; at most 128 characters.
        value: String,
    },
    /// A team.
    Team(TeamId),
}

impl<T: Ord> Choice<T> {
    /// All there are.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            within: BTreeSet::new(),
            not_in: BTreeSet::new(),
        }
    }

    /// These alone.
    pub fn only(these: impl IntoIterator<Item = T>) -> Self {
        Self {
            within: these.into_iter().collect(),
            not_in: BTreeSet::new(),
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.within.is_empty() && self.not_in.is_empty()
    }

    /// All that is named, on either side.
    pub fn named(&self) -> impl Iterator<Item = &T> {
        self.within.iter().chain(&self.not_in)
    }
}

impl<T: Ord> Default for Choice<T> {
    fn default() -> Self {
        Self::all()
    }
}

impl SegmentValue {
    /// What it is one of.
    #[must_use]
    pub fn segment(&self) -> LimitSegment {
        match self {
            Self::User(_) => LimitSegment::User,
            Self::VirtualAccount(_) => LimitSegment::VirtualAccount,
            Self::Model(_) => LimitSegment::Model,
            Self::Metadata { key, .. } => LimitSegment::Metadata(key.clone()),
            Self::Team(_) => LimitSegment::Team,
        }
    }
}

/// What has a counter of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitSegment {
    /// Each user.
    User,
    /// Each virtual account.
    VirtualAccount,
    /// Each model.
    Model,
    /// Each value of this key of the metadata.
    Metadata(MetadataKey),
    /// Each team of the caller that the rule names among those whose requests it matches; each of the caller's teams where
    /// it names none. A request counts for all of them.
    Team,
    /// Each key. There are no other limits for single ones.
    Key,
}

/// Whom and what a rule names: in its conditions, and with limits of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whom.
    pub subjects: BTreeSet<LimitedSubject>,
    /// Which models, virtual models and provider accounts.
    pub models: BTreeSet<ModelRef>,
}

impl Named {
    /// Whom and what a rule with these conditions and exceptions names.
    #[must_use]
    pub fn by<L: Ord>(when: &When, overrides: &BTreeSet<Override<L>>) -> Self {
        let mut named = Self {
            subjects: when.subjects.named().copied().collect(),
            models: when.models.named().copied().collect(),
        };
        for value in overrides.iter().flat_map(|it| &it.of) {
            match value {
                SegmentValue::User(id) => {
                    named.subjects.insert(LimitedSubject::User(*id));
                }
                SegmentValue::VirtualAccount(id) => {
                    named.subjects.insert(LimitedSubject::VirtualAccount(*id));
                }
                SegmentValue::Model(model) => {
                    named.models.insert(*model);
                }
                SegmentValue::Metadata { .. } => {}
                SegmentValue::Team(id) => {
                    named.subjects.insert(LimitedSubject::Team(*id));
                }
            }
        }
        named
    }

    /// All of them.
    pub fn streams(&self) -> impl Iterator<Item = Stream> {
        let subjects = self.subjects.iter().map(|subject| match *subject {
            LimitedSubject::User(id) => Stream::User(id),
            LimitedSubject::Team(id) => Stream::Team(id),
            LimitedSubject::VirtualAccount(id) => Stream::VirtualAccount(id),
        });
        let models = self.models.iter().map(|model| match *model {
            ModelRef::Model(id) => Stream::Model(id),
            ModelRef::VirtualModel(id) => Stream::VirtualModel(id),
            ModelRef::ProviderAccount(id) => Stream::ProviderAccount(id),
        });
        subjects.chain(models)
    }
}

/// What happens above a policy's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitMode {
    /// Requests are refused.
    Enforce,
    /// Nothing but a note of what would have been refused.
    Audit,
}

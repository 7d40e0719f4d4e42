//! Rules of rate limits and of budgets, as they are written.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{LimitMode, LimitSegment},
    money::NanoUsd,
    names::{MetadataKey, Slug},
    state::Organisation,
};
use serde::{Serialize, Serializer};

use crate::declared::{
    brought::counted,
    document::{self, LimitedSubject, ModelRef, SegmentValue},
};

/// A rule. Of what can be said in two shapes, one is there.
#[derive(Debug, Serialize)]
pub(super) struct Rule {
    id: Slug,
    when: When,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_to: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    /// Of a rate limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rate_limit_applies_per: Vec<String>,
    /// Of a budget.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) budget_applies_per: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applies_to: Option<AppliesTo>,
    /// Of a rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<LimitMode>,
    /// Of a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audit_mode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alerts: Option<Alerts>,
}

/// At how many percent of a limit something is said.
#[derive(Debug, Serialize)]
pub(super) struct Alerts {
    pub(super) thresholds: BTreeSet<u8>,
}

/// Amounts, each of another unit.
pub(super) type Limits = BTreeMap<&'static str, Amount>;

/// So much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Amount {
    /// Requests or tokens.
    Count(u64),
    /// Money: in dollars.
    Cost(NanoUsd),
}

/// What the rules of both have, by names.
pub(super) struct Told {
    pub(super) name: Slug,
    pub(super) when: document::When,
    pub(super) applies_per: BTreeSet<LimitSegment>,
    pub(super) limits: Limits,
    /// Other limits, for the counter of these.
    pub(super) overrides: Vec<(Vec<SegmentValue>, Limits)>,
    pub(super) disabled: bool,
}

/// A rule, and what of it is each format's: what has a counter of its own, where that is not said in `applies_to`.
pub(super) type WithPer = (Rule, Vec<String>);

#[derive(Debug, Serialize)]
struct When {
    #[serde(skip_serializing_if = "Choice::is_all")]
    subjects: Choice,
    #[serde(skip_serializing_if = "Choice::is_all")]
    models: Choice,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<MetadataKey, Choice>,
}

/// Some of all there are, in the shape that says no more than is needed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Choice {
    /// A value of the metadata.
    One(String),
    Flat(Vec<String>),
    Newer(document::Choice<String>),
}

#[derive(Debug, Serialize)]
struct AppliesTo {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<MetadataKey>,
    overrides: Vec<Override>,
}

/// Other limits for some, whom one of the lists names.
#[derive(Debug, Default, Serialize)]
struct Override {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    teams: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    virtual_accounts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metadata_values: Vec<String>,
    limits: Limits,
}

/// The rule that says the policy.
///
/// # Errors
/// Why none does.
pub(super) fn rule(state: &Organisation, told: Told) -> Result<WithPer, String> {
    let Told {
        name,
        when,
        applies_per,
        limits,
        overrides,
        disabled,
    } = told;
    if disabled {
        return Err("it is switched off".to_owned());
    }
    let (flat, applies_to) = if overrides.is_empty() {
        (applies_per.iter().map(segment).collect(), None)
    } else {
        let applies_to = applies_to(state, &applies_per, overrides)?;
        (Vec::new(), Some(applies_to))
    };
    let only = limits.first_key_value().filter(|_| limits.len() == 1);
    let only = only.map(|(unit, amount)| (*unit, *amount));
    let rule = Rule {
        id: name,
        when: self::when(state, when)?,
        limit_to: only.map(|(_, amount)| amount),
        unit: only.map(|(unit, _)| unit),
        limits: only.is_none().then_some(limits),
        rate_limit_applies_per: Vec::new(),
        budget_applies_per: Vec::new(),
        applies_to,
        mode: None,
        audit_mode: None,
        alerts: None,
    };
    Ok((rule, flat))
}

fn when(state: &Organisation, when: document::When) -> Result<When, String> {
    let document::When {
        subjects,
        models,
        metadata,
    } = when;
    let metadata = metadata.into_iter().map(|(key, values)| {
        let values = match &values.within[..] {
            [one] if values.not_in.is_empty() => Choice::One(one.clone()),
            _ => Choice::Newer(values),
        };
        (key, values)
    });
    Ok(When {
        subjects: Choice::of(&subjects, |it| Ok(subject(it)))?,
        models: Choice::of(&models, |it| model(state, it))?,
        metadata: metadata.collect(),
    })
}

impl Choice {
    fn of<T>(
        choice: &document::Choice<T>,
        told: impl Fn(&T) -> Result<String, String>,
    ) -> Result<Self, String> {
        let side = |these: &[T]| these.iter().map(&told).collect::<Result<Vec<_>, _>>();
        let (within, not_in) = (side(&choice.within)?, side(&choice.not_in)?);
        Ok(if not_in.is_empty() {
            Self::Flat(within)
        } else {
            Self::Newer(document::Choice { within, not_in })
        })
    }

    const fn is_all(&self) -> bool {
        match self {
            Self::Flat(within) => within.is_empty(),
            Self::Newer(choice) => choice.is_all(),
            Self::One(_) => false,
        }
    }
}

fn subject(subject: &LimitedSubject) -> String {
    match subject {
        LimitedSubject::User(email) => format!("user:{email}"),
        LimitedSubject::Team(name) => format!("team:{name}"),
        LimitedSubject::VirtualAccount(name) => format!("virtualaccount:{name}"),
    }
}

fn model(state: &Organisation, model: &ModelRef) -> Result<String, String> {
    match model {
        ModelRef::Model(name) => named_alone(state, name),
        ModelRef::VirtualModel(name) => Ok(name.to_string()),
        ModelRef::ProviderAccount(name) => Ok(format!("{name}/*")),
    }
}

/// A model's name, where nothing else is called so.
fn named_alone(state: &Organisation, name: &str) -> Result<String, String> {
    let parsed = name.parse().ok();
    let other = parsed.and_then(|name| state.virtual_model_named(&name));
    match other {
        None => Ok(name.to_owned()),
        Some(_) => Err(format!(
            "it names the model '{name}', and not the virtual model that is called the same"
        )),
    }
}

fn segment(segment: &LimitSegment) -> String {
    match segment {
        LimitSegment::User => "user".to_owned(),
        LimitSegment::VirtualAccount => "virtualaccount".to_owned(),
        LimitSegment::Model => "model".to_owned(),
        LimitSegment::Metadata(key) => format!("metadata.{key}"),
        LimitSegment::Team => "team".to_owned(),
        LimitSegment::Key => "key".to_owned(),
    }
}

fn applies_to(
    state: &Organisation,
    applies_per: &BTreeSet<LimitSegment>,
    overrides: Vec<(Vec<SegmentValue>, Limits)>,
) -> Result<AppliesTo, String> {
    let mut per = applies_per.iter();
    let (Some(segment), None) = (per.next(), per.next()) else {
        return Err("it has other limits for some pairs of what has a counter of its own".into());
    };
    let mut by_limits: BTreeMap<Limits, Override> = BTreeMap::new();
    for (of, limits) in overrides {
        let item = by_limits.entry(limits.clone()).or_insert(Override {
            limits,
            ..Override::default()
        });
        for value in of {
            match value {
                SegmentValue::User(email) => item.users.push(email),
                SegmentValue::Team(name) => item.teams.push(name.to_string()),
                SegmentValue::VirtualAccount(name) => item.virtual_accounts.push(name.to_string()),
                SegmentValue::Model(name) => item.models.push(named_alone(state, &name)?),
                SegmentValue::VirtualModel(name) => item.models.push(name.to_string()),
                SegmentValue::Metadata { key: _, value } => item.metadata_values.push(value),
            }
        }
    }
    let (kind, _) = counted(segment);
    Ok(AppliesTo {
        r#type: kind,
        metadata: match segment {
            LimitSegment::Metadata(key) => Some(key.clone()),
            LimitSegment::User
            | LimitSegment::VirtualAccount
            | LimitSegment::Model
            | LimitSegment::Team
            | LimitSegment::Key => None,
        },
        overrides: by_limits.into_values().collect(),
    })
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => count.serialize(serializer),
            Self::Cost(cost) => dollars(*cost, serializer),
        }
    }
}

/// As a number, unless it has more digits than one holds.
fn dollars<S: Serializer>(cost: NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    let text = cost.to_dollars();
    if let Some(whole) = text.strip_suffix(".00").and_then(|it| it.parse().ok()) {
        return serializer.serialize_u64(whole);
    }
    let number: Option<f64> = text.parse().ok();
    let exact = number.filter(|it| NanoUsd::from_dollars(&it.to_string()) == Ok(cost));
    match exact {
        Some(number) => serializer.serialize_f64(number),
        None => serializer.serialize_str(&text),
    }
}

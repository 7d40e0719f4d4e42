//! Rules of policies, as documents for rate limits and for budgets have them alike: which requests they match, how much may be
//! used, what has a counter of its own, and who has other limits.
//!
//! Both have a flat shape (`subjects: ["team:a"]`, `limit_to` and `unit`) and a newer one, which can say more (`subjects: { in: [],
//! not_in: [] }`, `limits`, `applies_to`, `mode`). They are told apart field by field, so that a rule may have something of both.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::{
    events::{LimitMode, LimitSegment},
    names::{MetadataKey, Slug, VirtualModelName},
};

use super::{
    super::{
        document::{Choice, LimitedSubject},
        node::Value,
        read::Fault,
    },
    Origin,
    form::{
        At, entries, filled, is_fields, is_list, item, list, only, optional, parsed, refuse,
        required,
    },
};

/// What all rules may have; which field says what has a counter of its own is each format's.
pub(super) const FIELDS: [&str; 7] = [
    "id",
    "when",
    "limit_to",
    "unit",
    "limits",
    "applies_to",
    "mode",
];

/// Something that a rule names, and where.
pub(in crate::declared) type Named<'d, T> = (T, At<'d>);

/// A policy that a rule declares, as far as one can.
#[derive(Debug)]
pub(in crate::declared) struct BroughtPolicy<'d, L> {
    pub(in crate::declared) name: Slug,
    pub(in crate::declared) origin: Origin<'d>,
    pub(in crate::declared) when: BroughtWhen<'d>,
    pub(in crate::declared) applies_per: BTreeSet<LimitSegment>,
    pub(in crate::declared) limits: Vec<L>,
    pub(in crate::declared) overrides: Vec<BroughtOverride<'d, L>>,
    pub(in crate::declared) mode: LimitMode,
}

/// Which requests a rule matches.
#[derive(Debug, Default)]
pub(in crate::declared) struct BroughtWhen<'d> {
    pub(in crate::declared) subjects: Choice<Named<'d, LimitedSubject>>,
    pub(in crate::declared) models: Choice<Named<'d, BroughtModelRef>>,
    pub(in crate::declared) metadata: BTreeMap<MetadataKey, Choice<String>>,
}

/// Models that a rule names.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::declared) enum BroughtModelRef {
    /// A virtual model of this name, or else the model.
    Called(VirtualModelName),
    /// All models of an account, `account/*`.
    OfAccount(Slug),
}

/// Other limits for one of those that have a counter of their own.
#[derive(Debug)]
pub(in crate::declared) struct BroughtOverride<'d, L> {
    pub(in crate::declared) of: Named<'d, BroughtValue>,
    pub(in crate::declared) limits: Vec<L>,
}

/// One of those that have a counter of their own.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::declared) enum BroughtValue {
    /// A user, a team or a virtual account.
    Subject(LimitedSubject),
    /// A virtual model of this name, or else the model.
    Model(VirtualModelName),
    /// A value of a key of the metadata.
    Metadata(MetadataKey, String),
}

/// How a format's limits are read.
pub(super) struct Units<U: 'static, L> {
    /// What its units are called.
    pub(super) names: &'static [(&'static str, U)],
    /// An amount of one.
    pub(super) amount: fn(U, &At<'_>) -> Result<L, String>,
}

/// The rules so far, of all documents of a type in a file.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeSet<Slug>);

/// Reads the rules of a document, each of which `rule` reads.
pub(super) fn document<'d>(
    at: &At<'d>,
    faults: &mut Vec<Fault>,
    mut rule: impl FnMut(&At<'d>, &mut Vec<Fault>),
) {
    only(at, &["name", "type", "rules"], faults);
    // It names the document, and nothing in it.
    required(at, "name", faults, |it| it.text().map(|_| ()));
    if required(at, "rules", faults, is_list).is_some() {
        let _ = list(at, "rules", faults, |it, faults| {
            rule(it, faults);
            Some(())
        });
    }
}

impl Ids {
    /// Reads a rule. `None`: something is wrong with it, which is told. `per`: the field that says what has a counter of its own.
    pub(super) fn policy<'d, U: Copy, L: Clone>(
        &mut self,
        at: &At<'d>,
        per: &'static str,
        units: &Units<U, L>,
        faults: &mut Vec<Fault>,
    ) -> Option<BroughtPolicy<'d, L>> {
        let before = faults.len();
        let name = required(at, "id", faults, id);
        if let Some(name) = name.as_ref().filter(|it| !self.0.insert((*it).clone())) {
            let message = format!("Another rule has the id '{name}'.");
            faults.push(at.deepest(&["id"]).wrong(message));
        }
        let when = when(at, faults);
        let limits = limits(at, units, faults);
        let per_this = list(at, per, faults, |it, faults| item(it, faults, segment));
        let (applies_per, overrides) = match (per_this, filled(at, "applies_to")) {
            (Some(per), None) => (per.into_iter().collect(), Vec::new()),
            (None, Some(to)) => applies_to(&to, units, faults),
            (None, None) => (BTreeSet::new(), Vec::new()),
            (Some(_), Some(to)) => {
                faults.push(to.wrong(format!("`{per}` says it already: leave one of them out.")));
                return None;
            }
        };
        let mode = optional(at, "mode", faults, mode);
        if faults.len() > before {
            return None;
        }
        Some(BroughtPolicy {
            name: name?,
            origin: Origin::new(at, parts(at, per)),
            when,
            applies_per,
            limits,
            overrides,
            mode: mode.unwrap_or(LimitMode::Enforce),
        })
    }
}

/// Where the parts of a rule stand, by the names that Sluice's rules have for them.
fn parts<'d>(at: &At<'d>, per: &'static str) -> Vec<(&'static str, At<'d>)> {
    let limits = if at.field("limits").is_some() {
        "limits"
    } else {
        "limit_to"
    };
    let per = if at.field("applies_to").is_some() {
        "applies_to"
    } else {
        per
    };
    [
        ("name", vec!["id"]),
        ("when", vec!["when"]),
        ("overrides", vec!["applies_to", "overrides"]),
        ("rule.when.subjects", vec!["when", "subjects"]),
        ("rule.when.models", vec!["when", "models"]),
        ("rule.when.metadata", vec!["when", "metadata"]),
        ("rule.limits", vec![limits]),
        ("rule.applies_per", vec![per]),
        ("rule.overrides", vec!["applies_to", "overrides"]),
        ("rule.alerts", vec!["alerts"]),
    ]
    .map(|(part, fields)| (part, at.deepest(&fields)))
    .into()
}

fn id(at: &At<'_>) -> Result<Slug, String> {
    let text = at.text()?;
    if text.contains('{') {
        return Err(format!(
            "'{text}': an id stands for one rule. What has a counter of its own is said beside it: each user, or each model."
        ));
    }
    parsed(at)
}

fn mode(at: &At<'_>) -> Result<LimitMode, String> {
    match at.text()? {
        "enforce" => Ok(LimitMode::Enforce),
        "audit" => Ok(LimitMode::Audit),
        other => Err(format!("'{other}' is none of enforce and audit.")),
    }
}

// === how much ===

/// `limits`, or `limit_to` with `unit`.
fn limits<U: Copy, L>(rule: &At<'_>, units: &Units<U, L>, faults: &mut Vec<Fault>) -> Vec<L> {
    if filled(rule, "limits").is_some() {
        let why = "`limits` says it already: leave one of them out.";
        refuse(rule, "limit_to", why, faults);
        refuse(rule, "unit", why, faults);
        return several(rule, units, faults);
    }
    let unit = required(rule, "unit", faults, |it| units.called(it.text()?));
    let amount = required(rule, "limit_to", faults, |it| {
        let Some(unit) = unit else {
            return Ok(None);
        };
        (units.amount)(unit, it).map(Some)
    });
    amount.flatten().into_iter().collect()
}

/// `limits`: an amount of each unit.
fn several<U: Copy, L>(at: &At<'_>, units: &Units<U, L>, faults: &mut Vec<Fault>) -> Vec<L> {
    let limits = entries(at, "limits", faults, |name, amount| {
        (units.amount)(units.called(name)?, amount)
    });
    limits.into_iter().flatten().collect()
}

impl<U: Copy, L> Units<U, L> {
    fn called(&self, name: &str) -> Result<U, String> {
        let found = self.names.iter().find(|(known, _)| *known == name);
        found.map(|(_, unit)| *unit).ok_or_else(|| {
            let names: Vec<_> = self.names.iter().map(|(name, _)| *name).collect();
            format!("'{name}' is none of {}.", names.join(", "))
        })
    }
}

// === which requests ===

fn when<'d>(rule: &At<'d>, faults: &mut Vec<Fault>) -> BroughtWhen<'d> {
    if optional(rule, "when", faults, is_fields).is_none() {
        return BroughtWhen::default();
    }
    let at = rule.deepest(&["when"]);
    let fields = ["subjects", "models", "provider_accounts", "metadata"];
    only(&at, &fields, faults);
    BroughtWhen {
        subjects: subjects(&at, faults),
        models: models(&at, faults),
        metadata: metadata(&at, faults),
    }
}

/// `["user:…"]`, `{ in: ["user:…"], not_in: [] }`, or `{ users: { in: [], not_in: [] }, teams: …, virtual_accounts: … }`.
fn subjects<'d>(when: &At<'d>, faults: &mut Vec<Fault>) -> Choice<Named<'d, LimitedSubject>> {
    let Some(at) = filled(when, "subjects") else {
        return Choice::default();
    };
    let mut found = choice(
        when,
        "subjects",
        &["users", "teams", "virtual_accounts"],
        subject,
        faults,
    );
    let mut kinds = Vec::new();
    if has_fields(&at) {
        kinds.push(choice(&at, "users", &[], user, faults));
        kinds.push(choice(&at, "teams", &[], team, faults));
        kinds.push(choice(
            &at,
            "virtual_accounts",
            &[],
            virtual_account,
            faults,
        ));
    }
    for kind in kinds {
        join(&at, &mut found, kind, faults);
    }
    found
}

/// `models`, and `provider_accounts`, all of whose models are meant.
fn models<'d>(when: &At<'d>, faults: &mut Vec<Fault>) -> Choice<Named<'d, BroughtModelRef>> {
    let mut found = choice(when, "models", &[], model, faults);
    let accounts = choice(when, "provider_accounts", &[], account, faults);
    join(
        &when.deepest(&["provider_accounts"]),
        &mut found,
        accounts,
        faults,
    );
    found
}

/// Puts two conditions into one, which can say as much where only one of them names whom it wants.
fn join<T>(at: &At<'_>, all: &mut Choice<T>, other: Choice<T>, faults: &mut Vec<Fault>) {
    if !all.within.is_empty() && !other.within.is_empty() {
        let message = "Two lists of whom or what it is for, of which one would have to be enough, or both have to hold: \
                       write one list (`in: [...]`), of which one is enough.";
        faults.push(at.wrong(message.to_owned()));
    }
    all.within.extend(other.within);
    all.not_in.extend(other.not_in);
}

/// A field that is a list, `*`, or `{ in: [], not_in: [] }`, where there may be these `others`.
fn choice<'d, T>(
    of: &At<'d>,
    name: &str,
    others: &[&str],
    read: impl Fn(&At<'d>) -> Result<T, String> + Copy,
    faults: &mut Vec<Fault>,
) -> Choice<Named<'d, T>> {
    let Some(at) = filled(of, name) else {
        return Choice::default();
    };
    if !has_fields(&at) {
        let within = these(of, name, read, faults);
        return Choice::only(within.unwrap_or_default());
    }
    let known: Vec<_> = ["in", "not_in"].iter().chain(others).copied().collect();
    only(&at, &known, faults);
    let not_in = these(&at, "not_in", read, faults);
    if not_in.is_none() {
        let message = "Then it matches no request.".to_owned();
        faults.push(at.deepest(&["not_in"]).wrong(message));
    }
    Choice {
        within: these(&at, "in", read, faults).unwrap_or_default(),
        not_in: not_in.unwrap_or_default(),
    }
}

const fn has_fields(at: &At<'_>) -> bool {
    matches!(at.value(), Value::Fields(_))
}

/// A list of these, or `*`; `None`: all of them.
fn these<'d, T>(
    of: &At<'d>,
    name: &str,
    read: impl Fn(&At<'d>) -> Result<T, String>,
    faults: &mut Vec<Fault>,
) -> Option<Vec<Named<'d, T>>> {
    let is_all = |it: &At<'_>| it.text() == Ok("*");
    if of.field(name).is_some_and(|it| is_all(&it)) {
        return None;
    }
    let mut has_all = false;
    let named = list(of, name, faults, |it, faults| {
        if is_all(it) {
            has_all = true;
            return None;
        }
        Some((item(it, faults, &read)?, it.clone()))
    });
    (!has_all).then(|| named.unwrap_or_default())
}

fn metadata(when: &At<'_>, faults: &mut Vec<Fault>) -> BTreeMap<MetadataKey, Choice<String>> {
    let Some(at) = filled(when, "metadata") else {
        return BTreeMap::new();
    };
    let keys = entries(when, "metadata", faults, |key, value| {
        let parsed: MetadataKey = key.parse().map_err(|error| format!("'{key}': {error}."))?;
        match value.value() {
            Value::Text(text) => Ok((parsed, Some(Choice::only(vec![text.clone()])))),
            Value::Fields(_) => Ok((parsed, None)),
            _ => Err("A value is a text, or `in` and `not_in` with lists of texts.".to_owned()),
        }
    });
    let conditions = keys.into_iter().flatten().map(|(key, values)| {
        let values = values.unwrap_or_else(|| {
            let read = choice(&at, &key.to_string(), &[], text, faults);
            Choice {
                within: read.within.into_iter().map(|(it, _)| it).collect(),
                not_in: read.not_in.into_iter().map(|(it, _)| it).collect(),
            }
        });
        (key, values)
    });
    let conditions = conditions.filter(|(_, values)| !values.is_all());
    conditions.collect()
}

/// `user:bob@example.com`, `team:backend`, `virtualaccount:ci`.
fn subject(at: &At<'_>) -> Result<LimitedSubject, String> {
    let text = at.text()?;
    let named = |name: &str| {
        name.parse::<Slug>()
            .map_err(|error| format!("'{name}': {error}."))
    };
    match text.split_once(':') {
        Some(("user", email)) => Ok(LimitedSubject::User(email.to_owned())),
        Some(("team", name)) => named(name).map(LimitedSubject::Team),
        Some(("virtualaccount", name)) => named(name).map(LimitedSubject::VirtualAccount),
        Some(_) | None => Err(format!(
            "'{text}' is nobody: there are user:E-MAIL, team:NAME, virtualaccount:NAME and *."
        )),
    }
}

fn user(at: &At<'_>) -> Result<LimitedSubject, String> {
    text(at).map(LimitedSubject::User)
}

fn team(at: &At<'_>) -> Result<LimitedSubject, String> {
    parsed(at).map(LimitedSubject::Team)
}

fn virtual_account(at: &At<'_>) -> Result<LimitedSubject, String> {
    parsed(at).map(LimitedSubject::VirtualAccount)
}

/// `account/model`, a virtual model, or `account/*`.
fn model(at: &At<'_>) -> Result<BroughtModelRef, String> {
    match at.text()?.strip_suffix("/*") {
        Some(account) => account
            .parse()
            .map(BroughtModelRef::OfAccount)
            .map_err(|error| format!("'{account}': {error}.")),
        None => parsed(at).map(BroughtModelRef::Called),
    }
}

fn account(at: &At<'_>) -> Result<BroughtModelRef, String> {
    parsed(at).map(BroughtModelRef::OfAccount)
}

fn text(at: &At<'_>) -> Result<String, String> {
    at.text().map(ToOwned::to_owned)
}

// === what has a counter of its own ===

fn segment(at: &At<'_>) -> Result<LimitSegment, String> {
    let text = at.text()?;
    match text {
        "user" => Ok(LimitSegment::User),
        "virtualaccount" => Ok(LimitSegment::VirtualAccount),
        "model" => Ok(LimitSegment::Model),
        "team" => Ok(LimitSegment::Team),
        "key" => Ok(LimitSegment::Key),
        _ => match text.strip_prefix("metadata.") {
            Some(key) => key
                .parse()
                .map(LimitSegment::Metadata)
                .map_err(|error| format!("'{key}': {error}.")),
            None => Err(format!(
                "'{text}' is none of user, virtualaccount, model, team, key and metadata.KEY."
            )),
        },
    }
}

/// What `applies_to` calls it, and in which field its `overrides` name those that they are for.
pub(in crate::declared) const fn counted(segment: &LimitSegment) -> (&'static str, &'static str) {
    match segment {
        LimitSegment::User => ("per-user", "users"),
        LimitSegment::VirtualAccount => ("per-virtual-account", "virtual_accounts"),
        LimitSegment::Model => ("per-model", "models"),
        LimitSegment::Metadata(_) => ("metadata", "metadata_values"),
        LimitSegment::Team => ("per-team", "teams"),
        // Not a word of `applies_to`, since there are no other limits for single keys.
        LimitSegment::Key => ("per-key", "keys"),
    }
}

/// `applies_to`: what has a counter of its own, and the other limits of some.
fn applies_to<'d, U: Copy, L: Clone>(
    at: &At<'d>,
    units: &Units<U, L>,
    faults: &mut Vec<Fault>,
) -> (BTreeSet<LimitSegment>, Vec<BroughtOverride<'d, L>>) {
    only(at, &["type", "metadata", "overrides"], faults);
    let what = required(at, "type", faults, |it| it.text());
    if what.is_some_and(|it| it != "metadata") {
        let why = "A key of the metadata belongs to `type: metadata`.";
        refuse(at, "metadata", why, faults);
    }
    let segment = match what {
        None => None,
        Some("per-user") => Some(LimitSegment::User),
        Some("per-virtual-account") => Some(LimitSegment::VirtualAccount),
        Some("per-model") => Some(LimitSegment::Model),
        Some("per-team") => Some(LimitSegment::Team),
        Some("metadata") => required(at, "metadata", faults, parsed).map(LimitSegment::Metadata),
        Some("aggregate") => {
            let why = "All requests share one counter: nobody has another one.";
            refuse(at, "overrides", why, faults);
            None
        }
        Some(other) => {
            let message = format!(
                "'{other}' is none of aggregate, per-user, per-virtual-account, per-model, per-team and metadata."
            );
            faults.push(at.deepest(&["type"]).wrong(message));
            None
        }
    };
    let Some(segment) = segment else {
        return (BTreeSet::new(), Vec::new());
    };
    let overrides = list(at, "overrides", faults, |it, faults| {
        Some(other_limits(it, &segment, units, faults))
    });
    let overrides = overrides.into_iter().flatten().flatten().collect();
    (BTreeSet::from([segment]), overrides)
}

/// An item of `overrides`: the same other limits, for each that it names.
fn other_limits<'d, U: Copy, L: Clone>(
    at: &At<'d>,
    segment: &LimitSegment,
    units: &Units<U, L>,
    faults: &mut Vec<Fault>,
) -> Vec<BroughtOverride<'d, L>> {
    let (_, field) = counted(segment);
    only(at, &[field, "limits"], faults);
    for name in [field, "limits"] {
        if filled(at, name).is_none() {
            faults.push(at.wrong(format!("`{name}` is missing.")));
        }
    }
    let limits = several(at, units, faults);
    let of = list(at, field, faults, |it, faults| {
        let value = item(it, faults, |it| match segment {
            LimitSegment::User => user(it).map(BroughtValue::Subject),
            LimitSegment::VirtualAccount => virtual_account(it).map(BroughtValue::Subject),
            LimitSegment::Team => team(it).map(BroughtValue::Subject),
            LimitSegment::Key => Err("Single keys have no other limits.".to_owned()),
            LimitSegment::Model => parsed(it).map(BroughtValue::Model),
            LimitSegment::Metadata(key) => {
                text(it).map(|value| BroughtValue::Metadata(key.clone(), value))
            }
        });
        Some((value?, it.clone()))
    });
    let of = of.into_iter().flatten();
    of.map(|of| BroughtOverride {
        of,
        limits: limits.clone(),
    })
    .collect()
}

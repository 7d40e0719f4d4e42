//! The difference between a document and a state: for people as changes, for the log as orders.
//!
//! One file for each group of sections. What a section makes gets its id here, so that later sections can refer to it.

mod access;
mod brought;
mod brought_policies;
mod budgets;
mod models;
mod order;
mod owners;
mod policies;
mod prune;
mod sections;
mod settings;

use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) use self::access::key_told;

use events_schema::{
    api::declared::{Action, Change, FieldChange, NewSecret},
    events::{ModelType, Owner},
    id::{GrantId, KeyId, ModelId, OperatorId, ProviderAccountId, TeamId, UserId, VirtualModelId},
    names::{Label, Slug, VirtualModelName},
};

use self::sections::{Section, Sections};
use super::{
    Surroundings,
    brought::{Brought, Origin},
    read::{Fault, Of, Place, Read},
};
use crate::{
    auth::Email,
    control::{Order, SubmitError},
    domain::Command,
    secrets::SecretText,
};

/// What a document changes.
#[derive(Default)]
pub struct Plan {
    /// For people.
    pub changes: Vec<Change>,
    /// For the log.
    pub orders: Vec<Order>,
    /// Secrets that were made, to be shown once it is done.
    pub secrets: Vec<NewSecret>,
    /// First passwords of new operators, to be hashed: for which order.
    pub passwords: Vec<(usize, OperatorId, SecretText)>,
    /// Whether operators change.
    pub changes_operators: bool,
    /// Whether settings change.
    pub changes_settings: bool,
    /// Where each order comes from; `None`: from what the document does not name.
    places: Vec<Option<Source>>,
}

/// Where an order comes from in a document.
struct Source {
    whole: Fault,
    /// Where those of its parts stand that can be told apart, by the fields to which rejections belong.
    parts: Vec<(&'static str, Fault)>,
}

impl Plan {
    /// Where in the document an order comes from that the rules refuse, and why; `None`: that is not what it is.
    #[must_use]
    pub fn fault_of(&self, error: &SubmitError) -> Option<Fault> {
        let (order, rejection) = match error {
            SubmitError::OrderRejected { order, rejection } => (*order, rejection),
            SubmitError::Rejected(rejection) => (0, rejection),
            _ => return None,
        };
        let source = self.places.get(order)?.as_ref()?;
        let field = rejection.outcome().field;
        let mut parts = source.parts.iter();
        let part = parts.find(|(part, _)| Some(*part) == field);
        let fault = part.map_or(&source.whole, |(_, fault)| fault);
        Some(Fault {
            message: rejection.to_string(),
            ..fault.clone()
        })
    }
}

/// See the module.
struct Planner<'a> {
    around: Surroundings<'a>,
    read: &'a Read,
    sections: Sections<'a>,
    /// Where what other formats declare stands, by the numbers that places have for it.
    brought: Vec<&'a Origin<'a>>,
    plan: Plan,
    faults: Vec<Fault>,
    accounts: HashMap<Slug, ProviderAccountId>,
    models: HashMap<String, ModelId>,
    /// What the models that the documents name can be asked for.
    types: HashMap<ModelId, &'a BTreeSet<ModelType>>,
    virtual_models: HashMap<VirtualModelName, VirtualModelId>,
    users: HashMap<Email, UserId>,
    teams: HashMap<Slug, TeamId>,
    operators: HashMap<Email, OperatorId>,
    owners: HashMap<Slug, Owner>,
    keys: HashMap<(Owner, Label), KeyId>,
    policies: HashSet<Slug>,
    budgets: HashSet<Slug>,
    /// Whether there is a document of another format that is the list of all rate limits, and of all budgets.
    brings_rate_limits: bool,
    brings_budgets: bool,
    /// Grants that the document names, as they are or will be, and those that it revokes: the rest is pruned.
    grants: HashSet<GrantId>,
}

/// Makes the plan. What was wrong with documents of other formats is told with all the rest.
pub(super) fn plan(
    read: &Read,
    (brought, faults): (&Brought<'_>, Vec<Fault>),
    around: Surroundings<'_>,
) -> Result<Plan, Vec<Fault>> {
    let sections = Sections::of(read);
    let mut planner = Planner {
        around,
        read,
        sections: sections.clone(),
        brought: Vec::new(),
        plan: Plan::default(),
        faults,
        accounts: HashMap::new(),
        models: HashMap::new(),
        types: HashMap::new(),
        virtual_models: HashMap::new(),
        users: HashMap::new(),
        teams: HashMap::new(),
        operators: HashMap::new(),
        owners: HashMap::new(),
        keys: HashMap::new(),
        policies: HashSet::new(),
        budgets: HashSet::new(),
        brings_rate_limits: brought.rate_limit_policies.is_some(),
        brings_budgets: brought.budget_policies.is_some(),
        grants: HashSet::new(),
    };
    for (number, settings) in sections.settings.iter().enumerate() {
        match number {
            0 => planner.settings(settings.place(), settings.of),
            _ => planner.wrong(
                settings.place(),
                "The settings stand in the documents twice.".to_owned(),
            ),
        }
    }
    planner.each(&sections.provider_accounts, Planner::account);
    planner.each(&sections.models, Planner::model);
    planner.each(&sections.virtual_models, Planner::virtual_model);
    planner.brought_models(&brought.virtual_models);
    planner.each(&sections.users, Planner::user);
    planner.each(&sections.teams, Planner::team);
    planner.each(&sections.virtual_accounts, Planner::virtual_account);
    planner.brought_accounts(&brought.virtual_accounts);
    planner.each(&sections.keys, Planner::key);
    planner.tokens(&brought.virtual_accounts);
    planner.grants(&sections.grants, &brought.virtual_accounts);
    planner.each(&sections.rate_limit_policies, Planner::policy);
    planner.brought_rate_limits(brought.rate_limit_policies.as_deref().unwrap_or_default());
    planner.each(&sections.budget_policies, Planner::budget);
    planner.brought_budgets(brought.budget_policies.as_deref().unwrap_or_default());
    planner.each(&sections.operators, Planner::operator);
    if around.prune && planner.faults.is_empty() {
        planner.prune();
    }
    if planner.faults.is_empty() {
        Ok(planner.plan)
    } else {
        let mut faults = planner.faults;
        faults.sort_by(|one, other| {
            let places = (one.line, one.column).cmp(&(other.line, other.column));
            places.then_with(|| one.message.cmp(&other.message))
        });
        // Several names for one routing have its faults in the same places.
        faults.dedup();
        Err(faults)
    }
}

/// Why an item cannot be planned: where, and what is wrong.
type Wrong = (Place, String);

impl<'a> Planner<'a> {
    fn each<T>(
        &mut self,
        sections: &[Section<'a, [T]>],
        item: impl Fn(&mut Self, Place, &'a T) -> Result<(), Wrong>,
    ) {
        for (place, it) in sections.iter().flat_map(Section::items) {
            if let Err((place, message)) = item(self, place, it) {
                self.wrong(place, message);
            }
        }
    }

    /// A place for what a document of another format declares.
    fn place_of(&mut self, origin: &'a Origin<'a>) -> Place {
        self.brought.push(origin);
        Place::whole(Of::Brought(self.brought.len() - 1))
    }

    /// Notes what is wrong.
    fn wrong(&mut self, place: Place, message: String) {
        let fault = self.fault(place, message);
        self.faults.push(fault);
    }

    fn fault(&self, place: Place, message: String) -> Fault {
        let Place { of, field } = place;
        match of {
            Of::Section { document, section } => {
                self.read.fault((document, section, None), field, message)
            }
            Of::Item {
                document,
                section,
                index,
            } => {
                let place = (document, section, Some(index));
                self.read.fault(place, field, message)
            }
            Of::Brought(number) => self.brought[number].fault(field, message),
        }
    }

    fn parts(&self, place: Place) -> Vec<(&'static str, Fault)> {
        match place.of {
            Of::Brought(number) => self.brought[number].fields().collect(),
            Of::Section { .. } | Of::Item { .. } => Vec::new(),
        }
    }

    /// Adds an order.
    fn order(&mut self, place: Option<Place>, order: impl Into<Order>) {
        let source = place.map(|place| Source {
            whole: self.fault(place, String::new()),
            parts: self.parts(place),
        });
        self.plan.places.push(source);
        self.plan.orders.push(order.into());
    }

    /// Notes what changes; nothing, when no field does.
    fn change(&mut self, action: Action, what: &str, name: &str, fields: Fields) {
        if fields.0.is_empty() && action == Action::Change {
            return;
        }
        self.plan.changes.push(Change {
            action,
            what: what.to_owned(),
            name: name.to_owned(),
            fields: fields.0,
        });
    }

    /// Orders to switch something off or on, when it is not as it should be.
    fn switch(
        &mut self,
        place: Place,
        fields: &mut Fields,
        (before, after): (bool, bool),
        order: impl FnOnce(bool) -> Command,
    ) {
        if fields.set("disabled", Some(before), Some(after)) {
            self.order(Some(place.at("disabled")), order(after));
        }
    }
}

/// The fields of a thing that change.
#[derive(Default)]
struct Fields(Vec<FieldChange>);

impl Fields {
    /// Notes a field, if it changes; whether it does.
    fn set<T: ToString + PartialEq>(
        &mut self,
        field: &str,
        before: Option<T>,
        after: Option<T>,
    ) -> bool {
        if before == after {
            return false;
        }
        self.0.push(FieldChange {
            field: field.to_owned(),
            before: before.map(|it| it.to_string()),
            after: after.map(|it| it.to_string()),
        });
        true
    }

    /// Notes a field of something that is made.
    fn made(&mut self, field: &str, value: &(impl ToString + ?Sized)) {
        self.set(field, None, Some(value.to_string()));
    }

    /// Notes that it is made switched off.
    fn made_disabled(&mut self, disabled: bool) {
        if disabled {
            self.made("disabled", &true);
        }
    }
}

/// The name of a serialised unit variant, as documents have it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// Words in their order, as a list for people.
fn words<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> String {
    let words: Vec<_> = values.into_iter().map(|value| word(&value)).collect();
    words.join(", ")
}

/// The complaint about something that a document names twice.
fn twice(what: &str, name: &str) -> String {
    format!("The {what} '{name}' stands in the documents twice.")
}

//! `gateway-load-balancing-config`: rules that say where the requests for the models that they name go.
//!
//! Each model that a rule names becomes a virtual model of that name: who asks for it is led on as the rule says, also where
//! a provider account has a model that is called the same. The first rule that names a model applies.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::names::VirtualModelName;

use super::{
    super::read::Fault,
    Brought, BroughtModel, Origin,
    form::{At, is_fields, is_list, item, list, only, optional, parsed, refuse, required},
    targets,
};

/// The rules so far, of all documents of a file.
#[derive(Debug, Default)]
pub(super) struct Rules {
    ids: BTreeSet<String>,
    /// Which rule a model belongs to.
    taken: BTreeMap<VirtualModelName, String>,
}

impl Rules {
    pub(super) fn read<'d>(
        &mut self,
        at: &At<'d>,
        brought: &mut Brought<'d>,
        faults: &mut Vec<Fault>,
    ) {
        only(at, &["name", "type", "rules"], faults);
        // It names the document, and nothing in it.
        required(at, "name", faults, |it| it.text().map(|_| ()));
        if required(at, "rules", faults, is_list).is_some() {
            let _ = list(at, "rules", faults, |rule, faults| {
                self.rule(rule, brought, faults)
            });
        }
    }

    fn rule<'d>(
        &mut self,
        at: &At<'d>,
        brought: &mut Brought<'d>,
        faults: &mut Vec<Fault>,
    ) -> Option<()> {
        let known: Vec<_> = ["id", "when"].into_iter().chain(targets::FIELDS).collect();
        only(at, &known, faults);
        let id = required(at, "id", faults, |it| it.text().map(ToOwned::to_owned));
        if let Some(id) = id.as_ref().filter(|id| !self.ids.insert((*id).clone())) {
            let message = format!("Another rule has the id '{id}'.");
            faults.push(at.deepest(&["id"]).wrong(message));
        }
        let models = models(at, faults);
        let routing = targets::read(at, faults);
        let (id, routing) = (id?, routing?);
        let mut others = BTreeSet::new();
        let mut is_first_for_one = models.is_empty();
        for (name, named) in models {
            match self.taken.get(&name) {
                Some(other) if *other == id => {}
                Some(other) => {
                    others.insert(other.clone());
                }
                None => {
                    is_first_for_one = true;
                    self.taken.insert(name.clone(), id.clone());
                    let fields = vec![
                        ("name", named),
                        ("targets", at.deepest(&["load_balance_targets"])),
                    ];
                    brought.virtual_models.push(BroughtModel {
                        name,
                        routing: routing.clone(),
                        origin: Origin::new(at, fields),
                        routing_at: at.clone(),
                        types: BTreeSet::new(),
                    });
                }
            }
        }
        if !is_first_for_one {
            let others: Vec<_> = others.iter().map(|it| format!("'{it}'")).collect();
            let message = format!(
                "This rule never applies: {} before it has all its models. The first rule that names a model applies.",
                others.join(" and ")
            );
            faults.push(at.deepest(&["when", "models"]).wrong(message));
        }
        Some(())
    }
}

/// The models that a rule names, and where. Whatever else it depends on is refused.
fn models<'d>(rule: &At<'d>, faults: &mut Vec<Fault>) -> Vec<(VirtualModelName, At<'d>)> {
    if required(rule, "when", faults, is_fields).is_none() {
        return Vec::new();
    }
    let at = rule.deepest(&["when"]);
    only(&at, &["subjects", "models", "metadata"], faults);
    subjects(&at, faults);
    refuse(
        &at,
        "metadata",
        "A rule cannot depend on metadata here, but a target can: write the conditions as the `metadata_match` of its \
         targets.",
        faults,
    );
    if at.field("models").is_none_or(|it| it.is_empty()) {
        let message =
            "A rule must name the models that it applies to: there is none for all models.";
        faults.push(at.deepest(&["models"]).wrong(message.to_owned()));
        return Vec::new();
    }
    let named = list(&at, "models", faults, |it, faults| {
        let name = item(it, faults, |it| match it.text()? {
            "*" => Err(
                "A rule must name the models that it applies to: there is none for all models."
                    .to_owned(),
            ),
            _ => parsed(it),
        });
        Some((name?, it.clone()))
    });
    named.unwrap_or_default()
}

/// That it applies to everybody: `*`, a list with `*`, or nothing.
fn subjects(when: &At<'_>, faults: &mut Vec<Fault>) {
    let Some(at) = when.field("subjects").filter(|it| !it.is_empty()) else {
        return;
    };
    let is_everybody = |it: &At<'_>| it.text() == Ok("*");
    if is_everybody(&at) || at.items().iter().any(is_everybody) {
        return;
    }
    let is_listed = optional(when, "subjects", faults, is_list).is_some();
    if is_listed {
        let message = "A rule cannot depend on who asks: here it applies to everybody who may ask for the model. To lead some \
                       elsewhere, give them a name of their own: a rule that names another model, and a grant on it to \
                       them (`grants`, in a document of Sluice's own).";
        faults.push(at.wrong(message.to_owned()));
    }
}

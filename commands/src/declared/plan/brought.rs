//! Virtual models that documents of other formats declare: what is wrong with one of their targets is told where that target
//! stands, before they are planned like any other.

use super::{Planner, words};
use crate::{
    declared::{
        brought::{At, BroughtModel, part},
        read::Fault,
        routing,
    },
    domain::routing_fault,
};

impl<'a> Planner<'a> {
    pub(super) fn brought_models(&mut self, models: &'a [BroughtModel<'a>]) {
        for it in models {
            let faults = self.target_faults(it);
            if !faults.is_empty() {
                self.faults.extend(faults);
                continue;
            }
            let place = self.place_of(&it.origin);
            if let Err((place, message)) = self.virtual_model(place, &it.model) {
                self.wrong(place, message);
            }
        }
    }

    fn target_faults(&self, it: &BroughtModel<'_>) -> Vec<Fault> {
        let targets = part(&it.routing, Some("targets")).items();
        let mut faults = Vec::new();
        for (target, at) in it.model.targets.iter().zip(&targets) {
            if let Err(message) = self.takes(&target.model, it) {
                faults.push(part(at, Some("model")).wrong(message));
            }
        }
        if !faults.is_empty() {
            return faults;
        }
        let routing = match routing::asked(&it.model, |name| self.model_named(name)) {
            Ok(routing) => routing,
            Err(message) => return vec![it.origin.fault(Some("targets"), message)],
        };
        let fault = routing_fault(&routing, |model| self.model_told(model));
        let fault = fault.map(|(target, fault)| {
            let of = target.and_then(|target| targets.get(target));
            let at: At<'_> = part(of.unwrap_or(&it.routing), fault.part());
            at.wrong(format!("{fault}."))
        });
        fault.into_iter().collect()
    }

    /// That the model is there, and takes all that the virtual model must.
    fn takes(&self, model: &str, it: &BroughtModel<'_>) -> Result<(), String> {
        let id = self.model_named(model)?;
        let known = || {
            self.around
                .state
                .models()
                .get(&id)
                .map(|it| &it.model_types)
        };
        let types = self.types.get(&id).copied().or_else(known);
        let missing: Vec<_> = match types {
            Some(types) => it.types.difference(types).collect(),
            None => Vec::new(),
        };
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "The model '{model}' cannot be asked for {}, and the virtual model must take it.",
            words(missing)
        ))
    }
}

//! `provider-account/virtual-model`: a group of virtual models. Callers ask for one of them by its path, `group/name`, or by
//! its slug, where it has one: a virtual model has one name in Sluice, so that such a one becomes two.

use std::collections::BTreeSet;

use events_schema::{
    events::ModelType,
    names::{ModelName, Slug, VirtualModelName},
};

use super::{
    super::read::Fault,
    Brought, BroughtModel, Origin,
    form::{At, is_fields, is_list, item, list, only, optional, parsed, refuse, required},
    targets,
};

pub(super) fn read<'d>(at: &At<'d>, brought: &mut Brought<'d>, faults: &mut Vec<Fault>) {
    refuse(
        at,
        "collaborators",
        "Access is not granted here: write `grants` on the virtual models, in a document of Sluice's own.",
        faults,
    );
    only(
        at,
        &["type", "name", "integrations", "collaborators"],
        faults,
    );
    let group: Option<Slug> = required(at, "name", faults, parsed);
    if required(at, "integrations", faults, is_list).is_some() {
        let _ = list(at, "integrations", faults, |it, faults| {
            virtual_model(it, group.as_ref(), brought, faults)
        });
    }
}

fn virtual_model<'d>(
    at: &At<'d>,
    group: Option<&Slug>,
    brought: &mut Brought<'d>,
    faults: &mut Vec<Fault>,
) -> Option<()> {
    const FIELDS: [&str; 5] = ["name", "type", "slug", "model_types", "routing_config"];
    only(at, &FIELDS, faults);
    required(at, "type", faults, |it| match it.text()? {
        "integration/model/virtual" => Ok(()),
        other => Err(format!("'{other}' is not integration/model/virtual.")),
    });
    let name: Option<ModelName> = required(at, "name", faults, parsed);
    let slug: Option<VirtualModelName> = optional(at, "slug", faults, parsed);
    let types = list(at, "model_types", faults, |it, faults| {
        item(it, faults, model_type)
    });
    if at.field("model_types").is_none_or(|it| it.is_empty()) {
        faults.push(at.wrong("`model_types` is missing.".to_owned()));
    }
    required(at, "routing_config", faults, is_fields)?;
    let routing_at = at.deepest(&["routing_config"]);
    only(&routing_at, &targets::FIELDS, faults);
    let routing = targets::read(&routing_at, faults)?;
    let types: BTreeSet<_> = types?.into_iter().collect();
    let path = format!("{}/{}", group?, name?);
    let path = item(&at.deepest(&["name"]), faults, |_| {
        path.parse::<VirtualModelName>()
            .map_err(|error| format!("'{path}': {error}."))
    });
    let names = [("name", path), ("slug", slug)];
    for (field, name) in names {
        let Some(name) = name else {
            continue;
        };
        let fields = vec![
            ("name", at.deepest(&[field])),
            ("targets", routing_at.deepest(&["load_balance_targets"])),
        ];
        brought.virtual_models.push(BroughtModel {
            name,
            routing: routing.clone(),
            origin: Origin::new(at, fields),
            routing_at: routing_at.clone(),
            types: types.clone(),
        });
    }
    Some(())
}

fn model_type(at: &At<'_>) -> Result<ModelType, String> {
    match at.text()? {
        "chat" => Ok(ModelType::Chat),
        "completion" => Ok(ModelType::Completion),
        "embedding" => Ok(ModelType::Embedding),
        other => Err(format!(
            "Models cannot be asked for '{other}' here: there are chat, completion and embedding."
        )),
    }
}

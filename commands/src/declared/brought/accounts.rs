//! `virtual-account`: an account for a program, with the token that it has there, and what it may use.

use events_schema::{names::Slug, time::Timestamp};

use super::{
    super::{
        document::{Grant, ModelRef, Models, Subject},
        read::Fault,
    },
    Brought, BroughtAccount, Origin,
    form::{At, list, only, optional, parsed, refuse, required},
};

/// What a permission to use the models of a provider account is called.
const MAY_USE: &str = "provider-account-access";

pub(super) fn read<'d>(at: &At<'d>, brought: &mut Brought<'d>, faults: &mut Vec<Fault>) {
    const FIELDS: [&str; 6] = [
        "type",
        "name",
        "permissions",
        "expiration_date",
        "auto_rotate",
        "tags",
    ];
    only(at, &FIELDS, faults);
    refuse(
        at,
        "auto_rotate",
        "No key is rotated by itself here: leave it out, and rotate the key when it is time.",
        faults,
    );
    refuse(at, "tags", "Virtual accounts have no tags here.", faults);
    let name: Option<Slug> = required(at, "name", faults, parsed);
    let expires_at = optional(at, "expiration_date", faults, moment);
    let opened = list(at, "permissions", faults, permission);
    // Who takes the last one out may leave the field's name there: it is no longer opened either.
    let opened = opened.or_else(|| at.field("permissions").map(|_| Vec::new()));
    let Some(name) = name else {
        return;
    };
    let named = vec![("name", at.deepest(&["name"]))];
    let permissions = opened.map(|opened| {
        let grant = Grant {
            to: Subject::VirtualAccount(name.clone()),
            models: Models::Listed(opened),
        };
        let origin = Origin::new(&at.deepest(&["permissions"]), Vec::new());
        (grant, origin)
    });
    brought.virtual_accounts.push(BroughtAccount {
        name,
        origin: Origin::new(at, named),
        expires_at,
        token: Origin::new(&at.deepest(&["expiration_date"]), Vec::new()),
        permissions,
    });
}

/// The beginning of a day in UTC, or a moment.
fn moment(at: &At<'_>) -> Result<Timestamp, String> {
    let text = at.text()?;
    let is_day = !text.contains('T');
    let moment = if is_day {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    moment.parse().map_err(|_| {
        format!("'{text}' is no date like 2027-01-31, and no moment like 2027-01-31T12:00:00Z.")
    })
}

fn permission(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<ModelRef> {
    only(at, &["resource_fqn", "resource_type", "role_id"], faults);
    let role = required(at, "role_id", faults, |it| match it.text()? {
        MAY_USE => Ok(()),
        other => Err(format!(
            "The role '{other}' cannot be given here: {MAY_USE} can, the use of an account's models."
        )),
    });
    let kind = required(at, "resource_type", faults, |it| match it.text()? {
        "provider-account" => Ok(()),
        other => Err(format!(
            "A '{other}' cannot be opened here: a provider-account can."
        )),
    });
    let account = required(at, "resource_fqn", faults, account);
    kind.and(role).and(account).map(ModelRef::ProviderAccount)
}

/// The name of the account, which is the last part of `tenant:provider:name`.
fn account(at: &At<'_>) -> Result<Slug, String> {
    let text = at.text()?;
    match text.split(':').collect::<Vec<_>>()[..] {
        [_, "virtual-model", _] => Err(
            "A group of virtual models cannot be opened as one: write `grants` on them, in a document of Sluice's own."
                .to_owned(),
        ),
        [_, _, name] => name
            .parse()
            .map_err(|error| format!("'{name}': {error}.")),
        _ => Err(format!(
            "'{text}' is no account: it is written tenant:provider:account."
        )),
    }
}

//! What an operator may do: the choice, and the dialog that changes it.

use std::rc::Rc;

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::OperatorItem;
use events_schema::events::Role;
use yew::prelude::*;

use crate::api::Rejection;
use crate::command::use_command;
use crate::screens::users::ERASED;
use crate::session::{ROLES, role_name, role_purpose};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::field::{Choice, SelectField};

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &["role", "why"];

/// Properties of [`ChangeRole`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// Whose.
    pub(super) operator: Rc<OperatorItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form.
#[component]
pub(super) fn ChangeRole(props: &Props) -> Html {
    let operator = props.operator.id;
    let role = use_state_eq(|| props.operator.role);
    let why = use_state_eq(String::new);
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let onsubmit = {
        let (send, role, why) = (commander.send.clone(), role.clone(), why.clone());
        Callback::from(move |()| {
            let role = *role;
            send(NewCommand::ChangeOperatorRole { operator, role }, &why);
        })
    };
    let setter = role.setter();
    let name = props.operator.name.as_deref().unwrap_or(ERASED);
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Change the role of {name}")} action="Save" busy={commander.busy}
            rejection={rejection.clone()} fields={FIELDS} {onsubmit} onclose={props.onclose.clone()}>
            <RoleField role={*role} onchange={Callback::from(move |role| setter.set(role))} rejection={rejection.clone()} />
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

/// Properties of [`RoleField`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct RoleProps {
    /// The role chosen.
    pub(super) role: Role,
    /// Called with each change.
    pub(super) onchange: Callback<Role>,
    /// The refusal of the form that it stands in.
    #[prop_or_default]
    pub(super) rejection: Option<Rejection>,
}

/// One of the roles, and what it may do.
#[component]
pub(super) fn RoleField(props: &RoleProps) -> Html {
    let choice = |role: Role| Choice {
        value: role_name(role).into(),
        label: role_name(role).into(),
    };
    let onchange = {
        let onchange = props.onchange.clone();
        Callback::from(move |name: String| {
            if let Some(role) = ROLES.into_iter().find(|role| role_name(*role) == name) {
                onchange.emit(role);
            }
        })
    };
    html!(
        <SelectField name="role" label="Role" hint={role_purpose(props.role)} value={role_name(props.role)}
            choices={ROLES.map(choice).to_vec()} {onchange} rejection={props.rejection.clone()} />
    )
}

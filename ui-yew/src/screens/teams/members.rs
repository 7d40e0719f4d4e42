//! Who is in a team: added, given another role, taken out.

use std::rc::Rc;

use events_schema::api::Page;
use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::{TeamItem, TeamMemberItem};
use events_schema::events::{Aggregate, TeamRole};
use events_schema::id::UserId;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::api::{Client, use_live};
use crate::command::use_command;
use crate::remote::use_remote;
use crate::screens::users::ERASED;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{Chooser, List, Offer, Source};
use crate::widgets::dialog::Dialog;
use crate::widgets::field::{Choice, Select};
use crate::widgets::moment::Ago;
use crate::widgets::reference;

/// How many members are shown.
const SHOWN: usize = 200;

/// Who can be in a team.
const USERS: Source = Source {
    fixed: &[],
    lists: &[List::Users],
};

/// Properties of [`Members`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The team.
    pub(super) team: Rc<TeamItem>,
    /// Whether this operator may change it.
    pub(super) may_change: bool,
    /// Called when it is to go away.
    pub(super) onclose: Callback<()>,
}

/// The members; each change is done at once.
#[component]
pub(super) fn Members(props: &Props) -> Html {
    let team = props.team.id;
    let newest = use_live().newest(&[Aggregate::Team, Aggregate::User]);
    let path = format!("/teams/{team}/members?limit={SHOWN}&at_least={newest}");
    let members = use_remote(path, |client: Client, path| async move {
        client.get::<Page<TeamMemberItem>>(&path).await
    });
    let commander = use_command(Callback::from(|_: CommandAnswer| ()));
    let send = {
        let send = Rc::clone(&commander.send);
        Callback::from(move |command: NewCommand| send(command, ""))
    };
    let footer = html!(
        <Button variant={Variant::Secondary} label="Close" onclick={props.onclose.reform(|_| ())} />
    );
    let none = || html!(<p class="sl-quiet">{ "Nobody is in this team yet." }</p>);
    let inside: Vec<UserId> = members
        .state
        .ready()
        .map(|page| page.items.iter().map(|it| it.user).collect())
        .unwrap_or_default();
    html!(
        <Dialog title={format!("Members of {}", props.team.name)} wide={true}
            description="Members may use what was granted to the team. Managers answer for it."
            onclose={props.onclose.clone()} {footer}>
            <div class="sl-stack">
                if let Some(rejection) = &commander.rejection {
                    <Alert inline={true} r#type={AlertType::Danger} title={rejection.detail.clone()} />
                }
                if props.may_change {
                    <Newcomer {inside} busy={commander.busy}
                        onadd={send.reform(move |user| NewCommand::AddTeamMember { team, user, role: TeamRole::Member })} />
                }
                { members.show(none, |page| html!(
                    <ul class="sl-rows">
                        { for page.items.iter().map(|member| row(props, member, &send)) }
                        if page.next_cursor.is_some() {
                            <li class="sl-quiet">{ format!("The first {SHOWN} of {} members.", props.team.members) }</li>
                        }
                    </ul>
                )) }
            </div>
        </Dialog>
    )
}

/// Properties of [`Newcomer`].
#[derive(Clone, PartialEq, Properties)]
struct NewcomerProps {
    /// Who is in it already.
    inside: Vec<UserId>,
    /// Whether a change is on its way.
    busy: bool,
    /// Called with whom to add.
    onadd: Callback<UserId>,
}

/// Somebody to add.
#[component]
fn Newcomer(props: &NewcomerProps) -> Html {
    let chosen = use_state_eq(AttrValue::default);
    let onclick = {
        let (chosen, onadd) = (chosen.clone(), props.onadd.clone());
        Callback::from(move |_: MouseEvent| {
            if let Ok(user) = reference::id(&chosen).parse() {
                onadd.emit(user);
                chosen.set(AttrValue::default());
            }
        })
    };
    let setter = chosen.setter();
    let inside = props.inside.iter();
    let taken: Vec<_> = inside.map(|id| reference::of("user", id)).collect();
    html!(
        <div class="sl-add-row">
            <Chooser name="newcomer" label="A user to add" source={USERS} value={(*chosen).clone()} {taken} optional={true}
                placeholder="Search a user to add"
                onchoose={Callback::from(move |user: Option<Offer>| setter.set(user.map(|it| it.value).unwrap_or_default()))} />
            <Button variant={Variant::Primary} label="Add" disabled={chosen.is_empty()} busy={props.busy} {onclick} />
        </div>
    )
}

fn row(props: &Props, member: &TeamMemberItem, send: &Callback<NewCommand>) -> Html {
    let (team, user) = (props.team.id, member.user);
    let name = member.name.clone().unwrap_or_else(|| ERASED.to_owned());
    let role = match member.role {
        TeamRole::Member => "member",
        TeamRole::Manager => "manager",
    };
    let roles = [("member", "Member"), ("manager", "Manager")];
    let choices: Vec<Choice> = roles
        .iter()
        .map(|(value, label)| Choice {
            value: (*value).into(),
            label: (*label).into(),
        })
        .collect();
    let onchange = send.reform(move |value: String| NewCommand::ChangeTeamMemberRole {
        team,
        user,
        role: if value == "manager" {
            TeamRole::Manager
        } else {
            TeamRole::Member
        },
    });
    let remove = send.reform(move |_: MouseEvent| NewCommand::RemoveTeamMember { team, user });
    html!(
        <li key={user.to_string()}>
            <div>
                <div>{ &name }
                    if member.disabled {
                        { " " }<Label label="Disabled" color={Color::Orange} compact={true} />
                    }
                </div>
                <div class="sl-quiet">{ member.email.clone().unwrap_or_default() }{ " · since " }<Ago at={member.since.to_chrono()} /></div>
            </div>
            if props.may_change {
                <div class="sl-member-tools">
                    <Select name={format!("role-{user}")} value={role} {choices} {onchange} />
                    <Button variant={Variant::Link} label="Remove" aria_label={format!("Remove {name}")} onclick={remove} />
                </div>
            } else {
                <Label label={format!("{}{}", role[..1].to_uppercase(), &role[1..])} compact={true} />
            }
        </li>
    )
}

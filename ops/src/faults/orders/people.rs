//! Users, teams, memberships and virtual accounts.

use events_schema::api::commands::NewCommand;
use events_schema::events::TeamRole;
use serde_json::{Value, json};

use super::{ACCOUNTS, Effect, Order, Plot, TEAMS, USERS, fields, told};
use crate::dice::Dice;
use crate::faults::facts::{Facts, Fields, Thing};

pub(super) fn draw(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    match dice.between(0, 10) {
        0..3 => user(plot, facts, dice),
        3..6 => team(plot, facts, dice),
        6..8 => membership(plot, facts, dice),
        _ => account(plot, facts, dice),
    }
}

fn user(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let name = plot.name(dice);
    let email = format!("{name}@example.com");
    let draw = dice.between(0, 8);
    if draw < 3 && plot.has_room(facts, USERS) {
        let made = fields([
            ("name", name.clone().into()),
            ("email", email.clone().into()),
            ("disabled", Value::Bool(false)),
            ("teams", json!([])),
        ]);
        let add = NewCommand::AddUser { email, name };
        return Some(Order::new(add, Effect::Made(USERS, made)));
    }
    let (id, thing) = plot.one(facts, USERS, dice)?;
    let user = id.parse().ok()?;
    let erased = thing.fields.get("email") == Some(&Value::Null);
    match draw {
        0..3 if !facts.is_named(id) => Some(Order::new(
            NewCommand::DeleteUser { user },
            Effect::Gone(id.to_owned()),
        )),
        0..3 => None,
        3..5 if thing.is_disabled() => Some(Order::new(
            NewCommand::EnableUser { user },
            Effect::disabled(id, false),
        )),
        3 => Some(Order::new(
            NewCommand::DisableUser { user },
            Effect::disabled(id, true),
        )),
        4 | 5 if !erased => Some(Order::new(
            NewCommand::RenameUser {
                user,
                name: name.clone(),
            },
            Effect::named(id, &name),
        )),
        6 if !erased => {
            let effect = Effect::Set(id.to_owned(), fields([("email", email.clone().into())]));
            let change = NewCommand::ChangeUserEmail { user, email };
            Some(Order::new(change, effect))
        }
        7 if !erased => {
            let nobody = fields([("name", Value::Null), ("email", Value::Null)]);
            let erase = NewCommand::EraseUser { user };
            Some(Order::new(erase, Effect::Set(id.to_owned(), nobody)))
        }
        _ => None,
    }
}

fn team(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let name = plot.name(dice);
    let draw = dice.between(0, 6);
    if draw < 2 && plot.has_room(facts, TEAMS) {
        let create = NewCommand::CreateTeam { name: name.clone() };
        return Some(Order::new(create, Effect::Made(TEAMS, named(name))));
    }
    let (id, thing) = plot.one(facts, TEAMS, dice)?;
    let team = id.parse().ok()?;
    match draw {
        0..3 => {
            // Grants and policies keep it; its members leave it.
            if facts.is_named_beyond(USERS, id) {
                return None;
            }
            let delete = Order::new(NewCommand::DeleteTeam { team }, Effect::Gone(id.to_owned()));
            let members = plot.mine(facts, USERS);
            let left = members
                .iter()
                .filter(|(_, user)| role(user, id).is_some())
                .map(|(member, user)| joined(member, user, id, None));
            Some(left.fold(delete, Order::also))
        }
        3 if thing.is_disabled() => Some(Order::new(
            NewCommand::EnableTeam { team },
            Effect::disabled(id, false),
        )),
        3 | 4 => Some(Order::new(
            NewCommand::DisableTeam { team },
            Effect::disabled(id, true),
        )),
        _ => Some(Order::new(
            NewCommand::RenameTeam {
                team,
                name: name.clone(),
            },
            Effect::named(id, &name),
        )),
    }
}

fn membership(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let (member, thing) = plot.one(facts, USERS, dice)?;
    let (in_team, _) = plot.one(facts, TEAMS, dice)?;
    let (user, team) = (member.parse().ok()?, in_team.parse().ok()?);
    let drawn = *dice.choose(&[TeamRole::Member, TeamRole::Manager])?;
    let (command, role) = match role(thing, in_team) {
        None => {
            let role = drawn;
            (NewCommand::AddTeamMember { team, user, role }, Some(drawn))
        }
        Some(_) if dice.between(0, 2) == 0 => (NewCommand::RemoveTeamMember { team, user }, None),
        Some(_) => {
            let role = drawn;
            let change = NewCommand::ChangeTeamMemberRole { team, user, role };
            (change, Some(drawn))
        }
    };
    Some(Order::new(command, joined(member, thing, in_team, role)))
}

fn account(plot: &Plot, facts: &Facts, dice: &mut Dice) -> Option<Order> {
    let name = plot.name(dice);
    let draw = dice.between(0, 6);
    if draw < 2 && plot.has_room(facts, ACCOUNTS) {
        let create = NewCommand::CreateVirtualAccount { name: name.clone() };
        return Some(Order::new(create, Effect::Made(ACCOUNTS, named(name))));
    }
    let (id, thing) = plot.one(facts, ACCOUNTS, dice)?;
    let virtual_account = id.parse().ok()?;
    match draw {
        0..3 if facts.is_named(id) => None,
        0..3 => Some(Order::new(
            NewCommand::DeleteVirtualAccount { virtual_account },
            Effect::Gone(id.to_owned()),
        )),
        3 | 4 if thing.is_disabled() => Some(Order::new(
            NewCommand::EnableVirtualAccount { virtual_account },
            Effect::disabled(id, false),
        )),
        3 => Some(Order::new(
            NewCommand::DisableVirtualAccount { virtual_account },
            Effect::disabled(id, true),
        )),
        _ => Some(Order::new(
            NewCommand::RenameVirtualAccount {
                virtual_account,
                name: name.clone(),
            },
            Effect::named(id, &name),
        )),
    }
}

fn named(name: String) -> Fields {
    fields([("name", name.into()), ("disabled", Value::Bool(false))])
}

/// What a user is in a team.
pub(in crate::faults) fn role<'t>(user: &'t Thing, team: &str) -> Option<&'t Value> {
    let teams = user.fields.get("teams")?.as_array()?;
    let found = teams.iter().find(|it| it["team"] == *team);
    found.map(|it| &it["role"])
}

/// The user's teams with this one added, changed, or left out.
fn joined(member: &str, user: &Thing, team: &str, role: Option<TeamRole>) -> Effect {
    let teams = user.fields.get("teams").and_then(Value::as_array);
    let others = teams.into_iter().flatten().filter(|it| it["team"] != *team);
    let mut teams: Vec<Value> = others.cloned().collect();
    teams.extend(role.map(|role| json!({ "team": team, "role": told(role) })));
    teams.sort_by_key(ToString::to_string);
    Effect::Set(member.to_owned(), fields([("teams", teams.into())]))
}

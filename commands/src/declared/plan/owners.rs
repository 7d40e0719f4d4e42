//! Users, teams, virtual accounts and operators.

use std::collections::BTreeMap;

use events_schema::{
    api::declared::{Action, NewSecret},
    events::Owner,
    id::{TeamId, UserId},
    names::{Label, Slug},
};
use uuid::Uuid;

use super::{Fields, Planner, Wrong, twice, word};
use crate::{
    auth::Email,
    control::{Order, Person, PersonChange, SideEffects},
    declared::{
        document::{self, Operator, Team, User, VirtualAccount},
        read::Place,
    },
    domain::{Command, OperatorCommand, TeamCommand, UserCommand, VirtualAccountCommand},
    fresh,
    secrets::SecretText,
};

impl<'a> Planner<'a> {
    pub(super) fn user(&mut self, place: Place, it: &'a User) -> Result<(), Wrong> {
        let (email, prints) = self.email(place, &it.email)?;
        let state = self.around.state;
        let known = prints.iter().find_map(|print| state.user_by_email(print));
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.users.insert(email, id).is_some() {
            return Err((place.at("email"), twice("user", &it.email)));
        }
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                UserCommand::Disable
            } else {
                UserCommand::Enable
            };
            Command::User(id, order)
        };
        let Some(known) = known else {
            fields.made("name", &it.name);
            fields.made_disabled(it.disabled);
            let command = Command::User(id, UserCommand::Add { email: prints });
            let side = person(id.uuid(), &it.email, &it.name);
            self.order(Some(place), Order { command, side });
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, "user", &it.email, fields);
            return Ok(());
        };
        self.named(place, &mut fields, known.id.uuid(), &it.name, || {
            Command::User(id, UserCommand::Rename { differs: true })
        });
        self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
        self.change(Action::Change, "user", &it.email, fields);
        Ok(())
    }

    pub(super) fn team(&mut self, place: Place, it: &'a Team) -> Result<(), Wrong> {
        let state = self.around.state;
        let known = state.team_named(&it.name);
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.teams.insert(it.name.clone(), id).is_some() {
            return Err((place.at("name"), twice("team", &it.name)));
        }
        let at_members = place.at("members");
        let mut wanted = BTreeMap::new();
        for member in &it.members {
            let user = self
                .user_named(&member.user)
                .map_err(|message| (at_members, message))?;
            if wanted.insert(user, member).is_some() {
                return Err((at_members, twice("member", &member.user)));
            }
        }
        let mut fields = Fields::default();
        let action = if let Some(known) = known {
            let disable = |off| {
                let order = if off {
                    TeamCommand::Disable
                } else {
                    TeamCommand::Enable
                };
                Command::Team(id, order)
            };
            self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
            Action::Change
        } else {
            let name = it.name.clone();
            self.order(Some(place), Command::Team(id, TeamCommand::Create { name }));
            fields.made_disabled(it.disabled);
            if it.disabled {
                self.order(Some(place), Command::Team(id, TeamCommand::Disable));
            }
            Action::Create
        };
        for (user, _) in state.members_of(id) {
            // No document can name somebody who was erased: such a member stays.
            let person = self.around.people.get(&user.uuid());
            if let Some(person) = person.filter(|_| !wanted.contains_key(&user)) {
                let email = &person.email;
                let before = state.membership(id, user).map(|it| word(&it.role));
                fields.set(&format!("member {email}"), before, None);
                let order = TeamCommand::RemoveMember { user };
                self.order(Some(at_members), Command::Team(id, order));
            }
        }
        for (user, member) in wanted {
            let before = state.membership(id, user).map(|it| word(&it.role));
            let field = format!("member {}", member.user);
            if fields.set(&field, before, Some(word(&member.role))) {
                let role = member.role;
                let order = TeamCommand::AddMember { user, role };
                self.order(Some(at_members), Command::Team(id, order));
            }
        }
        self.change(action, "team", &it.name, fields);
        Ok(())
    }

    /// The team of this name.
    pub(super) fn team_named(&self, name: &Slug) -> Result<TeamId, String> {
        let declared = self.teams.get(name).copied();
        let known = || self.around.state.team_named(name);
        declared
            .or_else(|| known().map(|it| it.id))
            .ok_or_else(|| format!("There is no team '{name}'."))
    }

    pub(super) fn virtual_account(
        &mut self,
        place: Place,
        it: &VirtualAccount,
    ) -> Result<(), Wrong> {
        let known = self.around.state.virtual_account_named(&it.name);
        let id = known.map_or_else(fresh::id, |known| known.id);
        let owner = Owner::VirtualAccount(id);
        if self.owners.insert(it.name.clone(), owner).is_some() {
            return Err((place.at("name"), twice("virtual account", &it.name)));
        }
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                VirtualAccountCommand::Disable
            } else {
                VirtualAccountCommand::Enable
            };
            Command::VirtualAccount(id, order)
        };
        let Some(known) = known else {
            fields.made_disabled(it.disabled);
            let name = it.name.clone();
            let create = VirtualAccountCommand::Create { name };
            self.order(Some(place), Command::VirtualAccount(id, create));
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, "virtual account", &it.name, fields);
            return Ok(());
        };
        self.switch(place, &mut fields, (known.disabled, it.disabled), disable);
        self.change(Action::Change, "virtual account", &it.name, fields);
        Ok(())
    }

    pub(super) fn operator(&mut self, place: Place, it: &'a Operator) -> Result<(), Wrong> {
        let (email, prints) = self.email(place, &it.email)?;
        let state = self.around.state;
        let known = prints
            .iter()
            .find_map(|print| state.operator_by_email(print));
        let id = known.map_or_else(fresh::id, |known| known.id);
        if self.operators.insert(email, id).is_some() {
            return Err((place.at("email"), twice("operator", &it.email)));
        }
        let orders = self.plan.orders.len();
        let mut fields = Fields::default();
        let disable = |off| {
            let order = if off {
                OperatorCommand::Disable
            } else {
                OperatorCommand::Enable
            };
            Command::Operator(id, order)
        };
        if let Some(known) = known {
            self.named(place, &mut fields, known.id.uuid(), &it.name, || {
                Command::Operator(id, OperatorCommand::Rename { differs: true })
            });
            if fields.set("role", Some(word(&known.role)), Some(word(&it.role))) {
                let order = OperatorCommand::ChangeRole { role: it.role };
                self.order(Some(place.at("role")), Command::Operator(id, order));
            }
            if fields.set("disabled", Some(known.disabled), Some(it.disabled)) {
                let side = SideEffects {
                    end_sessions: it.disabled.then_some(id),
                    ..SideEffects::default()
                };
                let command = disable(it.disabled);
                self.order(Some(place.at("disabled")), Order { command, side });
            }
            self.change(Action::Change, "operator", &it.email, fields);
        } else {
            fields.made("name", &it.name);
            fields.made("role", &word(&it.role));
            fields.made_disabled(it.disabled);
            let password = SecretText::new_session();
            self.plan.secrets.push(NewSecret {
                what: "operator".to_owned(),
                name: it.email.clone(),
                secret: password.reveal().to_owned(),
            });
            self.plan.passwords.push((orders, id, password));
            let role = it.role;
            let command = Command::Operator(
                id,
                OperatorCommand::Add {
                    role,
                    email: prints,
                },
            );
            let side = person(id.uuid(), &it.email, &it.name);
            self.order(Some(place), Order { command, side });
            if it.disabled {
                self.order(Some(place), disable(true));
            }
            self.change(Action::Create, "operator", &it.email, fields);
        }
        self.plan.changes_operators |= self.plan.orders.len() > orders;
        Ok(())
    }

    fn email(
        &self,
        place: Place,
        text: &str,
    ) -> Result<(Email, crate::domain::Fingerprints), Wrong> {
        let email: Email = text
            .parse()
            .map_err(|error| (place.at("email"), format!("{error}.")))?;
        let prints = self.around.secrets.fingerprints(&email);
        Ok((email, prints))
    }

    /// Lets a person be called so, who may be called otherwise until now.
    fn named(
        &mut self,
        place: Place,
        fields: &mut Fields,
        id: Uuid,
        name: &Label,
        rename: impl FnOnce() -> Command,
    ) {
        let before = self.around.people.get(&id).map(|it| it.name.clone());
        let name = name.to_string();
        if before.is_some() && fields.set("name", before, Some(name.clone())) {
            let side = SideEffects {
                person: Some(PersonChange::Name { id, name }),
                ..SideEffects::default()
            };
            let command = rename();
            self.order(Some(place.at("name")), Order { command, side });
        }
    }

    /// The owner that a document names.
    pub(super) fn owner_named(&self, owner: &document::Owner) -> Result<Owner, String> {
        match owner {
            document::Owner::User(email) => self.user_named(email).map(Owner::User),
            document::Owner::VirtualAccount(name) => self.virtual_account_named(name),
        }
    }

    pub(super) fn user_named(&self, text: &str) -> Result<UserId, String> {
        let email: Email = text.parse().map_err(|error| format!("{error}."))?;
        if let Some(declared) = self.users.get(&email) {
            return Ok(*declared);
        }
        let prints = self.around.secrets.fingerprints(&email);
        let state = self.around.state;
        prints
            .iter()
            .find_map(|print| state.user_by_email(print))
            .map(|it| it.id)
            .ok_or_else(|| format!("There is no user '{text}'."))
    }

    fn virtual_account_named(&self, name: &Slug) -> Result<Owner, String> {
        let declared = self.owners.get(name).copied();
        let known = || self.around.state.virtual_account_named(name);
        declared
            .or_else(|| known().map(|it| Owner::VirtualAccount(it.id)))
            .ok_or_else(|| format!("There is no virtual account '{name}'."))
    }
}

fn person(id: Uuid, email: &str, name: &Label) -> SideEffects {
    SideEffects {
        person: Some(PersonChange::Put(Person {
            id,
            email: email.trim().to_owned(),
            name: name.to_string(),
        })),
        ..SideEffects::default()
    }
}

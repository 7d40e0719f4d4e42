//! From a command on the wire to one that can be decided: texts are parsed, each error with its field; ids, keys
//! and hashes are made; what must not stand in the log goes beside it.

use std::{fmt::Display, str::FromStr};

use events_schema::{
    api::commands::NewCommand,
    id::{OperatorId, ProviderAccountId, UserId},
    names::{BaseUrl, Label},
    state::{Organisation, Retention, SessionBounds},
};
use uuid::Uuid;

use crate::{
    auth::{Caller, Email, passwords::NewPassword},
    clock,
    control::{PasswordChange, Person, PersonChange, SideEffects},
    domain::{
        BudgetPolicyCommand, Command, Fingerprints, GrantCommand, KeyCommand, ModelCommand,
        OperatorCommand, ProviderAccountCommand, RateLimitPolicyCommand, SealedCredential,
        SettingsCommand, TeamCommand, UserCommand, VirtualAccountCommand, VirtualModelCommand,
    },
    fresh,
    http::{App, api::repricing, app::Answer, names::unreadable, problem::ApiError},
    secrets::{BadCredential, SecretText, seal_credential},
};

/// A command ready to be decided.
pub(in crate::http::api) struct Prepared {
    /// The order.
    pub(in crate::http::api) command: Command,
    /// What must not stand in the log.
    pub(in crate::http::api) side: SideEffects,
    /// What to show, once.
    pub(in crate::http::api) secret: Option<SecretText>,
}

impl From<Command> for Prepared {
    fn from(command: Command) -> Self {
        Self {
            command,
            side: SideEffects::default(),
            secret: None,
        }
    }
}

/// Prepares a command.
pub(super) async fn prepare(
    app: &App,
    caller: &Caller,
    state: &Organisation,
    command: NewCommand,
) -> Answer<Prepared> {
    use NewCommand as N;
    Ok(match command {
        N::RegisterProviderAccount {
            name,
            provider,
            base_url,
            credential,
            allows_private_addresses,
        } => {
            let (id, name, base_url) = (
                fresh::id(),
                read("name", &name)?,
                read("base_url", &base_url)?,
            );
            let (credential, side) = seal(app, id, &base_url, credential)?;
            let order = ProviderAccountCommand::Register {
                name,
                provider,
                base_url,
                credential,
                allows_private_addresses,
            };
            Prepared {
                side,
                ..Command::ProviderAccount(id, order).into()
            }
        }
        N::RenameProviderAccount { account, name } => Command::ProviderAccount(
            account,
            ProviderAccountCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::MoveProviderAccount {
            account,
            base_url,
            credential,
        } => {
            let base_url = read("base_url", &base_url)?;
            let (credential, side) = seal(app, account, &base_url, credential)?;
            let order = ProviderAccountCommand::Move {
                base_url,
                credential,
            };
            Prepared {
                side,
                ..Command::ProviderAccount(account, order).into()
            }
        }
        N::ReplaceProviderCredential {
            account,
            credential,
        } => replace_credential(app, state, account, credential)?,
        N::AllowProviderPrivateAddresses { account } => {
            Command::ProviderAccount(account, ProviderAccountCommand::AllowPrivateAddresses).into()
        }
        N::ForbidProviderPrivateAddresses { account } => {
            Command::ProviderAccount(account, ProviderAccountCommand::ForbidPrivateAddresses).into()
        }
        N::DisableProviderAccount { account } => {
            Command::ProviderAccount(account, ProviderAccountCommand::Disable).into()
        }
        N::EnableProviderAccount { account } => {
            Command::ProviderAccount(account, ProviderAccountCommand::Enable).into()
        }
        N::ShredProviderCredential { account } => {
            shredding(account, ProviderAccountCommand::ShredCredential)
        }
        N::DeleteProviderAccount { account } => shredding(account, ProviderAccountCommand::Delete),
        N::AddModel {
            account,
            name,
            upstream_name,
            model_types,
        } => {
            let upstream_name = read("upstream_name", upstream_name.as_deref().unwrap_or(&name))?;
            let order = ModelCommand::Add {
                account,
                name: read("name", &name)?,
                upstream_name,
                model_types,
            };
            Command::Model(fresh::id(), order).into()
        }
        N::RenameModel { model, name } => Command::Model(
            model,
            ModelCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::ChangeModelUpstreamName {
            model,
            upstream_name,
        } => {
            let upstream_name = read("upstream_name", &upstream_name)?;
            Command::Model(model, ModelCommand::ChangeUpstreamName { upstream_name }).into()
        }
        N::SetModelPrice {
            model,
            price,
            effective_at,
        } => {
            let effective_at = effective_at.unwrap_or_else(clock::now);
            Command::Model(
                model,
                ModelCommand::SetPrice {
                    price,
                    effective_at,
                },
            )
            .into()
        }
        N::RepriceUsage {
            model,
            from,
            until,
            price,
            shown,
        } => {
            let now = clock::now();
            let order = ModelCommand::RepriceUsage {
                from,
                until,
                price,
                shown,
                found: repricing::difference(app, state, model, (from, until), price, now).await?,
                known: state
                    .models()
                    .get(&model)
                    .map_or(0, |it| it.repricings.len()),
                now,
            };
            Command::Model(model, order).into()
        }
        N::DisableModel { model } => Command::Model(model, ModelCommand::Disable).into(),
        N::EnableModel { model } => Command::Model(model, ModelCommand::Enable).into(),
        N::DeleteModel { model } => Command::Model(model, ModelCommand::Delete).into(),
        N::CreateVirtualModel { name, routing } => {
            let order = VirtualModelCommand::Create {
                name: read("name", &name)?,
                routing,
            };
            Command::VirtualModel(fresh::id(), order).into()
        }
        N::RenameVirtualModel {
            virtual_model,
            name,
        } => Command::VirtualModel(
            virtual_model,
            VirtualModelCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::ChangeVirtualModelRouting {
            virtual_model,
            routing,
        } => Command::VirtualModel(
            virtual_model,
            VirtualModelCommand::ChangeRouting { routing },
        )
        .into(),
        N::DisableVirtualModel { virtual_model } => {
            Command::VirtualModel(virtual_model, VirtualModelCommand::Disable).into()
        }
        N::EnableVirtualModel { virtual_model } => {
            Command::VirtualModel(virtual_model, VirtualModelCommand::Enable).into()
        }
        N::DeleteVirtualModel { virtual_model } => {
            Command::VirtualModel(virtual_model, VirtualModelCommand::Delete).into()
        }
        N::AddUser { email, name } => add_user(app, &email, &name)?,
        N::ChangeUserEmail { user, email } => change_email(app, user.uuid(), &email, |email| {
            Command::User(user, UserCommand::ChangeEmail { email })
        })?,
        N::RenameUser { user, name } => {
            rename(app, user.uuid(), &name, |differs| {
                Command::User(user, UserCommand::Rename { differs })
            })
            .await?
        }
        N::DisableUser { user } => Command::User(user, UserCommand::Disable).into(),
        N::EnableUser { user } => Command::User(user, UserCommand::Enable).into(),
        N::EraseUser { user } => erasing(user.uuid(), Command::User(user, UserCommand::Erase)),
        N::DeleteUser { user } => erasing(user.uuid(), Command::User(user, UserCommand::Delete)),
        N::CreateVirtualAccount { name } => Command::VirtualAccount(
            fresh::id(),
            VirtualAccountCommand::Create {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::RenameVirtualAccount {
            virtual_account: id,
            name,
        } => Command::VirtualAccount(
            id,
            VirtualAccountCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::DisableVirtualAccount {
            virtual_account: id,
        } => Command::VirtualAccount(id, VirtualAccountCommand::Disable).into(),
        N::EnableVirtualAccount {
            virtual_account: id,
        } => Command::VirtualAccount(id, VirtualAccountCommand::Enable).into(),
        N::DeleteVirtualAccount {
            virtual_account: id,
        } => Command::VirtualAccount(id, VirtualAccountCommand::Delete).into(),
        N::CreateTeam { name } => Command::Team(
            fresh::id(),
            TeamCommand::Create {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::RenameTeam { team, name } => Command::Team(
            team,
            TeamCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::DisableTeam { team } => Command::Team(team, TeamCommand::Disable).into(),
        N::EnableTeam { team } => Command::Team(team, TeamCommand::Enable).into(),
        N::DeleteTeam { team } => Command::Team(team, TeamCommand::Delete).into(),
        N::AddTeamMember { team, user, role } => {
            Command::Team(team, TeamCommand::AddMember { user, role }).into()
        }
        N::ChangeTeamMemberRole { team, user, role } => {
            Command::Team(team, TeamCommand::ChangeMemberRole { user, role }).into()
        }
        N::RemoveTeamMember { team, user } => {
            Command::Team(team, TeamCommand::RemoveMember { user }).into()
        }
        N::IssueKey {
            owner,
            label,
            expires_at,
            limits,
        } => {
            let (secret, label, now) = (
                SecretText::new_api_key(),
                read("label", &label)?,
                clock::now(),
            );
            let (hash, hint) = (app.secrets().api_key_hash(&secret), secret.hint());
            let order = KeyCommand::Issue {
                owner,
                label,
                hash,
                hint,
                expires_at,
                limits,
                now,
            };
            Prepared {
                secret: Some(secret),
                ..Command::Key(fresh::id(), order).into()
            }
        }
        N::RelabelKey { key, label } => Command::Key(
            key,
            KeyCommand::Relabel {
                label: read("label", &label)?,
                now: clock::now(),
            },
        )
        .into(),
        N::ChangeKeyLimits { key, limits } => {
            Command::Key(key, KeyCommand::ChangeLimits { limits }).into()
        }
        N::ChangeKeyExpiry { key, expires_at } => Command::Key(
            key,
            KeyCommand::ChangeExpiry {
                expires_at,
                now: clock::now(),
            },
        )
        .into(),
        N::RotateKey { key, grace_seconds } => {
            let secret = SecretText::new_api_key();
            let (hash, hint) = (app.secrets().api_key_hash(&secret), secret.hint());
            let order = KeyCommand::Rotate {
                hash,
                hint,
                grace_seconds,
                now: clock::now(),
            };
            Prepared {
                secret: Some(secret),
                ..Command::Key(key, order).into()
            }
        }
        N::RevokeFormerSecret { key } => Command::Key(key, KeyCommand::RevokeFormerSecret).into(),
        N::DisableKey { key } => Command::Key(key, KeyCommand::Disable).into(),
        N::EnableKey { key } => Command::Key(key, KeyCommand::Enable).into(),
        N::RevokeKey { key } => Command::Key(key, KeyCommand::Revoke).into(),
        N::GrantAccess { subject, models } => {
            Command::Grant(fresh::id(), GrantCommand::Grant { subject, models }).into()
        }
        N::ChangeGrantedModels { grant, models } => {
            Command::Grant(grant, GrantCommand::ChangeModels { models }).into()
        }
        N::RevokeAccess { grant } => Command::Grant(grant, GrantCommand::Revoke).into(),
        N::AddOperator {
            email,
            name,
            role,
            password,
        } => {
            let (id, typed, email): (OperatorId, _, Email) =
                (fresh::id(), email.trim().to_owned(), read("email", &email)?);
            let person = Person {
                id: id.uuid(),
                email: typed,
                name: read::<Label>("name", &name)?.to_string(),
            };
            let password = Some(hashed(app, id, password).await?);
            let side = SideEffects {
                person: Some(PersonChange::Put(person)),
                password,
                ..SideEffects::default()
            };
            let order = OperatorCommand::Add {
                role,
                email: app.secrets().fingerprints(&email),
            };
            Prepared {
                side,
                ..Command::Operator(id, order).into()
            }
        }
        N::ChangeOperatorRole { operator, role } => {
            Command::Operator(operator, OperatorCommand::ChangeRole { role }).into()
        }
        N::RenameOperator { operator, name } => {
            rename(app, operator.uuid(), &name, |differs| {
                Command::Operator(operator, OperatorCommand::Rename { differs })
            })
            .await?
        }
        N::ChangeOperatorEmail { operator, email } => {
            change_email(app, operator.uuid(), &email, |email| {
                Command::Operator(operator, OperatorCommand::ChangeEmail { email })
            })?
        }
        N::SetOperatorPassword { operator, password } => {
            set_password(app, caller, operator, password).await?
        }
        N::DisableOperator { operator } => {
            let side = SideEffects {
                end_sessions: Some(operator),
                ..SideEffects::default()
            };
            Prepared {
                side,
                ..Command::Operator(operator, OperatorCommand::Disable).into()
            }
        }
        N::EnableOperator { operator } => {
            Command::Operator(operator, OperatorCommand::Enable).into()
        }
        // The name stays until it is erased: the history goes on to say who did what.
        N::RemoveOperator { operator } => {
            let side = SideEffects {
                forget_operator: Some(operator),
                ..SideEffects::default()
            };
            Prepared {
                side,
                ..Command::Operator(operator, OperatorCommand::Remove).into()
            }
        }
        N::EraseOperator { operator } => erasing(
            operator.uuid(),
            Command::Operator(operator, OperatorCommand::Erase),
        ),
        N::CreateRateLimitPolicy { name, order, rule } => Command::RateLimitPolicy(
            fresh::id(),
            RateLimitPolicyCommand::Create {
                name: read("name", &name)?,
                order,
                rule: *rule,
            },
        )
        .into(),
        N::RenameRateLimitPolicy { policy, name } => Command::RateLimitPolicy(
            policy,
            RateLimitPolicyCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::MoveRateLimitPolicy { policy, order } => {
            Command::RateLimitPolicy(policy, RateLimitPolicyCommand::Move { order }).into()
        }
        N::ChangeRateLimitRule { policy, rule } => {
            Command::RateLimitPolicy(policy, RateLimitPolicyCommand::ChangeRule { rule: *rule })
                .into()
        }
        N::DisableRateLimitPolicy { policy } => {
            Command::RateLimitPolicy(policy, RateLimitPolicyCommand::Disable).into()
        }
        N::EnableRateLimitPolicy { policy } => {
            Command::RateLimitPolicy(policy, RateLimitPolicyCommand::Enable).into()
        }
        N::DeleteRateLimitPolicy { policy } => {
            Command::RateLimitPolicy(policy, RateLimitPolicyCommand::Delete).into()
        }
        N::CreateBudgetPolicy { name, order, rule } => Command::BudgetPolicy(
            fresh::id(),
            BudgetPolicyCommand::Create {
                name: read("name", &name)?,
                order,
                rule: *rule,
            },
        )
        .into(),
        N::RenameBudgetPolicy { policy, name } => Command::BudgetPolicy(
            policy,
            BudgetPolicyCommand::Rename {
                name: read("name", &name)?,
            },
        )
        .into(),
        N::MoveBudgetPolicy { policy, order } => {
            Command::BudgetPolicy(policy, BudgetPolicyCommand::Move { order }).into()
        }
        N::ChangeBudgetRule { policy, rule } => {
            Command::BudgetPolicy(policy, BudgetPolicyCommand::ChangeRule { rule: *rule }).into()
        }
        N::DisableBudgetPolicy { policy } => {
            Command::BudgetPolicy(policy, BudgetPolicyCommand::Disable).into()
        }
        N::EnableBudgetPolicy { policy } => {
            Command::BudgetPolicy(policy, BudgetPolicyCommand::Enable).into()
        }
        N::DeleteBudgetPolicy { policy } => {
            Command::BudgetPolicy(policy, BudgetPolicyCommand::Delete).into()
        }
        N::RenameOrganisation { name } => {
            let name = name.as_deref().map(|name| read("name", name)).transpose()?;
            Command::Settings(SettingsCommand::RenameOrganisation { name }).into()
        }
        N::ChangeRetention {
            requests_days,
            sums_days,
        } => {
            let retention = Retention {
                requests_days,
                sums_days,
            };
            Command::Settings(SettingsCommand::ChangeRetention { retention }).into()
        }
        N::ChangeSessionBounds {
            idle_minutes,
            longest_hours,
        } => {
            let bounds = SessionBounds {
                idle_minutes,
                longest_hours,
            };
            Command::Settings(SettingsCommand::ChangeSessionBounds { bounds }).into()
        }
    })
}

/// Parses the text of a field.
fn read<T: FromStr<Err: Display>>(field: &str, text: &str) -> Answer<T> {
    text.parse().map_err(|error: T::Err| {
        let mut detail = error.to_string();
        if let Some(first) = detail.get(..1).map(str::to_uppercase) {
            detail.replace_range(..1, &first);
        }
        ApiError::invalid(field, format!("{detail}."))
    })
}

/// An order after which nobody needs the ciphertexts of the account's credentials.
fn shredding(account: ProviderAccountId, order: ProviderAccountCommand) -> Prepared {
    let side = SideEffects {
        shred: Some(account),
        ..SideEffects::default()
    };
    Prepared {
        side,
        ..Command::ProviderAccount(account, order).into()
    }
}

/// An order with which a person is forgotten.
fn erasing(person: Uuid, command: Command) -> Prepared {
    let side = SideEffects {
        person: Some(PersonChange::Erase(person)),
        ..SideEffects::default()
    };
    Prepared {
        side,
        ..command.into()
    }
}

/// Seals a credential, if there is one, for the account at this URL.
fn seal(
    app: &App,
    account: ProviderAccountId,
    base_url: &BaseUrl,
    credential: Option<String>,
) -> Answer<(Option<SealedCredential>, SideEffects)> {
    let Some(credential) = credential else {
        return Ok((None, SideEffects::default()));
    };
    let sealed = seal_credential(app.secrets(), account, base_url, &credential);
    let (sealed, row) = sealed.map_err(|error| match error {
        BadCredential::Text => ApiError::invalid("credential", error),
        BadCredential::Sealing => ApiError::Internal,
    })?;
    // The one that it replaces is of no use to anybody any more.
    let side = SideEffects {
        shred: Some(account),
        secret: Some(row),
        ..SideEffects::default()
    };
    Ok((Some(sealed), side))
}

/// An account that does not exist is left to the rules, which say so (or give an earlier answer again).
fn replace_credential(
    app: &App,
    state: &Organisation,
    account: ProviderAccountId,
    credential: Option<String>,
) -> Answer<Prepared> {
    let (credential, mut side) = match state.provider_accounts().get(&account) {
        Some(known) => seal(app, account, &known.base_url, credential)?,
        None => (None, SideEffects::default()),
    };
    side.shred = Some(account);
    let order = ProviderAccountCommand::ReplaceCredential { credential };
    Ok(Prepared {
        side,
        ..Command::ProviderAccount(account, order).into()
    })
}

fn add_user(app: &App, email: &str, name: &str) -> Answer<Prepared> {
    let (id, parsed): (UserId, Email) = (fresh::id(), read("email", email)?);
    let name: Label = read("name", name)?;
    let person = Person {
        id: id.uuid(),
        email: email.trim().to_owned(),
        name: name.to_string(),
    };
    let side = SideEffects {
        person: Some(PersonChange::Put(person)),
        ..SideEffects::default()
    };
    let order = UserCommand::Add {
        email: app.secrets().fingerprints(&parsed),
    };
    Ok(Prepared {
        side,
        ..Command::User(id, order).into()
    })
}

fn change_email(
    app: &App,
    person: Uuid,
    email: &str,
    command: impl FnOnce(Fingerprints) -> Command,
) -> Answer<Prepared> {
    let parsed: Email = read("email", email)?;
    let change = PersonChange::Email {
        id: person,
        email: email.trim().to_owned(),
    };
    let side = SideEffects {
        person: Some(change),
        ..SideEffects::default()
    };
    Ok(Prepared {
        side,
        ..command(app.secrets().fingerprints(&parsed)).into()
    })
}

/// An order to call a person otherwise. The name stands in `people` alone, so it is looked at there whether it differs.
pub(in crate::http::api) async fn rename(
    app: &App,
    person: Uuid,
    name: &str,
    command: impl FnOnce(bool) -> Command,
) -> Answer<Prepared> {
    let name: Label = read("name", name)?;
    let known = app.control()?.people(&[person]).await.map_err(unreadable)?;
    let differs = known
        .get(&person)
        .is_none_or(|known| known.name != name.as_str());
    let change = PersonChange::Name {
        id: person,
        name: name.to_string(),
    };
    let side = SideEffects {
        person: Some(change),
        ..SideEffects::default()
    };
    Ok(Prepared {
        side,
        ..command(differs).into()
    })
}

async fn set_password(
    app: &App,
    caller: &Caller,
    operator: OperatorId,
    password: String,
) -> Answer<Prepared> {
    if operator == caller.operator {
        let detail = "Change your own password with PUT /api/v1/me/password, which asks for the one until now.";
        return Err(ApiError::invalid("operator", detail));
    }
    let side = SideEffects {
        password: Some(hashed(app, operator, password).await?),
        ..SideEffects::default()
    };
    Ok(Prepared {
        side,
        ..Command::Operator(operator, OperatorCommand::ChangePassword).into()
    })
}

/// A new password's row. Ends all sessions of the operator.
pub(in crate::http::api) async fn hashed(
    app: &App,
    operator: OperatorId,
    password: String,
) -> Answer<PasswordChange> {
    let password = NewPassword::parse(password).map_err(|error| {
        let detail = error.to_string();
        ApiError::invalid(
            "password",
            format!("A{}.", detail.get(1..).unwrap_or_default()),
        )
    })?;
    let hash = app
        .passwords()
        .hash(password)
        .await
        .map_err(|error| ApiError::Busy(error.to_string()))?;
    Ok(PasswordChange {
        operator,
        hash,
        keep_session: None,
    })
}

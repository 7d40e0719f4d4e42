//! `create-owner`: the first owner of a deployment, or another one when nobody can sign in any more. Works on the
//! database directly, beside a running service or without one.

use std::io::{self, BufRead as _};

use events_schema::{
    actor::{Actor, System},
    events::Role,
    id::OperatorId,
    names::Label,
};

use super::{Failure, print};
use crate::{
    auth::{
        Email,
        passwords::{NewPassword, Passwords},
    },
    config::{self, CreateOwner, Log},
    control::{
        Control, ControlOptions, Order, PasswordChange, Person, PersonChange, SideEffects,
        Submission,
    },
    domain::{Command, OperatorCommand},
    fresh, postgres,
    trust::Trust,
};

pub(super) async fn run(options: CreateOwner, trust: &Trust) -> Result<(), Failure> {
    let CreateOwner {
        log: Log {
            postgres_url,
            nats_url: _,
        },
        postgres_owner_url,
        secrets_dir,
        email,
        name,
    } = options;
    let secrets = config::read_secrets(&secrets_dir)?;
    let address: Email = email.parse()?;
    let name: Label = name.parse()?;
    let hash = Passwords::default().hash(read_password()?).await?;
    // The relay and the comparison with EVENTS are the service's business.
    let options = ControlOptions {
        postgres_url: postgres::secured(&postgres_url, trust)?,
        postgres_owner_url: postgres_owner_url
            .map(|url| postgres::secured(&url, trust))
            .transpose()?,
        nats: None,
        relay: false,
    };
    let control = Control::start(options).await?;
    let (id, command_id): (OperatorId, _) = (fresh::id(), fresh::id());
    let person = Person {
        id: id.uuid(),
        email: email.trim().to_owned(),
        name: name.to_string(),
    };
    let done = control
        .submit(Submission {
            command_id,
            actor: Actor::System(System::CommandLine),
            correlation: None,
            why: Some("create-owner".to_owned()),
            request_hash: secrets.request_hash(command_id.to_string().as_bytes()),
            made_at: None,
            orders: vec![Order {
                command: Command::Operator(
                    id,
                    OperatorCommand::Add {
                        role: Role::Owner,
                        email: secrets.fingerprints(&address),
                    },
                ),
                side: SideEffects {
                    person: Some(PersonChange::Put(person)),
                    password: Some(PasswordChange {
                        operator: id,
                        hash,
                        keep_session: None,
                    }),
                    ..SideEffects::default()
                },
            }],
        })
        .await;
    control.stop().await;
    done?;
    print(&id.to_string())
}

/// The first line of standard input.
fn read_password() -> Result<NewPassword, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(NewPassword::parse(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    )?)
}

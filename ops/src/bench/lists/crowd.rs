//! A large organisation, made through the API: people with names, each with a key and a grant.

use std::time::Instant;

use events_schema::api::commands::NewCommand;
use events_schema::events::{GrantedModels, KeyLimits, ModelRef, Owner, Subject};
use events_schema::id::{UserId, VirtualModelId};
use futures_util::future::try_join_all;

use super::super::api::{Account, Api};
use super::super::say;
use super::super::scene::WRITERS;
use crate::failure::{Failure, Outcome};

const FIRST_NAMES: [&str; 16] = [
    "Amelia",
    "Alan",
    "Barbara",
    "Claude",
    "Dorothy",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ivan",
    "John",
    "Katherine",
    "Leslie",
    "Margaret",
    "Niklaus",
    "Radia",
];

const LAST_NAMES: [&str; 16] = [
    "Allen",
    "Backus",
    "Dijkstra",
    "Hamilton",
    "Hopper",
    "Johnson",
    "Knuth",
    "Lamarr",
    "Lamport",
    "Liskov",
    "Lovelace",
    "Perlman",
    "Shannon",
    "Sutherland",
    "Turing",
    "Vaughan",
];

/// Limits that no request reaches here.
const LIMITS: KeyLimits = KeyLimits {
    requests_per_minute: Some(600),
    tokens_per_minute: Some(1_000_000),
};

/// Person number `number`.
pub(super) struct Person {
    /// The name, which one in 256 shares.
    pub(super) name: String,
    /// The address, which nobody shares.
    pub(super) email: String,
    /// The label of the key.
    pub(super) label: String,
}

// === impl Person ===

impl Person {
    pub(super) fn numbered(number: u64) -> Self {
        let index = |number: u64| usize::try_from(number % 16).unwrap_or_default();
        let (first, last) = (FIRST_NAMES[index(number)], LAST_NAMES[index(number / 16)]);
        let address = format!("{first}.{last}.{number}").to_lowercase();
        Self {
            name: format!("{first} {last}"),
            email: format!("{address}@example.com"),
            label: format!("laptop {number:07}"),
        }
    }
}

/// Makes so many people, each with a key and a grant of the virtual model.
pub(super) async fn gather(account: &Account, people: u64, model: VirtualModelId) -> Outcome {
    say(&format!(
        "making {people} users, each with a key and a grant"
    ));
    let begun = Instant::now();
    let writers = (0..WRITERS.min(people)).map(|writer| write(account, writer, people, model));
    try_join_all(writers).await?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("made {} things in {seconds:.1} s", 3 * people));
    Ok(())
}

/// One writer's share: every `WRITERS`th.
async fn write(account: &Account, writer: u64, people: u64, model: VirtualModelId) -> Outcome {
    let mut api = account.open().await?;
    let step = usize::try_from(WRITERS).map_err(|_| Failure::new("too many writers"))?;
    for number in (writer..people).step_by(step) {
        add(&mut api, Person::numbered(number), model).await?;
    }
    Ok(())
}

async fn add(api: &mut Api, person: Person, model: VirtualModelId) -> Outcome {
    let Person { name, email, label } = person;
    let user: UserId = api.create(NewCommand::AddUser { name, email }).await?;
    api.command(NewCommand::IssueKey {
        owner: Owner::User(user),
        label,
        expires_at: None,
        limits: LIMITS,
    })
    .await?;
    api.command(NewCommand::GrantAccess {
        subject: Subject::User(user),
        models: GrantedModels::Listed([ModelRef::VirtualModel(model)].into()),
    })
    .await?;
    Ok(())
}

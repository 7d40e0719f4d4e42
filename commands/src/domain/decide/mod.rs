//! `decide`: what a command does in a state. One file for each kind of thing.

mod access;
mod budget_alert;
mod budget_policy;
mod key;
mod model;
mod operator;
mod owners;
mod provider_account;
mod rate_limit_policy;
mod routing;
mod routing_rules;
mod rules;
mod settings;
mod team;

pub(crate) use self::{model::can_be_repriced, routing_rules::routing_fault};

use events_schema::{
    events::{Aggregate, Event, LogEvent, Stream},
    id::ModelId,
    state::Organisation,
};

use super::{
    command::{Command, LogCommand},
    rejection::{Rejection, UsedBy},
};

/// What a decision yields: the command's events, none when everything already is as it wants it.
type Decision = Result<Vec<Event>, Rejection>;

/// The events by which `command` changes `state`, or why it is refused.
///
/// # Errors
/// See [`Rejection`].
pub fn decide(state: &Organisation, command: &Command) -> Decision {
    match command {
        Command::Log(command) => log(state, command),
        Command::ProviderAccount(id, command) => provider_account::decide(state, *id, command),
        Command::Model(id, command) => model::decide(state, *id, command),
        Command::VirtualModel(id, command) => routing::decide(state, *id, command),
        Command::User(id, command) => owners::decide_user(state, *id, command),
        Command::VirtualAccount(id, command) => owners::decide_virtual_account(state, *id, command),
        Command::Key(id, command) => key::decide(state, *id, command),
        Command::Grant(id, command) => access::decide(state, *id, command),
        Command::Operator(id, command) => operator::decide(state, *id, command),
        Command::Team(id, command) => team::decide(state, *id, command),
        Command::RateLimitPolicy(id, command) => rate_limit_policy::decide(state, *id, command),
        Command::BudgetPolicy(id, command) => budget_policy::decide(state, *id, command),
        Command::BudgetAlert(id, command) => Ok(budget_alert::decide(state, *id, command)),
        Command::Settings(command) => settings::decide(state, command),
    }
}

fn log(state: &Organisation, command: &LogCommand) -> Decision {
    match (state.epoch(), command) {
        (None, LogCommand::Initialise { epoch }) => {
            Ok(vec![Event::Log(LogEvent::LogInitialised { epoch: *epoch })])
        }
        (Some(_), LogCommand::Initialise { .. }) => Ok(Vec::new()),
        (Some(old), LogCommand::StartEpoch { epoch }) if epoch.seconds > old.seconds => {
            Ok(vec![Event::Log(LogEvent::EpochStarted { epoch: *epoch })])
        }
        (Some(_), LogCommand::StartEpoch { .. }) => Err(Rejection::EpochNotHigher),
        (None, LogCommand::StartEpoch { .. }) => Err(Rejection::NotFound(Aggregate::Log)),
    }
}

/// One event, or none when `changes` is false.
fn when(changes: bool, event: impl FnOnce() -> Event) -> Vec<Event> {
    if changes { vec![event()] } else { Vec::new() }
}

/// An id that was ever used is not used again.
fn is_fresh(state: &Organisation, stream: Stream) -> Result<(), Rejection> {
    if state.stream_version(stream) == 0 {
        Ok(())
    } else {
        Err(Rejection::IdUsed(stream.aggregate()))
    }
}

/// A model's name as callers write it: `account/model`; its id when it is gone.
pub(crate) fn full_name(state: &Organisation, id: ModelId) -> String {
    let Some(model) = state.models().get(&id) else {
        return id.to_string();
    };
    match state.provider_accounts().get(&model.account) {
        Some(account) => format!("{}/{}", account.name, model.name),
        None => model.name.to_string(),
    }
}

/// Whether no policy names the thing: without it, the policy would limit something else.
fn no_policy_names(
    state: &Organisation,
    thing: Stream,
    name: impl FnOnce() -> String,
) -> Result<(), Rejection> {
    let (budgets, rate_limits): (Vec<Stream>, Vec<Stream>) = state
        .policies_naming(thing)
        .partition(|policy| policy.aggregate() == Aggregate::BudgetPolicy);
    if rate_limits.is_empty() && budgets.is_empty() {
        return Ok(());
    }
    Err(Rejection::StillUsed {
        what: thing.aggregate(),
        name: name(),
        by: UsedBy::Policies {
            rate_limits: rate_limits.len(),
            budgets: budgets.len(),
        },
    })
}

/// A name as it stands in a sentence: in quotes, with a blank behind it.
fn quoted(name: &str) -> String {
    format!("'{name}' ")
}

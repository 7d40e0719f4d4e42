//! The business rules: what a command does in a state, or what it is refused with, as people read it.

mod alerts;
mod budgets;
mod callers;
mod operators;
mod policies;
mod providers;
mod settings;
mod teams;

use commands::domain::{
    Command, KeyCommand as K, LogCommand, ModelCommand as M, OperatorCommand as O,
    ProviderAccountCommand as A, UserCommand as U, VirtualAccountCommand as V,
    VirtualModelCommand as R, decide,
};
use events_schema::{
    envelope::Epoch,
    events::{ModelType::Chat, Owner, Role, codec},
};
use uuid::Uuid;

use crate::support::{journal::Journal, world::*};

/// What `command` does after what is `given`: the kinds of its events, or status, code, field and wording.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a rule reads better without a reference"
)]
fn check(given: &[Command], command: Command, expected: &str) {
    let state = Journal::of(given).state;
    let found = match decide(&state, &command) {
        Ok(events) if events.is_empty() => "nothing".to_owned(),
        Ok(events) => {
            let kinds: Vec<_> = events
                .iter()
                .map(|event| codec::encode(event).kind)
                .collect();
            kinds.join(", ")
        }
        Err(rejection) => {
            let outcome = rejection.outcome();
            let field = outcome.field.map(|field| format!(" at {field}"));
            let (status, code, field) = (outcome.status, outcome.code, field.unwrap_or_default());
            format!("{status} {code}{field}: {rejection}")
        }
    };
    assert_eq!(found, expected, "{command:?} after {given:?}");
}

/// An account with a model for chat, and a virtual model over it.
fn providers() -> Vec<Command> {
    vec![
        register_account(1, "openai"),
        add_model(1, 1, "gpt", &[Chat]),
        create_virtual_model(1, "chat", vec![target(1, 1)]),
    ]
}

/// A user with a key, and a virtual account with none.
fn callers() -> Vec<Command> {
    vec![
        add_user(1),
        create_virtual_account(1, "ci"),
        issue_key(1, Owner::User(id(1))),
    ]
}

fn and(mut given: Vec<Command>, more: impl IntoIterator<Item = Command>) -> Vec<Command> {
    given.extend(more);
    given
}

fn epoch(seconds: u64) -> Epoch {
    Epoch {
        seconds,
        id: Uuid::nil(),
    }
}

#[test]
fn a_log_begins_once_and_goes_on_only_under_a_higher_epoch() {
    let begin = |seconds| {
        Command::Log(LogCommand::Initialise {
            epoch: epoch(seconds),
        })
    };
    let start = |seconds| {
        Command::Log(LogCommand::StartEpoch {
            epoch: epoch(seconds),
        })
    };
    check(&[], begin(5), "log_initialised");
    check(&[begin(5)], begin(6), "nothing");
    check(
        &[],
        start(5),
        "404 not_found: There is no log with this id.",
    );
    check(&[begin(5)], start(6), "epoch_started");
    check(
        &[begin(5)],
        start(5),
        "409 epoch_not_higher: A new epoch must be higher than the log's.",
    );
}

#[test]
fn what_is_disabled_is_not_disabled_again_and_what_is_not_there_cannot_be() {
    let given = and(and(providers(), callers()), [add_operator(1, Role::Viewer)]);
    let switches = [
        (
            "provider account",
            account(1, A::Disable),
            account(1, A::Enable),
        ),
        ("model", model(1, M::Disable), model(1, M::Enable)),
        (
            "virtual model",
            virtual_model(1, R::Disable),
            virtual_model(1, R::Enable),
        ),
        ("user", user(1, U::Disable), user(1, U::Enable)),
        (
            "virtual account",
            virtual_account(1, V::Disable),
            virtual_account(1, V::Enable),
        ),
        ("key", key(1, K::Disable), key(1, K::Enable)),
        ("operator", operator(1, O::Disable), operator(1, O::Enable)),
    ];
    for (noun, disable, enable) in switches {
        let kind = noun.replace(' ', "_");
        let disabled = and(given.clone(), [disable.clone()]);
        check(&given, disable.clone(), &format!("{kind}_disabled"));
        check(&disabled, disable.clone(), "nothing");
        check(&disabled, enable.clone(), &format!("{kind}_enabled"));
        check(&given, enable.clone(), "nothing");
        for command in [disable, enable] {
            let expected = format!("404 not_found: There is no {noun} with this id.");
            check(&[], command, &expected);
        }
    }
}

//! Commands by the dozen.

use commands::{
    control::{CommandOutcome, Control, Submission},
    domain::{Command, VirtualAccountCommand},
    fresh,
};
use events_schema::actor::{Actor, System};

/// A submission of this command, as the command line would make it.
pub(crate) fn submission(command: Command) -> Submission {
    Submission {
        command_id: fresh::id(),
        actor: Actor::System(System::CommandLine),
        correlation: None,
        why: Some("because".into()),
        request_hash: *blake3::hash(format!("{command:?}").as_bytes()).as_bytes(),
        made_at: None,
        orders: vec![command.into()],
    }
}

/// Makes a virtual account of this name: the smallest command that yields an event.
pub(crate) fn create(name: &str) -> Submission {
    let name = name.parse().expect("a good name");
    submission(Command::VirtualAccount(
        fresh::id(),
        VirtualAccountCommand::Create { name },
    ))
}

/// Does this many commands, one event each.
pub(crate) async fn create_many(
    control: &Control,
    prefix: &str,
    count: u32,
) -> Vec<CommandOutcome> {
    let mut outcomes = Vec::new();
    for number in 0..count {
        outcomes.push(
            control
                .submit(create(&format!("{prefix}-{number}")))
                .await
                .expect("a fresh name"),
        );
    }
    outcomes
}

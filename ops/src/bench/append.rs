//! How many events a second the log takes, and how long a command waits for its answer.

use super::api::Account;
use super::scene::{Scene, WRITERS};
use super::stack::Stack;
use super::{Figures, milliseconds, rounded};
use crate::failure::Outcome;

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// How many commands to send.
    #[arg(long, default_value_t = 20_000)]
    events: u64,
}

/// Sends commands that make one event each, from 64 clients at once.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args { events } = args;
    let stack = Stack::up()?;
    let operator = &stack.ready.operator;
    let account = Account::sign_in(stack.api()?, &operator.email, &operator.password).await?;
    let mut api = account.open().await?;
    // No request is sent to this provider.
    let scene = Scene::set(&mut api, stack.gateway()?).await?;
    scene.issue_keys(&account, "first", events / 10).await?;
    let batch = scene.issue_keys(&account, "bench", events).await?;

    let mut figures = Figures::new();
    figures.insert("clients".to_owned(), WRITERS.into());
    figures.insert("events".to_owned(), batch.times.len().into());
    figures.insert("events_per_s".to_owned(), rounded(batch.rate()));
    figures.insert(
        "p50_ms".to_owned(),
        rounded(milliseconds(&batch.times, 0.5)),
    );
    figures.insert(
        "p99_ms".to_owned(),
        rounded(milliseconds(&batch.times, 0.99)),
    );
    Ok(figures)
}

//! A large organisation in the control plane: how long its lists take, how long a replica takes to start, and what it
//! takes of memory.

mod asked;
mod console;
mod crowd;

use super::api::Account;
use super::scene::Scene;
use super::stack::Stack;
use super::{Figures, median, rounded, say};
use crate::failure::Outcome;

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Users in the organisation, each with a key and a grant.
    #[arg(long, default_value_t = 100_000)]
    people: u64,
    /// How often each list is asked for in each way.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// How often each list is looked at in the console, in a browser; 0 does without it.
    #[arg(long, default_value_t = 20)]
    visits: u32,
    /// Replicas of `commands` that are started; the figures are their medians.
    #[arg(long, default_value_t = 3)]
    starts: u32,
}

/// Fills a private stack and asks it.
pub(super) async fn run(args: Args) -> Outcome<Figures> {
    let Args {
        people,
        rounds,
        visits,
        starts,
    } = args;
    let stack = if visits > 0 {
        Stack::up_with_console()?
    } else {
        Stack::up()?
    };
    let operator = &stack.ready.operator;
    let account = Account::sign_in(stack.api()?, &operator.email, &operator.password).await?;
    let mut api = account.open().await?;
    // No request is sent to this provider.
    let scene = Scene::set(&mut api, stack.gateway()?).await?;
    crowd::gather(&account, people, scene.virtual_model).await?;

    let mut figures = Figures::new();
    figures.insert("people".to_owned(), people.into());
    asked::ask(&mut api, people, rounds, &mut figures).await?;
    if visits > 0 {
        console::visit(&stack.ready.console, operator, people, visits, &mut figures).await?;
    }
    figures.insert(
        "rss_mib".to_owned(),
        rounded(stack.resident_mib("commands")?),
    );

    say("starting replicas of commands");
    let mut ready = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..starts {
        let mut replica = stack.start_commands()?;
        ready.push(replica.ready().await?.as_secs_f64() * 1_000.0);
        resident.push(replica.resident_mib()?);
        replica.stop().await?;
    }
    figures.insert("start_ms".to_owned(), rounded(median(ready)));
    figures.insert("start_rss_mib".to_owned(), rounded(median(resident)));
    Ok(figures)
}

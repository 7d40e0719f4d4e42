#![doc = include_str!("README.md")]

mod body;
mod chat;
mod completions;
mod embeddings;
mod log;
mod messages;
mod models;
mod plan;
mod script;
mod server;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;

use std::net::SocketAddr;

use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Doing as _, Outcome};
use server::Mock;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:7705")]
    listen: SocketAddr,
    /// Refuse requests without `Authorization: Bearer KEY` or `x-api-key: KEY`.
    #[arg(long, value_name = "KEY")]
    require_key: Option<String>,
    /// How many of the last requests `/mock/requests` shows.
    #[arg(long, default_value_t = 256, value_name = "N")]
    keep_requests: usize,
    /// Threads that serve; one is enough for 60,000 requests a second.
    #[arg(long, default_value_t = 1, value_name = "N")]
    worker_threads: usize,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: Args) -> Outcome {
    let Args {
        listen,
        require_key,
        keep_requests,
        worker_threads,
    } = args;
    let authorization = require_key
        .map(|key| HeaderValue::from_str(&format!("Bearer {key}")))
        .transpose()
        .doing(|| "reading --require-key".to_owned())?;
    let mut runtime = if worker_threads > 1 {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime
        .worker_threads(worker_threads.max(1))
        .enable_all()
        .build()
        .doing(|| "starting the mock provider's threads".to_owned())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)
            .await
            .doing(|| format!("listening on {listen} for the mock provider"))?;
        let mut terminate =
            signal(SignalKind::terminate()).doing(|| "waiting for SIGTERM".to_owned())?;
        println!("the mock provider listens on http://{listen}");
        tokio::select! {
            () = Mock::new(authorization, keep_requests).serve(listener) => {}
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(())
    })
}

//! The program `sluice-commands`: see the crate's documentation, and `sluice-commands help`.

use clap::Parser as _;
use commands::{cli, config::Cli};

/// Gives memory back after a checkpoint or an export of a large organisation, where the system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // Several crates bring rustls: all of them are to use ring.
    let _was_installed = rustls::crypto::ring::default_provider().install_default();
    cli::run(Cli::parse()).await
}

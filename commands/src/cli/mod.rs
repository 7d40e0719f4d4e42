//! The subcommands. Each ends with success, or with one line on standard error that says why not.

mod create_owner;
mod migrate;
mod relay;
mod serve;
mod start_epoch;
mod verify;

use std::{io, io::Write as _, net::SocketAddr};

use events_schema::address::InvalidPostgresUrl;
use tracing_subscriber::EnvFilter;

use crate::{
    analytics::AnalyticsError,
    auth::{InvalidEmail, passwords},
    causes, certificate,
    config::{Cli, CliCommand, ConfigError, LogFormat, Logging},
    control::SubmitError,
    log::{ReadError, StartError},
    nats::NatsError,
    playground::PlaygroundError,
    relay::RelayError,
    trust::{Trust, TrustArgs, TrustError},
    verify::VerifyError,
};

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the log filter is not understood: {0}")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Postgres(#[from] InvalidPostgresUrl),
    #[error(transparent)]
    Nats(#[from] NatsError),
    #[error("ClickHouse cannot be asked: {0}")]
    ClickHouse(#[source] AnalyticsError),
    #[error("{0}")]
    Playground(#[from] PlaygroundError),
    #[error(transparent)]
    Certificate(#[from] certificate::Unusable),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the server stopped")]
    Server(#[source] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the log could not be read")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Command(#[from] SubmitError),
    #[error("the log could not be verified: {0}")]
    Verify(#[from] VerifyError),
    #[error("the relay stopped: {0}")]
    Relay(#[from] RelayError),
    #[error("the log does not agree with itself from position {0} on")]
    NotVerified(u64),
    #[error("{0}")]
    Email(#[from] InvalidEmail),
    #[error("the name is not good: {0}")]
    Name(#[from] events_schema::names::InvalidName),
    #[error("{0}")]
    Password(#[from] passwords::InvalidPassword),
    #[error("{0}")]
    Busy(#[from] passwords::Busy),
    #[error("standard input or output failed")]
    Io(#[from] io::Error),
}

/// Runs what the command line says. On failure the one line has been written.
pub async fn run(cli: Cli) -> std::process::ExitCode {
    let Cli {
        logging,
        trust,
        command,
    } = cli;
    // What a tool prints is for its caller; log lines then go to standard error.
    let is_service = matches!(command, CliCommand::Serve(_));
    let done = match start_logging(&logging, is_service) {
        Ok(()) => dispatch(command, &trust).await,
        Err(failure) => Err(failure),
    };
    let Err(failure) = done else {
        return std::process::ExitCode::SUCCESS;
    };
    let _stderr_is_gone = writeln!(io::stderr(), "sluice-commands: {}", causes::told(&failure));
    std::process::ExitCode::FAILURE
}

async fn dispatch(command: CliCommand, trust: &TrustArgs) -> Result<(), Failure> {
    let trust = Trust::read(trust)?;
    match command {
        CliCommand::Serve(options) => Box::pin(serve::run(*options, &trust)).await,
        CliCommand::CreateOwner(options) => Box::pin(create_owner::run(options, &trust)).await,
        CliCommand::Verify(options) => Box::pin(verify::run(options, &trust)).await,
        CliCommand::Migrate(options) => migrate::run(options, &trust).await,
        CliCommand::Relay(options) => Box::pin(relay::run(options, &trust)).await,
        CliCommand::StartEpoch(options) => Box::pin(start_epoch::run(options, &trust)).await,
    }
}

fn start_logging(logging: &Logging, to_stdout: bool) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&logging.filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false);
    match (logging.log_format, to_stdout) {
        (LogFormat::Text, true) => builder.init(),
        (LogFormat::Json, true) => builder.json().init(),
        (LogFormat::Text, false) => builder.with_writer(io::stderr).init(),
        (LogFormat::Json, false) => builder.json().with_writer(io::stderr).init(),
    }
    Ok(())
}

/// Writes a line to standard output.
fn print(line: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

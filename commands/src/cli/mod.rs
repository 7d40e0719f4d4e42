//! The subcommands. Each ends with success, or with one line on standard error that says why not.

mod create_owner;
mod migrate;
mod relay;
mod serve;
mod start_epoch;
mod verify;

use std::{error::Error, io, io::Write as _, net::SocketAddr, time::Duration};

use async_nats::{Client, ConnectOptions, ServerAddr};
use events_schema::subjects;
use tracing_subscriber::EnvFilter;

use crate::{
    analytics::AnalyticsError,
    auth::{InvalidEmail, passwords},
    config::{Cli, CliCommand, ConfigError, LogFormat, Logging},
    control::SubmitError,
    log::{ReadError, StartError},
    playground::PlaygroundError,
    relay::RelayError,
    verify::VerifyError,
};

/// How often NATS is pinged: a connection that died is noticed within two of these.
const NATS_PING: Duration = Duration::from_secs(3);
/// How long connecting to NATS may take.
const NATS_CONNECT: Duration = Duration::from_secs(2);

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the log filter is not understood: {0}")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the NATS URL '{0}' is not understood")]
    NatsUrl(String),
    #[error("the ClickHouse URL is not understood: {0}")]
    ClickHouseUrl(#[source] AnalyticsError),
    #[error("{0}")]
    Playground(#[from] PlaygroundError),
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
    let Cli { logging, command } = cli;
    // What a tool prints is for its caller; log lines then go to standard error.
    let is_service = matches!(command, CliCommand::Serve(_));
    let done = match start_logging(&logging, is_service) {
        Ok(()) => dispatch(command).await,
        Err(failure) => Err(failure),
    };
    let Err(failure) = done else {
        return std::process::ExitCode::SUCCESS;
    };
    let mut line = failure.to_string();
    let mut source = failure.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some errors quote their source already.
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    let _stderr_is_gone = writeln!(io::stderr(), "sluice-commands: {}", line.replace('\n', " "));
    std::process::ExitCode::FAILURE
}

async fn dispatch(command: CliCommand) -> Result<(), Failure> {
    match command {
        CliCommand::Serve(options) => Box::pin(serve::run(*options)).await,
        CliCommand::CreateOwner(options) => Box::pin(create_owner::run(options)).await,
        CliCommand::Verify(options) => Box::pin(verify::run(options)).await,
        CliCommand::Migrate(options) => migrate::run(options).await,
        CliCommand::Relay(options) => Box::pin(relay::run(options)).await,
        CliCommand::StartEpoch(options) => Box::pin(start_epoch::run(options)).await,
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

/// A connection to NATS, made in the background and made again whenever it breaks.
async fn connect_nats(url: &str) -> Result<Client, Failure> {
    as_user(ConnectOptions::new(), url)
        .name("sluice-commands")
        .retry_on_initial_connect()
        .connection_timeout(NATS_CONNECT)
        .ping_interval(NATS_PING)
        .event_callback(async |event| tracing::info!(%event, "NATS"))
        .connect(url)
        .await
        .map_err(|_| Failure::NatsUrl(without_password(url)))
}

fn without_password(url: &str) -> String {
    url.rsplit_once('@')
        .map_or_else(|| url.to_owned(), |(_, host)| format!("…@{host}"))
}

/// What the URL says about who connects: `nats://user:password@host:port`. A URL that cannot be used is for connecting to
/// refuse.
fn as_user(options: ConnectOptions, url: &str) -> ConnectOptions {
    let Ok(address) = url.parse::<ServerAddr>() else {
        return options;
    };
    let (Some(user), Some(password)) = (address.username(), address.password()) else {
        return options;
    };
    let options = options.user_and_password(user.to_owned(), password.to_owned());
    match subjects::inbox_prefix(user) {
        Some(prefix) => options.custom_inbox_prefix(prefix),
        None => options,
    }
}

/// Writes a line to standard output.
fn print(line: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

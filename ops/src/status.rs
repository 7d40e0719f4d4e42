//! `status`: each process of a stack, asked now, and what the control plane says of the history.

use std::path::PathBuf;

use events_schema::api::status::{GatewayItem, Status};
use serde_json::json;

use crate::api::{Api, SignedIn};
use crate::clock;
use crate::failure::{Doing, Failure, Outcome};
use crate::running::Running;
use crate::stack::ports::Ports;
use crate::stack::ways::Ways;
use crate::stack::{DataDir, secrets};
use crate::supervise::process::ProcessId;
use crate::supervise::ready;
use crate::supervise::state::{ServiceState, StackState};

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stack's data folder.
    #[arg(long)]
    data: Option<PathBuf>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the stack's state; fails when it does not run or is not ready.
pub(crate) fn run(args: &Args) -> Outcome {
    let Running {
        data,
        ports,
        ways,
        state,
    } = Running::find(DataDir::locate(args.data.as_deref())?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting this tool's runtime".into())?;
    let state = runtime.block_on(asked_now(state));
    let history = runtime.block_on(history(&data, ports, &ways));

    if args.json {
        let history = history
            .as_ref()
            .map(|(status, gateways)| json!({ "status": status, "gateways": gateways }));
        let history = history.unwrap_or_else(|failure| json!({ "error": failure.to_string() }));
        println!("{}", json!({ "stack": state, "history": history }));
    } else {
        print_processes(&data, &state);
        match &history {
            Ok((status, gateways)) => print_history(status, gateways),
            Err(failure) => println!("\n  history    not known: {failure}"),
        }
    }
    match state.services.iter().find(|service| !service.ready) {
        None => Ok(()),
        Some(service) => Err(Failure::new(format!("{} is not ready", service.name))),
    }
}

/// The recorded state, but with readiness as of now.
async fn asked_now(mut state: StackState) -> StackState {
    for service in &mut state.services {
        match ready::ask(&service.probe).await {
            Ok(()) => service.ready = true,
            Err(why) => {
                service.ready = false;
                service.why_not = Some(why);
            }
        }
    }
    state
}

async fn history(data: &DataDir, ports: Ports, ways: &Ways) -> Outcome<(Status, Vec<GatewayItem>)> {
    let operator = secrets::operator(data)?;
    let console = ways.console(ports.console());
    match Api::sign_in(&console, ways.ca_file(), &operator).await? {
        SignedIn::Refused => Err(Failure::new("the first owner cannot sign in")),
        SignedIn::Yes(api) => {
            let status = api.get("/status").await;
            let gateways: Outcome<Vec<GatewayItem>> = api.get("/gateways").await;
            api.sign_out().await?;
            Ok((status?, gateways?))
        }
    }
}

fn print_processes(data: &DataDir, state: &StackState) {
    let now = clock::now_ms();
    println!("  data       {}", data.root().display());
    println!(
        "  supervisor pid {}, up {}\n",
        state.supervisor.pid,
        duration(now.saturating_sub(state.since_ms))
    );
    println!(
        "  {:14} {:>7} {:>6} {:>9} {:>9}  ready",
        "process", "pid", "port", "up", "restarts"
    );
    for service in &state.services {
        println!("  {}", line(service, now));
    }
}

fn line(service: &ServiceState, now: u64) -> String {
    let alive = service
        .process
        .as_ref()
        .filter(|process| process.is_running());
    let pid = alive.map_or_else(
        || "-".to_owned(),
        |process: &ProcessId| process.pid.to_string(),
    );
    let up = match (alive, service.since_ms) {
        (Some(_), Some(since)) => duration(now.saturating_sub(since)),
        (_, _) => "-".to_owned(),
    };
    let ready = match &service.why_not {
        _ if service.ready => "yes".to_owned(),
        Some(why) => format!("no: {why}"),
        None => "no".to_owned(),
    };
    format!(
        "{:14} {pid:>7} {:>6} {up:>9} {:>9}  {ready}",
        service.name, service.port, service.restarts
    )
}

fn print_history(status: &Status, gateways: &[GatewayItem]) {
    println!();
    println!("  position   {}", status.position);
    println!(
        "  published  {}",
        status
            .published
            .map_or_else(|| "not known".into(), |at| at.to_string())
    );
    println!("  digest     {}", status.state_digest);
    if let Some(why) = &status.appends_stopped {
        println!("  commands are refused: {why}");
    }
    for gateway in gateways {
        let live = if gateway.live {
            ""
        } else {
            " (not seen lately)"
        };
        println!(
            "  gateway    {} behind by {}{live}",
            gateway.report.gateway, gateway.lag
        );
    }
}

fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, _, _) => format!("{d}d{h:02}h"),
    }
}

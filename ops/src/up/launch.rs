//! Starting the supervisor, waiting for its processes, and staying with it in the foreground.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::down;
use crate::failure::{Doing, Failure, Outcome};
use crate::progress::{Progress, Step};
use crate::stack::DataDir;
use crate::supervise::STAY;
use crate::supervise::plan::Plan;
use crate::supervise::state::{ServiceState, StackState};

/// How long a whole stack may take until it is ready. A log of a million events is folded in less.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// A service that died this often without having been ready once will not come up.
const HOPELESS_AFTER: u32 = 5;

/// How often the supervisor's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lines of a log that are shown when its service does not come up.
const SHOWN_LINES: usize = 12;

/// The supervisor of a stack that this process started.
pub(super) struct Supervisor {
    process: Child,
    /// The stack ends when this does, unless it was told to stay.
    leash: ChildStdin,
}

/// Starts `sluice supervise`.
pub(super) fn start_supervisor(
    data: &DataDir,
    plan: &Plan,
    bound_to: Option<u32>,
) -> Outcome<Supervisor> {
    let doing = || "starting the supervisor".to_owned();
    let log = data.logs().join("supervisor.log");
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .doing(|| format!("opening {}", log.display()))?;
    let program = plan
        .services
        .iter()
        .map(|service| &service.program)
        .find(|program| program.ends_with("sluice"))
        .ok_or_else(|| Failure::new("the plan has no program of this tool"))?;
    let mut command = Command::new(program);
    command
        .args(["supervise", "--data"])
        .arg(data.root())
        .stdin(Stdio::piped())
        .stdout(out.try_clone().doing(doing)?)
        .stderr(out)
        .current_dir("/")
        // Ctrl-C reaches this process alone, which then asks for an orderly end.
        .process_group(0);
    if let Some(pid) = bound_to {
        command.args(["--bound-to", &pid.to_string()]);
    }
    let mut process = command.spawn().doing(doing)?;
    let mut text = serde_json::to_vec(plan).doing(doing)?;
    text.push(b'\n');
    let mut leash = process.stdin.take().ok_or_else(|| Failure::new(doing()))?;
    leash.write_all(&text).doing(doing)?;
    Ok(Supervisor { process, leash })
}

// === impl Supervisor ===

impl Supervisor {
    /// Lets the stack outlive this process.
    pub(super) fn let_it_stay(mut self) -> Outcome {
        writeln!(self.leash, "{STAY}").doing(|| "letting the stack stay".into())
    }
}

/// Waits until every process can do its work, with a line for each.
pub(super) fn wait_until_ready(data: &DataDir, plan: &Plan, progress: &Progress) -> Outcome {
    let deadline = Instant::now() + READY_WITHIN;
    let mut steps: Vec<(String, Step)> = plan
        .services
        .iter()
        .map(|service| (service.name.clone(), progress.step(&service.name)))
        .collect();
    loop {
        let state = StackState::read(&data.state_file())?.filter(|state| state.stamp == plan.stamp);
        let services = state.map(|state| state.services).unwrap_or_default();
        let (ready, waiting): (Vec<_>, Vec<_>) = steps.into_iter().partition(|(name, _)| {
            services
                .iter()
                .any(|service| service.name == *name && service.ready)
        });
        for (_, step) in ready {
            step.done();
        }
        steps = waiting;
        if steps.is_empty() {
            return Ok(());
        }
        let of = |name: &str| services.iter().find(|service| service.name == name);
        for (name, step) in &steps {
            let why = of(name).and_then(|service| service.why_not.clone());
            step.doing(&why.unwrap_or_default());
        }
        let hopeless = services
            .iter()
            .find(|service| !service.ready && service.restarts >= HOPELESS_AFTER);
        if let Some(service) = hopeless {
            return Err(not_ready(service, "dies again and again"));
        }
        if Instant::now() >= deadline {
            let late = services
                .iter()
                .find(|service| !service.ready && service.process.is_some());
            return Err(late.map_or_else(
                || Failure::new("the supervisor did not start: see its log"),
                |service| not_ready(service, "is not ready"),
            ));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn not_ready(service: &ServiceState, what: &str) -> Failure {
    let why = service.why_not.as_deref().unwrap_or("it does not say why");
    let log = fs::read_to_string(&service.log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    Failure::new(format!(
        "{} {what}: {why}\n  the end of {}:\n    {}",
        service.name,
        service.log.display(),
        tail.join("\n    ")
    ))
}

/// Stays until Ctrl-C (or SIGTERM), then stops the stack.
pub(super) async fn until_interrupted(data: &DataDir, supervisor: Supervisor) -> Outcome {
    let Supervisor { mut process, leash } = supervisor;
    let mut interrupt = signal(SignalKind::interrupt()).doing(|| "listening for Ctrl-C".into())?;
    let mut terminate = signal(SignalKind::terminate()).doing(|| "listening for SIGTERM".into())?;
    eprintln!("Ctrl-C stops it.");
    let ended = loop {
        tokio::select! {
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
            () = tokio::time::sleep(LOOK_EVERY * 10) => {
                if let Some(status) = process.try_wait().doing(|| "watching the supervisor".into())? {
                    break Some(status);
                }
            }
        }
    };
    let _alone = data.lock()?;
    let reaper = thread::spawn(move || process.wait());
    let stopped = down::stop(data)?;
    drop(leash);
    reaper
        .join()
        .expect("waiting for a process does not panic")
        .doing(|| "waiting for the supervisor".into())?;
    match ended {
        None => {
            eprintln!("Stopped {}.", stopped.join(", "));
            Ok(())
        }
        Some(status) => Err(Failure::new(format!(
            "the supervisor ended by itself ({status}); what it had started was stopped"
        ))),
    }
}

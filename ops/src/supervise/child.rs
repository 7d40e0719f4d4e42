//! One service: started, watched until it is ready, started again when it dies, stopped on request.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use super::log;
use super::plan::{Service, StopSignal};
use super::process::ProcessId;
use super::ready;
use super::state::ServiceState;
use crate::clock;

/// The pause before a service that died is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, for a service that dies over and over.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A service that lived this long is not in a loop.
const LIVED_WELL: Duration = Duration::from_secs(10);

/// How often a service that is not ready is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How often the log's size is looked at.
const LOOK_AT_LOG_EVERY: Duration = Duration::from_secs(2);

/// How long a service may take to end before it is killed. A gateway waits for its streams to end.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// One service and the task that keeps it.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) stop_rank: u8,
    pub(super) report: watch::Receiver<ServiceState>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How a run of the service ended.
enum Ended {
    ByItself(String),
    OnRequest,
}

// === impl Keeper ===

impl Keeper {
    /// Starts the service once all of `before` have been ready.
    pub(super) fn start(
        service: Service,
        logs: PathBuf,
        before: Vec<watch::Receiver<ServiceState>>,
    ) -> Self {
        let (tell, report) = watch::channel(ServiceState::new(&service, &logs));
        let (stop, stop_asked) = watch::channel(false);
        let (name, stop_rank) = (service.name.clone(), service.stop_rank);
        let task = tokio::task::spawn_local(async move {
            let mut asked_before = stop_asked.clone();
            tokio::select! {
                () = all_ready_once(before) => {}
                _ = asked_before.wait_for(|asked| *asked) => return,
            }
            keep(service, &logs, &tell, stop_asked).await;
        });
        Self {
            name,
            stop_rank,
            report,
            stop,
            task,
        }
    }

    pub(super) fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for the end of the service; `ask_to_stop` must have been called.
    pub(super) async fn stopped(self) {
        if let Err(error) = self.task.await {
            eprintln!("the keeper of {} failed: {error}", self.name);
        }
    }
}

async fn all_ready_once(before: Vec<watch::Receiver<ServiceState>>) {
    for mut report in before {
        // A closed channel means that the supervisor is ending.
        let _ = report.wait_for(|state| state.ready).await;
    }
}

async fn keep(
    service: Service,
    logs: &Path,
    tell: &watch::Sender<ServiceState>,
    mut stop_asked: watch::Receiver<bool>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let ended = match spawn(&service, logs) {
            Ok(child) => attend(&service, logs, child, tell, &mut stop_asked).await,
            Err(error) => Ended::ByItself(format!("{}: {error}", service.program.display())),
        };
        let why = match ended {
            Ended::OnRequest => return,
            Ended::ByItself(why) => why,
        };
        log::note(
            logs,
            &service.name,
            &format!("{} ended: {why}", service.name),
        );
        tell.send_modify(|state| state.ended(why));
        if started.elapsed() >= LIVED_WELL {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop_asked.wait_for(|asked| *asked) => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        tell.send_modify(|state| state.restarts += 1);
    }
}

/// Watches a running service until it ends.
async fn attend(
    service: &Service,
    logs: &Path,
    mut child: Child,
    tell: &watch::Sender<ServiceState>,
    stop_asked: &mut watch::Receiver<bool>,
) -> Ended {
    let process = child.id().and_then(ProcessId::of);
    tell.send_modify(|state| state.started(process, clock::now_ms()));
    let mut look = interval(LOOK_AT_LOG_EVERY);
    let mut becoming_ready = std::pin::pin!(become_ready(service, tell));
    let mut ready = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ended::ByItself(say(status)),
            _ = stop_asked.wait_for(|asked| *asked) => {
                stop(service, logs, &mut child).await;
                return Ended::OnRequest;
            }
            () = &mut becoming_ready, if !ready => ready = true,
            _ = look.tick() => log::rotate(logs, &service.name),
        }
    }
}

async fn become_ready(service: &Service, tell: &watch::Sender<ServiceState>) {
    let mut ask = interval(ASK_EVERY);
    loop {
        ask.tick().await;
        match ready::ask(&service.ready).await {
            Ok(()) => {
                tell.send_modify(|state| state.became_ready());
                return;
            }
            Err(why) => {
                tell.send_if_modified(|state| state.not_ready(why));
            }
        }
    }
}

/// Asks for an orderly end, and kills when that takes too long.
async fn stop(service: &Service, logs: &Path, child: &mut Child) {
    let signal = match service.stop {
        StopSignal::Terminate => Signal::SIGTERM,
        StopSignal::Interrupt => Signal::SIGINT,
    };
    if let Some(process) = child.id().and_then(ProcessId::of) {
        process.signal(signal);
    }
    if timeout(STOP_WITHIN, child.wait()).await.is_ok() {
        return;
    }
    log::note(
        logs,
        &service.name,
        &format!(
            "did not end within {} s and was killed",
            STOP_WITHIN.as_secs()
        ),
    );
    // It is gone either way: an error here means that it ended just now.
    let _ = child.kill().await;
}

fn say(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

fn spawn(service: &Service, logs: &Path) -> std::io::Result<Child> {
    let out = log::open(logs, &service.name)?;
    let err = out.try_clone()?;
    let mut command = Command::new(&service.program);
    command
        .args(&service.args)
        .env_clear()
        .envs(service.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .current_dir("/")
        // Ctrl-C at a terminal must not reach it: the supervisor stops it in its turn.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(user) = service.user {
        command.uid(user).gid(user);
    }
    let on_parents_death = match service.stop {
        StopSignal::Terminate => Signal::SIGTERM,
        StopSignal::Interrupt => Signal::SIGINT,
    };
    die_with_the_parent(command.as_std_mut(), on_parents_death);
    command.spawn()
}

/// Makes the child get `signal` when this process dies, in whatever way: no orphan remains.
#[expect(
    unsafe_code,
    reason = "only code between fork and exec can ask for a death signal"
)]
pub(crate) fn die_with_the_parent(command: &mut std::process::Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only calls that are safe in a signal handler may be made:
    // these are two system calls, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The parent may have died before the call above.
            if nix::unistd::getppid() == parent {
                Ok(())
            } else {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}

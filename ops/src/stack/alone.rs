//! A Postgres server without a supervisor, for one task.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ports::Ports;
use super::ways::Ways;
use super::{DataDir, postgres};
use crate::failure::{Doing, Failure, Outcome};
use crate::supervise::{die_with_the_parent, ready};

/// How long it may take to answer, and to end.
const WITHIN: Duration = Duration::from_secs(30);

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A server that ends when this is dropped.
pub(crate) struct Alone {
    process: Child,
}

// === impl Alone ===

impl Alone {
    /// Starts it on a data folder that exists, with settings of the task's own (`name=value`), and waits until it answers.
    pub(crate) fn start(
        data: &DataDir,
        ports: Ports,
        bin: &Path,
        settings: &[&str],
    ) -> Outcome<Self> {
        let service = postgres::service(data, ports, bin, &Ways::of(data, false));
        let mut command = Command::new(&service.program);
        command
            .args(&service.args)
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/");
        if let Some(user) = service.user {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(user);
        }
        die_with_the_parent(&mut command, Signal::SIGINT);
        let server = Self {
            process: command.spawn().doing(|| "starting Postgres".into())?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "starting this tool's runtime".into())?;
        let deadline = Instant::now() + WITHIN;
        loop {
            match runtime.block_on(ready::ask(&service.ready)) {
                Ok(()) => return Ok(server),
                Err(why) if Instant::now() >= deadline => {
                    return Err(Failure::new(format!("Postgres is not ready: {why}")));
                }
                Err(_) => std::thread::sleep(ASK_EVERY),
            }
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).map(Pid::from_raw);
        // It is our child and not yet waited for, so the id is still its own.
        let asked = pid.is_ok_and(|pid| kill(pid, Signal::SIGINT).is_ok());
        let deadline = Instant::now() + WITHIN;
        while asked && Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(ASK_EVERY);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

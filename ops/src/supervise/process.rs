//! Naming a process so that it cannot be mistaken for a later one with the same id.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process: its id, when it started, and on which boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks after boot, from `/proc/PID/stat`.
    started: u64,
    boot: String,
}

// === impl ProcessId ===

impl ProcessId {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let (_, started) = stat(pid)?;
        Some(Self {
            pid,
            started,
            boot: boot_id(),
        })
    }

    /// This process.
    pub(crate) fn of_self() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs. A process that ended and waits for its parent does not.
    pub(crate) fn is_running(&self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| {
            started == self.started && self.boot == boot_id() && !matches!(state, 'Z' | 'X')
        })
    }

    /// Sends a signal if it still runs; says whether it does.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.is_running() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// A process and all that it started, and those started, and so on.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == pid)
                .map(|(child, _)| child),
        );
    }
    found
}

/// Every process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let read = |entry: fs::DirEntry| -> Option<(u32, u32)> {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name before it stands in brackets and may hold anything: `pid (name) state parent …`.
        let parent = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()?;
        Some((pid, parent))
    };
    entries.filter_map(read).collect()
}

/// State letter and start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from its end.
    let fields: Vec<&str> = line
        .get(line.rfind(')')? + 1..)?
        .split_whitespace()
        .collect();
    Some((
        fields.first()?.chars().next()?,
        fields.get(19)?.parse().ok()?,
    ))
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_ended_is_not_running_even_while_nobody_has_asked_for_its_end() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert!(id.is_running());
        child.kill().unwrap();
        while id.is_running() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!id.signal(Signal::SIGTERM));
    }

    #[test]
    fn another_process_with_the_same_id_is_a_stranger() {
        let mut own = ProcessId::of_self().unwrap();
        own.started += 1;
        assert!(!own.is_running());
        let mut own = ProcessId::of_self().unwrap();
        own.boot = "another".into();
        assert!(!own.is_running());
    }
}

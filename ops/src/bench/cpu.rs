//! Cores and processes as the kernel accounts for them: pinning, CPU time, memory.
//!
//! CPU time is `se.sum_exec_runtime` of every thread (`/proc/PID/task/*/schedstat`): user and
//! system time in nanoseconds, where `/proc/PID/stat` counts in ticks of 10 ms.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::failure::{Doing as _, Failure, Outcome};

/// One core for the server that is measured, another for everything else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores {
    /// Where the gateway and nginx take turns.
    pub(super) server: usize,
    /// Where the load, the mock provider and the other services run.
    pub(super) load: usize,
}

/// How much of its time a core was busy, from one look to the next.
pub(super) struct CoreWatch {
    core: usize,
    begun: CoreTicks,
}

struct CoreTicks {
    idle: u64,
    total: u64,
}

// === impl Cores ===

impl Cores {
    /// The first two cores that this process may use.
    pub(super) fn choose() -> Outcome<Self> {
        let allowed =
            sched_getaffinity(Pid::from_raw(0)).doing(|| "asking for our cores".to_owned())?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        match (cores.next(), cores.next()) {
            (Some(load), Some(server)) => Ok(Self { server, load }),
            _ => Err(Failure::new(
                "this measurement needs two cores: one for the server, one for the load",
            )),
        }
    }
}

// === impl CoreWatch ===

impl CoreWatch {
    /// Looks at a core now.
    pub(super) fn begin(core: usize) -> Outcome<Self> {
        Ok(Self {
            core,
            begun: CoreTicks::read(core)?,
        })
    }

    /// The share of time since the beginning in which the core was not idle, in per cent.
    pub(super) fn busy_percent(&self) -> Outcome<f64> {
        let now = CoreTicks::read(self.core)?;
        let total = now.total.saturating_sub(self.begun.total).max(1);
        let idle = now.idle.saturating_sub(self.begun.idle);
        Ok(100.0 - ratio(idle, total) * 100.0)
    }
}

// === impl CoreTicks ===

impl CoreTicks {
    fn read(core: usize) -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/stat").doing(|| "reading /proc/stat".to_owned())?;
        let name = format!("cpu{core} ");
        let line = stat.lines().find(|line| line.starts_with(&name));
        let line =
            line.ok_or_else(|| Failure::new(format!("/proc/stat has no line for core {core}")))?;
        // user nice system idle iowait irq softirq steal; the guest columns are inside user and nice.
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map_while(|n| n.parse().ok())
            .collect();
        let idle = ticks.iter().skip(3).take(2).sum();
        Ok(Self {
            idle,
            total: ticks.iter().sum(),
        })
    }
}

/// Pins every thread of these processes to a core; threads that start later inherit it.
pub(super) fn pin(pids: &[u32], core: usize) -> Outcome {
    for pid in pids {
        for thread in threads(*pid)? {
            pin_thread(thread, core)?;
        }
    }
    Ok(())
}

/// Pins the calling thread to a core; what it starts inherits that.
pub(super) fn pin_here(core: usize) -> Outcome {
    pin_thread(0, core)
}

fn pin_thread(thread: i32, core: usize) -> Outcome {
    let mut set = CpuSet::new();
    set.set(core).doing(|| format!("naming core {core}"))?;
    match sched_setaffinity(Pid::from_raw(thread), &set) {
        // A thread that ended in the meantime needs no core.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).doing(|| format!("pinning thread {thread} to core {core}")),
    }
}

/// User and system time that these processes have used so far.
pub(super) fn time_used(pids: &[u32]) -> Outcome<Duration> {
    let mut nanoseconds = 0;
    for pid in pids {
        for thread in threads(*pid)? {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            let text = fs::read_to_string(&path).unwrap_or_default();
            nanoseconds += text
                .split_whitespace()
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of a process, in MiB.
pub(super) fn resident_mib(pid: u32) -> Outcome<f64> {
    Ok(ratio(resident_bytes(pid)?, 1 << 20))
}

/// Resident memory of a process, in bytes.
pub(super) fn resident_bytes(pid: u32) -> Outcome<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| Failure::new(format!("{path} names no VmRSS")))? * 1024)
}

/// How many connections a process has to an address.
pub(super) fn sockets_to(pid: u32, address: SocketAddr) -> Outcome<u64> {
    let SocketAddr::V4(address) = address else {
        return Err(Failure::new(format!("{address} is not of IPv4")));
    };
    // As /proc/net/tcp has it: the address in the machine's own order, the port as a number.
    let host = u32::from_ne_bytes(address.ip().octets());
    let peer = format!("{host:08X}:{:04X}", address.port());
    let path = format!("/proc/{pid}/net/tcp");
    let table = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
    let of_that_peer: BTreeSet<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            (*columns.get(2)? == peer).then_some(*columns.get(9)?)
        })
        .collect();
    let path = format!("/proc/{pid}/fd");
    let files = fs::read_dir(&path).doing(|| format!("reading {path}"))?;
    let own = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let is_to_it = |file: &PathBuf| {
        let name = file.to_str().and_then(|name| {
            let inode = name.strip_prefix("socket:[")?;
            inode.strip_suffix(']')
        });
        name.is_some_and(|inode| of_that_peer.contains(inode))
    };
    Ok(own.filter(is_to_it).map(|_| 1).sum())
}

fn threads(pid: u32) -> Outcome<Vec<i32>> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).doing(|| format!("reading {path}"))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// A quotient of counts.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of this size lose nothing that matters"
)]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

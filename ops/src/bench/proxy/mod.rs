//! Reverse proxies of others, as plain as they can be configured: the yardsticks beside which the gateway is measured. And LLM
//! gateways of others ([`peers`]), as they come.

mod debian;
mod haproxy;
mod nginx;
pub(super) mod peers;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::cpu;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::supervise::process;

/// How long a proxy may take to listen.
const START_TIME: Duration = Duration::from_secs(10);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yardstick {
    Nginx,
    Haproxy,
}

/// The program of a yardstick, and what it needs around it.
pub(super) struct Program {
    which: Yardstick,
    path: PathBuf,
    /// Where its shared libraries lie, when they are not installed.
    libraries: Option<PathBuf>,
}

/// A running proxy, stopped when dropped.
pub(super) struct Proxy {
    name: &'static str,
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

// === impl Yardstick ===

impl Yardstick {
    /// As figures and progress call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Finds its program: the one asked for, an installed one, or Debian's package unpacked in `cache`.
    pub(super) fn find(self, asked: Option<&Path>, cache: &Path) -> Outcome<Program> {
        let name = self.name();
        let own = |path| Program {
            which: self,
            path,
            libraries: None,
        };
        if let Some(asked) = asked {
            return Ok(own(asked.to_owned()));
        }
        // Also outside a user's PATH.
        let usual = ["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(name));
        if let Some(installed) = usual.into_iter().find(|path| path.exists()) {
            return Ok(own(installed));
        }
        let packages = match self {
            Self::Nginx => nginx::PACKAGES,
            Self::Haproxy => haproxy::PACKAGES,
        };
        let unpacked = debian::unpack(&cache.join(name), &format!("usr/sbin/{name}"), packages);
        let (path, libraries) = unpacked.map_err(|failure| {
            Failure::new(format!(
                "{name} is a yardstick of this measurement and is missing: install the package {name}, \
                 or name the program with --{name} ({failure})"
            ))
        })?;
        Ok(Program {
            which: self,
            path,
            libraries: Some(libraries),
        })
    }
}

// === impl Program ===

impl Program {
    /// Starts one worker on a core, in front of an upstream; `folder` takes what the proxy writes.
    pub(super) fn start(
        &self,
        folder: &Path,
        core: usize,
        address: SocketAddr,
        upstream: SocketAddr,
    ) -> Outcome<Proxy> {
        fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        let name = self.which.name();
        let file = folder.join(format!("{name}.conf"));
        let (config, mut command) = match self.which {
            Yardstick::Nginx => (
                nginx::config(folder, address, upstream),
                nginx::command(&self.path, folder, &file),
            ),
            Yardstick::Haproxy => (
                haproxy::config(address, upstream),
                haproxy::command(&self.path, &file),
            ),
        };
        fs::write(&file, config).doing(|| format!("writing {}", file.display()))?;
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        Proxy::start(name, command, address, core, START_TIME)
    }
}

// === impl Proxy ===

impl Proxy {
    /// Starts it, and waits as long as it may take to listen. What it says on standard error is shown.
    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        core: usize,
        patience: Duration,
    ) -> Outcome<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .doing(|| format!("starting {name}"))?;
        let mut proxy = Self {
            name,
            child,
            address,
        };
        proxy.wait_until_it_listens(patience)?;
        cpu::pin(&proxy.pids(), core)?;
        Ok(proxy)
    }

    /// Its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        process::family(self.child.id())
    }

    fn wait_until_it_listens(&mut self, patience: Duration) -> Outcome {
        let (name, address) = (self.name, self.address);
        let deadline = Instant::now() + patience;
        while std::net::TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(format!(
                    "{name} stopped at its start ({status})"
                )));
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("{name} does not listen on {address}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        // SIGTERM, so that a master takes its workers along; there is nobody to tell of a failure.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM);
        let _ = self.child.wait();
    }
}

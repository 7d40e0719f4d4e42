//! nginx as a plain reverse proxy: the yardstick beside which the gateway is measured.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::cpu;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::supervise::process;

/// How long nginx may take to listen.
const START_TIME: Duration = Duration::from_secs(10);

/// Where a package puts it; also outside a user's PATH.
const USUAL_PLACES: [&str; 2] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"];

/// A running nginx, stopped when dropped.
pub(super) struct Nginx {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

// === impl Nginx ===

impl Nginx {
    /// Starts one worker on a core, in front of an upstream; `folder` takes what nginx writes.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        core: usize,
        address: SocketAddr,
        upstream: SocketAddr,
    ) -> Outcome<Self> {
        fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        let file = folder.join("nginx.conf");
        let config = config(folder, address, upstream);
        fs::write(&file, config).doing(|| format!("writing {}", file.display()))?;
        let child = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .doing(|| format!("starting {}", program.display()))?;
        let mut nginx = Self { child, address };
        nginx.wait_until_it_listens()?;
        cpu::pin(&nginx.pids(), core)?;
        Ok(nginx)
    }

    /// The master and its worker.
    pub(super) fn pids(&self) -> Vec<u32> {
        process::family(self.child.id())
    }

    fn wait_until_it_listens(&mut self) -> Outcome {
        let deadline = Instant::now() + START_TIME;
        while std::net::TcpStream::connect(self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(format!(
                    "nginx stopped at its start ({status})"
                )));
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "nginx does not listen on {}",
                    self.address
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        // SIGTERM, so that the master takes its worker along; there is nobody to tell of a failure.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Finds nginx: the one asked for, an installed one, or Debian's package unpacked in `cache`.
pub(super) fn find(asked: Option<&Path>, cache: &Path) -> Outcome<PathBuf> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    if let Some(installed) = USUAL_PLACES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
    {
        return Ok(installed);
    }
    unpack(&cache.join("nginx")).map_err(|failure| {
        Failure::new(format!(
            "nginx is the yardstick of this measurement and is missing: install the package nginx, \
             or name the program with --nginx ({failure})"
        ))
    })
}

/// Fetches Debian's package through apt and unpacks it, which needs no root.
fn unpack(folder: &Path) -> Outcome<PathBuf> {
    let program = folder.join("usr/sbin/nginx");
    if program.exists() {
        return Ok(program);
    }
    let packages = folder.join("packages");
    fs::create_dir_all(&packages).doing(|| format!("making {}", packages.display()))?;
    quietly(
        Command::new("apt-get")
            .args(["download", "nginx"])
            .current_dir(&packages),
    )?;
    let entries = fs::read_dir(&packages).doing(|| format!("reading {}", packages.display()))?;
    for package in entries.filter_map(Result::ok) {
        quietly(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(package.path())
                .arg(folder),
        )?;
    }
    if !program.exists() {
        return Err(Failure::new(
            "Debian's package nginx holds no /usr/sbin/nginx",
        ));
    }
    Ok(program)
}

fn quietly(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("running {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "{name} failed: {}",
        reason.lines().last().unwrap_or_default()
    )))
}

/// As plain as a reverse proxy with connections kept to its upstream can be.
fn config(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 2048; use epoll; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream provider {{
        server {upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}

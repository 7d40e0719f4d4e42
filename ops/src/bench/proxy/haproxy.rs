//! HAProxy as a plain reverse proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What it needs of Debian's packages.
pub(super) const PACKAGES: &[&str] = &[
    "haproxy",
    "liblua5.3-0",
    "libopentracing-c-wrapper0",
    "libopentracing1",
];

pub(super) fn command(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    // In the foreground, and silent about what is missing in a configuration as short as this.
    command.args(["-db", "-q", "-f"]).arg(config);
    command
}

/// As plain as a reverse proxy with connections kept to its upstream can be.
pub(super) fn config(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend callers
    bind {address}
    default_backend provider
backend provider
    http-reuse always
    server provider {upstream}
"
    )
}

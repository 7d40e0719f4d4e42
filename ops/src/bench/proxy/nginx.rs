//! nginx as a plain reverse proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What it needs of Debian's packages.
pub(super) const PACKAGES: &[&str] = &["nginx"];

pub(super) fn command(program: &Path, folder: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-p").arg(folder);
    command.args(["-e", "stderr", "-c"]).arg(config);
    command
}

/// As plain as a reverse proxy with connections kept to its upstream can be.
pub(super) fn config(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
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
    client_body_buffer_size 128k;
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

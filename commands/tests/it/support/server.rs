//! A server process that ends, and whose folder goes, when the test's process does, however that ends.
//!
//! A shell starts it and waits for the end of its own input, which this process holds open.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Whom servers run as when we are root: `nobody`. Postgres refuses to run as root.
const NOBODY: u32 = 65_534;

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command that runs as `nobody` when we are root.
pub(crate) fn unprivileged(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Makes a folder that belongs to whom servers run as.
pub(crate) fn make_folder(path: &Path) {
    std::fs::create_dir(path).expect("a new folder");
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give away");
    }
}

/// A path that a setting names.
pub(crate) fn setting(name: &str, what: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the tests' configuration")]
    let value = std::env::var_os(name);
    value.map_or_else(
        || panic!("{name} is not set: it names {what}. `cargo ops test` sets it"),
        PathBuf::from,
    )
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    shell: Child,
}

impl Server {
    /// Starts a program over a folder of its own; output goes to `<folder>/log`.
    pub(crate) fn start(folder: &Path, program: &Path, arguments: &[String]) -> Self {
        let script = r#"folder=$1; shift
            trap '' INT TERM
            "$@" >>"$folder/log" 2>&1 </dev/null &
            pid=$!
            read -r how
            case "$how" in stop) kill -INT "$pid" ;; kill) kill -KILL "$pid" ;; *) kill -QUIT "$pid" ;; esac
            wait "$pid"
            case "$how" in stop|kill) ;; *) rm -rf "$folder" ;; esac"#;
        let shell = unprivileged("sh")
            .args(["-c", script, "sh"])
            .arg(folder)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever interrupts the tests does not interrupt the clearing up.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        Self { shell }
    }

    /// Ends the process, orderly (`stop`) or at once (`kill`), and keeps its folder.
    pub(crate) fn end(mut self, how: &str) {
        use std::io::Write;
        let mut stdin = self.shell.stdin.take().expect("it is piped");
        writeln!(stdin, "{how}").expect("the shell reads");
        self.shell.wait().expect("the shell ends");
    }
}

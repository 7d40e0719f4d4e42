//! A server process on a port and a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Ending in order takes well under a second; a slow machine gets more.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A running `sluice clickhouse`; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    users: Users,
}

/// Who may ask a server: the password of `default`, and others as on the command line.
#[derive(Clone, Copy, Default)]
pub(crate) struct Users {
    pub(crate) password: Option<&'static str>,
    pub(crate) others: &'static [&'static str],
}

impl Server {
    /// Starts one on an empty folder.
    pub(crate) fn start() -> Self {
        Self::start_for(Users::default())
    }

    /// Starts one that asks who it is.
    pub(crate) fn start_for(users: Users) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder for the data"), users)
    }

    fn start_in(folder: TempDir, users: Users) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command
            .args(["clickhouse", "--listen", "127.0.0.1:0", "--path"])
            .arg(folder.path().join("data"));
        command.arg("--lib").arg(variable("SLUICE_TEST_CHDB"));
        if let Some(password) = users.password {
            command.args(["--password", password]);
        }
        for user in users.others {
            command.args(["--user", user]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's process starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says where it listens");
        let url = line
            .trim()
            .rsplit(' ')
            .next()
            .expect("the line ends with the URL")
            .to_owned();
        assert!(
            url.starts_with("http://"),
            "the server did not start: {line:?}"
        );
        Self {
            child,
            folder,
            url,
            users,
        }
    }

    /// Ends the process at once, and starts another on the same data.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("the process ends");
        self.restart()
    }

    /// Asks the process to end, and starts another on the same data.
    pub(crate) fn stop_and_restart(mut self) -> (ExitStatus, Self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(asked.success());
        let deadline = Instant::now() + STOP_DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                break status;
            }
            assert!(Instant::now() < deadline, "the server did not stop in time");
            std::thread::yield_now();
        };
        (status, self.restart())
    }

    /// A client of the `clickhouse` crate.
    pub(crate) fn client(&self) -> clickhouse::Client {
        let client = clickhouse::Client::default().with_url(&self.url);
        match self.users.password {
            Some(password) => client.with_user("default").with_password(password),
            None => client,
        }
    }

    fn restart(mut self) -> Self {
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"));
        Self::start_in(folder, self.users)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path that the test command names.
#[expect(
    clippy::disallowed_methods,
    reason = "what the test command prepared is told by its environment"
)]
pub(crate) fn variable(name: &str) -> PathBuf {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: run `cargo ops test`"))
        .into()
}

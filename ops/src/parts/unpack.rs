//! Unpacking wheels and npm's tarballs.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::fetch::run_quietly;
use crate::failure::{Doing, Outcome};

/// A wheel is a zip.
pub(super) fn wheel(archive: &Path, into: &Path) -> Outcome {
    let doing = || format!("unpacking {}", archive.display());
    let file = File::open(archive).doing(doing)?;
    let mut zip = zip::ZipArchive::new(file).doing(doing)?;
    zip.extract(into).doing(doing)?;
    // Wheels made on Windows, and some others, carry no permissions.
    for folder in ["bin", "scripts"] {
        for_each_below(into, &mut |path| {
            let inside = path.parent().and_then(Path::file_name);
            if path.is_file() && inside.is_some_and(|name| name == folder) {
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).doing(doing)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// npm's archive; `tar` is on every Debian.
pub(super) fn tarball(archive: &Path, into: &Path) -> Outcome {
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(archive)
        .args(["--no-same-owner", "-C"])
        .arg(into);
    run_quietly(tar, || format!("unpacking {}", archive.display()))
}

/// Lets every user read, whatever the umask was: Postgres runs as somebody else when we are root.
pub(super) fn open_to_all(root: &Path) -> Outcome {
    for_each_below(root, &mut |path| {
        let meta = fs::symlink_metadata(path).doing(|| format!("reading {}", path.display()))?;
        if meta.is_symlink() {
            return Ok(());
        }
        let mode = meta.permissions().mode();
        let executable = meta.is_dir() || mode & 0o100 != 0;
        let wanted = mode | if executable { 0o755 } else { 0o644 };
        if wanted != mode {
            fs::set_permissions(path, fs::Permissions::from_mode(wanted))
                .doing(|| format!("opening {} to all", path.display()))?;
        }
        Ok(())
    })
}

/// Calls `visit` with `path` and everything below it; symbolic links are not followed.
fn for_each_below(path: &Path, visit: &mut impl FnMut(&Path) -> Outcome) -> Outcome {
    visit(path)?;
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        let entries = fs::read_dir(path).doing(|| format!("reading {}", path.display()))?;
        for entry in entries {
            let entry = entry.doing(|| format!("reading {}", path.display()))?;
            for_each_below(&entry.path(), visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_owner_could_read_is_opened_to_all() {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        let text = folder.path().join("text");
        for (file, mode) in [(&tool, 0o700), (&text, 0o600)] {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
        open_to_all(folder.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&tool), 0o755);
        assert_eq!(mode(&text), 0o644);
        assert_eq!(mode(folder.path()), 0o755);
    }
}

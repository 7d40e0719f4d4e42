//! Logs: each service writes to `logs/NAME.log` itself, so that nothing is lost and nobody waits when
//! the supervisor dies; a file that grew is copied aside and emptied (it is open for appending).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The size at which a log is put aside.
const ROTATE_AT_BYTES: u64 = 16 << 20;

/// How many are kept beside the one being written.
const KEPT: u32 = 3;

/// The file of a service's log.
pub(crate) fn path(logs: &Path, name: &str) -> PathBuf {
    logs.join(format!("{name}.log"))
}

/// Opens a service's log for appending.
pub(super) fn open(logs: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path(logs, name))
}

/// Adds a line of the supervisor's own to a service's log.
pub(super) fn note(logs: &Path, name: &str, line: &str) {
    // A full disk must not stop the supervisor.
    let _ = open(logs, name).and_then(|mut log| writeln!(log, "[supervisor] {line}"));
}

/// Puts the log aside when it has grown.
pub(super) fn rotate(logs: &Path, name: &str) {
    if let Err(error) = rotate_at(&path(logs, name), ROTATE_AT_BYTES) {
        note(
            logs,
            name,
            &format!("the log could not be put aside: {error}"),
        );
    }
}

fn rotate_at(log: &Path, limit: u64) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(meta) if meta.len() >= limit => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let aside = |number: u32| log.with_extension(format!("log.{number}"));
    for number in (1..KEPT).rev() {
        if aside(number).exists() {
            fs::rename(aside(number), aside(number + 1))?;
        }
    }
    fs::copy(log, aside(1))?;
    OpenOptions::new().write(true).open(log)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grew_is_put_aside_and_the_writer_goes_on_in_the_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(folder.path(), "nats").unwrap();
        let log = path(folder.path(), "nats");
        for round in 0..6 {
            writeln!(writer, "round {round}").unwrap();
            rotate_at(&log, 1).unwrap();
        }
        writeln!(writer, "last").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "last\n");
        let newest = fs::read_to_string(folder.path().join("nats.log.1")).unwrap();
        assert_eq!(newest, "round 5\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}

//! The engine of this process: started once, asked for connections, stopped in order.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::exception::{Exception, Kind};
use super::ffi::{Chdb, Connection};
use crate::failure::{Doing as _, Failure, Outcome};

/// The running engine and what it says about itself.
pub(super) struct Engine {
    chdb: Chdb,
    /// What every connection is opened with.
    arguments: Vec<String>,
    /// Keeps the engine running while no request does.
    anchor: Mutex<Option<Connection>>,
    known_settings: HashSet<String>,
    pub(super) version: String,
    pub(super) timezone: String,
    pub(super) host: String,
}

// === impl Engine ===

impl Engine {
    /// Loads the library and starts the engine on a data folder, which is made when it is missing.
    pub(super) fn start(library: &Path, data: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(data)
            .doing(|| format!("making ClickHouse's data folder {}", data.display()))?;
        let chdb = Chdb::load(library)
            .doing(|| format!("loading ClickHouse's engine from {}", library.display()))?;
        // A server takes no bare expression for a SELECT; clickhouse-local would.
        let arguments = vec![
            format!("--path={}", data.display()),
            "--implicit_select=0".to_owned(),
        ];
        let mut anchor = chdb.connect(&arguments).ok_or_else(|| {
            Failure::new(format!(
                "ClickHouse's engine does not start on {}",
                data.display()
            ))
        })?;
        let mut rows = |sql: &str| -> Outcome<Vec<String>> {
            let answer = anchor.query(sql.as_bytes(), "LineAsString", &[]);
            let answer = answer.doing(|| format!("asking ClickHouse's engine {sql:?}"))?;
            Ok(String::from_utf8_lossy(answer.bytes())
                .lines()
                .map(str::to_owned)
                .collect())
        };
        let mut about = rows("SELECT arrayJoin([version(), timezone(), hostName()])")?.into_iter();
        let known_settings = rows("SELECT name FROM system.settings")?
            .into_iter()
            .collect();
        let mut next = || about.next().unwrap_or_default();
        let (version, timezone, host) = (next(), next(), next());
        Ok(Self {
            chdb,
            arguments,
            anchor: Mutex::new(Some(anchor)),
            known_settings,
            version,
            timezone,
            host,
        })
    }

    /// A connection of its own for one request or session, with these settings.
    pub(super) fn connect(&self, settings: &[(String, String)]) -> Result<Connection, Exception> {
        self.check_names(settings)?;
        let mut arguments = self.arguments.clone();
        arguments.extend(
            settings
                .iter()
                .map(|(name, value)| format!("--{name}={value}")),
        );
        match self.chdb.connect(&arguments) {
            Some(connection) => Ok(connection),
            None => Err(self.why_refused(settings)),
        }
    }

    /// Refuses settings that do not exist, by name.
    pub(super) fn check_names(&self, settings: &[(String, String)]) -> Result<(), Exception> {
        match settings
            .iter()
            .find(|(name, _)| !self.known_settings.contains(name))
        {
            Some((name, _)) => Err(Exception::new(
                Kind::UnknownSetting,
                format!("Unknown setting '{name}'."),
            )),
            None => Ok(()),
        }
    }

    /// Stops the engine. Connections that are still open keep it from stopping in order; the
    /// process may end all the same, since what was acknowledged is in files.
    pub(super) fn stop(&self) -> bool {
        drop(
            self.anchor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.chdb.shutdown()
    }

    /// A connection that fails says nothing; `SET` says what is wrong.
    fn why_refused(&self, settings: &[(String, String)]) -> Exception {
        let unknown = || Exception::new(Kind::StdException, "The engine refused a connection.");
        let Some(mut connection) = self.chdb.connect(&self.arguments) else {
            return unknown();
        };
        settings
            .iter()
            .find_map(|setting| {
                connection
                    .query(set(std::slice::from_ref(setting)).as_bytes(), "Null", &[])
                    .err()
            })
            .map_or_else(unknown, |error| Exception::of_engine(&error))
    }
}

/// `SET a = 'x', b = 'y'`.
pub(super) fn set(settings: &[(String, String)]) -> String {
    let list: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name} = {}", quoted(value, '\'')))
        .collect();
    format!("SET {}", list.join(", "))
}

/// `USE` of a database.
pub(super) fn use_database(name: &str) -> String {
    format!("USE {}", quoted(name, '`'))
}

fn quoted(text: &str, quote: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for letter in text.chars() {
        if letter == quote || letter == '\\' {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted() {
        let settings = [
            ("a".to_owned(), "it's".to_owned()),
            ("b".to_owned(), "\\".to_owned()),
        ];
        assert_eq!(set(&settings), r"SET a = 'it\'s', b = '\\'");
        assert_eq!(use_database("a`b"), r"USE `a\`b`");
    }
}

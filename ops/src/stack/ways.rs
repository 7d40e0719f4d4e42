//! How a stack's servers are reached: their URLs, with who connects, and whether over TLS.

use std::path::{Path, PathBuf};

use events_schema::address::encoded;

use super::DataDir;
use super::nats::User;
use super::secrets::{ClickhousePasswords, NatsPasswords};

/// Plain, or over TLS with an authority of the stack's own.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    ca_file: Option<PathBuf>,
}

/// A user of ClickHouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Operators and their tools: may do everything.
    Admin,
    /// Asks the dashboard's questions, and may only read.
    Commands,
    /// Makes the tables and writes them.
    Projections,
}

// === impl Ways ===

impl Ways {
    /// Those of the stack on `data`.
    pub(crate) fn of(data: &DataDir, tls: bool) -> Self {
        Self {
            ca_file: tls.then(|| data.tls().join("ca.pem")),
        }
    }

    /// The authority that vouches for the servers, where they speak TLS.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Of NATS, at a port of this machine.
    pub(crate) fn nats(&self, user: User, passwords: &NatsPasswords, port: u16) -> String {
        let scheme = self.either("nats", "tls");
        let (name, password) = (user.name(), user.password(passwords));
        format!("{scheme}://{name}:{password}@127.0.0.1:{port}")
    }

    /// Of Postgres, as a role.
    pub(crate) fn postgres(&self, role: &str, password: &str, database: &str, port: u16) -> String {
        let url = format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}");
        match self.ca_file() {
            Some(file) => {
                let file = encoded(&file.display().to_string());
                format!("{url}?sslmode=verify-full&sslrootcert={file}")
            }
            None => url,
        }
    }

    /// Of ClickHouse.
    pub(crate) fn clickhouse(
        &self,
        user: Asker,
        passwords: &ClickhousePasswords,
        port: u16,
    ) -> String {
        let scheme = self.either("http", "https");
        let (name, password) = (user.name(), user.password(passwords));
        format!("{scheme}://{name}:{password}@127.0.0.1:{port}")
    }

    /// Of the gateway as `commands` calls it.
    pub(crate) fn gateway(&self, port: u16) -> String {
        self.http(port)
    }

    /// Of the console and its API.
    pub(crate) fn console(&self, port: u16) -> String {
        self.http(port)
    }

    fn http(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", self.either("http", "https"))
    }

    const fn either<'a>(&self, plain: &'a str, tls: &'a str) -> &'a str {
        match self.ca_file {
            None => plain,
            Some(_) => tls,
        }
    }
}

// === impl Asker ===

impl Asker {
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "default",
            Self::Commands => "commands",
            Self::Projections => "projections",
        }
    }

    fn password(self, passwords: &ClickhousePasswords) -> &str {
        match self {
            Self::Admin => &passwords.admin,
            Self::Commands => &passwords.commands,
            Self::Projections => &passwords.projections,
        }
    }

    /// The server's users but the administrator, as its command line takes them.
    pub(crate) fn list(passwords: &ClickhousePasswords) -> String {
        [(Self::Commands, ":readonly"), (Self::Projections, "")]
            .map(|(user, end)| format!("{}:{}{end}", user.name(), user.password(passwords)))
            .join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authoritys_file_is_found_whatever_its_folder_is_called() {
        let data = DataDir::locate(Some(Path::new("/a b+c#d&e%20f?g"))).unwrap();
        let url = Ways::of(&data, true).postgres("r", "p", "d", 1);
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let understood = format!("{options:?}");
        let expected = "File(\"/a b+c#d&e%20f?g/tls/ca.pem\")";
        assert!(understood.contains(expected), "{understood}");
    }
}

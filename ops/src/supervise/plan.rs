//! What a supervisor is to keep running. `up` makes it, and hands it over on standard input, so that
//! the passwords in it lie in no file and no process list.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The processes of one stack, in the order of their start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The console's port, from which the others are counted.
    pub(crate) port_base: u16,
    /// Whether the stack's parts talk over TLS.
    pub(crate) tls: bool,
    /// Tells one plan (and the builds in it) from another.
    pub(crate) stamp: String,
    pub(crate) services: Vec<Service>,
}

/// One process to keep running.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    /// Its name for people; its output goes to `logs/NAME.log`.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// Its whole environment, but for `PATH` and `HOME`.
    pub(crate) env: Vec<(String, String)>,
    /// The user and group to run as, when it is not the supervisor's own.
    pub(crate) user: Option<u32>,
    /// Services that must have been ready once before this one is first started.
    pub(crate) after: Vec<String>,
    pub(crate) ready: Probe,
    /// The port it serves on.
    pub(crate) port: u16,
    pub(crate) stop: StopSignal,
    /// Services of a lower rank are stopped, and gone, before those of a higher.
    pub(crate) stop_rank: u8,
}

/// How to find out that a service can do its work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// `GET` answers 2xx; over TLS where a file of authorities is named.
    Http {
        port: u16,
        path: String,
        #[serde(default)]
        ca_file: Option<PathBuf>,
    },
    /// A program ends with 0.
    Program { program: PathBuf, args: Vec<String> },
}

/// The signal that asks a service for an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StopSignal {
    Terminate,
    Interrupt,
}

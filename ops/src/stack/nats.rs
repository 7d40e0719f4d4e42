//! nats-server with JetStream, alone: its configuration file, its users and what they may do, and how to start it.
//!
//! The passwords reach the server through its environment; its configuration names only the variables.

use std::fs;
use std::path::Path;

use super::DataDir;
use super::ports::Ports;
use super::secrets::NatsPasswords;
use super::tls::Server;
use super::ways::Ways;
use crate::failure::{Doing, Outcome};
use crate::supervise::plan::{Probe, Service, StopSignal};

/// JetStream acknowledges before it syncs. A second bounds what a power cut can take, which the
/// relay and the publisher then heal from Postgres.
const SYNC_INTERVAL: &str = "1s";

/// The largest message: a request record batch or a snapshot entry stays far below it.
const MAX_PAYLOAD_BYTES: u32 = 8 << 20;

/// What the streams may take together: `USAGE` alone reserves 8 GiB.
const MAX_FILE_STORE_BYTES: u64 = 64 << 30;

/// Streams are kept in files; memory is for none of them.
const MAX_MEMORY_STORE_BYTES: u64 = 64 << 20;

/// Bytes that may wait for one slow client before it is cut off: a gateway that loads 100,000
/// entries reads slower than the server sends.
const MAX_PENDING_BYTES: u64 = 256 << 20;

/// Writes the configuration and says how to start the server.
pub(crate) fn prepare(
    data: &DataDir,
    ports: Ports,
    server: &Path,
    passwords: &NatsPasswords,
    ways: &Ways,
) -> Outcome<Service> {
    let file = data.nats().join("nats-server.conf");
    fs::write(&file, configuration(data, ports, ways))
        .doing(|| format!("writing {}", file.display()))?;
    Ok(Service {
        name: "nats".into(),
        program: server.to_path_buf(),
        args: vec!["--config".into(), file.display().to_string()],
        // Quoted: the server reads a variable as it reads its configuration, where 7k is a number.
        env: User::ALL
            .map(|user| (user.variable(), format!("\"{}\"", user.password(passwords))))
            .into(),
        user: None,
        after: Vec::new(),
        ready: Probe::Http {
            port: ports.nats_monitoring(),
            path: "/healthz".into(),
            ca_file: None,
        },
        port: ports.nats(),
        stop: StopSignal::Terminate,
        stop_rank: 3,
    })
}

fn configuration(data: &DataDir, ports: Ports, ways: &Ways) -> String {
    let nats = ports.nats();
    let monitoring = ports.nats_monitoring();
    let store = data.nats().join("jetstream");
    let store = store.display();
    let users = User::ALL.map(User::configuration).join("");
    let tls = match ways.ca_file() {
        None => String::new(),
        Some(_) => format!(
            "tls {{
  cert_file: \"{}\"
  key_file: \"{}\"
}}
",
            Server::Nats.certificate(data).display(),
            Server::Nats.key(data).display()
        ),
    };
    format!(
        "# Written by `sluice up` at every start: changes here are lost.
server_name: sluice
listen: \"127.0.0.1:{nats}\"
http: \"127.0.0.1:{monitoring}\"
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {MAX_PENDING_BYTES}
logtime_utc: true
{tls}jetstream {{
  store_dir: \"{store}\"
  max_memory_store: {MAX_MEMORY_STORE_BYTES}
  max_file_store: {MAX_FILE_STORE_BYTES}
  sync_interval: \"{SYNC_INTERVAL}\"
}}
authorization {{
  users: [
{users}  ]
}}
"
    )
}

/// A user of NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Operators and their tools: may do everything.
    Admin,
    /// Writes `EVENTS`, hears gateways' reports.
    Commands,
    /// Reads `EVENTS` and `USAGE`, writes `SNAPSHOTS`.
    Projections,
    /// Reads `SNAPSHOTS`, writes its records and reports.
    Gateway,
}

// === impl User ===

impl User {
    const ALL: [Self; 4] = [
        Self::Admin,
        Self::Commands,
        Self::Projections,
        Self::Gateway,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Commands => "commands",
            Self::Projections => "projections",
            Self::Gateway => "gateway",
        }
    }

    pub(super) fn password(self, passwords: &NatsPasswords) -> &str {
        match self {
            Self::Admin => &passwords.admin,
            Self::Commands => &passwords.commands,
            Self::Projections => &passwords.projections,
            Self::Gateway => &passwords.gateway,
        }
    }

    fn variable(self) -> String {
        format!("SLUICE_NATS_{}", self.name().to_uppercase())
    }

    /// What it may publish; everything where nothing is said. Requests to JetStream are published, too.
    const fn may_publish(self) -> &'static [&'static str] {
        match self {
            Self::Admin => &[">"],
            Self::Commands => &[
                "events.>",
                "limits.of.*",
                "$JS.API.STREAM.INFO.EVENTS",
                "$JS.API.STREAM.CREATE.EVENTS",
                // A stream of an epoch that an operator has given up is made anew.
                "$JS.API.STREAM.DELETE.EVENTS",
                "$JS.API.STREAM.MSG.GET.EVENTS",
                "$JS.API.DIRECT.GET.EVENTS.>",
                "$JS.API.DIRECT.GET.EVENTS",
                "$JS.API.CONSUMER.*.EVENTS.>",
                "$JS.API.CONSUMER.*.EVENTS",
                "$JS.API.CONSUMER.MSG.NEXT.EVENTS.>",
                "$JS.ACK.EVENTS.>",
                "$JS.FC.EVENTS.>",
            ],
            Self::Projections => &[
                "snap.>",
                "usage_dead.>",
                "limits.office",
                "limits.told.*",
                "limits.leases.*",
                "limits.totals.*",
                "limits.answer.*",
                "budgets.>",
                "$JS.API.STREAM.CREATE.LIMITS",
                "$JS.API.STREAM.CREATE.BUDGETS",
                "$JS.API.STREAM.INFO.*",
                "$JS.API.STREAM.CREATE.SNAPSHOTS",
                "$JS.API.STREAM.CREATE.USAGE",
                // How long it keeps its messages follows from the settings.
                "$JS.API.STREAM.UPDATE.USAGE",
                "$JS.API.STREAM.CREATE.USAGE_DEAD",
                "$JS.API.STREAM.MSG.GET.*",
                "$JS.API.DIRECT.GET.>",
                "$JS.API.CONSUMER.>",
                "$JS.ACK.>",
                "$JS.FC.>",
            ],
            Self::Gateway => &[
                "usage.*",
                "report.gateway.*",
                "limits.report.*",
                "limits.purses.*",
                "$JS.API.STREAM.INFO.SNAPSHOTS",
                "$JS.API.CONSUMER.CREATE.SNAPSHOTS",
                "$JS.API.CONSUMER.CREATE.SNAPSHOTS.>",
                "$JS.FC.SNAPSHOTS.>",
                // How far a life of its own got: the last record of one subject.
                "$JS.API.DIRECT.GET.USAGE.usage.*",
            ],
        }
    }

    /// What it may subscribe to: its own inboxes, and what it listens to.
    const fn may_subscribe(self) -> &'static [&'static str] {
        match self {
            Self::Admin => &[">"],
            Self::Commands => &[
                "_INBOX.commands.>",
                "report.gateway.*",
                "limits.totals.*",
                "limits.answer.*",
            ],
            Self::Projections => &[
                "_INBOX.projections.>",
                "limits.report.*",
                "limits.purses.*",
                "limits.of.*",
            ],
            Self::Gateway => &["_INBOX.gateway.>", "limits.told.*", "limits.leases.*"],
        }
    }

    fn configuration(self) -> String {
        let list = |subjects: &[&str]| {
            let quoted: Vec<String> = subjects.iter().map(|it| format!("\"{it}\"")).collect();
            quoted.join(", ")
        };
        format!(
            "    {{ user: {}, password: ${}, permissions: {{
      publish: {{ allow: [{}] }}
      subscribe: {{ allow: [{}] }}
    }} }}
",
            self.name(),
            self.variable(),
            list(self.may_publish()),
            list(self.may_subscribe())
        )
    }
}

//! nats-server with JetStream, alone: its configuration file and how to start it.

use std::fs;
use std::path::Path;

use super::DataDir;
use super::ports::Ports;
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
pub(crate) fn prepare(data: &DataDir, ports: Ports, server: &Path) -> Outcome<Service> {
    let file = data.nats().join("nats-server.conf");
    fs::write(&file, configuration(data, ports)).doing(|| format!("writing {}", file.display()))?;
    Ok(Service {
        name: "nats".into(),
        program: server.to_path_buf(),
        args: vec!["--config".into(), file.display().to_string()],
        env: Vec::new(),
        user: None,
        after: Vec::new(),
        ready: Probe::Http {
            port: ports.nats_monitoring(),
            path: "/healthz".into(),
        },
        port: ports.nats(),
        stop: StopSignal::Terminate,
        stop_rank: 3,
    })
}

fn configuration(data: &DataDir, ports: Ports) -> String {
    let nats = ports.nats();
    let monitoring = ports.nats_monitoring();
    let store = data.nats().join("jetstream");
    let store = store.display();
    format!(
        "# Written by `sluice up` at every start: changes here are lost.
server_name: sluice
listen: \"127.0.0.1:{nats}\"
http: \"127.0.0.1:{monitoring}\"
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {MAX_PENDING_BYTES}
logtime_utc: true
jetstream {{
  store_dir: \"{store}\"
  max_memory_store: {MAX_MEMORY_STORE_BYTES}
  max_file_store: {MAX_FILE_STORE_BYTES}
  sync_interval: \"{SYNC_INTERVAL}\"
}}
"
    )
}

//! What the supervisor says about its processes, in `DATA/stack.json`.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::select_all;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::log;
use super::plan::{Plan, Probe, Service};
use super::process::ProcessId;
use crate::clock;
use crate::failure::{Doing, Outcome};

/// A stack as its supervisor sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StackState {
    pub(crate) supervisor: ProcessId,
    pub(crate) since_ms: u64,
    pub(crate) port_base: u16,
    /// Whether the parts talk over TLS. A supervisor of an earlier version does not say.
    #[serde(default)]
    pub(crate) tls: bool,
    pub(crate) stamp: String,
    pub(crate) services: Vec<ServiceState>,
}

/// One process of a stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServiceState {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) process: Option<ProcessId>,
    /// When it was last started, in Unix milliseconds.
    pub(crate) since_ms: Option<u64>,
    pub(crate) restarts: u32,
    pub(crate) ready: bool,
    /// Why it is not ready, as it was last asked.
    pub(crate) why_not: Option<String>,
    /// How it ended the last time.
    pub(crate) last_end: Option<String>,
    pub(crate) log: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) probe: Probe,
}

// === impl StackState ===

impl StackState {
    pub(super) fn new(supervisor: ProcessId, plan: &Plan) -> Self {
        Self {
            supervisor,
            since_ms: clock::now_ms(),
            port_base: plan.port_base,
            tls: plan.tls,
            stamp: plan.stamp.clone(),
            services: Vec::new(),
        }
    }

    /// What was last written, if anything was.
    pub(crate) fn read(file: &Path) -> Outcome<Option<Self>> {
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read(file).doing(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&text)
            .map(Some)
            .doing(|| format!("reading {}", file.display()))
    }

    /// The process of this name.
    pub(crate) fn service(&self, name: &str) -> Option<&ServiceState> {
        self.services.iter().find(|service| service.name == name)
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        let draft = file.with_extension("draft");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        fs::rename(draft, file)
    }
}

// === impl ServiceState ===

impl ServiceState {
    pub(super) fn new(service: &Service, logs: &Path) -> Self {
        Self {
            name: service.name.clone(),
            port: service.port,
            process: None,
            since_ms: None,
            restarts: 0,
            ready: false,
            why_not: Some(waiting_for(service)),
            last_end: None,
            log: log::path(logs, &service.name),
            program: service.program.clone(),
            probe: service.ready.clone(),
        }
    }

    pub(super) fn started(&mut self, process: Option<ProcessId>, now_ms: u64) {
        self.process = process;
        self.since_ms = Some(now_ms);
        self.ready = false;
        self.why_not = Some("it was just started".into());
    }

    pub(super) fn became_ready(&mut self) {
        self.ready = true;
        self.why_not = None;
    }

    /// Says whether that is news.
    pub(super) fn not_ready(&mut self, why: String) -> bool {
        let why = Some(why);
        if self.why_not == why {
            return false;
        }
        self.why_not = why;
        true
    }

    pub(super) fn ended(&mut self, why: String) {
        self.process = None;
        self.ready = false;
        self.why_not = Some(format!("it ended: {why}"));
        self.last_end = Some(why);
    }
}

fn waiting_for(service: &Service) -> String {
    if service.after.is_empty() {
        "it is about to be started".into()
    } else {
        format!("it waits for {}", service.after.join(", "))
    }
}

/// Keeps the file at what the reports say, until `over`.
pub(super) async fn keep_written(
    file: PathBuf,
    mut state: StackState,
    mut reports: Vec<watch::Receiver<ServiceState>>,
    mut over: watch::Receiver<bool>,
) {
    loop {
        state.services = reports
            .iter_mut()
            .map(|report| report.borrow_and_update().clone())
            .collect();
        if let Err(error) = state.write(&file) {
            eprintln!(
                "the state could not be written to {}: {error}",
                file.display()
            );
        }
        // A service that has stopped for good has closed its channel and has no more news.
        let open: Vec<_> = reports
            .iter_mut()
            .filter(|report| report.has_changed().is_ok())
            .map(|report| Box::pin(report.changed()))
            .collect();
        if open.is_empty() {
            let _ = over.wait_for(|over| *over).await;
            return;
        }
        let news = select_all(open);
        tokio::select! {
            _ = news => {}
            _ = over.wait_for(|over| *over) => return,
        }
    }
}

//! Doing what was drawn, and undoing it.

use std::collections::BTreeMap;

use async_nats::jetstream;
use nix::sys::signal::Signal;
use tokio::time::{Duration, sleep};

use super::draw::{Blow, Fault};
use super::proxy::{Proxy, Way};
use crate::failure::{Doing as _, Failure, Outcome};
use crate::stack::DataDir;
use crate::stack::links::Link;
use crate::supervise::process::{self, ProcessId};
use crate::supervise::state::StackState;

/// How often a stack's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a process may take until it runs and is ready again: Postgres replays its log, a killed process waits for
/// its port.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// The hand that strikes.
pub(super) struct Striker {
    pub(super) data: DataDir,
    pub(super) proxies: BTreeMap<Link, Proxy>,
    pub(super) jetstream: jetstream::Context,
}

// === impl Striker ===

impl Striker {
    /// Strikes, lets it last, and takes it back.
    pub(super) async fn strike(&self, blow: Blow) -> Outcome {
        sleep(blow.after).await;
        match blow.fault {
            Fault::Kill(name) => self.signal(name, Signal::SIGKILL),
            Fault::Restart("postgres") => self.signal("postgres", Signal::SIGINT),
            Fault::Restart(name) => self.signal(name, Signal::SIGTERM),
            Fault::Freeze(name, lasts) => self.freeze(name, lasts).await,
            Fault::Cut(link, lasts) => {
                self.set(link, Way::Cut);
                sleep(lasts).await;
                self.set(link, Way::Open);
                Ok(())
            }
            Fault::Hang {
                link,
                lasts,
                then_cut,
            } => {
                self.set(link, Way::Hung);
                sleep(lasts).await;
                if then_cut {
                    self.set(link, Way::Cut);
                    // Long enough for every connection's task to notice.
                    sleep(LOOK_EVERY).await;
                }
                self.set(link, Way::Open);
                Ok(())
            }
            Fault::Delete(stream) => {
                // NATS may be away, of another fault, and the stream not there yet, of the last one.
                let _ = self.jetstream.delete_stream(stream).await;
                Ok(())
            }
            Fault::Slow { link, by, lasts } => {
                self.set(link, Way::Slow(by));
                sleep(lasts).await;
                self.set(link, Way::Open);
                Ok(())
            }
        }
    }

    fn set(&self, link: Link, way: Way) {
        if let Some(proxy) = self.proxies.get(&link) {
            proxy.set(way);
        }
    }

    /// A process that just died, of another fault, is spared.
    fn signal(&self, name: &str, signal: Signal) -> Outcome {
        if let Some(process) = self.process(name)? {
            process.signal(signal);
        }
        Ok(())
    }

    /// Postgres' servers are processes of their own: they stand still with it.
    async fn freeze(&self, name: &str, lasts: Duration) -> Outcome {
        let Some(process) = self.process(name)? else {
            return Ok(());
        };
        process.signal(Signal::SIGSTOP);
        // Whoever is frozen starts no more children, so that one look finds all of them.
        let family: Vec<ProcessId> = process::family(process.pid.unsigned_abs())
            .into_iter()
            .filter_map(ProcessId::of)
            .collect();
        for member in &family {
            member.signal(Signal::SIGSTOP);
        }
        sleep(lasts).await;
        for member in family.iter().rev() {
            member.signal(Signal::SIGCONT);
        }
        Ok(())
    }

    fn process(&self, name: &str) -> Outcome<Option<ProcessId>> {
        Ok(self
            .state()?
            .service(name)
            .and_then(|service| service.process.clone()))
    }

    /// What the supervisor says.
    pub(super) fn state(&self) -> Outcome<StackState> {
        let file = self.data.state_file();
        StackState::read(&file)?
            .ok_or_else(|| Failure::new(format!("there is no {}", file.display())))
    }

    /// How often each process was started again.
    pub(super) fn restarts(&self) -> Outcome<BTreeMap<String, u32>> {
        let services = self.state()?.services;
        Ok(services
            .into_iter()
            .map(|service| (service.name, service.restarts))
            .collect())
    }

    /// Waits until every process runs and is ready, as it says itself.
    pub(super) async fn everything_is_back(&self) -> Outcome {
        let back = async {
            loop {
                match self.who_is_missing().await? {
                    None => return Ok(()),
                    Some(_) => sleep(LOOK_EVERY).await,
                }
            }
        };
        match tokio::time::timeout(BACK_WITHIN, back).await {
            Ok(back) => back,
            Err(_) => {
                let why = self.who_is_missing().await?.unwrap_or_default();
                Err(Failure::new(format!(
                    "not everything is back after {} s: {why}",
                    BACK_WITHIN.as_secs()
                )))
            }
        }
    }

    async fn who_is_missing(&self) -> Outcome<Option<String>> {
        for service in self
            .state()
            .doing(|| "reading the stack's state".into())?
            .services
        {
            let runs = service.process.as_ref().is_some_and(ProcessId::is_running);
            if !runs || !service.ready {
                let why = service.why_not.unwrap_or_else(|| "it does not run".into());
                return Ok(Some(format!("{}: {why}", service.name)));
            }
            if let Err(why) = crate::supervise::ready::ask(&service.probe).await {
                return Ok(Some(format!("{}: {why}", service.name)));
            }
        }
        Ok(None)
    }
}

//! LLM gateways of others, out of their registries, with one model and as little beside it as they can do with.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Proxy;
use crate::failure::{Doing as _, Failure, Outcome};

/// How long one may take to listen.
const START_TIME: Duration = Duration::from_secs(120);

/// The key that a peer asks the mock provider with; that one takes any.
const UPSTREAM_KEY: &str = "sk-upstream";

/// The key that a peer is asked with, where it checks one.
pub(in crate::bench) const KEY: &str = "sk-peer";

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bench) enum Peer {
    /// LiteLLM's proxy, with one worker and a master key that it checks.
    LiteLlm,
    /// Portkey's gateway, which checks nothing.
    Portkey,
}

// === impl Peer ===

impl Peer {
    /// Both.
    pub(in crate::bench) const ALL: [Self; 2] = [Self::LiteLlm, Self::Portkey];

    /// As figures and progress call it.
    pub(in crate::bench) const fn name(self) -> &'static str {
        match self {
            Self::LiteLlm => "litellm",
            Self::Portkey => "portkey",
        }
    }

    /// The version that is measured.
    pub(in crate::bench) const fn version(self) -> &'static str {
        match self {
            Self::LiteLlm => "1.108.7",
            Self::Portkey => "1.15.2",
        }
    }

    /// Headers that it wants to know beside a key.
    pub(in crate::bench) fn headers(self, upstream: SocketAddr) -> Vec<(&'static str, String)> {
        match self {
            Self::LiteLlm => Vec::new(),
            Self::Portkey => vec![
                ("x-portkey-provider", "openai".to_owned()),
                ("x-portkey-custom-host", format!("http://{upstream}/v1")),
            ],
        }
    }

    /// Fetches it into `cache`, unless that was done before, and starts it on a core in front of an upstream that has these models.
    /// `folder` takes what it writes.
    pub(in crate::bench) fn start(
        self,
        cache: &Path,
        folder: &Path,
        core: usize,
        address: SocketAddr,
        (upstream, models): (SocketAddr, &[&str]),
    ) -> Outcome<Proxy> {
        let installed = self.install(cache)?;
        fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        let command = match self {
            Self::LiteLlm => {
                let config = folder.join("litellm.yaml");
                fs::write(&config, litellm_config(upstream, models))
                    .doing(|| format!("writing {}", config.display()))?;
                litellm(&installed, folder, &config, address)
            }
            Self::Portkey => portkey(&installed, folder, address),
        };
        Proxy::start(self.name(), command, address, core, START_TIME)
    }

    /// Where it lies, with all that it needs.
    fn install(self, cache: &Path) -> Outcome<PathBuf> {
        let folder = cache.join(format!("peer-{}-{}", self.name(), self.version()));
        if folder.exists() {
            return Ok(folder);
        }
        let draft = folder.with_extension("draft");
        if draft.exists() {
            fs::remove_dir_all(&draft).doing(|| format!("removing {}", draft.display()))?;
        }
        fs::create_dir_all(&draft).doing(|| format!("making {}", draft.display()))?;
        let mut command = match self {
            Self::LiteLlm => {
                let mut pip = Command::new("python3");
                pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input"])
                    .args(["install", "--quiet", "--target"])
                    .arg(&draft)
                    .arg(format!("litellm[proxy]=={}", self.version()));
                pip
            }
            Self::Portkey => {
                let mut npm = Command::new("npm");
                npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
                    .arg(&draft)
                    .arg(format!("@portkey-ai/gateway@{}", self.version()));
                npm
            }
        };
        let output = command
            .stdin(Stdio::null())
            .output()
            .doing(|| format!("installing {}", self.name()))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            let name = self.name();
            return Err(Failure::new(format!("{name} was not installed: {reason}")));
        }
        fs::rename(&draft, &folder).doing(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }
}

fn litellm(installed: &Path, folder: &Path, config: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", "from litellm import run_server; run_server()", "--config"])
        .arg(config)
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--num_workers", "1", "--telemetry", "False"])
        .env("PYTHONPATH", installed)
        // It asks for nothing outside.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_LOG", "ERROR")
        .current_dir(folder)
        .stderr(Stdio::null());
    command
}

fn litellm_config(upstream: SocketAddr, models: &[&str]) -> String {
    let model = |model: &&str| {
        format!(
            "  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://{upstream}/v1
      api_key: {UPSTREAM_KEY}
"
        )
    };
    let models: String = models.iter().map(model).collect();
    format!("model_list:\n{models}general_settings:\n  master_key: {KEY}\n")
}

fn portkey(installed: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new("node");
    command
        .arg(installed.join("node_modules/@portkey-ai/gateway/build/start-server.js"))
        .arg("--headless")
        .arg(format!("--port={}", address.port()))
        .current_dir(folder)
        .stderr(Stdio::null());
    command
}

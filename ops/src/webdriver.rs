//! Chromium without a window, driven by chromedriver: for the browser test, and for what the console's pages take.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use fantoccini::{Client, ClientBuilder};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

/// What keeps Chromium to itself: no network but the page's, no first-run pages, no GPU.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // In pixels.
    "--window-size=1280,900",
];

/// Where chromedriver says which port it took.
const PORT_LINE: &str = "was started successfully on port ";

/// Chromium with one window and a fresh profile. Both processes end when this is dropped.
pub(crate) struct Chromium {
    /// The window.
    pub(crate) page: Client,
    driver: Driver,
    _profile: tempfile::TempDir,
}

/// chromedriver, ended when dropped.
struct Driver {
    process: Child,
    url: String,
}

// === impl Chromium ===

impl Chromium {
    /// Starts it on a page.
    pub(crate) async fn start(url: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let driver = Driver::start()?;
        let profile = tempfile::tempdir()?;
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({ "goog:chromeOptions": { "args": flags } });
        let capabilities = capabilities.as_object().cloned().unwrap_or_default();
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver.url)
            .await?;
        page.goto(url).await?;
        Ok(Self {
            page,
            driver,
            _profile: profile,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.page.close().await?;
        drop(self.driver);
        Ok(())
    }
}

// === impl Driver ===

impl Driver {
    /// Starts chromedriver on a port of its own choice.
    fn start() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("chromedriver cannot be started (Debian's chromium-driver): {error}")
            })?;
        let stdout = process.stdout.take().ok_or("chromedriver says nothing")?;
        let mut lines = BufReader::new(stdout).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once(PORT_LINE)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.ok_or("chromedriver ended before it said its port")?;
        Ok(Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // With the browsers that it started, which would outlive it. It may have ended by itself; then there is nothing to do.
        let group = i32::try_from(self.process.id()).map(Pid::from_raw);
        let _over = group.map(|group| killpg(group, Signal::SIGKILL));
        drop(self.process.wait());
    }
}

//! A browser, and what a person does with it: fill in a field, press a button, look for something.
//!
//! Every step waits for its condition, with one deadline; none sleeps.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

/// How long anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The size of the window, in pixels.
const WINDOW: &str = "--window-size=1280,900";

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
    WINDOW,
];

/// Where chromedriver says which port it took.
const PORT_LINE: &str = "was started successfully on port ";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Chromium with one window.
pub(crate) struct Browser {
    page: Client,
    driver: Driver,
    pictures: Option<PathBuf>,
    _profile: tempfile::TempDir,
}

/// chromedriver, ended when dropped.
struct Driver {
    process: Child,
    url: String,
}

/// An XPath, kept while a locator borrows it.
pub(crate) struct Path(String);

/// An element with exactly this text.
pub(crate) fn at_text(element: &str, text: &str) -> Path {
    Path(format!(".//{element}[normalize-space(.)={}]", quoted(text)))
}

/// A text as XPath writes it.
fn quoted(text: &str) -> String {
    if text.contains('\'') {
        format!("\"{text}\"")
    } else {
        format!("'{text}'")
    }
}

// === impl Path ===

impl Path {
    pub(crate) fn as_locator(&self) -> Locator<'_> {
        Locator::XPath(&self.0)
    }
}

// === impl Browser ===

impl Browser {
    /// Starts Chromium with a fresh profile, on the console's first page.
    pub(crate) async fn start(console: &str) -> Outcome<Self> {
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
        page.goto(console).await?;
        let pictures = std::env::vars_os()
            .find(|(name, _)| name == "SLUICE_TEST_SCREENSHOTS")
            .map(|(_, folder)| PathBuf::from(folder));
        Ok(Self {
            page,
            driver,
            pictures,
            _profile: profile,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Outcome {
        self.page.close().await?;
        drop(self.driver);
        Ok(())
    }

    /// Waits until there is something that a person can see.
    pub(crate) async fn see(&self, css: &str) -> Outcome<Element> {
        self.wait(Locator::Css(css), css).await
    }

    /// Waits until one of these elements holds the text.
    pub(crate) async fn until_text(&self, css: &str, text: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut said = Vec::new();
            for element in self.page.find_all(Locator::Css(css)).await? {
                // It may be drawn anew between finding and reading it.
                said.push(element.text().await.unwrap_or_default());
            }
            if said.iter().any(|said| said.contains(text)) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!("no {css} with “{text}”; there is {said:?}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until there is no such thing.
    pub(crate) async fn until_gone(&self, css: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.page.find_all(Locator::Css(css)).await?.is_empty() {
            if tokio::time::Instant::now() > deadline {
                return Err(format!("{css} is still there").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Types into a field, in the place of what stands there.
    pub(crate) async fn fill(&self, name: &str, text: &str) -> Outcome {
        let css = format!("input[name='{name}'], textarea[name='{name}']");
        let field = self.see(&css).await?;
        // Backspaces rather than WebDriver's clear, which tells the page nothing.
        let written = field
            .prop("value")
            .await?
            .unwrap_or_default()
            .chars()
            .count();
        field.send_keys(&"\u{e003}\u{e017}".repeat(written)).await?;
        field.send_keys(text).await?;
        let now = field.prop("value").await?.unwrap_or_default();
        if now == text {
            Ok(())
        } else {
            Err(format!("{name} holds “{now}” instead of “{text}”").into())
        }
    }

    /// Chooses from a list by what is shown.
    pub(crate) async fn choose(&self, name: &str, label: &str) -> Outcome {
        let path = format!(
            "//select[@name='{name}']/option[normalize-space(.)={}]",
            quoted(label)
        );
        self.wait_hidden(Locator::XPath(&path), &path).await?;
        self.see(&format!("select[name='{name}']"))
            .await?
            .select_by_label(label)
            .await?;
        Ok(())
    }

    /// Presses the button that says this; in a dialog, when one is open.
    pub(crate) async fn press(&self, text: &str) -> Outcome {
        let path = format!(
            "//button[normalize-space(.)={} and not(@disabled)]",
            quoted(text)
        );
        self.wait(Locator::XPath(&path), text)
            .await?
            .click()
            .await?;
        Ok(())
    }

    /// Sends the open dialog's form, and waits until it has gone or was refused.
    pub(crate) async fn submit(&self) -> Outcome {
        let css = "dialog[open] footer button[type='submit']:not([disabled])";
        self.see(css).await?.click().await?;
        Ok(())
    }

    /// To a screen, by the navigation; what was open is awaited to be gone.
    pub(crate) async fn go(&self, screen: &str) -> Outcome {
        self.until_gone("dialog[open]").await?;
        let path = format!("//nav//a[normalize-space(.)={}]", quoted(screen));
        self.wait(Locator::XPath(&path), screen)
            .await?
            .click()
            .await?;
        self.until_text("h1", screen).await
    }

    /// Chooses from the menu of a row.
    pub(crate) async fn act(&self, row: &str, action: &str) -> Outcome {
        self.until_gone("dialog[open]").await?;
        self.see(&format!("button[aria-label='Actions for {row}']"))
            .await?
            .click()
            .await?;
        self.press(action).await
    }

    /// Where it is.
    pub(crate) async fn address(&self) -> Outcome<String> {
        Ok(self.page.current_url().await?.to_string())
    }

    /// Waits until the address holds this.
    pub(crate) async fn until_address(&self, part: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let address = self.address().await?;
            if address.contains(part) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!("{address} does not hold {part}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Loads the page again.
    pub(crate) async fn reload(&self) -> Outcome {
        self.page.refresh().await?;
        Ok(())
    }

    /// Keeps a picture of what is seen, where pictures are wanted.
    pub(crate) async fn picture(&self, name: &str) -> Outcome {
        if let Some(folder) = &self.pictures {
            fs::create_dir_all(folder)?;
            fs::write(
                folder.join(format!("{name}.png")),
                self.page.screenshot().await?,
            )?;
        }
        Ok(())
    }

    /// Waits for an element that is displayed.
    async fn wait(&self, locator: Locator<'_>, what: &str) -> Outcome<Element> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            for element in self.page.find_all(locator).await? {
                if element.is_displayed().await.unwrap_or(false) {
                    return Ok(element);
                }
            }
            if tokio::time::Instant::now() > deadline {
                let shown = self.page.find(Locator::Css("body")).await?.text().await?;
                return Err(format!("{what} did not show up; the page says:\n{shown}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for an element that need not be displayed by itself, as an option of a closed list.
    async fn wait_hidden(&self, locator: Locator<'_>, what: &str) -> Outcome {
        let found = self
            .page
            .wait()
            .at_most(PATIENCE)
            .every(LOOK_EVERY)
            .for_element(locator)
            .await;
        found
            .map(drop)
            .map_err(|error| format!("{what}: {error}").into())
    }
}

// === impl Driver ===

impl Driver {
    /// Starts chromedriver on a port of its own choice.
    fn start() -> Outcome<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
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
        // It may have ended by itself; then there is nothing to do.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

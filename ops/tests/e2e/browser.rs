//! A real Chromium without a window, driven through its WebDriver.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::stack::wait_until;

/// Flags without which it would ask for a sandbox, a graphics card or the internet.
const FLAGS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with a fresh profile; ended when dropped.
pub(crate) struct Browser {
    driver: Child,
    _profile: tempfile::TempDir,
    client: Client,
}

// === impl Browser ===

impl Browser {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "chromedriver does not start ({error}): install Chromium and its driver \
                     (on Debian: apt-get install chromium chromium-driver)"
                )
            });
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut args: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        args.push("--window-size=1440,1000".to_owned());
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": args }));
        let url = format!("http://127.0.0.1:{port}");
        let client = wait_until("Chromium starts", || async {
            let mut builder =
                ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            builder.capabilities(capabilities.clone());
            builder
                .connect(&url)
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        Self {
            driver,
            _profile: profile,
            client,
        }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// The element, once it is there.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = wait_until(css, || async {
            self.client
                .find(Locator::Css(css))
                .await
                .map_err(|error| error.to_string())
        });
        found.await
    }

    /// The element's text, once it says something that `fits`.
    pub(crate) async fn text_that(&self, css: &str, fits: impl Fn(&str) -> bool) -> String {
        let looked = wait_until(css, || async {
            let element = self
                .client
                .find(Locator::Css(css))
                .await
                .map_err(|error| error.to_string())?;
            let text = element.text().await.map_err(|error| error.to_string())?;
            if fits(&text) {
                Ok(text)
            } else {
                Err(format!("it says {text:?}"))
            }
        });
        looked.await
    }

    /// Clicks, as soon as it can be clicked.
    pub(crate) async fn click(&self, css: &str) {
        let clicked = wait_until(css, || async {
            let element = self
                .client
                .find(Locator::Css(css))
                .await
                .map_err(|error| error.to_string())?;
            if !element
                .is_enabled()
                .await
                .map_err(|error| error.to_string())?
            {
                return Err("it is disabled".to_owned());
            }
            element.click().await.map_err(|error| error.to_string())
        });
        clicked.await;
    }

    /// Clicks the page's button that says so.
    pub(crate) async fn press(&self, label: &str) {
        let path = format!("//main//button[normalize-space()='{label}']");
        let pressed = wait_until(label, || async {
            let found = self
                .client
                .find(Locator::XPath(&path))
                .await
                .map_err(|error| error.to_string())?;
            found.click().await.map_err(|error| error.to_string())
        });
        pressed.await;
    }

    /// Types into an empty or already filled field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let filled = wait_until(css, || async {
            let field = self
                .client
                .find(Locator::Css(css))
                .await
                .map_err(|error| error.to_string())?;
            // `clear` of the WebDriver tells the page nothing: the text is selected and typed over.
            field.click().await.map_err(|error| error.to_string())?;
            field
                .send_keys("\u{e009}a\u{e000}")
                .await
                .map_err(|error| error.to_string())?;
            field
                .send_keys(text)
                .await
                .map_err(|error| error.to_string())?;
            let value = field
                .prop("value")
                .await
                .map_err(|error| error.to_string())?;
            if value.as_deref() == Some(text) {
                Ok(())
            } else {
                Err(format!("it holds {value:?}"))
            }
        });
        filled.await;
    }

    /// Chooses the option that says so.
    pub(crate) async fn choose(&self, css: &str, label: &str) {
        let chosen = wait_until(css, || async {
            let field = self
                .client
                .find(Locator::Css(css))
                .await
                .map_err(|error| error.to_string())?;
            field
                .select_by_label(label)
                .await
                .map_err(|error| error.to_string())
        });
        chosen.await;
    }

    /// Keeps a picture of the page for people, and says where it lies.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("console");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = folder.join(format!("{name}.png"));
        let png = self
            .client
            .screenshot()
            .await
            .expect("a picture of the page");
        std::fs::write(&file, png).expect("the picture is written");
        eprintln!("picture: {}", file.display());
    }

    /// Ends it in order.
    pub(crate) async fn close(self) {
        self.client.clone().close().await.expect("Chromium ends");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

//! A browser, and what a person does with it: fill in a field, press a button, look for something.
//!
//! Every step waits for its condition, with one deadline; none sleeps.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::elements::Element;

use crate::webdriver::Chromium;

/// How long anything on a page may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A browser with one window.
pub(crate) struct Browser {
    chromium: Chromium,
    pictures: Option<PathBuf>,
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
        let chromium = Chromium::start(console).await?;
        let pictures = std::env::vars_os()
            .find(|(name, _)| name == "SLUICE_TEST_SCREENSHOTS")
            .map(|(_, folder)| PathBuf::from(folder));
        Ok(Self { chromium, pictures })
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Outcome {
        self.chromium.stop().await
    }

    /// Waits until there is something that a person can see.
    pub(crate) async fn see(&self, css: &str) -> Outcome<Element> {
        self.wait(Locator::Css(css), css).await
    }

    /// The same, by an XPath.
    pub(crate) async fn see_path(&self, path: &str) -> Outcome<Element> {
        self.wait(Locator::XPath(path), path).await
    }

    /// Waits until one of these elements holds the text.
    pub(crate) async fn until_text(&self, css: &str, text: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut said = Vec::new();
            for element in self.chromium.page.find_all(Locator::Css(css)).await? {
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
        while !self
            .chromium
            .page
            .find_all(Locator::Css(css))
            .await?
            .is_empty()
        {
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

    /// Chooses in a chooser: types the name, and clicks the choice that is called so.
    pub(crate) async fn find_and_choose(&self, name: &str, label: &str) -> Outcome {
        let text = self
            .see(&format!("input[role='combobox'][name='{name}']"))
            .await?;
        text.click().await?;
        text.send_keys(label).await?;
        let path = format!(
            "//*[@role='option']/span[normalize-space(.)={}]",
            quoted(label)
        );
        self.wait(Locator::XPath(&path), label)
            .await?
            .click()
            .await?;
        self.until_gone(".sl-choices").await?;
        let now = text.prop("value").await?.unwrap_or_default();
        if now == label {
            Ok(())
        } else {
            Err(format!("{name} holds “{now}” instead of “{label}”").into())
        }
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

    /// One that is there now, and that a person can see.
    pub(crate) async fn there_is(&self, css: &str) -> Outcome<Option<Element>> {
        for element in self.chromium.page.find_all(Locator::Css(css)).await? {
            if element.is_displayed().await.unwrap_or(false) {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// To a path of the console, as if somebody typed it: the page begins anew.
    pub(crate) async fn open(&self, path: &str) -> Outcome {
        let mut address = self.chromium.page.current_url().await?;
        address.set_path(path);
        address.set_query(None);
        self.chromium.page.goto(address.as_str()).await?;
        Ok(())
    }

    /// Where it is.
    pub(crate) async fn address(&self) -> Outcome<String> {
        Ok(self.chromium.page.current_url().await?.to_string())
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

    /// Waits until the address does not hold this.
    pub(crate) async fn until_address_without(&self, part: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let address = self.address().await?;
            if !address.contains(part) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!("{address} still holds {part}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The window, for what is not done by a pointer.
    pub(crate) const fn page(&self) -> &fantoccini::Client {
        &self.chromium.page
    }

    /// Back to where it was before.
    pub(crate) async fn back(&self) -> Outcome {
        self.chromium.page.back().await?;
        Ok(())
    }

    /// Loads the page again.
    pub(crate) async fn reload(&self) -> Outcome {
        self.chromium.page.refresh().await?;
        Ok(())
    }

    /// Keeps a picture of what is seen, where pictures are wanted.
    pub(crate) async fn picture(&self, name: &str) -> Outcome {
        if let Some(folder) = &self.pictures {
            fs::create_dir_all(folder)?;
            fs::write(
                folder.join(format!("{name}.png")),
                self.chromium.page.screenshot().await?,
            )?;
        }
        Ok(())
    }

    /// Waits for an element that is displayed.
    async fn wait(&self, locator: Locator<'_>, what: &str) -> Outcome<Element> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            for element in self.chromium.page.find_all(locator).await? {
                if element.is_displayed().await.unwrap_or(false) {
                    return Ok(element);
                }
            }
            if tokio::time::Instant::now() > deadline {
                let shown = self
                    .chromium
                    .page
                    .find(Locator::Css("body"))
                    .await?
                    .text()
                    .await?;
                return Err(format!("{what} did not show up; the page says:\n{shown}").into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for an element that need not be displayed by itself, as an option of a closed list.
    async fn wait_hidden(&self, locator: Locator<'_>, what: &str) -> Outcome {
        let found = self
            .chromium
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

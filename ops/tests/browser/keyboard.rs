//! What a person does who has a keyboard and no pointer: keys go to whatever has the focus.

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::error::CmdError;
use serde_json::{Value, json};

use crate::Outcome;
use crate::browser::{Browser, LOOK_EVERY, PATIENCE};

/// Keys, as WebDriver writes them.
pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';
pub(crate) const END: char = '\u{e010}';
pub(crate) const RIGHT: char = '\u{e014}';
pub(crate) const DOWN: char = '\u{e015}';
const CONTROL: char = '\u{e009}';

/// How many times Tab is pressed to come to something: more than there are stops on any page.
const MOST_TABS: usize = 250;

/// Whether the focus is on what a selector fits and, where a text is given, says this.
const IS_FOCUSED: &str = "const at = document.activeElement; \
    return !!at && at.matches(arguments[0]) && (arguments[1] === null || at.textContent.trim() === arguments[1]);";

/// What has the focus, for people.
const FOCUSED: &str = "return document.activeElement?.outerHTML.slice(0, 200) ?? 'nothing';";

impl Browser {
    /// Presses keys, one after another.
    pub(crate) async fn keys(&self, keys: impl IntoIterator<Item = char>) -> Outcome {
        let actions = keys
            .into_iter()
            .flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        Ok(self.perform(actions).await?)
    }

    /// Types a text in the place of what stands where the focus is.
    pub(crate) async fn type_anew(&self, text: &str) -> Outcome {
        let all = [
            KeyAction::Down { value: CONTROL },
            KeyAction::Down { value: 'a' },
            KeyAction::Up { value: 'a' },
            KeyAction::Up { value: CONTROL },
        ];
        self.perform(all).await?;
        self.keys(text.chars()).await
    }

    async fn perform(&self, actions: impl IntoIterator<Item = KeyAction>) -> Result<(), CmdError> {
        let keys = KeyActions::new("keyboard".to_owned());
        let keys = actions.into_iter().fold(keys, InputSource::then);
        self.page().perform_actions(keys).await
    }

    /// Presses Tab until the focus is on what this selector fits.
    pub(crate) async fn tab_to(&self, css: &str) -> Outcome {
        self.tab(css, None).await
    }

    /// Presses Tab until the focus is on the button that says this.
    pub(crate) async fn tab_to_button(&self, text: &str) -> Outcome {
        self.tab("button:not([disabled])", Some(text)).await
    }

    async fn tab(&self, css: &str, text: Option<&str>) -> Outcome {
        // It has to be there first: what is drawn anew while one is on the way would be passed by.
        self.see(css).await?;
        for _ in 0..MOST_TABS {
            if self.is_focused(css, text).await? {
                return Ok(());
            }
            self.keys([TAB]).await?;
        }
        Err(format!(
            "Tab does not lead to {css} {text:?}; it is at {}",
            self.focused().await?
        )
        .into())
    }

    /// Waits until the focus is on what this selector fits.
    pub(crate) async fn until_focused(&self, css: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.is_focused(css, None).await? {
            if tokio::time::Instant::now() > deadline {
                return Err(
                    format!("the focus is not on {css} but on {}", self.focused().await?).into(),
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// To a screen, by the link in the navigation.
    pub(crate) async fn go_by_keyboard(&self, path: &str, screen: &str) -> Outcome {
        self.until_gone("dialog[open]").await?;
        self.tab_to(&format!("nav a[href='{path}']")).await?;
        self.keys([ENTER]).await?;
        self.until_text("h1", screen).await
    }

    async fn is_focused(&self, css: &str, text: Option<&str>) -> Result<bool, CmdError> {
        let answer = self
            .page()
            .execute(IS_FOCUSED, vec![json!(css), json!(text)])
            .await?;
        Ok(answer == Value::Bool(true))
    }

    async fn focused(&self) -> Result<String, CmdError> {
        let answer = self.page().execute(FOCUSED, Vec::new()).await?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }
}

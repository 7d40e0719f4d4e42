//! Light, dark, or as the system has it.
//!
//! The choice is remembered in the browser. `static/theme.js` applies it before the first paint with the
//! same key and values; from then on this module does.

use std::fmt;

use gloo_events::EventListener;
use wasm_bindgen::JsCast;
use web_sys::{MediaQueryList, Storage};
use yew::prelude::*;

/// Where the choice is remembered.
const KEY: &str = "sluice.theme";

/// PatternFly's class for the dark theme, on the root element.
const DARK_CLASS: &str = "pf-v6-theme-dark";

/// What a person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    /// As the system has it.
    #[default]
    System,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

/// The theme now, and how to change it.
#[derive(Clone, PartialEq)]
pub(crate) struct Theme {
    /// What was chosen.
    pub(crate) choice: Choice,
    /// What it comes to.
    pub(crate) dark: bool,
    /// Chooses.
    pub(crate) choose: Callback<Choice>,
}

/// Provides the [`Theme`] to all below.
#[component]
pub(crate) fn ThemeProvider(props: &yew::html::ChildrenProps) -> Html {
    let choice = use_state_eq(remembered);
    let system_dark = use_state_eq(system_is_dark);
    {
        let system_dark = system_dark.clone();
        use_effect_with((), move |()| {
            let listener = system_query().map(|query| {
                let changed = move |_: &Event| system_dark.set(system_is_dark());
                EventListener::new(&query, "change", changed)
            });
            move || drop(listener)
        });
    }
    let dark = choice.is_dark(*system_dark);
    use_effect_with(dark, |dark| apply(*dark));
    let choose = {
        let choice = choice.clone();
        Callback::from(move |chosen: Choice| {
            remember(chosen);
            choice.set(chosen);
        })
    };
    let theme = Theme {
        choice: *choice,
        dark,
        choose,
    };
    html!(<ContextProvider<Theme> context={theme}>{ props.children.clone() }</ContextProvider<Theme>>)
}

/// The theme of the [`ThemeProvider`] above.
#[hook]
pub(crate) fn use_theme() -> Theme {
    use_context().expect("the application lies within a ThemeProvider")
}

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

fn remembered() -> Choice {
    let text = storage().and_then(|storage| storage.get_item(KEY).ok()?);
    text.map_or(Choice::System, |text| Choice::from_text(&text))
}

fn remember(choice: Choice) {
    if let Some(storage) = storage() {
        // Where storage is full or forbidden, the choice holds until the page is left.
        drop(storage.set_item(KEY, &choice.to_string()));
    }
}

fn system_query() -> Option<MediaQueryList> {
    web_sys::window()?
        .match_media("(prefers-color-scheme: dark)")
        .ok()?
}

fn system_is_dark() -> bool {
    system_query().is_some_and(|query| query.matches())
}

fn apply(dark: bool) {
    let root = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|page| page.document_element());
    if let Some(root) = root {
        let classes = root.unchecked_ref::<web_sys::Element>().class_list();
        drop(classes.toggle_with_force(DARK_CLASS, dark));
    }
}

// === impl Choice ===

impl Choice {
    /// What the choice comes to.
    const fn is_dark(self, system_dark: bool) -> bool {
        match self {
            Self::System => system_dark,
            Self::Light => false,
            Self::Dark => true,
        }
    }

    /// Reads what [`fmt::Display`] wrote; anything else follows the system.
    fn from_text(text: &str) -> Self {
        match text {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_remembered_as_text_and_read_back() {
        for choice in [Choice::System, Choice::Light, Choice::Dark] {
            assert_eq!(Choice::from_text(&choice.to_string()), choice);
        }
        assert_eq!(Choice::from_text("purple"), Choice::System);
    }

    #[test]
    fn only_the_system_choice_follows_the_system() {
        assert!(Choice::System.is_dark(true) && !Choice::System.is_dark(false));
        assert!(!Choice::Light.is_dark(true) && Choice::Dark.is_dark(false));
    }
}

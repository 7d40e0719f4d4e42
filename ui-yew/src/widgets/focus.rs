//! Where the keyboard is.

use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

/// The element that has the focus.
pub(crate) fn focused() -> Option<HtmlElement> {
    let page = web_sys::window()?.document()?;
    page.active_element()?.dyn_into().ok()
}

/// Puts the focus on an element that is there.
pub(crate) fn focus(element: Option<HtmlElement>) {
    if let Some(element) = element {
        // The only failure is an element that takes no focus; then it stays where it is.
        drop(element.focus());
    }
}

/// The first element within another that this selector fits.
pub(crate) fn first_in(within: &Element, selector: &str) -> Option<HtmlElement> {
    let found = within.query_selector(selector).ok().flatten()?;
    found.dyn_into().ok()
}

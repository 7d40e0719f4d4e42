//! Where the list of a chooser stands: in the browser's top layer, so that no dialog cuts it off, under its text or above it.
//!
//! Its place is set through the DOM, which the content security policy allows; a `style` attribute it would not.

use gloo_events::{EventListener, EventListenerOptions, EventListenerPhase};
use gloo_timers::callback::Interval;
use wasm_bindgen::prelude::*;
use web_sys::{DomRect, HtmlElement};
use yew::prelude::*;

/// Between the text and the list, in pixels.
const GAP: f64 = 4.0;

/// Between the list and the edge of the window, in pixels.
const EDGE: f64 = 8.0;

/// How high the list becomes at most, in pixels: about seven choices.
const HIGHEST: f64 = 340.0;

/// With less room than this below it, in pixels, the list goes where there is more.
const LEAST: f64 = 220.0;

/// How wide the list is at least, in pixels, where the window has so much: names are longer than a narrow filter.
const WIDE: f64 = 300.0;

/// How often the list looks whether its text was moved by what came in around it, in milliseconds: nothing tells of that.
const LOOK_EVERY_MS: u32 = 100;

#[wasm_bindgen]
extern "C" {
    /// An element with the attribute `popover`.
    #[wasm_bindgen(extends = HtmlElement, extends = web_sys::Element)]
    type Popover;

    #[wasm_bindgen(method, catch, js_name = showPopover)]
    fn show_popover(this: &Popover) -> Result<(), JsValue>;

    /// What of the page can be seen: less than the window while a telephone shows its keyboard.
    #[wasm_bindgen(thread_local_v2, js_namespace = window, js_name = visualViewport)]
    static VISIBLE: Option<VisualViewport>;

    type VisualViewport;

    #[wasm_bindgen(method, getter)]
    fn height(this: &VisualViewport) -> f64;
}

/// A place in the window, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    left: f64,
    width: f64,
    /// From the window's upper edge (`Ok`), or from its lower edge (`Err`): the list then grows upwards.
    edge: Result<f64, f64>,
    highest: f64,
}

/// Shows the list while it is open, and keeps it beside its text.
#[hook]
pub(super) fn use_placed(open: bool, text: &NodeRef, list: &NodeRef) {
    let (text, list) = (text.clone(), list.clone());
    use_effect_with(open, move |open| {
        let place = {
            let list = list.clone();
            move || {
                if let (Some(text), Some(list)) =
                    (text.cast::<HtmlElement>(), list.cast::<HtmlElement>())
                {
                    put(&list, &text.get_bounding_client_rect());
                }
            }
        };
        let following = open.then(|| {
            if let Some(list) = list.cast::<HtmlElement>() {
                // It fails only for one that is shown already.
                drop(list.unchecked_ref::<Popover>().show_popover());
            }
            place();
            (follow(place.clone()), Interval::new(LOOK_EVERY_MS, place))
        });
        move || drop(following)
    });
}

/// Calls `place` whenever something scrolls or the window changes its size.
fn follow(place: impl Fn() + Clone + 'static) -> [EventListener; 2] {
    let window = web_sys::window().expect("a browser has a window");
    // Events of scrolling do not bubble; on their way down they are seen.
    let capture = EventListenerOptions {
        phase: EventListenerPhase::Capture,
        passive: true,
    };
    ["scroll", "resize"].map(|event| {
        let place = place.clone();
        EventListener::new_with_options(&window, event, capture, move |_| place())
    })
}

fn put(list: &HtmlElement, text: &DomRect) {
    let window = web_sys::window().expect("a browser has a window");
    let size = |side: Result<JsValue, JsValue>| side.ok()?.as_f64();
    let (Some(width), Some(height)) = (size(window.inner_width()), size(window.inner_height()))
    else {
        return;
    };
    let visible = VISIBLE.with(|visible| visible.as_ref().map_or(height, VisualViewport::height));
    let found = place(
        (text.left(), text.top(), text.bottom(), text.width()),
        (width, height),
        visible,
    );
    let px = |pixels: f64| format!("{pixels:.1}px");
    let (top, bottom) = match found.edge {
        Ok(top) => (px(top), "auto".to_owned()),
        Err(bottom) => ("auto".to_owned(), px(bottom)),
    };
    let properties = [
        ("left", px(found.left)),
        ("width", px(found.width)),
        ("top", top),
        ("bottom", bottom),
        ("max-height", px(found.highest)),
    ];
    for (name, value) in properties {
        // It fails only where styles are read-only, which an element's own are not.
        drop(list.style().set_property(name, &value));
    }
}

/// The place of a list beside a text (left, top, bottom, width) in a window (width, height) of which so much of the height
/// is visible.
fn place(
    (left, top, bottom, width): (f64, f64, f64, f64),
    (window_width, window_height): (f64, f64),
    visible: f64,
) -> Place {
    let width = width.max(WIDE).min(window_width - 2.0 * EDGE);
    let left = left.min(window_width - EDGE - width).max(EDGE);
    let below = visible - bottom - GAP - EDGE;
    let above = top - GAP - EDGE;
    let is_below = below >= LEAST || below >= above;
    let (edge, room) = if is_below {
        (Ok(bottom + GAP), below)
    } else {
        (Err(window_height - top + GAP), above)
    };
    Place {
        left,
        width,
        edge,
        highest: room.clamp(0.0, HIGHEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_stands_under_its_text_while_there_is_room() {
        let found = place((100.0, 200.0, 236.0, 400.0), (1280.0, 800.0), 800.0);
        let expected = Place {
            left: 100.0,
            width: 400.0,
            edge: Ok(240.0),
            highest: HIGHEST,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_list_stands_above_its_text_where_there_is_more_room() {
        let found = place((100.0, 600.0, 636.0, 400.0), (1280.0, 800.0), 800.0);
        assert_eq!((found.edge, found.highest), (Err(204.0), HIGHEST));
        // A keyboard takes the lower half.
        let found = place((20.0, 300.0, 336.0, 300.0), (390.0, 800.0), 420.0);
        assert_eq!((found.edge, found.highest), (Err(504.0), 288.0));
    }

    #[test]
    fn the_list_of_a_narrow_filter_is_wider_and_stays_within_the_window() {
        let found = place((250.0, 100.0, 136.0, 120.0), (390.0, 800.0), 800.0);
        assert_eq!((found.left, found.width), (82.0, 300.0));
        let found = place((0.0, 100.0, 136.0, 120.0), (240.0, 800.0), 800.0);
        assert_eq!((found.left, found.width), (8.0, 224.0));
    }
}

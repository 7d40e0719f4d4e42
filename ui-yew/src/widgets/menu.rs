//! Menus: what can be done with one thing, and the operator's own.

use gloo_events::EventListener;
use patternfly_yew::prelude::Icon;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;
use yew::prelude::*;

use super::focus::{focus, focused};
use super::link::To;
use crate::route::Screen;

/// One thing that can be done.
#[derive(Clone, PartialEq)]
pub(crate) struct MenuItem {
    /// What it says.
    pub(crate) label: &'static str,
    /// The sign before it.
    pub(crate) icon: Option<Icon>,
    /// Whether it takes something away.
    pub(crate) danger: bool,
    /// Called when it is chosen.
    pub(crate) onclick: Callback<()>,
}

/// An item that opens a dialog.
pub(crate) fn item<D: Clone + 'static>(
    label: &'static str,
    show: &Callback<D>,
    dialog: D,
) -> MenuItem {
    let show = show.clone();
    MenuItem {
        label,
        icon: None,
        danger: false,
        onclick: Callback::from(move |()| show.emit(dialog.clone())),
    }
}

// === impl MenuItem ===

impl MenuItem {
    /// The same item, marked as one that takes something away.
    pub(crate) fn dangerous(self) -> Self {
        Self {
            danger: true,
            ..self
        }
    }
}

/// Properties of [`HistoryLink`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct LinkProps {
    /// What people call the thing.
    pub(crate) name: AttrValue,
    /// Its stream.
    pub(crate) stream: AttrValue,
}

/// A thing's name, which leads to all that ever happened to it.
#[component]
pub(crate) fn HistoryLink(props: &LinkProps) -> Html {
    let screen = Screen::history_of(&props.stream);
    html!(<To {screen} class="sl-name">{ &props.name }</To>)
}

/// Properties of [`RowMenu`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The thing that it belongs to.
    pub(crate) of: AttrValue,
    /// What can be done.
    pub(crate) items: Vec<MenuItem>,
}

/// Three dots that open the menu of a row.
#[component]
pub(crate) fn RowMenu(props: &Props) -> Html {
    let toggle = html!(<span class="pf-v6-c-menu-toggle__icon">{ Icon::EllipsisV }</span>);
    html!(
        <Dropdown class="pf-v6-c-menu-toggle pf-m-plain" label={format!("Actions for {}", props.of)} {toggle}
            items={props.items.clone()} />
    )
}

/// Properties of [`Dropdown`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct DropdownProps {
    /// The button's class.
    pub(crate) class: &'static str,
    /// What the button is for, for those who cannot see it.
    pub(crate) label: AttrValue,
    /// What stands on the button.
    pub(crate) toggle: Html,
    /// What stands above the items.
    #[prop_or_default]
    pub(crate) head: Html,
    /// What can be done.
    pub(crate) items: Vec<MenuItem>,
}

/// A button that opens a menu. Arrow keys go through it; Escape, Tab and a click elsewhere close it.
#[component]
pub(crate) fn Dropdown(props: &DropdownProps) -> Html {
    let open = use_state_eq(|| false);
    let place = use_node_ref();
    let button = use_node_ref();
    use_close_on_click_elsewhere(&place, &open);
    {
        let place = place.clone();
        use_effect_with(*open, move |is_open| {
            if *is_open {
                move_focus(&place, Move::First);
            }
        });
    }
    let toggle = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    let close = {
        let (open, button) = (open.setter(), button.clone());
        move || {
            open.set(false);
            focus(button.cast::<HtmlElement>());
        }
    };
    let onkeydown = {
        let (place, open, close) = (place.clone(), open.setter(), close.clone());
        Callback::from(move |event: KeyboardEvent| match event.key().as_str() {
            "Escape" => close(),
            "Tab" => open.set(false),
            key => {
                if let Some(movement) = Move::of_key(key) {
                    event.prevent_default();
                    move_focus(&place, movement);
                }
            }
        })
    };
    let item = |item: &MenuItem| {
        let (close, chosen) = (close.clone(), item.onclick.clone());
        let onclick = Callback::from(move |_: MouseEvent| {
            // First, so that a dialog that opens gives the focus back to the button.
            close();
            chosen.emit(());
        });
        let class = classes!(
            "pf-v6-c-menu__list-item",
            item.danger.then_some("pf-m-danger")
        );
        html!(
            <li {class} role="none">
                <button class="pf-v6-c-menu__item" type="button" role="menuitem" tabindex="-1" {onclick}>
                    <span class="pf-v6-c-menu__item-main">
                        if let Some(icon) = item.icon {
                            <span class="pf-v6-c-menu__item-icon">{ icon }</span>
                        }
                        <span class="pf-v6-c-menu__item-text">{ item.label }</span>
                    </span>
                </button>
            </li>
        )
    };
    html!(
        <div class="sl-menu" ref={place}>
            <button ref={button} class={props.class} type="button" aria-label={props.label.clone()} aria-haspopup="menu"
                aria-expanded={open.to_string()} onclick={toggle}>
                { props.toggle.clone() }
            </button>
            if *open {
                <div class="pf-v6-c-menu sl-menu-box" {onkeydown}>
                    { props.head.clone() }
                    <div class="pf-v6-c-menu__content">
                        <ul class="pf-v6-c-menu__list" role="menu" aria-label={props.label.clone()}>{ for props.items.iter().map(item) }</ul>
                    </div>
                </div>
            }
        </div>
    )
}

/// Where the focus goes within a menu, or what is active in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// To the first.
    First,
    /// To the last.
    Last,
    /// One further.
    Next,
    /// One back.
    Previous,
}

// === impl Move ===

impl Move {
    /// What a key means in a menu.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        match key {
            "ArrowDown" => Some(Self::Next),
            "ArrowUp" => Some(Self::Previous),
            "Home" => Some(Self::First),
            "End" => Some(Self::Last),
            _ => None,
        }
    }

    /// The item to go to, of `count` that there are, from the one that has the focus; the ends meet.
    pub(crate) fn target(self, count: u32, current: Option<u32>) -> Option<u32> {
        let last = count.checked_sub(1)?;
        Some(match (self, current) {
            (Self::First, _) | (Self::Next, None) => 0,
            (Self::Last, _) | (Self::Previous, None | Some(0)) => last,
            (Self::Next, Some(at)) if at >= last => 0,
            (Self::Next, Some(at)) => at + 1,
            (Self::Previous, Some(at)) => at - 1,
        })
    }
}

/// Moves the focus among the items within `place`.
fn move_focus(place: &NodeRef, movement: Move) {
    let items = place
        .cast::<web_sys::Element>()
        .and_then(|place| place.query_selector_all("[role='menuitem']").ok());
    let Some(items) = items else {
        return;
    };
    let focused = focused().map(web_sys::Node::from);
    let current = (0..items.length()).find(|index| items.item(*index) == focused);
    if let Some(target) = movement.target(items.length(), current) {
        focus(items.item(target).and_then(|item| item.dyn_into().ok()));
    }
}

/// Closes what is open when something else is clicked.
#[hook]
fn use_close_on_click_elsewhere(place: &NodeRef, open: &UseStateHandle<bool>) {
    let place = place.clone();
    let setter = open.setter();
    use_effect_with(**open, move |is_open| {
        let listener = is_open.then(|| {
            let window = web_sys::window().expect("a browser has a window");
            EventListener::new(&window, "click", move |event| {
                let target = event
                    .target()
                    .and_then(|target| target.dyn_into::<web_sys::Node>().ok());
                let inside = place
                    .cast::<web_sys::Node>()
                    .is_some_and(|place| place.contains(target.as_ref()));
                if !inside {
                    setter.set(false);
                }
            })
        });
        move || drop(listener)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrow_keys_go_round_the_menu() {
        let go = |key: &str, current| Move::of_key(key).and_then(|it| it.target(3, current));
        assert_eq!(go("ArrowDown", None), Some(0));
        assert_eq!(go("ArrowDown", Some(1)), Some(2));
        assert_eq!(go("ArrowDown", Some(2)), Some(0));
        assert_eq!(go("ArrowUp", Some(0)), Some(2));
        assert_eq!(go("End", Some(0)), Some(2));
        assert_eq!(go("x", Some(0)), None);
        assert_eq!(Move::First.target(0, None), None);
    }
}

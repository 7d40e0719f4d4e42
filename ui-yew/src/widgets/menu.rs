//! The menu of a row: what can be done with one thing.

use gloo_events::EventListener;
use patternfly_yew::prelude::Icon;
use wasm_bindgen::JsCast;
use yew::prelude::*;
use yew_nested_router::components::Link;

use crate::route::Screen;

/// One thing that can be done.
#[derive(Clone, PartialEq)]
pub(crate) struct MenuItem {
    /// What it says.
    pub(crate) label: &'static str,
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
    let to = Screen::history_of(&props.stream);
    html!(<Link<Screen> class="sl-name" {to}>{ &props.name }</Link<Screen>>)
}

/// Properties of [`RowMenu`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The thing that it belongs to.
    pub(crate) of: AttrValue,
    /// What can be done.
    pub(crate) items: Vec<MenuItem>,
}

/// Three dots that open the menu.
#[component]
pub(crate) fn RowMenu(props: &Props) -> Html {
    let open = use_state_eq(|| false);
    let place = use_node_ref();
    use_close_on_click_elsewhere(&place, &open);
    let toggle = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    let item = |item: &MenuItem| {
        let open = open.clone();
        let chosen = item.onclick.clone();
        let onclick = Callback::from(move |_: MouseEvent| {
            open.set(false);
            chosen.emit(());
        });
        let class = classes!(
            "pf-v6-c-menu__list-item",
            item.danger.then_some("pf-m-danger")
        );
        html!(
            <li {class} role="none">
                <button class="pf-v6-c-menu__item" type="button" role="menuitem" {onclick}>
                    <span class="pf-v6-c-menu__item-main">
                        <span class="pf-v6-c-menu__item-text">{ item.label }</span>
                    </span>
                </button>
            </li>
        )
    };
    html!(
        <div class="sl-menu" ref={place}>
            <button class="pf-v6-c-menu-toggle pf-m-plain" type="button" aria-label={format!("Actions for {}", props.of)}
                aria-expanded={open.to_string()} onclick={toggle}>
                <span class="pf-v6-c-menu-toggle__icon">{ Icon::EllipsisV }</span>
            </button>
            if *open {
                <div class="pf-v6-c-menu sl-menu-box">
                    <div class="pf-v6-c-menu__content">
                        <ul class="pf-v6-c-menu__list" role="menu">{ for props.items.iter().map(item) }</ul>
                    </div>
                </div>
            }
        </div>
    )
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

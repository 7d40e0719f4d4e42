//! Text with a button that copies it.

use gloo_timers::callback::Timeout;
use patternfly_yew::prelude::Icon;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::prelude::*;

/// How long the button says that it has copied, in milliseconds.
const SAID_FOR_MS: u32 = 1_800;

/// Properties of [`CopyButton`] and [`CopyText`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// What is copied.
    pub(crate) text: AttrValue,
    /// What it is, for those who cannot see it.
    pub(crate) label: AttrValue,
}

/// A button that copies a text.
#[component]
pub(crate) fn CopyButton(props: &Props) -> Html {
    let copied = use_state_eq(|| false);
    let onclick = {
        let (text, copied) = (props.text.clone(), copied.clone());
        Callback::from(move |_: MouseEvent| {
            let (text, copied) = (text.clone(), copied.clone());
            spawn_local(async move {
                let Some(window) = web_sys::window() else {
                    return;
                };
                if JsFuture::from(window.navigator().clipboard().write_text(&text))
                    .await
                    .is_ok()
                {
                    copied.set(true);
                    Timeout::new(SAID_FOR_MS, move || copied.set(false)).forget();
                }
            });
        })
    };
    let (icon, said) = if *copied {
        (Icon::Check, "Copied")
    } else {
        (Icon::Copy, "Copy")
    };
    html!(
        <button class="pf-v6-c-button pf-m-control" type="button" aria-label={format!("Copy {}", props.label)} {onclick}>
            <span class="pf-v6-c-button__icon pf-m-start">{ icon }</span>
            <span class="pf-v6-c-button__text">{ said }</span>
        </button>
    )
}

/// A text that can be selected, with the button beside it.
#[component]
pub(crate) fn CopyText(props: &Props) -> Html {
    html!(
        <div class="pf-v6-c-input-group">
            <div class="pf-v6-c-input-group__item pf-m-fill">
                <span class="pf-v6-c-form-control pf-m-readonly">
                    <input class="sl-mono" type="text" readonly={true} value={props.text.clone()} aria-label={props.label.clone()} />
                </span>
            </div>
            <div class="pf-v6-c-input-group__item">
                <CopyButton text={props.text.clone()} label={props.label.clone()} />
            </div>
        </div>
    )
}

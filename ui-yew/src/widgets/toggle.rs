//! A row of buttons of which one is chosen.

use yew::prelude::*;

/// One of them.
pub(crate) fn toggle(label: &'static str, chosen: bool, onclick: Callback<MouseEvent>) -> Html {
    let class = classes!(
        "pf-v6-c-toggle-group__button",
        chosen.then_some("pf-m-selected")
    );
    html!(
        <div class="pf-v6-c-toggle-group__item">
            <button type="button" {class} aria-pressed={chosen.to_string()} {onclick}>
                <span class="pf-v6-c-toggle-group__text">{ label }</span>
            </button>
        </div>
    )
}

//! Links to a screen with a query: a list with its filters, the state as of a position.

use yew::prelude::*;
use yew_nested_router::prelude::*;

use crate::browser;
use crate::query::Query;
use crate::route::Screen;
use crate::session::use_session;

/// Properties of [`To`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Where it leads.
    pub(crate) screen: Screen,
    /// What that is to show.
    #[prop_or_default]
    pub(crate) query: Query,
    /// Its class.
    #[prop_or_default]
    pub(crate) class: Classes,
    /// What it says.
    pub(crate) children: Html,
}

/// A link to a screen with a query; plain text for those who may not see the screen.
#[component]
pub(crate) fn To(props: &Props) -> Html {
    let router = use_router::<Screen>().expect("links lie within the router");
    if !use_session().may_see(&props.screen) {
        return html!(<span class={props.class.clone()}>{ props.children.clone() }</span>);
    }
    let url = format!(
        "{}{}",
        router.render_target(props.screen.clone()),
        props.query.suffix()
    );
    let onclick = {
        let url = url.clone();
        Callback::from(move |event: MouseEvent| {
            // With a key held down, the browser opens it elsewhere.
            if event.ctrl_key() || event.meta_key() || event.shift_key() || event.alt_key() {
                return;
            }
            event.prevent_default();
            browser::go(&url);
        })
    };
    html!(<a class={props.class.clone()} href={url} {onclick}>{ props.children.clone() }</a>)
}

/// A link to the state as of a position; `more`: what of it is shown.
pub(crate) fn state_after(position: u64, more: &[(&str, &str)], text: &'static str) -> Html {
    let query = Query::of([("position", &position.to_string())]);
    let query = more
        .iter()
        .fold(query, |query, (name, value)| query.with(name, value));
    html!(<To screen={Screen::State} {query} class="sl-name">{ text }</To>)
}

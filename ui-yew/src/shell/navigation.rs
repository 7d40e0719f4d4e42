//! The navigation beside the page.

use yew::prelude::*;
use yew_nested_router::components::Link;
use yew_nested_router::prelude::*;

use crate::browser;
use crate::route::{Group, NAVIGATION, Screen};
use crate::session::use_session;

/// Properties of [`Navigation`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Whether it is to be seen.
    pub(crate) open: bool,
    /// Called when it is to go away, where it lies over the page.
    pub(crate) onclose: Callback<()>,
}

/// All screens, in groups.
#[component]
pub(crate) fn Navigation(props: &Props) -> Html {
    let router = use_router::<Screen>().expect("the navigation lies within the router");
    let shown = router.active().clone().unwrap_or(Screen::Dashboard);
    let session = use_session();
    let entry = |screen: &Screen| {
        let current = shown.is_within(screen);
        let class = classes!("pf-v6-c-nav__link", current.then_some("pf-m-current"));
        html!(
            <li class="pf-v6-c-nav__item">
                <Link<Screen> {class} to={screen.clone()}>
                    <span class="pf-v6-c-nav__link-icon">{ screen.icon() }</span>
                    <span class="pf-v6-c-nav__link-text">{ screen.title() }</span>
                </Link<Screen>>
            </li>
        )
    };
    let group = |group: &Group| {
        html!(
            <section class="pf-v6-c-nav__section" aria-label={group.title}>
                <h2 class="pf-v6-c-nav__section-title">{ group.title }</h2>
                <ul class="pf-v6-c-nav__list" role="list">{ for group.screens.iter().filter(|screen| session.may_see(screen)).map(entry) }</ul>
            </section>
        )
    };
    let state = if props.open {
        "pf-m-expanded"
    } else {
        "pf-m-collapsed"
    };
    html!(
        <>
            if props.open && !browser::is_wide() {
                <div class="sl-nav-veil" onclick={props.onclose.reform(|_| ())}></div>
            }
            <div class={classes!("pf-v6-c-page__sidebar", state)} aria-hidden={(!props.open).to_string()}>
                <div class="pf-v6-c-page__sidebar-body">
                    <nav class="pf-v6-c-nav" aria-label="Main">{ for NAVIGATION.iter().map(group) }</nav>
                </div>
            </div>
        </>
    )
}

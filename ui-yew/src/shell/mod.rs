//! What stands around every screen: masthead, navigation, and the place of the screen.

mod masthead;
mod navigation;

use masthead::Masthead;
use navigation::Navigation;
use yew::prelude::*;
use yew_nested_router::prelude::*;

use crate::browser;
use crate::route::Screen;
use crate::screens;
use crate::session::use_session;

/// The page around the screens.
#[component]
pub(crate) fn Shell() -> Html {
    let session = use_session();
    let open = use_state_eq(browser::is_wide);
    let router = use_router::<Screen>().expect("the shell lies within the router");
    {
        // On a narrow window the navigation lies over the page: choosing closes it.
        let open = open.setter();
        use_effect_with(router.active().clone(), move |_| {
            if !browser::is_wide() {
                open.set(false);
            }
        });
    }
    let toggle = {
        let open = open.clone();
        Callback::from(move |()| open.set(!*open))
    };
    html!(
        <div class="pf-v6-c-page">
            <a class="pf-v6-c-skip-to-content pf-v6-c-button pf-m-primary" href="#main">{ "Skip to content" }</a>
            <Masthead ontoggle={toggle.clone()} open={*open} />
            <Navigation open={*open} onclose={toggle} />
            <div class="pf-v6-c-page__main-container" tabindex="-1">
                <main class="pf-v6-c-page__main" id="main" tabindex="-1">
                    { screens::show(router.active().as_ref(), &session) }
                </main>
            </div>
        </div>
    )
}

//! The head of every screen: breadcrumbs, title, purpose and its main actions.

use yew::prelude::*;
use yew_nested_router::components::Link;

use crate::organisation::use_organisation;
use crate::route::Screen;

/// Properties of [`Heading`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Whose head it is.
    pub(crate) screen: Screen,
    /// What stands in place of the screen's own title.
    #[prop_or_default]
    pub(crate) title: Option<AttrValue>,
    /// Its main actions.
    #[prop_or_default]
    pub(crate) children: Html,
}

/// Breadcrumbs, title, purpose, actions.
#[component]
pub(crate) fn Heading(props: &Props) -> Html {
    let title = props
        .title
        .clone()
        .unwrap_or_else(|| props.screen.title().into());
    {
        let organisation = use_organisation();
        use_effect_with((title.clone(), organisation), |(title, organisation)| {
            if let Some(page) = web_sys::window().and_then(|window| window.document()) {
                let whose = organisation.as_deref().unwrap_or("Sluice");
                page.set_title(&format!("{title} · {whose}"));
            }
        });
    }
    html!(
        <section class="pf-v6-c-page__main-section sl-heading">
            if let Some(parent) = props.screen.parent() {
                <nav class="pf-v6-c-breadcrumb" aria-label="Breadcrumb">
                    <ol class="pf-v6-c-breadcrumb__list" role="list">
                        <li class="pf-v6-c-breadcrumb__item">
                            <Link<Screen> class="pf-v6-c-breadcrumb__link" to={parent.clone()}>{ parent.title() }</Link<Screen>>
                        </li>
                        <li class="pf-v6-c-breadcrumb__item">
                            <span class="pf-v6-c-breadcrumb__item-divider"><i class="fas fa-angle-right" aria-hidden="true"></i></span>
                            <span class="pf-v6-c-breadcrumb__link pf-m-current">{ &title }</span>
                        </li>
                    </ol>
                </nav>
            }
            <div class="sl-heading-row">
                <div>
                    <h1 class="pf-v6-c-title pf-m-2xl">{ &title }</h1>
                    <p class="sl-purpose">{ props.screen.purpose() }</p>
                </div>
                <div class="sl-heading-actions">{ props.children.clone() }</div>
            </div>
        </section>
    )
}

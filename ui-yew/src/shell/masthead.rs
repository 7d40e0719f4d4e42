//! The bar at the top: brand, whether changes come in live, theme, and the operator's own menu.

use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_nested_router::components::Link;
use yew_nested_router::prelude::*;

use crate::api::{Standing, use_client, use_live};
use crate::organisation::use_organisation;
use crate::route::Screen;
use crate::session::{role_name, use_session};
use crate::theme::{Choice, use_theme};
use crate::widgets::button::{Button, Variant};
use crate::widgets::menu::{Dropdown, MenuItem};

/// Properties of [`Masthead`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Whether the navigation is to be seen.
    pub(crate) open: bool,
    /// Called when it is to be shown or hidden.
    pub(crate) ontoggle: Callback<()>,
}

/// The bar.
#[component]
pub(crate) fn Masthead(props: &Props) -> Html {
    let organisation = use_organisation();
    html!(
        <header class="pf-v6-c-masthead pf-m-display-inline">
            <div class="pf-v6-c-masthead__main">
                <span class="pf-v6-c-masthead__toggle">
                    <Button variant={Variant::Plain} icon={Icon::Bars} aria_label="Navigation"
                        aria_expanded={props.open.to_string()} onclick={props.ontoggle.reform(|_| ())} />
                </span>
                <div class="pf-v6-c-masthead__brand">
                    <Link<Screen> class="pf-v6-c-masthead__logo sl-brand" to={Screen::Dashboard}>
                        { brand() }
                    </Link<Screen>>
                    if let Some(organisation) = organisation {
                        <span class="sl-quiet" data-organisation="">{ organisation.to_string() }</span>
                    }
                </div>
            </div>
            <div class="pf-v6-c-masthead__content sl-tools">
                <LiveSign />
                <ThemeSwitch />
                <OwnMenu />
            </div>
        </header>
    )
}

/// The mark and the name.
pub(crate) fn brand() -> Html {
    html!(
        <>
            <img class="sl-mark-image" src="/favicon.svg" alt="" width="28" height="28" />
            <span class="sl-wordmark">{ "Sluice" }</span>
        </>
    )
}

/// Says whether changes come in by themselves.
#[component]
fn LiveSign() -> Html {
    let live = use_live();
    let (class, text, title) = match live.standing {
        Standing::Connecting => (
            "sl-live pf-m-soon",
            "Connecting",
            "The connection to the control plane is being made",
        ),
        Standing::Connected => ("sl-live pf-m-on", "Live", "Changes show up by themselves"),
        Standing::Lost => (
            "sl-live",
            "Not live",
            "The connection to the control plane is away: what you see may be old",
        ),
    };
    html!(<span {class} {title} role="status"><i></i><span>{ text }</span></span>)
}

/// Goes through the themes: the system's, light, dark.
#[component]
fn ThemeSwitch() -> Html {
    let theme = use_theme();
    let button = |choice: Choice, icon: &'static str, label: &'static str| {
        let chosen = theme.choice == choice;
        let class = classes!(
            "pf-v6-c-toggle-group__button",
            chosen.then_some("pf-m-selected")
        );
        let onclick = theme.choose.reform(move |_: MouseEvent| choice);
        html!(
            <div class="pf-v6-c-toggle-group__item">
                <button type="button" {class} aria-label={label} title={label} aria-pressed={chosen.to_string()} {onclick}>
                    <span class="pf-v6-c-toggle-group__icon"><i class={icon} aria-hidden="true"></i></span>
                </button>
            </div>
        )
    };
    html!(
        <div class="pf-v6-c-toggle-group sl-theme" role="group" aria-label="Theme">
            { button(Choice::System, "fas fa-desktop", "Theme of the system") }
            { button(Choice::Light, "fas fa-sun", "Light theme") }
            { button(Choice::Dark, "fas fa-moon", "Dark theme") }
        </div>
    )
}

/// The operator, with the way to the own account and out.
#[component]
fn OwnMenu() -> Html {
    let session = use_session();
    let client = use_client();
    let router = use_router::<Screen>().expect("the masthead lies within the router");
    let to_account = Callback::from(move |()| router.push(Screen::Account));
    let sign_out = {
        let session = session.clone();
        Callback::from(move |()| {
            let (client, session) = (client.clone(), session.clone());
            spawn_local(async move {
                // Whether or not the control plane heard it: this page forgets the session.
                drop(
                    client
                        .tell::<()>(Method::DELETE, "/sessions/current", None)
                        .await,
                );
                session.ended.emit(());
            });
        })
    };
    let initial = session
        .info
        .name
        .chars()
        .next()
        .unwrap_or('?')
        .to_uppercase()
        .to_string();
    let item = |label: &'static str, icon: Icon, onclick: Callback<()>| MenuItem {
        label,
        icon: Some(icon),
        danger: false,
        onclick,
    };
    let head = html!(
        <div class="sl-menu-head">
            <strong>{ &session.info.name }</strong>
            <span>{ &session.info.email }</span>
            <Label label={role_name(session.info.role)} compact={true} color={Color::Blue} />
        </div>
    );
    let items = vec![
        item("My account", Icon::User, to_account),
        item("Sign out", Icon::PowerOff, sign_out),
    ];
    html!(<Dropdown class="sl-avatar" label="Your account" toggle={html!(initial)} {head} {items} />)
}

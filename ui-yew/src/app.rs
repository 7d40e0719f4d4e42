//! The application: who is signed in decides between the sign-in and everything else.

use std::rc::Rc;

use events_schema::api::session::SessionInfo;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;
use yew_nested_router::Router;

use crate::api::{Client, Failure, LiveProvider};
use crate::organisation::OrganisationProvider;
use crate::remote;
use crate::route::Screen;
use crate::screens::sign_in::SignIn;
use crate::session::Session;
use crate::shell::Shell;
use crate::theme::ThemeProvider;

/// The element of the page that the console fills.
const PLACE: &str = "console";

/// Starts the console in the page.
pub(crate) fn start() {
    let page = web_sys::window().and_then(|window| window.document());
    let place = page
        .and_then(|page| page.get_element_by_id(PLACE))
        .expect("index.html has a place for the console");
    place.set_text_content(None);
    yew::Renderer::<App>::with_root(place).render();
}

#[component]
fn App() -> Html {
    html!(
        <ThemeProvider>
            <ToastViewer>
                <Gate />
            </ToastViewer>
        </ThemeProvider>
    )
}

/// What is known of the session.
#[derive(Clone, PartialEq)]
enum Access {
    /// The control plane has not answered yet.
    Asking,
    /// Nobody is signed in.
    SignedOut,
    /// Somebody is.
    SignedIn(Rc<SessionInfo>),
    /// The control plane cannot be asked.
    Unknown(Failure),
}

/// Shows the sign-in until somebody is signed in.
#[component]
fn Gate() -> Html {
    let access = use_state_eq(|| Access::Asking);
    let round = use_state_eq(|| 0_u32);
    {
        let access = access.clone();
        use_effect_with(*round, move |_| {
            spawn_local(async move {
                access.set(Access::from_answer(
                    Client::anonymous().get("/sessions/current").await,
                ));
            });
        });
    }
    let ended = {
        let access = access.setter();
        use_callback((), move |(), ()| access.set(Access::SignedOut))
    };
    match &*access {
        Access::Asking => html!(<div class="sl-boot">{ remote::loading() }</div>),
        Access::SignedOut => {
            let access = access.setter();
            let onsignin = Callback::from(move |info| access.set(Access::SignedIn(Rc::new(info))));
            html!(<SignIn {onsignin} />)
        }
        Access::SignedIn(info) => {
            let renamed = renamed(Rc::clone(info), access.setter());
            signed_in(Rc::clone(info), ended, renamed)
        }
        Access::Unknown(failure) => {
            let again = Action::new("Try again", Callback::from(move |()| round.set(*round + 1)));
            html!(
                <div class="sl-boot">
                    <EmptyState title="The console cannot reach its control plane" icon={Icon::Disconnected} primary={again}>
                        { failure.to_string() }
                    </EmptyState>
                </div>
            )
        }
    }
}

/// What is called with another name of whoever is signed in.
fn renamed(info: Rc<SessionInfo>, access: UseStateSetter<Access>) -> Callback<String> {
    Callback::from(move |name| {
        let info = SessionInfo {
            name,
            ..(*info).clone()
        };
        access.set(Access::SignedIn(Rc::new(info)));
    })
}

/// Everything that needs a session.
fn signed_in(info: Rc<SessionInfo>, ended: Callback<()>, renamed: Callback<String>) -> Html {
    let client = Client::with_session(&info.csrf_token, ended.clone());
    let session = Session {
        info,
        ended,
        renamed,
    };
    html!(
        <ContextProvider<Session> context={session}>
            <ContextProvider<Client> context={client}>
                <LiveProvider>
                    <OrganisationProvider>
                        <Router<Screen>>
                            <Shell />
                        </Router<Screen>>
                    </OrganisationProvider>
                </LiveProvider>
            </ContextProvider<Client>>
        </ContextProvider<Session>>
    )
}

// === impl Access ===

impl Access {
    fn from_answer(answer: Result<SessionInfo, Failure>) -> Self {
        match answer {
            Ok(info) => Self::SignedIn(Rc::new(info)),
            Err(Failure::SignedOut) => Self::SignedOut,
            Err(failure) => Self::Unknown(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_not_taken_for_a_sign_out() {
        assert!(Access::from_answer(Err(Failure::SignedOut)) == Access::SignedOut);
        assert!(
            Access::from_answer(Err(Failure::Unreachable)) == Access::Unknown(Failure::Unreachable)
        );
    }
}

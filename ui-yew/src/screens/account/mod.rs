//! The operator's own: name, password, sessions, automation tokens.

mod name;
mod password;
mod sessions;
mod token;
mod tokens;

use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::route::Screen;
use crate::session::{role_name, use_session};
use crate::widgets::heading::Heading;

/// Who one is, then the parts.
#[component]
pub(crate) fn Account() -> Html {
    let session = use_session();
    html!(
        <>
            <Heading screen={Screen::Account} />
            <section class="pf-v6-c-page__main-section sl-stack">
                <div class="sl-card sl-pad">
                    <div class="sl-card-head">
                        <h2 class="pf-v6-c-title pf-m-lg">{ &session.info.name }</h2>
                        <Label label={role_name(session.info.role)} color={Color::Blue} compact={true} />
                    </div>
                    <p class="sl-quiet">{ &session.info.email }</p>
                </div>
                <name::Name />
                <password::Password />
                <tokens::Tokens />
                <sessions::Sessions />
            </section>
        </>
    )
}

//! The operator's own automation tokens.

use events_schema::api::session::TokenItem;
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::token::NewTokenDialog;
use crate::api::{Client, use_client};
use crate::command::toast;
use crate::format;
use crate::remote::{Content, use_remote};
use crate::widgets::button::{Button, Variant};
use crate::widgets::moment::Ago;

impl Content for Vec<TokenItem> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// The list, and the way to a new one.
#[component]
pub(super) fn Tokens() -> Html {
    let client = use_client();
    let toaster = use_toaster().expect("the screens lie within a ToastViewer");
    let making = use_state_eq(|| false);
    let tokens = use_remote((), |client: Client, ()| async move {
        client.get::<Vec<TokenItem>>("/tokens").await
    });
    let revoke = {
        let reload = tokens.reload.clone();
        Callback::from(move |id: String| {
            let (client, toaster, reload) = (client.clone(), toaster.clone(), reload.clone());
            spawn_local(async move {
                match client
                    .tell::<()>(Method::DELETE, &format!("/tokens/{id}"), None)
                    .await
                {
                    Ok(()) => toast(&toaster, AlertType::Success, "The token is revoked", ""),
                    Err(failure) => toast(
                        &toaster,
                        AlertType::Danger,
                        "It could not be revoked",
                        &failure.to_string(),
                    ),
                }
                reload.emit(());
            });
        })
    };
    let make = {
        let making = making.clone();
        Callback::from(move |_: MouseEvent| making.set(true))
    };
    let onclose = {
        let (making, reload) = (making.setter(), tokens.reload.clone());
        Callback::from(move |()| {
            making.set(false);
            reload.emit(());
        })
    };
    let none = || html!(<p class="sl-quiet">{ "None yet. With a token, scripts and pipelines use the API in your name." }</p>);
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ "Automation tokens" }</h2>
                <Button variant={Variant::Secondary} icon={Icon::Plus} label="Create token" onclick={make} />
            </div>
            { tokens.show(none, |tokens| html!(
                <ul class="sl-rows">{ for tokens.iter().map(|token| row(token, &revoke)) }</ul>
            )) }
            if *making {
                <NewTokenDialog {onclose} />
            }
        </div>
    )
}

fn row(token: &TokenItem, revoke: &Callback<String>) -> Html {
    let id = token.id.to_string();
    let onclick = {
        let id = id.clone();
        revoke.reform(move |_: MouseEvent| id.clone())
    };
    let expiry = token.expires_at.map_or_else(
        || "never expires".to_owned(),
        |at| format!("expires {}", format::time(at.to_chrono())),
    );
    html!(
        <li key={id}>
            <div>
                <div>{ &token.label }</div>
                <div class="sl-quiet">{ "Made " }<Ago at={token.created_at.to_chrono()} />{ format!(", {expiry}") }</div>
            </div>
            <Button variant={Variant::Link} label="Revoke" {onclick} />
        </li>
    )
}

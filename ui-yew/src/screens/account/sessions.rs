//! The operator's own sessions, each of which can be ended.

use events_schema::api::session::SessionItem;
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Client, use_client};
use crate::command::toast;
use crate::remote::{Content, use_remote};
use crate::widgets::button::{Button, Variant};
use crate::widgets::moment::Ago;

impl Content for Vec<SessionItem> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// The list.
#[component]
pub(super) fn Sessions() -> Html {
    let client = use_client();
    let toaster = use_toaster().expect("the screens lie within a ToastViewer");
    let sessions = use_remote((), |client: Client, ()| async move {
        client.get::<Vec<SessionItem>>("/sessions").await
    });
    let end = {
        let reload = sessions.reload.clone();
        Callback::from(move |path: String| {
            let (client, toaster, reload) = (client.clone(), toaster.clone(), reload.clone());
            spawn_local(async move {
                match client.tell::<()>(Method::DELETE, &path, None).await {
                    Ok(()) => toast(&toaster, AlertType::Success, "Ended", ""),
                    Err(failure) => toast(
                        &toaster,
                        AlertType::Danger,
                        "It could not be ended",
                        &failure.to_string(),
                    ),
                }
                reload.emit(());
            });
        })
    };
    let end_others = end.reform(|_: MouseEvent| "/sessions".to_owned());
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ "Sessions" }</h2>
                <Button variant={Variant::Secondary} label="End all others" onclick={end_others} />
            </div>
            { sessions.show(Html::default, |sessions| html!(
                <ul class="sl-rows">{ for sessions.iter().map(|session| row(session, &end)) }</ul>
            )) }
        </div>
    )
}

fn row(session: &SessionItem, end: &Callback<String>) -> Html {
    let path = format!("/sessions/{}", session.id);
    let onclick = end.reform(move |_: MouseEvent| path.clone());
    html!(
        <li key={session.id.clone()}>
            <div>
                <div>{ browser_name(&session.user_agent) }
                    if session.current {
                        { " " }<Label label="This one" color={Color::Green} compact={true} />
                    }
                </div>
                <div class="sl-quiet">{ "Last used " }<Ago at={session.last_used_at.to_chrono()} />{ ", begun " }<Ago at={session.created_at.to_chrono()} /></div>
            </div>
            if !session.current {
                <Button variant={Variant::Link} label="End" {onclick} />
            }
        </li>
    )
}

/// A browser and its system, as far as its long name for itself tells.
fn browser_name(user_agent: &str) -> String {
    const BROWSERS: [(&str, &str); 5] = [
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    const SYSTEMS: [(&str, &str); 5] = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |known: &[(&str, &'static str)]| {
        known
            .iter()
            .find(|(sign, _)| user_agent.contains(sign))
            .map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) if user_agent.is_empty() => "Unknown".to_owned(),
        (None, _) => user_agent.chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_in_few_words() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36";
        assert_eq!(browser_name(chrome), "Chrome on Linux");
        assert_eq!(browser_name("curl/8.0"), "curl");
        assert_eq!(browser_name(""), "Unknown");
    }
}

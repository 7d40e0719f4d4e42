//! Sends commands, and tells what became of them.
//!
//! One hook for every dialog: it keeps the refusal for the fields to show, makes a repeated send harmless
//! by the command's id, and says when every gateway serves the change.

use std::rc::Rc;
use std::time::Duration;

use events_schema::api::commands::{CommandAnswer, CommandRequest, NewCommand};
use events_schema::api::status::Served;
use events_schema::events::Stream;
use events_schema::id::CommandId;
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Client, Failure, Rejection, Seen, use_client, use_live};
use crate::browser;

/// How long gateways may take until the console says that they have not got the change yet.
const SERVED_WITHIN_MS: u32 = 3_000;

/// How long a toast stays.
const TOAST: Duration = Duration::from_secs(5);

/// Sends a command, with why it is done (may be empty).
pub(crate) type Send = Rc<dyn Fn(NewCommand, &str)>;

/// A dialog's way to the control plane.
#[derive(Clone)]
pub(crate) struct Commander {
    /// Whether a command is on its way.
    pub(crate) busy: bool,
    /// Why the last one was refused.
    pub(crate) rejection: Option<Rejection>,
    /// Sends a command, with why it is done (may be empty).
    pub(crate) send: Send,
}

/// Sends commands for a dialog; `done` gets the answer of one that succeeded.
#[hook]
pub(crate) fn use_command(done: Callback<CommandAnswer>) -> Commander {
    let client = use_client();
    let live = use_live().dispatcher();
    let toaster = use_toaster().expect("the screens lie within a ToastViewer");
    let busy = use_state_eq(|| false);
    let rejection = use_state_eq(|| None::<Rejection>);
    // Kept while nobody knows whether the last send arrived: sent again, it cannot happen twice.
    let unanswered = use_mut_ref(|| None::<CommandId>);

    let send = {
        let (busy, rejection) = (busy.clone(), rejection.clone());
        Rc::new(move |command: NewCommand, why: &str| {
            let id = *unanswered
                .borrow_mut()
                .get_or_insert_with(browser::new_command_id);
            let why = Some(why.trim().to_owned()).filter(|why| !why.is_empty());
            let request = CommandRequest {
                command_id: Some(id),
                why,
                command,
            };
            let (client, live, toaster, done) =
                (client.clone(), live.clone(), toaster.clone(), done.clone());
            let (busy, rejection, unanswered) =
                (busy.clone(), rejection.clone(), Rc::clone(&unanswered));
            busy.set(true);
            spawn_local(async move {
                let answer: Result<CommandAnswer, Failure> =
                    client.send(Method::POST, "/commands", &request).await;
                busy.set(false);
                if !matches!(answer, Err(Failure::Unreachable)) {
                    *unanswered.borrow_mut() = None;
                }
                match answer {
                    Ok(answer) => {
                        rejection.set(None);
                        live.dispatch(Seen::Events(changes(&answer)));
                        tell_when_served(client, toaster, answer.position);
                        done.emit(answer);
                    }
                    Err(failure) => rejection.set(Some(failure.into_rejection())),
                }
            });
        }) as Send
    };
    Commander {
        busy: *busy,
        rejection: (*rejection).clone(),
        send,
    }
}

/// What changed, and where, by the answer's own account.
fn changes(answer: &CommandAnswer) -> Vec<(events_schema::events::Aggregate, u64)> {
    let change = |event: &events_schema::api::commands::EventSummary| {
        let stream: Stream = event.stream.parse().ok()?;
        Some((stream.aggregate(), event.position))
    };
    answer.events.iter().filter_map(change).collect()
}

/// Waits until every gateway serves the position, and says so.
fn tell_when_served(client: Client, toaster: Toaster, position: u64) {
    spawn_local(async move {
        let path = format!("/served?position={position}&timeout_ms={SERVED_WITHIN_MS}");
        let (kind, body) = match client.get::<Served>(&path).await {
            Ok(Served {
                served: true,
                gateways: 0,
                ..
            }) => (AlertType::Success, "No gateway is running.".to_owned()),
            Ok(Served {
                served: true,
                gateways: 1,
                ..
            }) => (AlertType::Success, "The gateway serves it.".to_owned()),
            Ok(Served {
                served: true,
                gateways,
                ..
            }) => (
                AlertType::Success,
                format!("All {gateways} gateways serve it."),
            ),
            Ok(Served { served: false, .. }) => (
                AlertType::Warning,
                "Not every gateway serves it yet.".to_owned(),
            ),
            Err(_) => (AlertType::Success, String::new()),
        };
        toast(
            &toaster,
            kind,
            &format!("Saved at position {position}"),
            &body,
        );
    });
}

/// Shows a message that goes away by itself.
pub(crate) fn toast(toaster: &Toaster, kind: AlertType, title: &str, body: &str) {
    let body = html!({ body });
    toaster.toast(Toast {
        title: title.to_owned(),
        r#type: kind,
        timeout: Some(TOAST),
        body,
        actions: Vec::new(),
    });
}

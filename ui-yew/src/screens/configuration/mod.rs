//! The configuration as one YAML document: exported, edited, compared, applied.

mod difference;

use std::rc::Rc;

use difference::{difference, faults, warnings};
use events_schema::api::declared::{ApplyAnswer, ApplyRequest};
use events_schema::api::problem::DocumentFault;
use gloo_net::http::Method;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Failure, use_client};
use crate::browser;
use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::copy::CopyText;
use crate::widgets::field::{Check, TextArea, TextField};
use crate::widgets::heading::Heading;

/// How the document that is looked at stands.
#[derive(Clone, PartialEq)]
enum Stage {
    /// Nothing was asked yet, or the document was changed since.
    Editing,
    /// A question is on its way.
    Busy,
    /// It cannot be applied.
    Wrong(Vec<DocumentFault>),
    /// It could not be asked, or was refused as a whole.
    Refused(String),
    /// What it would change.
    Difference(Box<Answered>),
    /// What it has changed.
    Done(Box<Answered>),
}

/// An answer, compared by its position and how much it changes.
#[derive(Clone)]
struct Answered(ApplyAnswer);

impl PartialEq for Answered {
    fn eq(&self, other: &Self) -> bool {
        (self.0.position, &self.0.changes, &self.0.warnings)
            == (other.0.position, &other.0.changes, &other.0.warnings)
    }
}

/// The screen.
#[component]
pub(crate) fn Configuration() -> Html {
    let client = use_client();
    let may_change = use_session().may_change();
    let document = use_state_eq(String::new);
    let why = use_state_eq(String::new);
    let prune = use_state_eq(|| false);
    let stage = use_state_eq(|| Stage::Editing);
    // Goes up with each change of the document or of what it is applied with: an answer to an earlier one is let go.
    let version = use_mut_ref(|| 0_u64);

    let export = {
        let (client, document, stage) = (client.clone(), document.setter(), stage.setter());
        let version = Rc::clone(&version);
        Callback::from(move |_: MouseEvent| {
            let (client, document, stage) = (client.clone(), document.clone(), stage.clone());
            let version = Rc::clone(&version);
            spawn_local(async move {
                match client.get_text("/export").await {
                    Ok(text) => {
                        *version.borrow_mut() += 1;
                        document.set(text);
                        stage.set(Stage::Editing);
                    }
                    Err(failure) => stage.set(Stage::Refused(failure.to_string())),
                }
            });
        })
    };
    let ask = {
        let (document, why, prune, stage) =
            (document.clone(), why.clone(), prune.clone(), stage.clone());
        let version = Rc::clone(&version);
        move |position: Option<u64>| {
            let dry_run = position.is_none();
            let request = ApplyRequest {
                command_id: (!dry_run).then(browser::new_command_id),
                why: Some(why.trim().to_owned()).filter(|why| !why.is_empty()),
                document: (*document).clone(),
                dry_run,
                prune: *prune,
                position,
            };
            let (client, stage) = (client.clone(), stage.setter());
            let (version, asked) = (Rc::clone(&version), *version.borrow());
            stage.set(Stage::Busy);
            spawn_local(async move {
                let answer: Result<ApplyAnswer, Failure> =
                    client.send(Method::POST, "/apply", &request).await;
                if dry_run && *version.borrow() != asked {
                    return;
                }
                stage.set(match answer {
                    Ok(answer) if dry_run => Stage::Difference(Box::new(Answered(answer))),
                    Ok(answer) => Stage::Done(Box::new(Answered(answer))),
                    Err(Failure::Rejected(rejection)) if !rejection.faults.is_empty() => {
                        Stage::Wrong(rejection.faults)
                    }
                    Err(failure) => Stage::Refused(failure.to_string()),
                });
            });
        }
    };
    let compare = {
        let ask = ask.clone();
        Callback::from(move |_: MouseEvent| ask(None))
    };
    let edit = {
        let (document, stage) = (document.setter(), stage.setter());
        let version = Rc::clone(&version);
        Callback::from(move |text| {
            *version.borrow_mut() += 1;
            document.set(text);
            stage.set(Stage::Editing);
        })
    };
    let set_prune = {
        let (prune, stage) = (prune.setter(), stage.setter());
        Callback::from(move |checked| {
            *version.borrow_mut() += 1;
            prune.set(checked);
            stage.set(Stage::Editing);
        })
    };
    let set_why = why.setter();
    let busy = *stage == Stage::Busy;
    html!(
        <>
            <Heading screen={Screen::Configuration}>
                <Button variant={Variant::Secondary} icon={Icon::Download} label="Load what there is" onclick={export} />
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                <div class="sl-card sl-pad sl-document">
                    <form class="pf-v6-c-form">
                        <TextArea name="document" label="Document" rows={18} value={(*document).clone()} onchange={edit}
                            placeholder={EXAMPLE} hint="Things are known by their names. A section that is missing says nothing about its things." />
                        if may_change {
                            <Check name="prune" label="Delete what the document's sections do not name" checked={*prune}
                                hint="Operators are never deleted in this way." onchange={set_prune} />
                            <TextField name="why" label="Why" value={(*why).clone()} placeholder="For example: requested in ticket 4711"
                                hint="Kept in the history for ever. Optional." onchange={Callback::from(move |why| set_why.set(why))} />
                        }
                    </form>
                    if may_change {
                        <div class="sl-document-actions">
                            <Button variant={Variant::Secondary} label="Show the difference" {busy}
                                disabled={document.trim().is_empty()} onclick={compare} />
                            if let Stage::Difference(answer) = &*stage {
                                if !answer.0.changes.is_empty() {
                                    { apply_button(answer.0.position, ask) }
                                }
                            }
                        </div>
                    }
                </div>
                { outcome(&stage) }
            </section>
        </>
    )
}

/// Shown while there is no document.
const EXAMPLE: &str = "sluice: v1
virtual_accounts:
  - name: billing
grants:
  - to: {virtual_account: billing}
    models: all";

fn apply_button(position: u64, ask: impl Fn(Option<u64>) + 'static) -> Html {
    let onclick = Callback::from(move |_: MouseEvent| ask(Some(position)));
    html!(<Button variant={Variant::Primary} label="Apply it" {onclick} />)
}

fn outcome(stage: &Stage) -> Html {
    match stage {
        Stage::Editing | Stage::Busy => Html::default(),
        Stage::Wrong(wrong) => faults(wrong),
        Stage::Refused(why) => {
            html!(<Alert inline={true} r#type={AlertType::Danger} title={why.clone()} />)
        }
        Stage::Difference(answer) if answer.0.changes.is_empty() => html!(
            <>
                <Alert inline={true} r#type={AlertType::Success} title="Nothing to change: everything is as the document says" />
                { warnings(&answer.0.warnings) }
            </>
        ),
        Stage::Difference(answer) => html!(
            <>
                { warnings(&answer.0.warnings) }
                { difference("What would change", &answer.0.changes) }
            </>
        ),
        Stage::Done(answer) => {
            let Answered(answer) = &**answer;
            let title = format!(
                "Done at position {}: {} events, all of one command",
                answer.position,
                answer.events.len()
            );
            html!(
                <>
                    <Alert inline={true} r#type={AlertType::Success} {title} />
                    { warnings(&answer.warnings) }
                    if !answer.secrets.is_empty() {
                        <div class="sl-card sl-pad sl-secret">
                            <Alert inline={true} r#type={AlertType::Warning} title="Copy these secrets now: they are not shown again" />
                            { for answer.secrets.iter().map(|made| html!(
                                <div key={made.name.clone()}>
                                    <div class="sl-quiet">{ format!("{} {}", made.what, made.name) }</div>
                                    <CopyText text={made.secret.clone()} label={format!("the secret of {}", made.name)} />
                                </div>
                            )) }
                        </div>
                    }
                    { difference("What has changed", &answer.changes) }
                </>
            )
        }
    }
}

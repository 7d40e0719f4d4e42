//! Chat with a model through the gateway, and see what it took.

mod ask;
mod conversation;
mod markdown;
mod offered;
mod settings;
mod snippet;
mod transcript;

use ask::{Request, StreamOptions, ask, micros};
use conversation::{Conversation, Step};
use offered::use_first;
use patternfly_yew::prelude::*;
use settings::{Settings, SettingsPanel};
use snippet::Snippet;
use transcript::Transcript;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AbortController, HtmlTextAreaElement};
use yew::prelude::*;

use crate::api::use_client;
use crate::route::Screen;
use crate::widgets::button::{Button, Variant};
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::heading::Heading;

/// Settings to the left, conversation to the right.
#[component]
pub(crate) fn Playground() -> Html {
    let first = use_first();
    let settings = use_draft(Settings::default);
    let conversation = use_reducer_eq(Conversation::default);
    let question = use_state_eq(String::new);
    let showing_code = use_state_eq(|| false);
    let running = use_mut_ref(|| None::<AbortController>);
    let client = use_client();
    // Until one is chosen, the first is meant.
    let chosen = Some(settings.model.clone()).filter(|model| !model.is_empty());
    let model = chosen.or_else(|| first.state.ready()?.name());

    let send = {
        let (conversation, question, settings, running) = (
            conversation.clone(),
            question.clone(),
            settings.clone(),
            running.clone(),
        );
        let model = model.clone();
        Callback::from(move |()| {
            let text = question.trim().to_owned();
            let (Some(model), false, false) =
                (model.clone(), conversation.answering, text.is_empty())
            else {
                return;
            };
            let Ok(controller) = AbortController::new() else {
                return;
            };
            let request = request(&settings, &conversation, model, &text);
            let signal = controller.signal();
            *running.borrow_mut() = Some(controller);
            question.set(String::new());
            conversation.dispatch(Step::Asked(text, micros()));
            spawn_local(ask(
                client.clone(),
                request,
                signal,
                conversation.dispatcher(),
            ));
        })
    };
    let cancel = Callback::from(move |_: MouseEvent| {
        if let Some(controller) = running.borrow_mut().take() {
            controller.abort();
        }
    });
    let clear = {
        let conversation = conversation.dispatcher();
        Callback::from(move |_: MouseEvent| conversation.dispatch(Step::Cleared))
    };
    let code = {
        let showing_code = showing_code.clone();
        Callback::from(move |_: MouseEvent| showing_code.set(true))
    };
    let close_code = {
        let showing_code = showing_code.setter();
        Callback::from(move |()| showing_code.set(false))
    };
    html!(
        <>
            <Heading screen={Screen::Playground}>
                <Button variant={Variant::Secondary} icon={Icon::Code} label="Use it from your code" disabled={model.is_none()} onclick={code} />
                if !conversation.messages.is_empty() {
                    <Button variant={Variant::Secondary} icon={Icon::Trash} label="Clear" disabled={conversation.answering} onclick={clear} />
                }
            </Heading>
            { first.show(offered::none, |_| html!(
                <section class="pf-v6-c-page__main-section sl-playground">
                    <SettingsPanel settings={settings.clone()} model={model.clone().unwrap_or_default()} />
                    <div class="sl-card sl-chat">
                        <Transcript conversation={(*conversation).clone()} />
                        { composer(&question, &conversation, &send, cancel) }
                    </div>
                </section>
            )) }
            if let (true, Some(model)) = (*showing_code, model) {
                <Snippet {model} onclose={close_code} />
            }
        </>
    )
}

fn request(
    settings: &Draft<Settings>,
    conversation: &Conversation,
    model: String,
    question: &str,
) -> Request {
    Request {
        model,
        messages: conversation.to_send(&settings.instructions, question),
        stream: true,
        stream_options: StreamOptions {
            include_usage: true,
        },
        temperature: settings.temperature.trim().parse().ok(),
        max_tokens: settings.max_tokens.trim().parse().ok(),
    }
}

/// Where one types; Enter sends, Shift+Enter begins a line.
fn composer(
    question: &UseStateHandle<String>,
    conversation: &Conversation,
    send: &Callback<()>,
    cancel: Callback<MouseEvent>,
) -> Html {
    let oninput = {
        let question = question.setter();
        Callback::from(move |event: InputEvent| {
            question.set(event.target_unchecked_into::<HtmlTextAreaElement>().value())
        })
    };
    let onkeydown = {
        let send = send.clone();
        Callback::from(move |event: KeyboardEvent| {
            if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
                event.prevent_default();
                send.emit(());
            }
        })
    };
    html!(
        <div class="sl-composer">
            <span class="pf-v6-c-form-control">
                <textarea name="question" rows="2" aria-label="Your message" value={(**question).clone()} {oninput} {onkeydown}
                    placeholder="Say something. Enter sends." />
            </span>
            if conversation.answering {
                <Button variant={Variant::Secondary} icon={Icon::TimesCircle} label="Cancel" onclick={cancel} />
            } else {
                <Button variant={Variant::Primary} label="Send" disabled={question.trim().is_empty()}
                    onclick={send.reform(|_| ())} />
            }
        </div>
    )
}

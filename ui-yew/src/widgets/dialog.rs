//! Dialogs: a form over the page, which Escape closes.

use gloo_events::EventListener;
use patternfly_yew::prelude::*;
use wasm_bindgen::JsCast;
use yew::prelude::*;

use crate::api::Rejection;

/// Properties of [`Dialog`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct DialogProps {
    /// Its heading.
    pub(crate) title: AttrValue,
    /// A sentence below the heading.
    #[prop_or_default]
    pub(crate) description: Option<AttrValue>,
    /// Called when it is to go away.
    pub(crate) onclose: Callback<()>,
    /// Whether it needs more width than a form does.
    #[prop_or_default]
    pub(crate) wide: bool,
    /// What stands in it.
    pub(crate) children: Html,
    /// Its buttons.
    #[prop_or_default]
    pub(crate) footer: Html,
}

/// A box over the page.
#[component]
pub(crate) fn Dialog(props: &DialogProps) -> Html {
    let onclose = props.onclose.clone();
    use_effect_with(onclose.clone(), |onclose| {
        let onclose = onclose.clone();
        let window = web_sys::window().expect("a browser has a window");
        let listener = EventListener::new(&window, "keydown", move |event| {
            if event.unchecked_ref::<web_sys::KeyboardEvent>().key() == "Escape" {
                onclose.emit(());
            }
        });
        move || drop(listener)
    });
    let size = if props.wide { "pf-m-lg" } else { "pf-m-md" };
    html!(
        <div class="pf-v6-c-backdrop sl-backdrop">
            <div class="pf-v6-l-bullseye">
                <div class={classes!("pf-v6-c-modal-box", size)} role="dialog" aria-modal="true"
                    aria-labelledby="dialog-title">
                    <div class="pf-v6-c-modal-box__close">
                        <button class="pf-v6-c-button pf-m-plain" type="button" aria-label="Close"
                            onclick={onclose.reform(|_| ())}>
                            <span class="pf-v6-c-button__icon">{ Icon::Times }</span>
                        </button>
                    </div>
                    <header class="pf-v6-c-modal-box__header">
                        <h1 class="pf-v6-c-modal-box__title" id="dialog-title">
                            <span class="pf-v6-c-modal-box__title-text">{ &props.title }</span>
                        </h1>
                        if let Some(description) = &props.description {
                            <div class="pf-v6-c-modal-box__description">{ description }</div>
                        }
                    </header>
                    <div class="pf-v6-c-modal-box__body">{ props.children.clone() }</div>
                    <footer class="pf-v6-c-modal-box__footer">{ props.footer.clone() }</footer>
                </div>
            </div>
        </div>
    )
}

/// Properties of [`FormDialog`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct FormDialogProps {
    /// Its heading.
    pub(crate) title: AttrValue,
    /// A sentence below the heading.
    #[prop_or_default]
    pub(crate) description: Option<AttrValue>,
    /// What the button that sends it says.
    pub(crate) action: AttrValue,
    /// Whether what it does takes something away.
    #[prop_or_default]
    pub(crate) danger: bool,
    /// Whether it is on its way.
    pub(crate) busy: bool,
    /// Whether it may be sent as it is.
    #[prop_or(true)]
    pub(crate) complete: bool,
    /// Why it was refused.
    #[prop_or_default]
    pub(crate) rejection: Option<Rejection>,
    /// The fields that show a refusal of their own; any other is shown above the form.
    #[prop_or_default]
    pub(crate) fields: &'static [&'static str],
    /// Called when it is to be sent.
    pub(crate) onsubmit: Callback<()>,
    /// Called when it is to go away.
    pub(crate) onclose: Callback<()>,
    /// Its fields.
    pub(crate) children: Html,
    /// Whether it needs more width than a form does.
    #[prop_or_default]
    pub(crate) wide: bool,
}

/// A dialog with a form and its two buttons.
#[component]
pub(crate) fn FormDialog(props: &FormDialogProps) -> Html {
    let onsubmit = {
        let onsubmit = props.onsubmit.clone();
        let ready = props.complete && !props.busy;
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if ready {
                onsubmit.emit(());
            }
        })
    };
    let beside = props
        .rejection
        .as_ref()
        .and_then(|rejection| rejection.beside(props.fields));
    let variant = if props.danger {
        ButtonVariant::Danger
    } else {
        ButtonVariant::Primary
    };
    let footer = html!(
        <>
            <Button r#type={ButtonType::Submit} form="dialog-form" {variant} loading={props.busy}
                disabled={props.busy || !props.complete} label={props.action.to_string()} />
            <Button variant={ButtonVariant::Link} label="Cancel" onclick={props.onclose.reform(|_| ())} />
        </>
    );
    html!(
        <Dialog title={props.title.clone()} description={props.description.clone()} onclose={props.onclose.clone()}
            wide={props.wide} {footer}>
            <form class="pf-v6-c-form" id="dialog-form" novalidate={true} {onsubmit}>
                if let Some(detail) = beside {
                    <div class="pf-v6-c-form__alert">
                        <Alert inline={true} r#type={AlertType::Danger} title={detail.to_owned()} />
                    </div>
                }
                { props.children.clone() }
            </form>
        </Dialog>
    )
}

/// Which of a screen's dialogs is open.
pub(crate) struct Dialogs<D> {
    /// The one that is open.
    pub(crate) open: Option<D>,
    /// Opens one.
    pub(crate) show: Callback<D>,
    /// Closes it.
    pub(crate) close: Callback<()>,
}

/// The dialogs of a screen: at most one is open.
#[hook]
pub(crate) fn use_dialogs<D: Clone + 'static>() -> Dialogs<D> {
    let open = use_state(|| None::<D>);
    let (show, close) = (open.setter(), open.setter());
    Dialogs {
        open: (*open).clone(),
        show: Callback::from(move |dialog| show.set(Some(dialog))),
        close: use_callback((), move |(), ()| close.set(None)),
    }
}

//! Dialogs: a form over the page, which Escape closes.

use patternfly_yew::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::HtmlElement;
use yew::prelude::*;

use super::focus::{first_in, focus, focused};
use crate::api::Rejection;
use crate::widgets::button::{Button, Variant};

#[wasm_bindgen]
extern "C" {
    /// The browser's own dialog.
    #[wasm_bindgen(extends = HtmlElement, extends = web_sys::Element, extends = web_sys::Node)]
    type HtmlDialogElement;

    #[wasm_bindgen(method, catch, js_name = showModal)]
    fn show_modal(this: &HtmlDialogElement) -> Result<(), JsValue>;

    #[wasm_bindgen(method)]
    fn close(this: &HtmlDialogElement);
}

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
    /// Whether Escape and a cross close it; not where something would be lost.
    #[prop_or(true)]
    pub(crate) by_escape: bool,
    /// Whether it needs more width than a form does.
    #[prop_or_default]
    pub(crate) wide: bool,
    /// Why what it sent was refused.
    #[prop_or_default]
    pub(crate) rejection: Option<Rejection>,
    /// What stands in it.
    pub(crate) children: Html,
    /// Its buttons.
    #[prop_or_default]
    pub(crate) footer: Html,
}

/// A box over the page: the browser's own modal dialog, which keeps the focus within and gives it back.
#[component]
pub(crate) fn Dialog(props: &DialogProps) -> Html {
    let place = use_node_ref();
    {
        let place = place.clone();
        use_effect_with((), move |()| {
            let before = focused();
            let dialog = place.cast::<HtmlDialogElement>();
            if let Some(dialog) = &dialog {
                // It fails only for a dialog that is open already.
                drop(dialog.show_modal());
                // A form begins at its first field, and not at the button that closes it.
                focus(first_in(dialog, "input:not([readonly]), select, textarea"));
            }
            move || {
                // While it is open, nothing else takes the focus.
                if let Some(dialog) = dialog {
                    dialog.close();
                }
                focus(before);
            }
        });
    }
    // The one who holds the dialog takes it away, not the browser.
    let give_up = {
        let onclose = props.onclose.clone();
        let by_escape = props.by_escape;
        move || {
            if by_escape {
                onclose.emit(());
            }
        }
    };
    let onkeydown = {
        let give_up = give_up.clone();
        Callback::from(move |event: KeyboardEvent| {
            if event.key() == "Escape" {
                event.prevent_default();
                give_up();
            }
        })
    };
    // Other ways to say so: the back gesture of a telephone.
    let oncancel = Callback::from(move |event: Event| {
        event.prevent_default();
        give_up();
    });
    let size = if props.wide { "pf-m-lg" } else { "pf-m-md" };
    {
        // A refusal leads to the field that it belongs to.
        let place = place.clone();
        use_effect_with(props.rejection.clone(), move |rejection| {
            let dialog = place.cast::<HtmlElement>().filter(|_| rejection.is_some());
            focus(dialog.and_then(|dialog| first_in(&dialog, "[aria-invalid='true']")));
        });
    }
    html!(
        <dialog ref={place} class={classes!("pf-v6-c-modal-box", "sl-dialog", size)} aria-labelledby="dialog-title"
            {onkeydown} {oncancel}>
            if props.by_escape {
                <div class="pf-v6-c-modal-box__close">
                    <button class="pf-v6-c-button pf-m-plain" type="button" aria-label="Close"
                        onclick={props.onclose.reform(|_| ())}>
                        <span class="pf-v6-c-button__icon">{ Icon::Times }</span>
                    </button>
                </div>
            }
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
        </dialog>
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
        Variant::Danger
    } else {
        Variant::Primary
    };
    let footer = html!(
        <>
            <Button submit={true} form="dialog-form" {variant} busy={props.busy}
                disabled={!props.complete} label={props.action.clone()} />
            <Button variant={Variant::Link} label="Cancel" onclick={props.onclose.reform(|_| ())} />
        </>
    );
    html!(
        <Dialog title={props.title.clone()} description={props.description.clone()} onclose={props.onclose.clone()}
            wide={props.wide} rejection={props.rejection.clone()} {footer}>
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

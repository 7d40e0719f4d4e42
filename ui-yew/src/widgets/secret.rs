//! A secret that is shown once.

use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::widgets::button::{Button, Variant};

use super::copy::CopyText;
use super::dialog::Dialog;

/// Properties of [`ShownOnce`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The heading.
    pub(crate) title: AttrValue,
    /// The secret.
    pub(crate) secret: AttrValue,
    /// What it is good for.
    #[prop_or_default]
    pub(crate) children: Html,
    /// Called when it has been taken.
    pub(crate) onclose: Callback<()>,
}

/// The secret with its copy button, and the warning.
#[component]
pub(crate) fn ShownOnce(props: &Props) -> Html {
    let footer = html!(
        <Button variant={Variant::Primary} label="I have copied it" onclick={props.onclose.reform(|_| ())} />
    );
    html!(
        <Dialog title={props.title.clone()} by_escape={false} onclose={props.onclose.clone()} {footer}>
            <div class="sl-secret">
                <Alert inline={true} r#type={AlertType::Warning} title="Copy it now: it is not shown again">
                    { "Only a keyed hash of it is kept. Whoever has it can act in its owner's name." }
                </Alert>
                <CopyText text={props.secret.clone()} label="the secret" />
                { props.children.clone() }
            </div>
        </Dialog>
    )
}

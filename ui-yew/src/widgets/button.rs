//! A button. PatternFly's own component sets a style attribute, which the content security policy forbids, and
//! lets go of the focus when it is pressed, so that a keyboard loses its place.

use patternfly_yew::prelude::Icon;
use yew::prelude::*;

/// How much a button stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Variant {
    /// What the screen is there for; at most one in sight.
    #[default]
    Primary,
    /// Anything else that is done often.
    Secondary,
    /// Takes something away.
    Danger,
    /// As quiet as a link.
    Link,
    /// Only its icon.
    Plain,
}

/// Properties of [`Button`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// What it says; empty: only its icon.
    #[prop_or_default]
    pub(crate) label: AttrValue,
    /// What it does, where it has no label.
    #[prop_or_default]
    pub(crate) aria_label: Option<AttrValue>,
    /// Whether what it shows and hides is to be seen.
    #[prop_or_default]
    pub(crate) aria_expanded: Option<AttrValue>,
    /// How much it stands out.
    #[prop_or_default]
    pub(crate) variant: Variant,
    /// The sign before the label.
    #[prop_or_default]
    pub(crate) icon: Option<Icon>,
    /// Whether it sends the form that it stands in, or the one that `form` names.
    #[prop_or_default]
    pub(crate) submit: bool,
    /// The id of the form that it sends.
    #[prop_or_default]
    pub(crate) form: Option<AttrValue>,
    /// Whether it is as wide as its place.
    #[prop_or_default]
    pub(crate) block: bool,
    /// Whether what it started is under way.
    #[prop_or_default]
    pub(crate) busy: bool,
    /// Whether it cannot be pressed.
    #[prop_or_default]
    pub(crate) disabled: bool,
    /// Called when it is pressed.
    #[prop_or_default]
    pub(crate) onclick: Callback<MouseEvent>,
}

/// A button with a label, an icon, or both.
#[component]
pub(crate) fn Button(props: &Props) -> Html {
    let class = classes!(
        "pf-v6-c-button",
        props.variant.class(),
        props.block.then_some("pf-m-block"),
        props.busy.then_some("sl-busy"),
    );
    let icon_class = classes!(
        "pf-v6-c-button__icon",
        (!props.label.is_empty()).then_some("pf-m-start")
    );
    // A button that is busy keeps the focus, which one that is disabled would lose, but does nothing.
    let onclick = if props.busy {
        Callback::from(|event: MouseEvent| event.prevent_default())
    } else {
        props.onclick.clone()
    };
    html!(
        <button {class} type={if props.submit { "submit" } else { "button" }} form={props.form.clone()}
            disabled={props.disabled} aria-disabled={props.busy.then_some("true")}
            aria-label={props.aria_label.clone()} aria-expanded={props.aria_expanded.clone()} {onclick}>
            if props.busy {
                <span class="sl-spinner pf-m-small" aria-hidden="true"></span>
            } else if let Some(icon) = props.icon {
                <span class={icon_class}>{ icon }</span>
            }
            if !props.label.is_empty() {
                <span class="pf-v6-c-button__text">{ &props.label }</span>
            }
        </button>
    )
}

// === impl Variant ===

impl Variant {
    const fn class(self) -> &'static str {
        match self {
            Self::Primary => "pf-m-primary",
            Self::Secondary => "pf-m-secondary",
            Self::Danger => "pf-m-danger",
            Self::Link => "pf-m-link",
            Self::Plain => "pf-m-plain",
        }
    }
}

//! Choosers with their labels: in forms, for one thing or for several, and above lists.

use patternfly_yew::prelude::Icon;
use web_sys::HtmlElement;
use yew::prelude::*;

use super::name::use_name;
use super::{Chooser, Offer, Source};
use crate::api::Rejection;
use crate::widgets::field::{Frame, input_id, is_wrong};
use crate::widgets::focus::{first_in, focus};

/// Properties of [`ChooserField`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct FieldProps {
    /// The command's field.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// Where choices come from.
    pub(crate) source: Source,
    /// The value chosen; empty: none.
    pub(crate) value: AttrValue,
    /// Called with what is chosen; `None`: the choice was taken back.
    pub(crate) onchoose: Callback<Option<Offer>>,
    /// Shown while nothing is chosen.
    #[prop_or_default]
    pub(crate) placeholder: Option<AttrValue>,
    /// One sentence that helps to choose.
    #[prop_or_default]
    pub(crate) hint: Option<AttrValue>,
    /// Whether something must be chosen.
    #[prop_or_default]
    pub(crate) required: bool,
    /// The refusal of the form that it stands in.
    #[prop_or_default]
    pub(crate) rejection: Option<Rejection>,
}

/// One of very many things.
#[component]
pub(crate) fn ChooserField(props: &FieldProps) -> Html {
    let wrong = is_wrong(props.rejection.as_ref(), &props.name);
    html!(
        <Frame name={props.name.clone()} label={props.label.clone()} hint={props.hint.clone()}
            required={props.required} rejection={props.rejection.clone()}>
            <Chooser name={props.name.clone()} label={props.label.clone()} source={props.source} value={props.value.clone()}
                placeholder={props.placeholder.clone()} optional={!props.required} {wrong} onchoose={props.onchoose.clone()} />
        </Frame>
    )
}

/// Properties of [`ChooserFilter`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct FilterProps {
    /// Its name.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// Where choices come from.
    pub(crate) source: Source,
    /// The value chosen; empty: none.
    pub(crate) value: AttrValue,
    /// Called with the value chosen; empty: none.
    pub(crate) onchange: Callback<String>,
    /// Shown while nothing is chosen.
    pub(crate) any: AttrValue,
}

/// A filter above a list, small and with its label over it.
#[component]
pub(crate) fn ChooserFilter(props: &FilterProps) -> Html {
    let onchoose = props
        .onchange
        .reform(|offer: Option<Offer>| offer.map(|it| it.value.to_string()).unwrap_or_default());
    html!(
        <div class="sl-filter">
            <label for={input_id(&props.name)}>{ &props.label }</label>
            <Chooser name={props.name.clone()} label={props.label.clone()} source={props.source} value={props.value.clone()}
                placeholder={props.any.clone()} optional={true} {onchoose} />
        </div>
    )
}

/// Properties of [`ChoicesField`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct ChoicesProps {
    /// The element's name, unique on the page.
    pub(crate) name: AttrValue,
    /// What people call it; the label itself stands elsewhere.
    pub(crate) label: AttrValue,
    /// Where choices come from.
    pub(crate) source: Source,
    /// The values chosen.
    pub(crate) chosen: Vec<AttrValue>,
    /// What is known of some of them already: value and name.
    pub(crate) known: Vec<(AttrValue, AttrValue)>,
    /// Called with one more.
    pub(crate) onadd: Callback<AttrValue>,
    /// Called with one less.
    pub(crate) onremove: Callback<AttrValue>,
    /// Shown in the text.
    pub(crate) placeholder: AttrValue,
}

/// Several of very many things: those that are chosen stand above the text, each with a button that takes it away.
#[component]
pub(crate) fn ChoicesField(props: &ChoicesProps) -> Html {
    let place = use_node_ref();
    // Those that were chosen here have told their names.
    let told = use_mut_ref(Vec::<(AttrValue, AttrValue)>::new);
    let onchoose = {
        let (told, onadd) = (told.clone(), props.onadd.clone());
        Callback::from(move |offer: Option<Offer>| {
            if let Some(offer) = offer {
                told.borrow_mut().push((offer.value.clone(), offer.label));
                onadd.emit(offer.value);
            }
        })
    };
    let onremove = {
        let place = place.clone();
        props.onremove.reform(move |value| {
            // The button goes away, and the focus would go with it.
            let place = place.cast::<HtmlElement>();
            focus(place.and_then(|place| first_in(&place, "input")));
            value
        })
    };
    let chip = |value: &AttrValue| {
        let told = told.borrow();
        let mut all = told.iter().chain(&props.known);
        let known = all.find(|(known, _)| known == value);
        html!(
            <Chip key={value.to_string()} source={props.source} value={value.clone()} known={known.map(|(_, name)| name.clone())}
                onremove={onremove.clone()} />
        )
    };
    html!(
        <div ref={place}>
            if !props.chosen.is_empty() {
                <ul class="sl-chips" aria-label={format!("Chosen: {}", props.label)}>{ for props.chosen.iter().map(chip) }</ul>
            }
            <Chooser name={props.name.clone()} label={props.label.clone()} source={props.source} value=""
                taken={props.chosen.clone()} placeholder={props.placeholder.clone()} {onchoose} />
        </div>
    )
}

/// Properties of [`Chip`].
#[derive(Clone, PartialEq, Properties)]
struct ChipProps {
    /// Where it comes from.
    source: Source,
    /// The value chosen.
    value: AttrValue,
    /// Its name, where that is known.
    known: Option<AttrValue>,
    /// Called when it is to go.
    onremove: Callback<AttrValue>,
}

/// One that is chosen.
#[component]
fn Chip(props: &ChipProps) -> Html {
    let name = use_name(props.source, &props.value, props.known.clone());
    let onclick = {
        let (onremove, value) = (props.onremove.clone(), props.value.clone());
        Callback::from(move |_: MouseEvent| onremove.emit(value.clone()))
    };
    html!(
        <li class="pf-v6-c-label pf-m-outline" data-value={props.value.clone()}>
            <span class="pf-v6-c-label__content"><span class="pf-v6-c-label__text">{ &name }</span></span>
            <button type="button" class="sl-chip-remove" aria-label={format!("Remove {name}")} {onclick}>{ Icon::Times }</button>
        </li>
    )
}

//! Choosing one of very many things: a text that searches, and the first matches below it.
//!
//! An editable combobox with list autocomplete after the ARIA authoring practices. The lists are asked with their own
//! search, so that it makes no difference how many things there are.

mod combo;
mod field;
mod name;
mod place;
mod source;

use combo::{Act, Combo, Shown, Step};
pub(crate) use field::{ChoicesField, ChooserField, ChooserFilter};
use gloo_timers::callback::Timeout;
use name::use_name;
use patternfly_yew::prelude::Icon;
use place::use_placed;
pub(crate) use source::{Fixed, Found, LIMITS, List, OPENED, OWNERS, Offer, Question, Source};
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;

use crate::api::{Client, Failure, use_live};
use crate::remote::{Content, Loaded, use_remote};
use crate::widgets::field::{control_class, input_id};
use crate::widgets::focus::{first_in, focus};

/// How long nothing more is typed until the lists are asked, in milliseconds: less than anybody notices, and longer than
/// from one letter to the next.
const PAUSE_MS: u32 = 150;

impl Content for Found {}

/// Properties of [`Chooser`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// The element's name, unique on the page.
    pub(crate) name: AttrValue,
    /// What people call it; the label itself stands elsewhere.
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
    /// What is not offered.
    #[prop_or_default]
    pub(crate) taken: Vec<AttrValue>,
    /// Whether the choice can be taken back.
    #[prop_or_default]
    pub(crate) optional: bool,
    /// Whether what is chosen was refused.
    #[prop_or_default]
    pub(crate) wrong: bool,
}

/// A text with a list to choose from, without a label.
#[component]
pub(crate) fn Chooser(props: &Props) -> Html {
    let combo = use_reducer_eq(Combo::default);
    let chosen = use_state_eq(|| None::<Offer>);
    let (place, text, list) = (use_node_ref(), use_node_ref(), use_node_ref());
    let found = use_found(props, &combo);
    use_placed(combo.open, &text, &list);
    let known = chosen.as_ref().filter(|offer| offer.value == props.value);
    let name = use_name(
        props.source,
        &props.value,
        known.map(|offer| offer.label.clone()),
    );

    let ready = found.state.ready().filter(|_| combo.open);
    let offers = ready
        .map(|found| found.offers.as_slice())
        .unwrap_or_default();
    let shown = Shown {
        count: u32::try_from(offers.len()).unwrap_or(u32::MAX),
        chosen: offers
            .iter()
            .position(|offer| offer.value == props.value)
            .and_then(|place| u32::try_from(place).ok()),
        settled: ready.is_some_and(|found| found.search.as_deref() == Some(combo.search())),
    };
    let active = combo.active(shown);
    use_active_in_sight(active, &list);

    let set = {
        let (chosen, combo, onchoose) =
            (chosen.setter(), combo.dispatcher(), props.onchoose.clone());
        Callback::from(move |offer: Option<Offer>| {
            combo.dispatch(Step::Close);
            chosen.set(offer.clone());
            onchoose.emit(offer);
        })
    };
    let onkeydown = {
        let (combo, set, again) = (combo.clone(), set.clone(), found.reload.clone());
        let (offers, optional) = (offers.to_vec(), props.optional);
        Callback::from(move |event: KeyboardEvent| {
            if event.is_composing() || event.ctrl_key() || event.meta_key() || event.shift_key() {
                return;
            }
            let Some(act) = combo.on_key(&event.key(), event.alt_key(), shown, optional) else {
                return;
            };
            // It is the list's: neither the form's nor the dialog's.
            event.prevent_default();
            event.stop_propagation();
            match act {
                Act::Step(step) => combo.dispatch(step),
                Act::Choose(place) => set.emit(offers.get(place as usize).cloned()),
                Act::Clear => set.emit(None),
                Act::Again => again.emit(()),
                Act::Nothing => {}
            }
        })
    };
    let oninput = {
        let combo = combo.dispatcher();
        Callback::from(move |event: InputEvent| {
            let typed = event.target_unchecked_into::<HtmlInputElement>().value();
            combo.dispatch(Step::Type(typed));
        })
    };
    let onclick = {
        let combo = combo.clone();
        Callback::from(move |event: MouseEvent| {
            if !combo.open {
                // What is typed takes the place of the name.
                event.target_unchecked_into::<HtmlInputElement>().select();
                combo.dispatch(Step::Open(None));
            }
        })
    };
    let onfocusout = {
        let (combo, set, optional) = (combo.clone(), set.clone(), props.optional);
        let place = place.clone();
        Callback::from(move |event: FocusEvent| {
            if stays_within(&place, &event) || !(combo.open || combo.typed.is_some()) {
                return;
            }
            if optional && combo.is_emptied() {
                set.emit(None);
            } else {
                combo.dispatch(Step::Close);
            }
        })
    };
    let toggle = {
        let (combo, text) = (combo.clone(), text.clone());
        Callback::from(move |_: MouseEvent| {
            focus_text(&text);
            combo.dispatch(if combo.open {
                Step::Close
            } else {
                Step::Open(None)
            });
        })
    };
    let clear = {
        let (set, text) = (set.clone(), text.clone());
        Callback::from(move |_: MouseEvent| {
            set.emit(None);
            focus_text(&text);
        })
    };
    let id = input_id(&props.name);
    let list_id = format!("{id}-choices");
    let written = combo.typed.clone().map_or(name, AttrValue::from);
    let may_clear = props.optional && !props.value.is_empty();
    html!(
        <div ref={place} class="sl-chooser" {onfocusout}>
            <span ref={text} class={control_class("", props.wrong)}>
                <input id={id.clone()} name={props.name.clone()} type="text" role="combobox" autocomplete="off" spellcheck="false"
                    aria-autocomplete="list" aria-expanded={combo.open.to_string()} aria-controls={list_id.clone()}
                    aria-activedescendant={active.map(|place| option_id(&list_id, place))} aria-invalid={props.wrong.to_string()}
                    data-value={props.value.clone()} placeholder={props.placeholder.clone()} value={written}
                    {oninput} {onkeydown} {onclick} onfocusin={|event: FocusEvent| event.target_unchecked_into::<HtmlInputElement>().select()} />
                <span class="pf-v6-c-form-control__utilities sl-chooser-tools">
                    if may_clear {
                        <button type="button" aria-label={format!("Clear {}", props.label)} onclick={clear}>{ Icon::Times }</button>
                    }
                    <button type="button" tabindex="-1" aria-label={format!("Choices for {}", props.label)}
                        aria-expanded={combo.open.to_string()} aria-controls={list_id.clone()}
                        onmousedown={|event: MouseEvent| event.prevent_default()} onclick={toggle}>{ Icon::CaretDown }</button>
                </span>
            </span>
            if combo.open {
                // A press on it must not take the focus from the text, which would close it.
                <div ref={list} class={classes!("sl-choices", (!shown.settled).then_some("pf-m-stale"))} popover="manual"
                    onmousedown={|event: MouseEvent| event.prevent_default()}>
                    <ul id={list_id.clone()} role="listbox" aria-label={props.label.clone()}>
                        { for (0..).zip(offers).map(|(place, offer)| {
                            option(offer, option_id(&list_id, place), Some(place) == active, Some(place) == shown.chosen, &set)
                        }) }
                    </ul>
                    <p class="sl-choices-note" role="status">{ note(ready.map(|found| &**found), shown) }</p>
                </div>
            }
        </div>
    )
}

/// Asks for the choices while the list is open: at once when it opens, and a pause after what was typed last.
#[hook]
fn use_found(props: &Props, combo: &Combo) -> Loaded<Found> {
    let asked = use_state_eq(|| None::<String>);
    {
        let asked = asked.clone();
        let search = combo.open.then(|| combo.search().to_owned());
        use_effect_with(search, move |search| {
            let search = search.clone();
            let later = if search.is_some() && asked.is_some() {
                Some(Timeout::new(PAUSE_MS, move || asked.set(search)))
            } else {
                asked.set(search);
                None
            };
            move || drop(later)
        });
    }
    let newest = use_live().newest(&props.source.aggregates());
    // What changes while one looks does not change the list under one's hand.
    let at_least = use_memo((*asked).clone(), |_| newest);
    let question = (*asked).clone().map(|search| Question {
        search,
        taken: props.taken.clone(),
        at_least: *at_least,
    });
    let source = props.source;
    use_remote(
        question,
        move |client: Client, question: Option<Question>| async move {
            Ok::<_, Failure>(match question {
                Some(question) => source.ask(&client, question).await,
                None => Found::default(),
            })
        },
    )
}

/// Scrolls the list to the active choice.
#[hook]
fn use_active_in_sight(active: Option<u32>, list: &NodeRef) {
    let list = list.clone();
    use_effect_with(active, move |_| {
        let list = list.cast::<HtmlElement>();
        let find = |selector| list.as_ref().and_then(|list| first_in(list, selector));
        if let (Some(option), Some(place)) = (
            find("[role='option'].pf-m-active"),
            find("[role='listbox']"),
        ) {
            let (top, height) = (option.offset_top(), option.offset_height());
            let (from, room) = (place.scroll_top(), place.client_height());
            if top < from {
                place.set_scroll_top(top);
            } else if top + height > from + room {
                place.set_scroll_top(top + height - room);
            }
        }
    });
}

fn option_id(list: &str, place: u32) -> String {
    format!("{list}-{place}")
}

fn option(
    offer: &Offer,
    id: String,
    is_active: bool,
    is_chosen: bool,
    set: &Callback<Option<Offer>>,
) -> Html {
    let onclick = {
        let (set, offer) = (set.clone(), offer.clone());
        Callback::from(move |_: MouseEvent| set.emit(Some(offer.clone())))
    };
    html!(
        <li key={offer.value.to_string()} {id} role="option" aria-selected={is_chosen.to_string()} data-value={offer.value.clone()}
            class={is_active.then_some("pf-m-active")} {onclick}>
            <span>{ &offer.label }</span>
            if is_chosen {
                <span class="sl-choices-mark">{ Icon::Check }</span>
            }
            if !offer.hint.is_empty() {
                <small>{ &offer.hint }</small>
            }
        </li>
    )
}

/// What is to be said about the choices.
fn note(found: Option<&Found>, shown: Shown) -> String {
    let Some(found) = found.filter(|_| shown.settled) else {
        return "Looking …".to_owned();
    };
    if let Some(failure) = &found.failure {
        return format!("Not all could be loaded: {failure}");
    }
    match (shown.count, found.more) {
        (0, false) if found.search.as_deref() == Some("") => {
            "There is nothing to choose from yet.".to_owned()
        }
        (0, false) => "Nothing matches.".to_owned(),
        (_, true) => "There are more: type to narrow them down.".to_owned(),
        (1, false) => "1 choice.".to_owned(),
        (count, false) => format!("{count} choices."),
    }
}

/// Whether the focus goes to something else within `place`.
fn stays_within(place: &NodeRef, event: &FocusEvent) -> bool {
    let next = event
        .related_target()
        .and_then(|it| it.dyn_into::<web_sys::Node>().ok());
    let place = place.cast::<web_sys::Node>();
    place.is_some_and(|place| next.is_some() && place.contains(next.as_ref()))
}

fn focus_text(text: &NodeRef) {
    let text = text.cast::<HtmlElement>();
    focus(text.and_then(|text| first_in(&text, "input")));
}

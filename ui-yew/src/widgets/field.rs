//! Fields of forms: a label that belongs to its input, a hint, and what is wrong with it.
//!
//! Every field has the name that the command's field has, so that a refusal finds its place.

use patternfly_yew::prelude::Icon;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement};
use yew::prelude::*;

use crate::api::Rejection;

/// What frames any input.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct FrameProps {
    /// The command's field.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// One sentence that helps to fill it in.
    #[prop_or_default]
    pub(crate) hint: Option<AttrValue>,
    /// Whether it must be filled in.
    #[prop_or_default]
    pub(crate) required: bool,
    /// The refusal of the form that it stands in.
    #[prop_or_default]
    pub(crate) rejection: Option<Rejection>,
    /// The input.
    #[prop_or_default]
    pub(crate) children: Html,
}

/// Label above, input, then what is wrong, or else the hint.
#[component]
pub(crate) fn Frame(props: &FrameProps) -> Html {
    let wrong = props
        .rejection
        .as_ref()
        .and_then(|rejection| rejection.of_field(&props.name));
    html!(
        <div class="pf-v6-c-form__group" data-field={props.name.clone()}>
            <div class="pf-v6-c-form__group-label">
                <label class="pf-v6-c-form__label" for={input_id(&props.name)}>
                    <span class="pf-v6-c-form__label-text">{ &props.label }</span>
                    if props.required {
                        <span class="pf-v6-c-form__label-required" aria-hidden="true">{ "\u{a0}*" }</span>
                    }
                </label>
            </div>
            <div class="pf-v6-c-form__group-control">
                { props.children.clone() }
                { helper(wrong, props.hint.as_deref()) }
            </div>
        </div>
    )
}

fn helper(wrong: Option<&str>, hint: Option<&str>) -> Html {
    let (class, icon, text) = match (wrong, hint) {
        (Some(wrong), _) => (
            "pf-v6-c-helper-text__item pf-m-error",
            Some(Icon::ExclamationCircle),
            wrong,
        ),
        (None, Some(hint)) => ("pf-v6-c-helper-text__item", None, hint),
        (None, None) => return Html::default(),
    };
    html!(
        <div class="pf-v6-c-form__helper-text" aria-live="polite">
            <div class="pf-v6-c-helper-text">
                <div {class}>
                    if let Some(icon) = icon {
                        <span class="pf-v6-c-helper-text__item-icon">{ icon }</span>
                    }
                    <span class="pf-v6-c-helper-text__item-text">{ text }</span>
                </div>
            </div>
        </div>
    )
}

/// The id of a field's input.
pub(crate) fn input_id(name: &str) -> String {
    format!("field-{name}")
}

/// The classes of what frames an input.
pub(crate) fn control_class(base: &'static str, wrong: bool) -> Classes {
    classes!("pf-v6-c-form-control", base, wrong.then_some("pf-m-error"))
}

/// Whether a refusal belongs to the field.
pub(crate) fn is_wrong(rejection: Option<&Rejection>, name: &str) -> bool {
    rejection.is_some_and(|rejection| rejection.of_field(name).is_some())
}

/// Properties of [`TextField`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct TextProps {
    /// The command's field.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// What stands in it.
    pub(crate) value: AttrValue,
    /// Called with each change.
    pub(crate) onchange: Callback<String>,
    /// One sentence that helps to fill it in.
    #[prop_or_default]
    pub(crate) hint: Option<AttrValue>,
    /// An example, shown while it is empty.
    #[prop_or_default]
    pub(crate) placeholder: Option<AttrValue>,
    /// `text`, `password`, `email`, `number` or `datetime-local`.
    #[prop_or(AttrValue::Static("text"))]
    pub(crate) kind: AttrValue,
    /// What the browser may fill in by itself.
    #[prop_or(AttrValue::Static("off"))]
    pub(crate) autocomplete: AttrValue,
    /// Whether it must be filled in.
    #[prop_or_default]
    pub(crate) required: bool,
    /// Whether the cursor begins here.
    #[prop_or_default]
    pub(crate) autofocus: bool,
    /// The refusal of the form that it stands in.
    #[prop_or_default]
    pub(crate) rejection: Option<Rejection>,
}

/// One line of text.
#[component]
pub(crate) fn TextField(props: &TextProps) -> Html {
    let input = use_node_ref();
    {
        let input = input.clone();
        use_effect_with(props.autofocus, move |autofocus| {
            if let Some(input) = input.cast::<HtmlInputElement>().filter(|_| *autofocus) {
                drop(input.focus());
            }
        });
    }
    let wrong = is_wrong(props.rejection.as_ref(), &props.name);
    let oninput = props
        .onchange
        .reform(|event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value());
    html!(
        <Frame name={props.name.clone()} label={props.label.clone()} hint={props.hint.clone()}
            required={props.required} rejection={props.rejection.clone()}>
            <span class={control_class("", wrong)}>
                <input ref={input} id={input_id(&props.name)} name={props.name.clone()} type={props.kind.clone()}
                    value={props.value.clone()} placeholder={props.placeholder.clone()}
                    autocomplete={props.autocomplete.clone()} spellcheck="false"
                    required={props.required} aria-invalid={wrong.to_string()} {oninput} />
                if wrong {
                    <span class="pf-v6-c-form-control__utilities">
                        <span class="pf-v6-c-form-control__icon pf-m-status">{ Icon::ExclamationCircle }</span>
                    </span>
                }
            </span>
        </Frame>
    )
}

/// Properties of [`TextArea`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct AreaProps {
    /// The command's field.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// What stands in it.
    pub(crate) value: AttrValue,
    /// Called with each change.
    pub(crate) onchange: Callback<String>,
    /// One sentence that helps to fill it in.
    #[prop_or_default]
    pub(crate) hint: Option<AttrValue>,
    /// An example, shown while it is empty.
    #[prop_or_default]
    pub(crate) placeholder: Option<AttrValue>,
    /// How many lines it shows.
    #[prop_or(3)]
    pub(crate) rows: u32,
    /// The refusal of the form that it stands in.
    #[prop_or_default]
    pub(crate) rejection: Option<Rejection>,
}

/// Several lines of text.
#[component]
pub(crate) fn TextArea(props: &AreaProps) -> Html {
    let wrong = is_wrong(props.rejection.as_ref(), &props.name);
    let read = |event: InputEvent| event.target_unchecked_into::<HtmlTextAreaElement>().value();
    let oninput = props.onchange.reform(read);
    html!(
        <Frame name={props.name.clone()} label={props.label.clone()} hint={props.hint.clone()}
            rejection={props.rejection.clone()}>
            <span class={control_class("pf-m-resize-vertical", wrong)}>
                <textarea id={input_id(&props.name)} name={props.name.clone()} rows={props.rows.to_string()}
                    value={props.value.clone()} placeholder={props.placeholder.clone()}
                    aria-invalid={wrong.to_string()} {oninput} />
            </span>
        </Frame>
    )
}

/// One of the things to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What is sent.
    pub(crate) value: AttrValue,
    /// What is shown.
    pub(crate) label: AttrValue,
}

/// Properties of [`SelectField`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct SelectProps {
    /// The command's field.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// The value chosen; empty: none yet.
    pub(crate) value: AttrValue,
    /// What there is to choose from.
    pub(crate) choices: Vec<Choice>,
    /// Called with each change.
    pub(crate) onchange: Callback<String>,
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

/// One of several.
#[component]
pub(crate) fn SelectField(props: &SelectProps) -> Html {
    let wrong = is_wrong(props.rejection.as_ref(), &props.name);
    html!(
        <Frame name={props.name.clone()} label={props.label.clone()} hint={props.hint.clone()}
            required={props.required} rejection={props.rejection.clone()}>
            <Select id={input_id(&props.name)} name={props.name.clone()} value={props.value.clone()}
                choices={props.choices.clone()} onchange={props.onchange.clone()}
                placeholder={props.placeholder.clone()} {wrong} />
        </Frame>
    )
}

/// Properties of [`Select`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct BareSelectProps {
    /// The element's id.
    #[prop_or_default]
    pub(crate) id: Option<AttrValue>,
    /// Its name.
    pub(crate) name: AttrValue,
    /// The value chosen; empty: none yet.
    pub(crate) value: AttrValue,
    /// What there is to choose from.
    pub(crate) choices: Vec<Choice>,
    /// Called with each change.
    pub(crate) onchange: Callback<String>,
    /// Shown while nothing is chosen.
    #[prop_or_default]
    pub(crate) placeholder: Option<AttrValue>,
    /// Whether what is chosen was refused.
    #[prop_or_default]
    pub(crate) wrong: bool,
}

/// A native list to choose from, without a label.
#[component]
pub(crate) fn Select(props: &BareSelectProps) -> Html {
    let read = |event: Event| {
        event
            .target()
            .map(|target| target.unchecked_into::<HtmlSelectElement>().value())
    };
    let onchange = {
        let onchange = props.onchange.clone();
        Callback::from(move |event: Event| {
            if let Some(value) = read(event) {
                onchange.emit(value);
            }
        })
    };
    let list = use_node_ref();
    {
        // What is chosen is a state of the element, which attributes set only once.
        let list = list.clone();
        use_effect_with(
            (props.value.clone(), props.choices.clone()),
            move |(value, _)| {
                if let Some(list) = list.cast::<HtmlSelectElement>() {
                    list.set_value(value);
                }
            },
        );
    }
    let placeholder = props.placeholder.clone().map(|label| Choice {
        value: AttrValue::default(),
        label,
    });
    let option = |choice: &Choice| {
        let selected = choice.value == props.value;
        html!(<option key={choice.value.to_string()} value={choice.value.clone()} {selected}>{ &choice.label }</option>)
    };
    html!(
        <span class={control_class("sl-select", props.wrong)}>
            <select ref={list} id={props.id.clone()} name={props.name.clone()}
                aria-invalid={props.wrong.to_string()} {onchange}>
                { for placeholder.iter().chain(&props.choices).map(option) }
            </select>
            <span class="pf-v6-c-form-control__utilities">
                <span class="pf-v6-c-form-control__toggle-icon">{ Icon::CaretDown }</span>
            </span>
        </span>
    )
}

/// Properties of [`Check`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct CheckProps {
    /// The element's name, unique on the page.
    pub(crate) name: AttrValue,
    /// What being checked means.
    pub(crate) label: AttrValue,
    /// One sentence more.
    #[prop_or_default]
    pub(crate) hint: Option<AttrValue>,
    /// Whether it is checked.
    pub(crate) checked: bool,
    /// Called with each change.
    pub(crate) onchange: Callback<bool>,
}

/// A box to check.
#[component]
pub(crate) fn Check(props: &CheckProps) -> Html {
    let id = input_id(&props.name);
    let onchange = props
        .onchange
        .reform(|event: Event| event.target_unchecked_into::<HtmlInputElement>().checked());
    html!(
        <div class="pf-v6-c-check">
            <input class="pf-v6-c-check__input" type="checkbox" id={id.clone()} name={props.name.clone()}
                checked={props.checked} {onchange} />
            <label class="pf-v6-c-check__label" for={id}>{ &props.label }</label>
            if let Some(hint) = &props.hint {
                <span class="pf-v6-c-check__description">{ hint }</span>
            }
        </div>
    )
}

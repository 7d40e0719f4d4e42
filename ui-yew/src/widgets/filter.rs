//! Inputs above a list, small and with their label over them.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::field::Choice;
use crate::format;

/// Properties of [`FilterInput`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Its name.
    pub(crate) name: AttrValue,
    /// What people call it.
    pub(crate) label: AttrValue,
    /// What stands in it.
    pub(crate) value: AttrValue,
    /// `text`, `number`, `search` or `datetime-local`.
    #[prop_or(AttrValue::Static("text"))]
    pub(crate) kind: AttrValue,
    /// An example, shown while it is empty.
    #[prop_or_default]
    pub(crate) placeholder: Option<AttrValue>,
    /// Whether only what was typed to the end counts: with Enter, or when the field is left. Else each letter does. What
    /// is chosen in the browser's own calendar counts at once.
    #[prop_or_default]
    pub(crate) when_done: bool,
    /// Called with each change.
    pub(crate) onchange: Callback<String>,
}

/// One line of text.
#[component]
pub(crate) fn FilterInput(props: &Props) -> Html {
    // What was typed and does not count yet. It gives way to what is set from outside.
    let typed = use_state_eq(|| None::<String>);
    {
        let typed = typed.setter();
        use_effect_with(props.value.clone(), move |_| typed.set(None));
    }
    let oninput = {
        let (typed, changed) = (typed.setter(), props.onchange.clone());
        let when_done = props.when_done;
        Callback::from(move |event: InputEvent| {
            let value = event.target_unchecked_into::<HtmlInputElement>().value();
            if when_done {
                typed.set(Some(value));
            } else {
                changed.emit(value);
            }
        })
    };
    // A browser calls each digit of a moment a change as soon as the rest can be read: the year 2 comes before 2026.
    let is_moment = props.kind == "datetime-local";
    let by_key = use_mut_ref(|| false);
    let onchange = props.when_done.then(|| {
        let (changed, by_key) = (props.onchange.clone(), by_key.clone());
        Callback::from(move |event: Event| {
            if !(is_moment && *by_key.borrow()) {
                changed.emit(event.target_unchecked_into::<HtmlInputElement>().value());
            }
        })
    });
    let done = {
        let (typed, changed) = (typed.clone(), props.onchange.clone());
        move || {
            if let Some(value) = (*typed).clone().filter(|_| is_moment) {
                changed.emit(value);
            }
        }
    };
    let onkeydown = {
        let (by_key, done) = (by_key.clone(), done.clone());
        Callback::from(move |event: KeyboardEvent| {
            *by_key.borrow_mut() = true;
            if event.key() == "Enter" {
                done();
            }
        })
    };
    let onpointerdown = Callback::from(move |_: PointerEvent| *by_key.borrow_mut() = false);
    let onfocusout = Callback::from(move |_: FocusEvent| done());
    let value = (*typed)
        .clone()
        .map_or_else(|| props.value.clone(), AttrValue::from);
    html!(
        <label class="sl-filter">
            <span>{ &props.label }</span>
            <span class="pf-v6-c-form-control">
                <input type={props.kind.clone()} name={props.name.clone()} {value} {oninput} {onchange} {onkeydown} {onpointerdown} {onfocusout}
                    placeholder={props.placeholder.clone()} autocomplete="off" spellcheck="false" />
            </span>
        </label>
    )
}

/// The choices with the chosen one among them, also where it is of a thing that is not offered: one that is gone, or
/// one of more than there is room for.
pub(crate) fn offered(mut choices: Vec<Choice>, chosen: &str) -> Vec<Choice> {
    if !chosen.is_empty() && !choices.iter().any(|choice| choice.value == chosen) {
        let id = chosen.rsplit(':').next().unwrap_or(chosen);
        let label = if id.len() == 32 {
            format!("{}…", format::short_id(id))
        } else {
            chosen.to_owned()
        };
        choices.push(Choice {
            value: chosen.to_owned().into(),
            label: label.into(),
        });
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_can_be_seen_even_when_it_is_not_offered() {
        let known = Choice {
            value: "a".into(),
            label: "A".into(),
        };
        let labels = |chosen: &str| -> Vec<String> {
            let all = offered(vec![known.clone()], chosen);
            all.iter().map(|choice| choice.label.to_string()).collect()
        };
        assert_eq!(labels(""), ["A"]);
        assert_eq!(labels("a"), ["A"]);
        assert_eq!(labels("mock/old"), ["A", "mock/old"]);
        assert_eq!(
            labels("user:0123456789abcdef0123456789abcdef"),
            ["A", "01234567…"]
        );
    }
}

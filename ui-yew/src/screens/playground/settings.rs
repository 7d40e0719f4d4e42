//! What is asked, and how.

use yew::prelude::*;

use crate::browser;
use crate::widgets::draft::Draft;
use crate::widgets::field::{Choice, SelectField, TextArea, TextField};

/// As typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings {
    /// The model's name; empty: the first there is.
    pub(super) model: String,
    /// Instructions for the whole conversation.
    pub(super) instructions: String,
    /// How much chance there is.
    pub(super) temperature: String,
    /// At most so many tokens.
    pub(super) max_tokens: String,
}

/// Properties of [`SettingsPanel`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// As typed.
    pub(super) settings: Draft<Settings>,
    /// The models there are.
    pub(super) choices: Vec<Choice>,
    /// The model that is meant.
    pub(super) model: AttrValue,
}

/// The inputs.
#[component]
pub(super) fn SettingsPanel(props: &Props) -> Html {
    let settings = &props.settings;
    // Where the conversation stands below, it should be in sight.
    let unfolded = use_memo((), |()| browser::is_wide());
    html!(
        <div class="sl-card sl-pad sl-settings">
            <form class="pf-v6-c-form" novalidate={true} onsubmit={|event: SubmitEvent| event.prevent_default()}>
                <SelectField name="model" label="Model" value={props.model.clone()} choices={props.choices.clone()}
                    placeholder={props.choices.is_empty().then_some("No models yet")}
                    onchange={settings.edit(|settings, text| settings.model = text)} />
                <details class="sl-more" open={*unfolded}>
                    <summary>{ "Settings" }</summary>
                    <TextArea name="instructions" label="Instructions" rows={4} value={settings.instructions.clone()}
                        placeholder="You answer briefly."
                        onchange={settings.edit(|settings, text| settings.instructions = text)} />
                    <div class="sl-columns">
                        <TextField name="temperature" label="Temperature" kind="number" placeholder="Default"
                            value={settings.temperature.clone()} onchange={settings.edit(|settings, text| settings.temperature = text)} />
                        <TextField name="max_tokens" label="Maximum tokens" kind="number" placeholder="Default"
                            value={settings.max_tokens.clone()} onchange={settings.edit(|settings, text| settings.max_tokens = text)} />
                    </div>
                </details>
            </form>
        </div>
    )
}

// === impl Settings ===

impl Settings {
    /// The model that is meant: the chosen one while it is there, or else the first.
    pub(super) fn chosen_of(&self, choices: &[Choice]) -> Option<String> {
        let chosen = choices.iter().find(|choice| *choice.value == *self.model);
        chosen
            .or_else(|| choices.first())
            .map(|choice| choice.value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_gone_gives_way_to_the_first() {
        let choice = |name: &'static str| Choice {
            value: name.into(),
            label: name.into(),
        };
        let settings = Settings {
            model: "b".to_owned(),
            ..Settings::default()
        };
        assert_eq!(
            settings.chosen_of(&[choice("a"), choice("b")]).as_deref(),
            Some("b")
        );
        assert_eq!(settings.chosen_of(&[choice("a")]).as_deref(), Some("a"));
        assert_eq!(settings.chosen_of(&[]), None);
    }
}

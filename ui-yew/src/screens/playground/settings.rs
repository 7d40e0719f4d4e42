//! What is asked, and how.

use yew::prelude::*;

use super::offered::CHATTING;
use crate::browser;
use crate::widgets::chooser::{ChooserField, Offer};
use crate::widgets::draft::Draft;
use crate::widgets::field::{TextArea, TextField};

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
                <ChooserField name="model" label="Model" required={true} source={CHATTING} value={props.model.clone()}
                    placeholder="Search models"
                    onchoose={settings.edit(|settings: &mut Settings, model: Option<Offer>| {
                        settings.model = model.map(|it| it.value.to_string()).unwrap_or_default();
                    })} />
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

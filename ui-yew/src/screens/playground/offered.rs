//! What there is to chat with.

use std::rc::Rc;

use events_schema::api::Page;
use events_schema::api::resources::{ModelItem, VirtualModelItem};
use events_schema::events::{Aggregate, ModelType};
use patternfly_yew::prelude::*;
use yew::prelude::*;
use yew_nested_router::prelude::*;

use crate::api::{Client, use_live};
use crate::remote::{Content, Loaded, use_remote};
use crate::route::Screen;
use crate::widgets::field::Choice;

/// How many of each are offered: the most that a page has.
const LIMIT: u32 = 200;

/// The changes after which there may be others.
const SHOWS: &[Aggregate] = &[
    Aggregate::Model,
    Aggregate::VirtualModel,
    Aggregate::ProviderAccount,
];

/// Models and the names that stand for several of them.
pub(super) struct Offered {
    /// The models, also for their prices.
    pub(super) models: Rc<Vec<ModelItem>>,
    virtual_models: Vec<VirtualModelItem>,
}

/// Loads what there is, and again when it changes.
#[hook]
pub(super) fn use_offered() -> Loaded<Offered> {
    let newest = use_live().newest(SHOWS);
    use_remote(newest, |client: Client, newest| async move {
        let query = format!("?limit={LIMIT}&at_least={newest}");
        let models: Page<ModelItem> = client.get(&format!("/models{query}")).await?;
        let virtual_models: Page<VirtualModelItem> =
            client.get(&format!("/virtual-models{query}")).await?;
        Ok(Offered {
            models: Rc::new(models.items),
            virtual_models: virtual_models.items,
        })
    })
}

/// Stands where there is nothing to chat with.
pub(super) fn none() -> Html {
    html!(<NothingToChatWith />)
}

#[component]
fn NothingToChatWith() -> Html {
    let router = use_router::<Screen>().expect("the screens lie within the router");
    let to_models = Action::new(
        "To the models",
        Callback::from(move |()| router.push(Screen::Models)),
    );
    html!(
        <section class="pf-v6-c-page__main-section">
            <div class="sl-card">
                <EmptyState title="No model to chat with" icon={Icon::Microchip} primary={to_models}>
                    { "Add a provider account and one of its models that chats, or enable one; then come back." }
                </EmptyState>
            </div>
        </section>
    )
}

// === impl Offered ===

impl Offered {
    /// Virtual models first, then every model that chats; none that is disabled.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let choice = |name: &str, kind: &str| Choice {
            value: name.to_owned().into(),
            label: format!("{name}{kind}").into(),
        };
        let virtual_models = self.virtual_models.iter().filter(|model| !model.disabled);
        let models = self
            .models
            .iter()
            .filter(|model| !model.disabled && model.model_types.contains(&ModelType::Chat));
        virtual_models
            .map(|model| choice(&model.name, " (virtual)"))
            .chain(models.map(|model| choice(&model.full_name, "")))
            .collect()
    }
}

impl Content for Offered {
    fn is_empty(&self) -> bool {
        self.choices().is_empty()
    }
}

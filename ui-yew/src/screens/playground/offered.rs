//! What there is to chat with.

use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
use yew::prelude::*;
use yew_nested_router::prelude::*;

use crate::api::{Client, use_live};
use crate::remote::{Content, Loaded, use_remote};
use crate::route::Screen;
use crate::widgets::chooser::{Found, List, Question, Source};

/// What can be chatted with. Virtual models first: they are what applications should ask for.
pub(super) const CHATTING: Source = Source {
    fixed: &[],
    lists: &[List::ChatVirtualModels, List::ChatModels],
};

/// The changes after which there may be others.
const SHOWS: &[Aggregate] = &[
    Aggregate::Model,
    Aggregate::VirtualModel,
    Aggregate::ProviderAccount,
];

/// What is meant until something is chosen.
pub(super) struct First(Option<AttrValue>);

/// Looks for the first there is, and again when models change.
#[hook]
pub(super) fn use_first() -> Loaded<First> {
    let at_least = use_live().newest(SHOWS);
    use_remote(at_least, |client: Client, at_least| async move {
        let question = Question {
            search: String::new(),
            taken: Vec::new(),
            at_least,
        };
        let Found {
            offers, failure, ..
        } = CHATTING.ask(&client, question).await;
        match (offers.into_iter().next(), failure) {
            (None, Some(failure)) => Err(failure),
            (first, _) => Ok(First(first.map(|it| it.value))),
        }
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

// === impl First ===

impl First {
    /// Its name.
    pub(super) fn name(&self) -> Option<String> {
        self.0.as_ref().map(ToString::to_string)
    }
}

impl Content for First {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

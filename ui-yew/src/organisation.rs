//! The organisation's settings, for the screen that shows them and for what shows the organisation's name.

use std::rc::Rc;

use events_schema::api::resources::SettingsItem;
use events_schema::events::Aggregate;
use yew::prelude::*;

use crate::api::{Client, use_live};
use crate::remote::{Content, Loaded, use_remote};

/// What shows in the settings.
const SHOWS: &[Aggregate] = &[Aggregate::Settings];

/// What the organisation is called, as far as it is known.
#[derive(Clone, PartialEq, Default)]
struct Name(Option<Rc<str>>);

impl Content for SettingsItem {}

/// The settings, loaded again when they change.
#[hook]
pub(crate) fn use_settings() -> Loaded<SettingsItem> {
    let at_least = use_live().newest(SHOWS);
    use_remote(at_least, |client: Client, at_least| async move {
        let path = format!("/settings?at_least={at_least}");
        client.get::<SettingsItem>(&path).await
    })
}

/// What the organisation is called; nothing while it is not known, or where it has no name.
#[hook]
pub(crate) fn use_organisation() -> Option<Rc<str>> {
    use_context::<Name>().unwrap_or_default().0
}

/// Knows the name for all that lies within.
#[component]
pub(crate) fn OrganisationProvider(props: &yew::html::ChildrenProps) -> Html {
    let settings = use_settings();
    let known = settings.state.ready();
    let name = known.and_then(|it| it.organisation.as_deref().map(Rc::from));
    html!(
        <ContextProvider<Name> context={Name(name)}>
            { props.children.clone() }
        </ContextProvider<Name>>
    )
}

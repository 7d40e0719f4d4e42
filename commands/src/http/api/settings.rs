//! `/api/v1/settings`

use axum::extract::State;
use events_schema::{
    api::{history::Thing, resources::SettingsItem},
    events::Stream,
    state::{Organisation, Settings},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{
    control::Control,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        kind::Kind,
        list::{self, ItemParams, Wanted},
        names::Names,
    },
};

/// Read the settings
///
/// What holds for the whole organisation: its name, how long request records are kept, how long sessions last.
#[utoipa::path(get, path = "/settings", tag = "settings", operation_id = "get_settings", params(ItemParams),
    responses((status = 200, description = "The settings.", body = SettingsItem)))]
pub(super) async fn read(
    State(app): State<App>,
    Params(params): Params<ItemParams>,
) -> Answer<Json<SettingsItem>> {
    let live = list::live(&app, params.at_least).await?;
    Ok(Json(item(live.state.settings())))
}

/// There is always one of it.
impl Kind for Settings {
    type Item = SettingsItem;
    type Cursor = Uuid;
    const WHAT: &'static str = "settings";

    fn get(state: &Organisation, _: Uuid) -> Option<&Self> {
        Some(state.settings())
    }

    fn each(state: &Organisation) -> impl Iterator<Item = &Self> {
        std::iter::once(state.settings())
    }

    fn uuid(&self) -> Uuid {
        Uuid::nil()
    }

    fn stream(&self) -> Stream {
        Stream::Settings
    }

    fn thing(item: Self::Item) -> Thing {
        Thing::Settings(item)
    }

    fn version(&self) -> u64 {
        self.life.map_or(0, |life| life.version)
    }

    fn people(&self) -> Vec<Uuid> {
        Vec::new()
    }

    async fn select<'s>(
        _: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> Answer<(Vec<&'s Self>, Option<String>)> {
        let it = state.settings();
        let name = it.organisation.as_ref().map_or("", |name| name.as_str());
        let found = wanted.after.is_none() && wanted.matches(&["settings", name]);
        Ok(list::first(wanted, found.then_some(it), |it| it.uuid()))
    }

    fn item(&self, _: &Names<'_>, _: Timestamp) -> SettingsItem {
        item(self)
    }
}

fn item(settings: &Settings) -> SettingsItem {
    let Settings {
        life,
        organisation,
        retention,
        sessions,
    } = settings;
    SettingsItem {
        organisation: organisation.as_ref().map(ToString::to_string),
        retention: *retention,
        sessions: *sessions,
        life: *life,
    }
}

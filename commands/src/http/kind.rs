//! A kind of thing that is listed: found, searched, ordered and shown alike, whether as of now or as of any position.

use events_schema::{api::history::Thing, events::Stream, state::Organisation, time::Timestamp};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{app::Answer, list::Wanted, names::Names, problem::ApiError};
use crate::control::Control;

/// A kind of thing, with what its list and its items need.
pub(super) trait Kind: PartialEq + Sized + 'static {
    /// What the API shows of one.
    type Item;
    /// What a cursor of its list holds.
    type Cursor: DeserializeOwned;
    /// What people call one.
    const WHAT: &'static str;

    /// The one of this id, if it is there.
    fn get(state: &Organisation, id: Uuid) -> Option<&Self>;

    /// All that there are.
    fn each(state: &Organisation) -> impl Iterator<Item = &Self>;

    /// Its id.
    fn uuid(&self) -> Uuid;

    /// Its own line of events.
    fn stream(&self) -> Stream;

    /// An item among those of other kinds.
    fn thing(item: Self::Item) -> Thing;

    /// How many events it has.
    fn version(&self) -> u64;

    /// The people whose names it needs.
    fn people(&self) -> Vec<Uuid>;

    /// The wanted page in the order of the list, and the cursor of the next.
    ///
    /// # Errors
    /// When the people cannot be read.
    fn select<'s>(
        control: &Control,
        state: &'s Organisation,
        wanted: &Wanted<Self::Cursor>,
    ) -> impl Future<Output = Answer<(Vec<&'s Self>, Option<String>)>> + Send;

    /// What is shown of it. `at`: the time as of which it is shown.
    fn item(&self, names: &Names<'_>, at: Timestamp) -> Self::Item;
}

/// The wanted page of a list, and the cursor of the next.
///
/// # Errors
/// When the people cannot be read.
pub(super) async fn page_of<K: Kind>(
    control: &Control,
    state: &Organisation,
    wanted: &Wanted<K::Cursor>,
    at: Timestamp,
) -> Answer<(Vec<K::Item>, Option<String>)> {
    let (things, next) = K::select(control, state, wanted).await?;
    Ok((items(control, state, &things, at).await?, next))
}

/// What is shown of these things.
///
/// # Errors
/// When the people cannot be read.
pub(super) async fn items<K: Kind>(
    control: &Control,
    state: &Organisation,
    things: &[&K],
    at: Timestamp,
) -> Answer<Vec<K::Item>> {
    let people = things.iter().flat_map(|it| it.people());
    let names = Names::read(control, state, people).await?;
    Ok(things.iter().map(|it| it.item(&names, at)).collect())
}

/// What is shown of the one thing of this id.
///
/// # Errors
/// [`ApiError::NotFound`]; when the people cannot be read.
pub(super) async fn one<K: Kind>(
    control: &Control,
    state: &Organisation,
    id: Uuid,
    at: Timestamp,
) -> Answer<K::Item> {
    let found = K::get(state, id).ok_or(ApiError::NotFound(K::WHAT))?;
    let names = Names::read(control, state, found.people()).await?;
    Ok(found.item(&names, at))
}

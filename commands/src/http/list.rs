//! Lists: search, and paging by cursor in an order that does not change while one pages.
//!
//! A cursor is opaque to callers; it holds the key of the last item shown, so items that come or go in between
//! are neither shown twice nor do they push others out.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeSet, BinaryHeap, HashSet},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use events_schema::api::Page;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    app::{Answer, App},
    problem::ApiError,
    search::{People, Search},
};
use crate::control::{Control, Live};

/// Items on a page where the caller says nothing.
const DEFAULT_LIMIT: u32 = 50;
/// The most items on a page.
pub(super) const MOST: u32 = 200;
/// The longest text to search for, in characters.
const SEARCH_CHARS: usize = 200;
/// Items that are looked at at a time, where very many people are found.
const SOME_ITEMS: usize = 2_000;
/// How long `at_least` waits.
const AT_LEAST_TIME: Duration = Duration::from_secs(10);

/// What every list takes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only what has this text in its name, label, e-mail address or id; upper and lower case are the same.
    pub(super) search: Option<String>,
    /// The `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
    /// How many items at most: 1 to 200, else 50.
    pub(super) limit: Option<u32>,
    /// Wait until this position of the log is reached, at most 10 s.
    pub(super) at_least: Option<u64>,
}

/// What single things take.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ItemParams {
    /// Wait until this position of the log is reached, at most 10 s.
    pub(super) at_least: Option<u64>,
}

/// The wanted page, its parameters checked.
pub(super) struct Wanted<K> {
    /// What to search for.
    pub(super) search: Search,
    /// Show what comes after this key.
    pub(super) after: Option<K>,
    /// How many items.
    pub(super) limit: usize,
    /// Only these; `None`: whichever.
    pub(super) only: Option<BTreeSet<Uuid>>,
}

/// The state at `at_least` or later.
pub(super) async fn live(app: &App, at_least: Option<u64>) -> Answer<Arc<Live>> {
    let control = app.control()?;
    let Some(wanted) = at_least else {
        return Ok(control.live());
    };
    let Err(late) = control.at_least(wanted, AT_LEAST_TIME).await else {
        return Ok(control.live());
    };
    // Either this replica lags behind, or there is no such position: then it is the question that is wrong.
    match control.stored_position().await {
        Ok(stored) if stored < wanted => Err(ApiError::invalid(
            "at_least",
            format!("the log ends at {stored}"),
        )),
        Ok(_) | Err(_) => Err(ApiError::PositionNotReached {
            wanted: late.wanted,
            reached: late.reached,
        }),
    }
}

impl ListParams {
    /// Waits for the position and checks the rest.
    pub(super) async fn read<K: DeserializeOwned>(
        &self,
        app: &App,
    ) -> Answer<(Arc<Live>, Wanted<K>)> {
        let wanted = self.wanted()?;
        Ok((live(app, self.at_least).await?, wanted))
    }

    /// Checks all but the position.
    pub(super) fn wanted<K: DeserializeOwned>(&self) -> Answer<Wanted<K>> {
        let search = self.search.as_deref().unwrap_or_default().trim();
        if search.chars().count() > SEARCH_CHARS {
            return Err(ApiError::invalid(
                "search",
                "search for at most 200 characters",
            ));
        }
        Ok(Wanted {
            search: Search::new(search),
            after: read_cursor(self.cursor.as_deref())?,
            limit: read_limit(self.limit)?,
            only: None,
        })
    }
}

/// A page's size.
pub(super) fn read_limit(limit: Option<u32>) -> Answer<usize> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MOST).contains(&limit) {
        Ok(limit as usize)
    } else {
        Err(ApiError::invalid("limit", "a page has 1 to 200 items"))
    }
}

/// The key within a cursor.
pub(super) fn read_cursor<K: DeserializeOwned>(cursor: Option<&str>) -> Answer<Option<K>> {
    let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
        return Ok(None);
    };
    let key = URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    key.map(Some).ok_or_else(|| {
        ApiError::invalid("cursor", "a cursor is the next_cursor of the page before")
    })
}

/// A cursor that holds the key.
pub(super) fn write_cursor<K: Serialize>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).expect("a key is JSON"))
}

impl<K> Wanted<K> {
    /// Whether it is one of those that may be shown.
    fn takes(&self, id: Uuid) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&id))
    }

    /// Whether one of the texts holds what is searched for.
    pub(super) fn matches(&self, texts: &[&str]) -> bool {
        self.search.is_empty() || texts.iter().any(|text| self.search.is_in(text))
    }

    /// Whether the id, or a part of it, is what is searched for.
    pub(super) fn matches_id(&self, id: Uuid) -> bool {
        self.search.is_empty() || self.search.is_in_id(id)
    }
}

/// The page's items in the order of name and id, and whether there are more. Takes memory for one page, however many
/// items there are.
pub(super) fn by_name<'a, T>(
    wanted: &Wanted<(String, Uuid)>,
    items: impl Iterator<Item = (Cow<'a, str>, Uuid, T)>,
) -> (Vec<T>, Option<String>) {
    let after = |name: &str, id: Uuid| {
        wanted
            .after
            .as_ref()
            .is_none_or(|(last, last_id)| (name, id) > (last.as_str(), *last_id))
    };
    let mut least = BinaryHeap::with_capacity(wanted.limit + 2);
    for (name, id, item) in items.filter(|(name, id, _)| wanted.takes(*id) && after(name, *id)) {
        let item = Named { name, id, item };
        if least.len() <= wanted.limit || least.peek().is_some_and(|last| item < *last) {
            least.push(item);
        }
        if least.len() > wanted.limit + 1 {
            least.pop();
        }
    }
    let mut rest = least.into_sorted_vec();
    let more = rest.len() > wanted.limit;
    rest.truncate(wanted.limit);
    let next = rest
        .last()
        .filter(|_| more)
        .map(|last| write_cursor(&(&last.name, last.id)));
    (rest.into_iter().map(|named| named.item).collect(), next)
}

/// An item in the order of its name, then its id.
struct Named<'a, T> {
    name: Cow<'a, str>,
    id: Uuid,
    item: T,
}

impl<T> Ord for Named<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.name, self.id).cmp(&(&other.name, other.id))
    }
}

impl<T> PartialOrd for Named<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Named<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Named<'_, T> {}

/// The page's items of an iterator that begins after the cursor, and the cursor for more: those that the search finds by
/// themselves, or by the person that they belong to.
///
/// # Errors
/// When the people cannot be read.
pub(super) async fn found<T>(
    control: &Control,
    wanted: &Wanted<Uuid>,
    items: impl Iterator<Item = T>,
    id: impl Fn(&T) -> Uuid,
    (itself, person): (impl Fn(&T) -> bool, impl Fn(&T) -> Option<Uuid>),
) -> Answer<(Vec<T>, Option<String>)> {
    if wanted.search.is_empty() {
        return Ok(first(wanted, items, id));
    }
    let mut items = items.filter(|item| wanted.takes(id(item)));
    let matches = |item: &T, people: &HashSet<Uuid>| {
        itself(item) || person(item).is_some_and(|id| people.contains(&id))
    };
    let found = match People::found(control, &wanted.search).await? {
        People::These(people) => items
            .filter(|item| matches(item, &people))
            .take(wanted.limit + 1)
            .collect(),
        People::Many => {
            let mut found = Vec::new();
            while found.len() <= wanted.limit {
                let some: Vec<T> = items.by_ref().take(SOME_ITEMS).collect();
                if some.is_empty() {
                    break;
                }
                let asked = some.iter().filter(|item| !itself(item)).filter_map(&person);
                let people = People::among(control, &wanted.search, asked.collect()).await?;
                found.extend(some.into_iter().filter(|item| matches(item, &people)));
            }
            found
        }
    };
    Ok(first(wanted, found, id))
}

/// The first items of an iterator that begins after the cursor, and the cursor for more.
pub(super) fn first<T>(
    wanted: &Wanted<Uuid>,
    items: impl IntoIterator<Item = T>,
    id: impl Fn(&T) -> Uuid,
) -> (Vec<T>, Option<String>) {
    let items = items.into_iter().filter(|item| wanted.takes(id(item)));
    let mut page: Vec<_> = items.take(wanted.limit + 1).collect();
    let more = page.len() > wanted.limit;
    page.truncate(wanted.limit);
    let next = page
        .last()
        .filter(|_| more)
        .map(|item| write_cursor(&id(item)));
    (page, next)
}

/// A page.
pub(super) fn page<T>(live: &Live, (items, next_cursor): (Vec<T>, Option<String>)) -> Page<T> {
    Page {
        items,
        next_cursor,
        position: live.head.position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(params: &ListParams) -> Answer<Wanted<(String, Uuid)>> {
        params.wanted()
    }

    #[test]
    fn pages_by_name_follow_each_other_without_gap_or_repeat() {
        let things: Vec<(String, Uuid)> = (0..25_u128)
            .map(|n| (format!("name-{}", n % 10), Uuid::from_u128(n)))
            .collect();
        let mut params = ListParams {
            limit: Some(4),
            ..ListParams::default()
        };
        let mut seen = Vec::new();
        loop {
            let wanted = wanted(&params).expect("good parameters");
            let all = things
                .iter()
                .map(|(name, id)| (Cow::from(name), *id, (name.clone(), *id)));
            let (items, next) = by_name(&wanted, all);
            seen.extend(items);
            params.cursor = next;
            if params.cursor.is_none() {
                break;
            }
        }
        let mut sorted = things;
        sorted.sort();
        assert_eq!(seen, sorted);
    }

    #[test]
    fn bad_parameters_are_named() {
        let field = |params: ListParams| match wanted(&params).err() {
            Some(ApiError::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            field(ListParams {
                limit: Some(201),
                ..ListParams::default()
            }),
            "limit"
        );
        assert_eq!(
            field(ListParams {
                limit: Some(0),
                ..ListParams::default()
            }),
            "limit"
        );
        assert_eq!(
            field(ListParams {
                cursor: Some("x".into()),
                ..ListParams::default()
            }),
            "cursor"
        );
        assert_eq!(
            field(ListParams {
                search: Some("x".repeat(201)),
                ..ListParams::default()
            }),
            "search"
        );
    }
}

//! What a chosen thing is called, also when it is none of the first that its list shows.

use yew::prelude::*;

use super::source::{List, Source};
use crate::api::{Client, Failure};
use crate::format;
use crate::remote::{Content, Remote, use_remote};
use crate::widgets::reference;

/// Stands for a name that is on its way.
const SOON: &str = "…";

/// A thing's name, as its list knows it; nothing where nobody was asked, or the thing has none.
struct Name(Option<AttrValue>);

impl Content for Name {}

/// What `value` is called: asked of its list by its id, where it is not known already.
#[hook]
pub(super) fn use_name(source: Source, value: &AttrValue, known: Option<AttrValue>) -> AttrValue {
    let known = match known {
        Some(name) => Ok(name),
        None => source.known(value),
    };
    let asked = known.as_ref().err().cloned();
    let answer = use_remote(
        asked,
        |client: Client, asked: Option<(List, String)>| async move {
            let Some((list, id)) = asked else {
                return Ok::<_, Failure>(Name(None));
            };
            let found = list.one(&client, &id).await?;
            Ok(Name(found.map(|it| it.label)))
        },
    );
    let nameless = || {
        let id = reference::id(value);
        AttrValue::from(format!("{}…", format::short_id(id)))
    };
    match (known, answer.state) {
        (Ok(name), _) => name,
        (Err(_), Remote::Loading) => SOON.into(),
        (Err(_), Remote::Ready(name)) => name.0.clone().unwrap_or_else(nameless),
        // It is gone, or this operator may not see it.
        (Err(_), Remote::Empty | Remote::Forbidden(_) | Remote::Failed(_)) => nameless(),
    }
}

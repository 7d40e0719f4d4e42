//! Where one is in a list that comes in pages.
//!
//! The control plane hands out a cursor to the next page only; the way back is remembered here.

use std::rc::Rc;

use yew::prelude::*;

use super::button::{Button, Variant};

/// What is searched for, and the pages behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Paging {
    /// What is searched for; empty: everything.
    pub(crate) search: String,
    /// The cursors of the pages after the first, up to the one shown.
    cursors: Vec<String>,
}

/// What people do with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Searches for something else, from the first page on.
    Search(String),
    /// To the page with this cursor.
    Next(String),
    /// To the page before.
    Back,
}

/// How many things a page shows.
pub(crate) const PAGE_SIZE: u32 = 25;

// === impl Paging ===

impl Paging {
    /// The query of the page shown.
    pub(crate) fn query(&self) -> String {
        let mut query = format!("?limit={PAGE_SIZE}");
        if !self.search.is_empty() {
            query.push_str("&search=");
            query.push_str(&encode(&self.search));
        }
        if let Some(cursor) = self.cursors.last() {
            query.push_str("&cursor=");
            query.push_str(&encode(cursor));
        }
        query
    }

    /// The page's number, from 1.
    pub(crate) fn number(&self) -> usize {
        self.cursors.len() + 1
    }

    /// The state after a turn.
    pub(crate) fn after(&self, turn: Turn) -> Self {
        let mut next = self.clone();
        match turn {
            Turn::Search(search) => {
                next = Self {
                    search,
                    cursors: Vec::new(),
                }
            }
            Turn::Next(cursor) => next.cursors.push(cursor),
            Turn::Back => drop(next.cursors.pop()),
        }
        next
    }
}

impl Reducible for Paging {
    type Action = Turn;

    fn reduce(self: Rc<Self>, turn: Turn) -> Rc<Self> {
        Rc::new(self.after(turn))
    }
}

/// The way through a list that begins with the newest; nothing where there is but one page.
pub(crate) fn newer_and_older(paging: &UseReducerHandle<Paging>, next: Option<String>) -> Html {
    if paging.number() == 1 && next.is_none() {
        return Html::default();
    }
    let turn = |turn: Turn| {
        let paging = paging.clone();
        Callback::from(move |_: MouseEvent| paging.dispatch(turn.clone()))
    };
    html!(
        <div class="sl-toolbar sl-toolbar-end">
            <div class="sl-pages">
                <span>{ format!("Page {}", paging.number()) }</span>
                <Button variant={Variant::Secondary} label="Newer" disabled={paging.number() == 1} onclick={turn(Turn::Back)} />
                <Button variant={Variant::Secondary} label="Older" disabled={next.is_none()}
                    onclick={turn(Turn::Next(next.unwrap_or_default()))} />
            </div>
        </div>
    )
}

/// Percent-encodes a value of a query (RFC 3986: all but the unreserved characters).
pub(crate) fn encode(value: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_turned_forth_and_back() {
        let first = Paging::default();
        let third = first
            .after(Turn::Next("b".to_owned()))
            .after(Turn::Next("c".to_owned()));
        assert_eq!(
            (third.number(), third.query().as_str()),
            (3, "?limit=25&cursor=c")
        );
        let back = third.after(Turn::Back).after(Turn::Back).after(Turn::Back);
        assert_eq!(back, first);
    }

    #[test]
    fn a_search_begins_at_the_first_page() {
        let found = Paging::default()
            .after(Turn::Next("b".to_owned()))
            .after(Turn::Search("a&b é".to_owned()));
        assert_eq!(found.query(), "?limit=25&search=a%26b%20%C3%A9");
    }
}

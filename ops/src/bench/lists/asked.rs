//! The lists as the console asks for them: opened, paged through, searched for much, for one thing, and for nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use events_schema::api::Page;
use hdrhistogram::Histogram;
use serde_json::Value;

use super::super::api::Api;
use super::super::{Figures, histogram, milliseconds, rounded, say};
use super::crowd::Person;
use crate::dice::Dice;
use crate::failure::Outcome;

/// Every list that the console shows, and whether it can be searched.
const LISTS: [(&str, bool); 12] = [
    ("provider-accounts", true),
    ("models", true),
    ("virtual-models", true),
    ("users", true),
    ("teams", true),
    ("virtual-accounts", true),
    ("keys", true),
    ("grants", true),
    ("rate-limit-policies", true),
    ("budget-policies", true),
    ("operators", true),
    ("events", false),
];

/// The console's pages have so many items.
const PAGE: u32 = 25;

/// Draws what is searched for.
const SEED: u64 = 3;

/// What is done with a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Open,
    TurnThePage,
    SearchMuch,
    SearchOne,
    SearchNothing,
}

/// How long each deed took with each list, in nanoseconds.
type Times = BTreeMap<(&'static str, Deed), Histogram<u64>>;

// === impl Deed ===

impl Deed {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::TurnThePage => "page",
            Self::SearchMuch => "search_much",
            Self::SearchOne => "search_one",
            Self::SearchNothing => "search_nothing",
        }
    }
}

/// Asks for every list so often, one question after the other.
pub(super) async fn ask(api: &mut Api, people: u64, rounds: u32, figures: &mut Figures) -> Outcome {
    say("asking for every list");
    let mut times = Times::new();
    let mut dice = Dice::new(SEED);
    let mut cursors: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for _ in 0..rounds {
        for (list, can_be_searched) in LISTS {
            let first = timed(api, &mut times, (list, Deed::Open), "").await?;
            let cursor = cursors.entry(list).or_default().take().or(first);
            if let Some(cursor) = cursor {
                let query = format!("&cursor={cursor}");
                let next = timed(api, &mut times, (list, Deed::TurnThePage), &query).await?;
                cursors.insert(list, next);
            }
            if can_be_searched {
                search(api, &mut times, list, &mut dice, people).await?;
            }
        }
    }
    report(&times, figures);
    Ok(())
}

async fn search(
    api: &mut Api,
    times: &mut Times,
    list: &'static str,
    dice: &mut Dice,
    people: u64,
) -> Outcome {
    let person = Person::numbered(dice.between(0, people));
    let searches = [
        (
            Deed::SearchMuch,
            person.name.split(' ').next().unwrap_or_default(),
        ),
        (
            Deed::SearchOne,
            if list == "keys" {
                &person.label
            } else {
                &person.email
            },
        ),
        (Deed::SearchNothing, "nobody is called so"),
    ];
    for (deed, text) in searches {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        timed(api, times, (list, deed), &format!("&search={text}")).await?;
    }
    Ok(())
}

/// Asks once; the cursor of the next page.
async fn timed(
    api: &mut Api,
    times: &mut Times,
    of: (&'static str, Deed),
    query: &str,
) -> Outcome<Option<String>> {
    let path = format!("/api/v1/{}?limit={PAGE}{query}", of.0);
    let begun = Instant::now();
    let page: Page<Value> = api.get(&path).await?;
    let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    times
        .entry(of)
        .or_insert_with(histogram)
        .saturating_record(nanoseconds);
    Ok(page.next_cursor)
}

/// The slowest list's p95 for each deed, and over all.
fn report(times: &Times, figures: &mut Figures) {
    let mut slowest: BTreeMap<Deed, (f64, &str)> = BTreeMap::new();
    for ((list, deed), times) in times {
        let p95 = milliseconds(times, 0.95);
        let most = slowest.entry(*deed).or_insert((p95, list));
        if p95 > most.0 {
            *most = (p95, list);
        }
    }
    for (deed, (p95, list)) in &slowest {
        say(&format!(
            "{}: {list} is slowest, p95 {p95:.1} ms",
            deed.name()
        ));
        figures.insert(format!("api_{}_p95_ms", deed.name()), rounded(*p95));
    }
    let most = slowest.values().map(|(p95, _)| *p95).fold(0.0, f64::max);
    figures.insert("api_p95_ms".to_owned(), rounded(most));
}

//! What the API tells of everything that was made is what the last acknowledged commands left.

use std::collections::BTreeMap;

use events_schema::api::Page;
use serde_json::Value;

use super::{Checker, SHOWN};
use crate::failure::Outcome;
use crate::faults::facts::{Facts, Fields, Notebook};
use crate::faults::orders::{GRANTS, LISTS, MARK, USERS};

/// Items that one question brings.
const PAGE: usize = 100;

// === impl Checker ===

impl Checker {
    /// Each thing is in its list once, with the fields that it was left with; what is gone is in none, and nothing is there
    /// that nobody made.
    pub(super) async fn things_are_as_they_were_left(&self, notebook: &Notebook) -> Outcome {
        for list in LISTS {
            let items = self.all(list).await?;
            for wrong in compare(&notebook.facts(), list, &items).iter().take(SHOWN) {
                notebook.found(format!("{list}: {wrong}"));
            }
        }
        let settings: Fields = self.place.apis[1].get("/settings").await?;
        let expected = notebook.facts().settings.clone();
        for wrong in differences(&expected, &settings) {
            notebook.found(format!("/settings: {wrong}"));
        }
        Ok(())
    }

    /// All items of a list, as the second control plane has it: the state's digest says that the first has the same.
    async fn all(&self, list: &str) -> Outcome<Vec<Fields>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{list}?limit={PAGE}{cursor}");
            let page: Page<Fields> = self.place.apis[1].get(&path).await?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }
}

fn compare(facts: &Facts, list: &str, items: &[Fields]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut there: BTreeMap<&str, u64> = BTreeMap::new();
    for item in items {
        let id = text(item, "id");
        *there.entry(id).or_default() += 1;
        match facts.things.get(id) {
            Some(thing) => {
                let differ = differences(&thing.fields, &as_noted(list, item));
                wrong.extend(differ.into_iter().map(|it| format!("{id}: {it}")));
            }
            None if facts.gone.contains_key(id) => {
                wrong.push(format!("{id} is gone, and there again: {item:?}"));
            }
            None if is_drawn(facts, item) => wrong.push(format!("nobody made {item:?}")),
            None => {}
        }
    }
    let expected = facts.things.iter().filter(|(_, thing)| thing.list == list);
    for (id, thing) in expected {
        match there.get(id.as_str()) {
            Some(1) => {}
            Some(times) => wrong.push(format!("{id} is there {times} times")),
            None => wrong.push(format!("{id} is missing: {:?}", thing.fields)),
        }
    }
    let declared = facts.declared.iter().filter(|((of, _), _)| *of == list);
    for ((_, name), fields) in declared {
        let named: Vec<_> = items.iter().filter(|it| text(it, "name") == name).collect();
        match named[..] {
            [item] => wrong.extend(differences(fields, item)),
            _ => wrong.push(format!(
                "{name}, of a document, is there {} times",
                named.len()
            )),
        }
    }
    wrong
}

/// Fields that are other than they should be.
fn differences(expected: &Fields, is: &Fields) -> Vec<String> {
    let differ = expected
        .iter()
        .filter(|(name, value)| is.get(*name) != Some(value));
    differ
        .map(|(name, value)| {
            let is = is.get(name).unwrap_or(&Value::Null);
            format!("{name} should be {value} and is {is}")
        })
        .collect()
}

/// Without the names of what an item refers to, and in a set order.
fn as_noted(list: &str, item: &Fields) -> Fields {
    let mut noted = item.clone();
    let field = match list {
        USERS => "teams",
        GRANTS => "models",
        _ => return noted,
    };
    if let Some(Value::Array(parts)) = noted.get_mut(field) {
        for part in parts.iter_mut() {
            if let Value::Object(fields) = part {
                fields.remove("name");
            }
            if list == GRANTS {
                *part = part["model"].take();
            }
        }
        parts.sort_by_key(ToString::to_string);
    }
    noted
}

/// Whether it is called as what is drawn is, or opens something to what was.
fn is_drawn(facts: &Facts, item: &Fields) -> bool {
    let named = ["name", "label", "email"]
        .iter()
        .any(|field| text(item, field).starts_with(MARK));
    let subject = item.get("subject").and_then(Value::as_object);
    let to = subject.into_iter().flat_map(serde_json::Map::values);
    let mut to = to.filter_map(Value::as_str);
    named || to.any(|id| facts.things.contains_key(id) || facts.gone.contains_key(id))
}

fn text<'i>(item: &'i Fields, field: &str) -> &'i str {
    item.get(field).and_then(Value::as_str).unwrap_or_default()
}

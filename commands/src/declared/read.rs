//! From YAML to a document, and from a place in the document back to its line.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::document::Document;

/// A place in a document: an item of a section, or a section that is one, and perhaps a field of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) section: &'static str,
    pub(super) index: Option<usize>,
    pub(super) field: Option<&'static str>,
}

impl Place {
    /// The same item, this field.
    pub(super) const fn at(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
        }
    }

    /// As a path: `models[3].prices`.
    pub(super) fn path(self) -> String {
        let Self {
            section,
            index,
            field,
        } = self;
        let item = index.map_or_else(|| section.to_owned(), |index| format!("{section}[{index}]"));
        match field {
            Some(field) => format!("{item}.{field}"),
            None => item,
        }
    }
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Fault {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// The field, as a path; `None` where the YAML itself cannot be read.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// A document and where its parts stand.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) document: Document,
    lines: Lines,
}

/// An item of a section, with each of its fields.
type Item = Spanned<BTreeMap<String, Spanned<IgnoredAny>>>;

type Lines = BTreeMap<String, Section>;

/// The items of a section, or the fields of one that is an item itself; neither for the version.
#[derive(Debug, Default)]
struct Section {
    items: Vec<Item>,
    fields: BTreeMap<String, Spanned<IgnoredAny>>,
}

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Section;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Section, A::Error> {
                let mut section = Section::default();
                while let Some(item) = items.next_element()? {
                    section.items.push(item);
                }
                Ok(section)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Section, A::Error> {
                let mut section = Section::default();
                while let Some((name, field)) = fields.next_entry()? {
                    section.fields.insert(name, field);
                }
                Ok(section)
            }

            fn visit_str<E>(self, _: &str) -> Result<Section, E> {
                Ok(Section::default())
            }

            fn visit_unit<E>(self) -> Result<Section, E> {
                Ok(Section::default())
            }
        }
        deserializer.deserialize_any(Items)
    }
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Read, Fault> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| fault(&error))?;
    Ok(Read {
        document,
        // What was read as a document has this shape.
        lines: serde_saphyr::from_str(text).unwrap_or_default(),
    })
}

impl Read {
    /// What is wrong at a place.
    pub(super) fn fault(&self, place: Place, message: String) -> Fault {
        let section = self.lines.get(place.section);
        let item = section.and_then(|section| section.items.get(place.index?));
        let fields = item.map_or_else(
            || section.map(|section| &section.fields),
            |item| Some(&item.value),
        );
        let field = fields.and_then(|fields| fields.get(place.field?));
        let location = field
            .map(|field| field.referenced)
            .or_else(|| item.map(|item| item.referenced));
        Fault {
            line: location.map_or(1, |at| at.line()),
            column: location.map_or(1, |at| at.column()),
            field: Some(place.path()),
            message,
        }
    }
}

/// What the reader of YAML says, without its place, which stands beside it.
fn fault(error: &serde_saphyr::Error) -> Fault {
    let location = error.location();
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = match first.find(": ") {
        // `error: line 3 column 5: unknown field …`
        Some(at) if first.starts_with("error") => {
            let rest = &first[at + 2..];
            match rest.split_once(": ") {
                Some((place, message)) if place.starts_with("line ") => message,
                _ => rest,
            }
        }
        _ => first,
    };
    Fault {
        line: location.map_or(1, |at| at.line()),
        column: location.map_or(1, |at| at.column()),
        field: None,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (u64, u64), message: &str) {
        let fault = read(text).expect_err("it is wrong");
        assert_eq!((fault.line, fault.column), expected, "{fault}");
        assert!(fault.message.contains(message), "{fault}");
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        check("sluice: v1\nmodels: [\n", (2, 9), "bracket");
        check("sluice: v2\n", (1, 9), "v1");
        check("sluice: v1\nmodls: []\n", (2, 1), "unknown field `modls`");
        check(
            "sluice: v1\nvirtual_accounts:\n  - name: a\n  - name: Not A Name\n",
            (4, 11),
            "a name here has",
        );
        check(
            "sluice: v1\nvirtual_accounts:\n  - name: a\n    nmae: b\n",
            (4, 5),
            "unknown field `nmae`",
        );
    }

    #[test]
    fn a_place_leads_back_to_its_line() {
        let text = "sluice: v1\nvirtual_accounts:\n  - name: a\n  - name: b\n    disabled: true\n";
        let read = read(text).expect("good");
        let place = Place {
            section: "virtual_accounts",
            index: Some(1),
            field: None,
        };
        let at = |place| {
            let fault = read.fault(place, String::new());
            (fault.line, fault.field)
        };
        assert_eq!(at(place), (4, Some("virtual_accounts[1]".into())));
        let disabled = at(place.at("disabled"));
        assert_eq!(disabled, (5, Some("virtual_accounts[1].disabled".into())));
        assert_eq!(at(place.at("missing")).0, 4);
    }

    #[test]
    fn a_section_that_is_one_item_has_fields_with_lines() {
        let text = "sluice: v1\nsettings:\n  retention:\n    requests_days: 30\n    sums_days: 30\n  organisation: Acme\n";
        let read = read(text).expect("good");
        let place = Place {
            section: "settings",
            index: None,
            field: Some("organisation"),
        };
        let fault = read.fault(place, String::new());
        assert_eq!(
            (fault.line, fault.field.as_deref()),
            (6, Some("settings.organisation"))
        );
    }
}

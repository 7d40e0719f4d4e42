//! From YAML to documents, and from a place in one of them back to its line.
//!
//! A file holds one document or several, separated by `---`: Sluice's own, and those of the formats that users bring, which
//! say what they are by their `type`.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{document::Document, node::Node, pieces::pieces};

/// A place in a document of Sluice's own (an item of a section, or a section that is one), or what a document of another
/// format declares; and perhaps a field of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) of: Of,
    pub(super) field: Option<&'static str>,
}

/// See [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A section that is one item.
    Section {
        document: usize,
        section: &'static str,
    },
    /// An item of a section.
    Item {
        document: usize,
        section: &'static str,
        index: usize,
    },
    /// What a document of another format declares: a number that the planner gave it.
    Brought(usize),
}

impl Place {
    /// All of it.
    pub(super) const fn whole(of: Of) -> Self {
        Self { of, field: None }
    }

    /// The same item, this field.
    pub(super) const fn at(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
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

/// The documents of a file, and where their parts stand.
#[derive(Debug)]
pub(super) struct Read {
    own: Vec<Own>,
    /// Documents of other formats, each with its `type`.
    pub(super) brought: Vec<Node>,
}

/// A document of Sluice's own.
#[derive(Debug)]
struct Own {
    document: Document,
    lines: Lines,
    /// How many lines of the file come before it.
    before: u64,
}

/// What tells Sluice's own documents from others.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    sluice: Option<IgnoredAny>,
    #[serde(default)]
    r#type: Option<IgnoredAny>,
}

/// An item of a section, with each of its fields.
type Item = Spanned<BTreeMap<String, Spanned<IgnoredAny>>>;

type Lines = BTreeMap<String, Spanned<Section>>;

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

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Read, Vec<Fault>> {
    let mut read = Read {
        own: Vec::new(),
        brought: Vec::new(),
    };
    let mut faults = Vec::new();
    for piece in pieces(text) {
        if let Err(fault) = read.take(piece.text, piece.before) {
            faults.push(fault);
        }
    }
    if faults.is_empty() {
        Ok(read)
    } else {
        Err(faults)
    }
}

impl Read {
    fn take(&mut self, text: &str, before: u64) -> Result<(), Fault> {
        let wrong = |error| fault(&error, before);
        let is_of_another_format = match serde_saphyr::from_str::<Kind>(text) {
            Ok(kind) => kind.sluice.is_none() && kind.r#type.is_some(),
            Err(error) if says_its_type(text) => return Err(wrong(error)),
            // What is no YAML, or no fields, is told as what is wrong with a document of Sluice's own.
            Err(_) => false,
        };
        if is_of_another_format {
            let node: Node = serde_saphyr::from_str(text).map_err(wrong)?;
            self.brought.push(node.moved_down(before));
            return Ok(());
        }
        self.own.push(Own {
            document: serde_saphyr::from_str(text).map_err(wrong)?,
            // What was read as a document has this shape.
            lines: serde_saphyr::from_str(text).unwrap_or_default(),
            before,
        });
        Ok(())
    }

    /// Sluice's own documents, with their numbers.
    pub(super) fn own(&self) -> impl Iterator<Item = (usize, &Document)> {
        let documents = self.own.iter().map(|it| &it.document);
        documents.enumerate()
    }

    /// What is wrong in a document of Sluice's own.
    pub(super) fn fault(
        &self,
        (document, section, index): (usize, &'static str, Option<usize>),
        field: Option<&'static str>,
        message: String,
    ) -> Fault {
        let own = self.own.get(document);
        let lines = own.and_then(|own| own.lines.get(section));
        let item = lines.and_then(|section| section.value.items.get(index?));
        let fields = item.map_or_else(
            || lines.map(|section| &section.value.fields),
            |item| Some(&item.value),
        );
        let location = fields
            .and_then(|fields| fields.get(field?))
            .map(|field| field.referenced)
            .or_else(|| item.map(|item| item.referenced))
            .or_else(|| lines.map(|section| section.referenced));
        let before = own.map_or(0, |own| own.before);
        Fault {
            line: before + location.map_or(1, |at| at.line()),
            column: location.map_or(1, |at| at.column()),
            field: Some(path(section, index, field)),
            message,
        }
    }
}

/// Whether a text that cannot be read as YAML seems to be a document of another format.
fn says_its_type(text: &str) -> bool {
    let has = |field: &str| text.lines().any(|line| line.starts_with(field));
    has("type:") && !has("sluice:")
}

/// A place as a path: `models[3].prices`.
fn path(section: &str, index: Option<usize>, field: Option<&str>) -> String {
    let item = index.map_or_else(|| section.to_owned(), |index| format!("{section}[{index}]"));
    match field {
        Some(field) => format!("{item}.{field}"),
        None => item,
    }
}

/// What the reader of YAML says, without its place, which stands beside it; `before` lines of the file come before the text.
fn fault(error: &serde_saphyr::Error, before: u64) -> Fault {
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
        line: before + location.map_or(1, |at| at.line()),
        column: location.map_or(1, |at| at.column()),
        field: None,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (u64, u64), message: &str) {
        let faults = read(text).expect_err("it is wrong");
        let fault = &faults[0];
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
    fn mistakes_in_later_documents_are_told_with_the_lines_of_the_file() {
        check(
            "sluice: v1\n---\n# another\nsluice: v1\nmodls: []\n",
            (5, 1),
            "unknown field `modls`",
        );
        check("type: x\na: 1\n---\nsluice: v2\n", (4, 9), "v1");
        check("type: x\na: 1\n---\ntype: y\na: [\n", (5, 4), "");
        // Each document's first mistake is told.
        let faults = read("sluice: v2\n---\nsluice: v3\n").expect_err("both are wrong");
        let lines: Vec<_> = faults.iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn a_document_is_of_another_format_when_it_says_its_type() {
        let text = "name: a\ntype: other\n---\nsluice: v1\n---\n{type: third}\n";
        let read = read(text).expect("good");
        assert_eq!(read.own().count(), 1);
        let lines: Vec<_> = read.brought.iter().map(|it| it.spot.line).collect();
        assert_eq!(lines, [1, 6]);
    }

    /// Where the third part of a place is, and its path.
    fn at(
        text: &str,
        place: (usize, &'static str, Option<usize>),
        field: Option<&'static str>,
    ) -> (u64, Option<String>) {
        let fault = read(text).expect("good").fault(place, field, String::new());
        (fault.line, fault.field)
    }

    #[test]
    fn a_place_leads_back_to_its_line() {
        let text = "sluice: v1\n---\nsluice: v1\nvirtual_accounts:\n  - name: a\n  - name: b\n    disabled: true\n";
        let place = (1, "virtual_accounts", Some(1));
        let named = |field: &str| Some(format!("virtual_accounts[1]{field}"));
        assert_eq!(at(text, place, None), (6, named("")));
        assert_eq!(at(text, place, Some("disabled")), (7, named(".disabled")));
        assert_eq!(at(text, place, Some("missing")).0, 6);
    }

    #[test]
    fn a_section_that_is_one_item_has_fields_with_lines() {
        let text = "sluice: v1\nsettings:\n  retention:\n    requests_days: 30\n    sums_days: 30\n  organisation: Acme\n";
        let found = at(text, (0, "settings", None), Some("organisation"));
        assert_eq!(found, (6, Some("settings.organisation".into())));
    }
}

//! Searching: in what things are called, in ids, and among people, whose names lie beside the log.

use std::collections::HashSet;

use uuid::Uuid;

use super::app::{Answer, database};
use crate::control::Control;

/// The most people whose ids are fetched at once; where more are found, they are asked for as they are needed.
const FEW_PEOPLE: usize = 10_000;

/// Fewer hexadecimal digits than this are no part of an id: `ada` is somebody's name.
const LEAST_OF_AN_ID: usize = 6;

/// A text to search for; upper and lower case are the same.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// In lower case.
    text: String,
    /// The same as a part of an id, if it can be one.
    id: Option<String>,
}

impl Search {
    pub(super) fn new(text: &str) -> Self {
        let text = text.to_lowercase();
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_id = (LEAST_OF_AN_ID..=32).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self {
            id: is_id.then_some(digits),
            text,
        }
    }

    /// Whether everything is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the text holds it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        if text.is_ascii() {
            is_in_ascii(text.as_bytes(), self.text.as_bytes())
        } else {
            text.to_lowercase().contains(&self.text)
        }
    }

    /// The same for Postgres' `LIKE`.
    fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.text.len() + 2);
        pattern.push('%');
        for letter in self.text.chars() {
            if matches!(letter, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push('%');
        pattern
    }

    /// Whether it is a part of the id.
    pub(super) fn is_in_id(&self, id: Uuid) -> bool {
        let Some(wanted) = &self.id else { return false };
        id.as_simple()
            .encode_lower(&mut Uuid::encode_buffer())
            .contains(wanted.as_str())
    }
}

/// Whether a text holds what is wanted, which is in lower case.
fn is_in_ascii(text: &[u8], wanted: &[u8]) -> bool {
    let Some((first, rest)) = wanted.split_first() else {
        return true;
    };
    let begins = memchr::memchr2_iter(*first, first.to_ascii_uppercase(), text);
    let goes_on = |at: usize| text[at + 1..].get(..rest.len());
    begins
        .filter_map(goes_on)
        .any(|part| part.eq_ignore_ascii_case(rest))
}

/// People whose name or e-mail address holds what is searched for.
#[derive(Debug)]
pub(super) enum People {
    /// All of them.
    These(HashSet<Uuid>),
    /// So many that their ids are not fetched at once: see [`People::among`].
    Many,
}

const FOUND: &str = "SELECT id FROM people WHERE searched LIKE $1 LIMIT $2";

const AMONG: &str = "SELECT id FROM people WHERE id = ANY($1) AND searched LIKE $2";

impl People {
    /// Who is found.
    pub(super) async fn found(control: &Control, search: &Search) -> Answer<Self> {
        let most = FEW_PEOPLE + 1;
        let found: Vec<Uuid> = sqlx::query_scalar(FOUND)
            .bind(search.pattern())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            // Which index helps depends on the text.
            .persistent(false)
            .fetch_all(control.pool())
            .await
            .map_err(database)?;
        Ok(if found.len() == most {
            Self::Many
        } else {
            Self::These(found.into_iter().collect())
        })
    }

    /// Who of these is found.
    pub(super) async fn among(
        control: &Control,
        search: &Search,
        people: Vec<Uuid>,
    ) -> Answer<HashSet<Uuid>> {
        let found: Vec<Uuid> = sqlx::query_scalar(AMONG)
            .bind(people)
            .bind(search.pattern())
            .fetch_all(control.pool())
            .await
            .map_err(database)?;
        Ok(found.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_takes_no_notice_of_case() {
        let search = Search::new("BOB");
        assert!(search.is_in("Bob's laptop") && search.is_in("kaboböb bOb"));
        assert!(!search.is_in("alice") && !search.is_in("bo") && !search.is_in(""));
        assert!(Search::new("").is_in("anything") && Search::new("").is_in(""));
        assert!(Search::new("ÖYV").is_in("Öyvind") && !Search::new("ÖYV").is_in("Oyvind"));
    }

    #[test]
    fn what_means_something_in_a_pattern_means_itself() {
        assert_eq!(Search::new("50%_\\Off").pattern(), "%50\\%\\_\\\\off%");
    }

    #[test]
    fn an_id_is_found_by_any_part_of_it_with_or_without_hyphens() {
        let id = Uuid::from_u128(0x0193_9d3f_0a6a_7c7e_8f1b_2c3d_4e5f_6071);
        for part in [
            "01939d3f",
            "9D3F-0a6a",
            "5f6071",
            &id.to_string(),
            &id.simple().to_string(),
        ] {
            assert!(Search::new(part).is_in_id(id), "{part}");
        }
        for other in [
            "5f6072",
            "6071",
            "laptop",
            "01939d3f0a6a7c7e8f1b2c3d4e5f60711",
            "",
        ] {
            assert!(!Search::new(other).is_in_id(id), "{other}");
        }
    }
}

//! The query of the address: what a screen shows, where that can be linked to. Pure.

use std::fmt;

use crate::widgets::paging::encode;

/// Names with their values, in the order in which they were set; what is empty is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    /// Reads what follows a path, with or without its question mark.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.trim_start_matches('?').split('&');
        let pairs = pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name), decode(value)))
        });
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// A query of these names and values.
    pub(crate) fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        pairs
            .into_iter()
            .fold(Self::default(), |query, (name, value)| {
                query.with(name, value)
            })
    }

    /// A value; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The query with another value; empty: without it.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut next = self.clone();
        match next.0.iter_mut().find(|(known, _)| known == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => next.0.push((name.to_owned(), value.to_owned())),
        }
        next.0.retain(|(_, value)| !value.is_empty());
        next
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What follows the path: nothing, or a question mark and the rest.
    pub(crate) fn suffix(&self) -> String {
        if self.is_empty() {
            String::new()
        } else {
            format!("?{self}")
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let and = if index == 0 { "" } else { "&" };
            write!(f, "{and}{}={}", encode(name), encode(value))?;
        }
        Ok(())
    }
}

/// Undoes percent-encoding; a plus sign is a space. What is no encoding stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3);
        let byte = match (bytes[at], digits.map(|it| u8::from_str_radix(it, 16))) {
            (b'%', Some(Ok(byte))) => {
                at += 2;
                byte
            }
            (b'+', _) => b' ',
            (byte, _) => byte,
        };
        decoded.push(byte);
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_and_read_back() {
        let query = Query::of([("owner", "user:0"), ("model", "a/b c&d=é%"), ("none", "")]);
        assert_eq!(
            query.suffix(),
            "?owner=user%3A0&model=a%2Fb%20c%26d%3D%C3%A9%25"
        );
        assert_eq!(Query::parse(&query.suffix()), query);
        assert_eq!(
            Query::parse("?a=1+2&b&c=&d=%zz").suffix(),
            "?a=1%202&d=%25zz"
        );
        assert_eq!(Query::parse("").suffix(), "");
    }

    #[test]
    fn a_value_is_changed_in_its_place_and_taken_away_by_an_empty_one() {
        let query = Query::of([("a", "1"), ("b", "2")]);
        assert_eq!(query.with("a", "3").to_string(), "a=3&b=2");
        assert_eq!(query.with("a", "").to_string(), "b=2");
        assert_eq!((query.get("b"), query.get("c")), ("2", ""));
    }
}

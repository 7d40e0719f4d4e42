//! Moments as people type them and read them.

use chrono::{DateTime, NaiveDateTime, Utc};
use events_schema::time::Timestamp;
use yew::prelude::*;

use crate::browser::use_now;
use crate::format;

/// How often "5 s ago" is brought up to date, in milliseconds.
const REFRESH_MS: u32 = 10_000;

/// What `<input type="datetime-local">` reads and writes; taken as UTC.
const INPUT_FORMAT: &str = "%Y-%m-%dT%H:%M";

/// The same to the second, where the input goes so far.
const WITH_SECONDS: &str = "%Y-%m-%dT%H:%M:%S";

/// Reads what was typed: empty is no moment (`Some(None)`), anything unreadable is `None`.
pub(crate) fn parse(text: &str) -> Option<Option<Timestamp>> {
    if text.is_empty() {
        return Some(None);
    }
    let read = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let time = read(INPUT_FORMAT).or_else(|| read(WITH_SECONDS))?;
    Timestamp::from_chrono(time.and_utc()).ok().map(Some)
}

/// Writes a moment for the input.
pub(crate) fn to_input(moment: Option<Timestamp>) -> String {
    moment
        .map(|moment| moment.to_chrono().format(INPUT_FORMAT).to_string())
        .unwrap_or_default()
}

/// Properties of [`Ago`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// When.
    pub(crate) at: DateTime<Utc>,
}

/// How long ago; the exact time when pointed at.
#[component]
pub(crate) fn Ago(props: &Props) -> Html {
    let now = use_now(REFRESH_MS);
    let exact = format::time(props.at);
    html!(<time datetime={props.at.to_rfc3339()} title={exact}>{ format::ago(props.at, now) }</time>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_utc_and_written_back() {
        let moment = parse("2027-01-31T12:30").expect("readable");
        assert_eq!(
            moment.map(|moment| moment.to_string()).as_deref(),
            Some("2027-01-31T12:30:00.000000Z")
        );
        assert_eq!(to_input(moment), "2027-01-31T12:30");
        assert_eq!(parse(""), Some(None));
        assert_eq!(parse("tomorrow"), None);
        let exact = parse("2027-01-31T12:30:05").flatten();
        assert_eq!(
            exact.map(|moment| moment.to_string()).as_deref(),
            Some("2027-01-31T12:30:05.000000Z")
        );
    }
}

//! What a choice stands for, as a value: `<aggregate>:<id>`, or `everyone`. Pure.
//!
//! Addresses and the questions of the API write owners and operators in the same way.

use std::fmt::Display;

use events_schema::events::{LimitedSubject, ModelRef, Owner, Subject};
use yew::AttrValue;

/// The value that stands for everyone with a key.
pub(crate) const EVERYONE: &str = "everyone";

/// The value of one thing.
pub(crate) fn of(kind: &str, id: impl Display + Copy) -> AttrValue {
    format!("{kind}:{id}").into()
}

/// The kind and the id in a value; `None`: it stands for no thing that has one.
pub(crate) fn parts(value: &str) -> Option<(&str, &str)> {
    value
        .split_once(':')
        .filter(|(_, id)| id.len() == ID_DIGITS)
}

/// How long an id is, in hexadecimal digits.
const ID_DIGITS: usize = 32;

/// The id in a value; the value itself, where there is none.
pub(crate) fn id(value: &str) -> &str {
    parts(value).map_or(value, |(_, id)| id)
}

/// Who owns a key.
pub(crate) fn owner(value: &str) -> Option<Owner> {
    value.parse().ok()
}

/// To whom access is granted.
pub(crate) fn subject(value: &str) -> Option<Subject> {
    if value == EVERYONE {
        return Some(Subject::Everyone);
    }
    match parts(value)? {
        ("user", id) => id.parse().ok().map(Subject::User),
        ("virtual_account", id) => id.parse().ok().map(Subject::VirtualAccount),
        ("team", id) => id.parse().ok().map(Subject::Team),
        ("key", id) => id.parse().ok().map(Subject::Key),
        _ => None,
    }
}

/// Whose requests are limited.
pub(crate) fn limited_subject(value: &str) -> Option<LimitedSubject> {
    match parts(value)? {
        ("user", id) => id.parse().ok().map(LimitedSubject::User),
        ("virtual_account", id) => id.parse().ok().map(LimitedSubject::VirtualAccount),
        ("team", id) => id.parse().ok().map(LimitedSubject::Team),
        _ => None,
    }
}

/// The value of somebody whose requests are limited.
pub(crate) fn of_limited_subject(subject: LimitedSubject) -> AttrValue {
    match subject {
        LimitedSubject::User(id) => of("user", id),
        LimitedSubject::VirtualAccount(id) => of("virtual_account", id),
        LimitedSubject::Team(id) => of("team", id),
    }
}

/// What a grant opens, or a limit counts.
pub(crate) fn model(value: &str) -> Option<ModelRef> {
    match parts(value)? {
        ("model", id) => id.parse().ok().map(ModelRef::Model),
        ("virtual_model", id) => id.parse().ok().map(ModelRef::VirtualModel),
        ("provider_account", id) => id.parse().ok().map(ModelRef::ProviderAccount),
        _ => None,
    }
}

/// The value of something that a grant opens.
pub(crate) fn of_model(model: ModelRef) -> AttrValue {
    match model {
        ModelRef::Model(id) => of("model", id),
        ModelRef::VirtualModel(id) => of("virtual_model", id),
        ModelRef::ProviderAccount(id) => of("provider_account", id),
    }
}

#[cfg(test)]
mod tests {
    use events_schema::id::{ModelId, TeamId, UserId};

    use super::*;

    #[test]
    fn what_is_chosen_is_written_and_read_back() {
        let team = LimitedSubject::Team(TeamId::from_bytes([1; 16]));
        assert_eq!(limited_subject(&of_limited_subject(team)), Some(team));
        let chosen = ModelRef::Model(ModelId::from_bytes([2; 16]));
        assert_eq!(model(&of_model(chosen)), Some(chosen));
        let user = UserId::from_bytes([3; 16]);
        assert_eq!(owner(&of("user", user)), Some(Owner::User(user)));
        assert_eq!(subject(&of("user", user)), Some(Subject::User(user)));
        assert_eq!(subject(EVERYONE), Some(Subject::Everyone));
        assert_eq!(id(&of("user", user)), user.to_string());
    }

    #[test]
    fn what_is_no_such_thing_is_not_read() {
        let of_team = of("team", &"0".repeat(32));
        assert_eq!((owner(&of_team), model(&of_team)), (None, None));
        for value in ["", "user", "user:ada", "system:commands"] {
            assert_eq!((subject(value), parts(value)), (None, None), "{value}");
        }
        assert_eq!(id("browser/fast"), "browser/fast");
    }
}

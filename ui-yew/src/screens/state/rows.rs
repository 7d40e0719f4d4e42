//! Things of a past state, in the rows of their own lists.

use chrono::{DateTime, Utc};
use events_schema::api::history::{Thing, ThingAt};
use events_schema::events::Aggregate;
use serde_json::Value;
use yew::prelude::*;

use crate::format;
use crate::screens::{
    access, budgets, keys, models, operators, policies, provider_accounts, settings, teams, users,
    virtual_accounts, virtual_models,
};
use crate::widgets::diff::{Line, diff};
use crate::widgets::listing::Row;

/// The headings of a kind.
pub(super) fn columns(kind: Aggregate) -> &'static [&'static str] {
    match kind {
        Aggregate::Log | Aggregate::BudgetAlert => &[],
        Aggregate::ProviderAccount => provider_accounts::COLUMNS,
        Aggregate::Model => models::COLUMNS,
        Aggregate::VirtualModel => virtual_models::COLUMNS,
        Aggregate::User => users::COLUMNS,
        Aggregate::VirtualAccount => virtual_accounts::COLUMNS,
        Aggregate::Key => keys::COLUMNS,
        Aggregate::Grant => access::COLUMNS,
        Aggregate::Operator => operators::COLUMNS,
        Aggregate::Team => teams::COLUMNS,
        Aggregate::RateLimitPolicy => policies::COLUMNS,
        Aggregate::BudgetPolicy => budgets::COLUMNS,
        Aggregate::Settings => settings::COLUMNS,
    }
}

/// A thing as its own list would have shown it at that time.
pub(super) fn row(thing: &Thing, at: DateTime<Utc>) -> Row {
    let none = Vec::new;
    match thing.clone() {
        Thing::ProviderAccount(it) => provider_accounts::row(it, none()),
        Thing::Model(it) => models::row(it, none(), at),
        Thing::VirtualModel(it) => virtual_models::row(it, none()),
        Thing::User(it) => users::row(it, none()),
        Thing::VirtualAccount(it) => virtual_accounts::row(it, none()),
        Thing::Key(it) => keys::row(it, none(), at),
        Thing::Grant(it) => access::row(&it, none()),
        Thing::Operator(it) => operators::row(it, false, none()),
        Thing::Team(it) => {
            let members = html!(format::count(it.members));
            teams::row(it, members, none())
        }
        Thing::RateLimitPolicy(it) => policies::row(it, none()),
        Thing::BudgetPolicy(it) => budgets::row(it, none()),
        Thing::Settings(it) => settings::row(&it),
    }
}

/// What differs between then and now; nothing where the thing is gone.
pub(super) fn differences(it: &ThingAt) -> Vec<Line> {
    let Some(now) = &it.now else {
        return Vec::new();
    };
    diff(Some(&fields(&it.then)), Some(&fields(now)))
}

/// The thing's own fields.
fn fields(thing: &Thing) -> Value {
    let tagged = serde_json::to_value(thing).expect("a thing holds nothing that JSON cannot");
    match tagged {
        Value::Object(fields) => fields.into_iter().next().map_or(Value::Null, |(_, it)| it),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Value::Null
        }
    }
}

#[cfg(test)]
mod tests {
    use events_schema::api::history::Since;
    use events_schema::api::resources::VirtualAccountItem;
    use events_schema::id::VirtualAccountId;
    use events_schema::state::Life;
    use events_schema::time::Timestamp;

    use super::*;
    use crate::widgets::diff::Change;

    fn account(name: &str, version: u64) -> Thing {
        let at = Timestamp::from_micros(0).expect("a time");
        Thing::VirtualAccount(VirtualAccountItem {
            id: VirtualAccountId::from_bytes([7; 16]),
            name: name.to_owned(),
            disabled: false,
            keys: 1,
            life: Life {
                version,
                created_at: at,
                changed_at: at,
                position: version,
            },
        })
    }

    #[test]
    fn only_what_people_see_of_a_thing_differs() {
        let mut it = ThingAt {
            stream: String::new(),
            since: Since::Changed,
            then: account("ci", 1),
            now: Some(account("cd", 2)),
        };
        let expected = Line {
            path: "name".to_owned(),
            change: Change::Changed("ci".to_owned(), "cd".to_owned()),
        };
        assert_eq!(differences(&it), [expected]);
        it.now = Some(account("ci", 3));
        assert_eq!(differences(&it), []);
        it.now = None;
        assert_eq!(differences(&it), []);
    }
}

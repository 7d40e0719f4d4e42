//! Choosing who owns or may use something: users and virtual accounts, in one list.

use events_schema::api::resources::{UserItem, VirtualAccountItem};
use events_schema::events::{Aggregate, Owner};
use yew::prelude::*;

use super::field::Choice;
use super::listing::use_all;

/// All owners that there are to choose from; the value of each is what [`parse`] reads.
#[hook]
pub(crate) fn use_owner_choices() -> Vec<Choice> {
    let accounts = use_all::<VirtualAccountItem>("/virtual-accounts", &[Aggregate::VirtualAccount]);
    let users = use_all::<UserItem>("/users", &[Aggregate::User]);
    let accounts = accounts.iter().map(|account| Choice {
        value: format!("virtual_account:{}", account.id).into(),
        label: format!("{} (virtual account)", account.name).into(),
    });
    let users = users.iter().filter_map(|user| {
        let label = format!("{} (user)", user.name.as_deref()?);
        Some(Choice {
            value: format!("user:{}", user.id).into(),
            label: label.into(),
        })
    });
    accounts.chain(users).collect()
}

/// Reads a choice's value.
pub(crate) fn parse(value: &str) -> Option<Owner> {
    match value.split_once(':')? {
        ("user", id) => id.parse().ok().map(Owner::User),
        ("virtual_account", id) => id.parse().ok().map(Owner::VirtualAccount),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_from_its_choice() {
        let id = "0".repeat(32);
        assert!(matches!(parse(&format!("user:{id}")), Some(Owner::User(_))));
        assert!(matches!(
            parse(&format!("virtual_account:{id}")),
            Some(Owner::VirtualAccount(_))
        ));
        assert_eq!(parse("team:x"), None);
        assert_eq!(parse(""), None);
    }
}

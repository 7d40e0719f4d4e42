//! Operators and their tokens.

use commands::domain::OperatorCommand as O;
use events_schema::events::Role;

use super::{and, check};
use crate::support::{journal::NOW, world::*};

#[test]
fn somebody_who_can_manage_operators_always_remains() {
    const LAST: &str = "409 last_owner: This is the last owner who can sign in. Make somebody else an owner first.";
    let given = [
        add_operator(1, Role::Owner),
        add_operator(2, Role::Operator),
    ];
    let demote = operator(
        1,
        O::ChangeRole {
            role: Role::Auditor,
        },
    );
    for command in [demote, operator(1, O::Disable), operator(1, O::Remove)] {
        check(&given, command, LAST);
    }
    check(&given, operator(2, O::Remove), "operator_removed");
    let two = and(
        given.to_vec(),
        [operator(2, O::ChangeRole { role: Role::Owner })],
    );
    check(&two, operator(1, O::Remove), "operator_removed");
    let other_disabled = and(two, [operator(2, O::Disable)]);
    check(&other_disabled, operator(1, O::Remove), LAST);
}

#[test]
fn an_operator_has_an_address_of_its_own_which_a_user_may_have_too() {
    let given = [add_user(1), add_operator(2, Role::Owner)];
    check(&given, add_operator(1, Role::Viewer), "operator_added");
    let role = Role::Viewer;
    check(
        &given,
        operator(
            3,
            O::Add {
                role,
                email: address(2),
            },
        ),
        "409 email_taken at email: There is already an operator with this e-mail address.",
    );
    check(
        &given,
        operator(
            2,
            O::Add {
                role,
                email: address(3),
            },
        ),
        "409 id_used: The id of the new operator has been used before. Send the command again.",
    );
    check(
        &given,
        operator(7, O::ChangePassword),
        "404 not_found: There is no operator with this id.",
    );
    check(
        &given,
        operator(2, O::ChangePassword),
        "operator_password_changed",
    );
}

#[test]
fn an_operator_is_called_otherwise_and_gets_another_address() {
    let given = [
        add_operator(1, Role::Owner),
        add_operator(2, Role::Viewer),
        add_user(3),
    ];
    let rename = |number, differs| operator(number, O::Rename { differs });
    check(&given, rename(1, true), "operator_renamed");
    check(&given, rename(1, false), "nothing");
    let change = |number, to| operator(number, O::ChangeEmail { email: address(to) });
    check(&given, change(2, 2), "nothing");
    check(&given, change(2, 3), "operator_email_changed");
    check(
        &given,
        change(2, 1),
        "409 email_taken at email: There is already an operator with this e-mail address.",
    );
    // The former address is free again.
    let moved = and(given.to_vec(), [change(2, 4)]);
    check(&moved, change(1, 2), "operator_email_changed");
    let removed = and(given.to_vec(), [operator(2, O::Remove)]);
    for command in [rename(2, true), change(2, 4), rename(7, true)] {
        check(
            &removed,
            command,
            "404 not_found: There is no operator with this id.",
        );
    }
}

#[test]
fn a_token_ends_in_the_future_and_is_revoked_once() {
    let issue = |token, expires_at| {
        operator(
            1,
            O::IssueToken {
                token: id(token),
                label: name("ci"),
                expires_at,
                now: NOW,
            },
        )
    };
    let given = [add_operator(1, Role::Owner), issue(1, None)];
    check(
        &given,
        issue(2, Some(NOW.plus_micros(1))),
        "operator_token_issued",
    );
    check(
        &given,
        issue(2, Some(NOW)),
        "422 expiry_in_past at expires_at: The expiry must lie in the future.",
    );
    check(
        &given,
        issue(1, None),
        "409 id_used: The id of the new token has been used before. Send the command again.",
    );
    let revoke = operator(1, O::RevokeToken { token: id(1) });
    check(&given, revoke.clone(), "operator_token_revoked");
    check(&and(given.to_vec(), [revoke.clone()]), revoke, "nothing");
}

#[test]
fn an_operator_is_erased_after_being_removed() {
    let given = [add_operator(1, Role::Owner), add_operator(2, Role::Viewer)];
    let erase = operator(2, O::Erase);
    check(
        &given,
        erase.clone(),
        "409 still_an_operator at operator: This is an operator. Remove the operator first: whoever may sign in has a name.",
    );
    let removed = and(given.to_vec(), [operator(2, O::Remove)]);
    check(&removed, erase.clone(), "operator_erased");
    let erased = and(removed, [erase.clone()]);
    check(&erased, erase, "nothing");
    check(
        &given,
        operator(3, O::Erase),
        "404 not_found: There is no operator with this id.",
    );
}

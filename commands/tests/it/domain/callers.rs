//! Users and virtual accounts, their keys, and what they may use.

use commands::domain::{
    Command, Fingerprints, GrantCommand as G, KeyCommand as K, UserCommand as U,
    VirtualAccountCommand as V,
};
use events_schema::{
    events::{
        GrantedModels, KeyLimits,
        ModelRef::{self, ProviderAccount as AllOf},
        Owner, Subject,
    },
    id::ModelId,
    time::Timestamp,
};
use uuid::Uuid;

use super::{and, callers, check, providers};
use crate::support::{journal::NOW, world::*};

#[test]
fn a_user_has_an_address_of_its_own() {
    let given = [add_user(1), add_user(2)];
    let another = user(3, U::Add { email: address(1) });
    check(
        &given,
        another,
        "409 email_taken at email: There is already a user with this e-mail address.",
    );
    let change = |to| user(1, U::ChangeEmail { email: address(to) });
    check(&given, change(1), "nothing");
    check(&given, change(3), "user_email_changed");
    check(
        &given,
        change(2),
        "409 email_taken at email: There is already a user with this e-mail address.",
    );
    check(
        &given,
        user(1, U::Add { email: address(4) }),
        "409 id_used: The id of the new user has been used before. Send the command again.",
    );
}

#[test]
fn a_user_is_called_otherwise_when_the_name_is_another_one() {
    let given = [add_user(1)];
    let rename = |differs| user(1, U::Rename { differs });
    check(&given, rename(true), "user_renamed");
    check(&given, rename(false), "nothing");
    check(
        &given,
        user(2, U::Rename { differs: true }),
        "404 not_found: There is no user with this id.",
    );
    check(
        &and(given.to_vec(), [user(1, U::Erase)]),
        rename(true),
        "409 person_erased at user: The person's name and address were erased. Somebody who comes back is a new user.",
    );
}

#[test]
fn an_address_that_was_written_down_under_a_former_key_is_the_same_address() {
    let given = [add_user(1), add_user(2)];
    let known_as = |number| Fingerprints {
        active: hash(9),
        former: vec![hash(number)],
    };
    check(
        &given,
        user(3, U::Add { email: known_as(1) }),
        "409 email_taken at email: There is already a user with this e-mail address.",
    );
    let again = |number| {
        user(
            1,
            U::ChangeEmail {
                email: known_as(number),
            },
        )
    };
    check(&given, again(1), "user_email_changed");
    check(
        &given,
        again(2),
        "409 email_taken at email: There is already a user with this e-mail address.",
    );
}

#[test]
fn a_virtual_account_has_a_name_of_its_own() {
    let given = [
        create_virtual_account(1, "ci"),
        create_virtual_account(2, "app"),
    ];
    let rename = |to| virtual_account(1, V::Rename { name: name(to) });
    check(&given, rename("ci"), "nothing");
    check(&given, rename("cd"), "virtual_account_renamed");
    for command in [rename("app"), create_virtual_account(3, "app")] {
        check(
            &given,
            command,
            "409 name_taken at name: There is already a virtual account named 'app'.",
        );
    }
}

#[test]
fn an_owner_with_keys_or_grants_cannot_be_deleted() {
    let with_key = |owner| {
        [
            add_user(1),
            create_virtual_account(1, "ci"),
            issue_key(1, owner),
        ]
    };
    let with_grant = |subject| {
        [
            add_user(1),
            create_virtual_account(1, "ci"),
            grant(
                1,
                G::Grant {
                    subject,
                    models: GrantedModels::All,
                },
            ),
        ]
    };
    let (of_user, of_account) = (user(1, U::Delete), virtual_account(1, V::Delete));
    check(&[add_user(1)], of_user.clone(), "user_deleted");
    check(
        &[create_virtual_account(1, "ci")],
        of_account.clone(),
        "virtual_account_deleted",
    );
    check(
        &with_key(Owner::User(id(1))),
        of_user.clone(),
        "409 still_used: The user cannot be deleted: it owns 1 key; revoke them first.",
    );
    check(
        &with_key(Owner::VirtualAccount(id(1))),
        of_account.clone(),
        "409 still_used: The virtual account 'ci' cannot be deleted: it owns 1 key; revoke them first.",
    );
    check(
        &with_grant(Subject::User(id(1))),
        of_user,
        "409 still_used: The user cannot be deleted: 1 grant of access name it; revoke them first.",
    );
    check(
        &with_grant(Subject::VirtualAccount(id(1))),
        of_account,
        "409 still_used: The virtual account 'ci' cannot be deleted: 1 grant of access name it; revoke them first.",
    );
}

#[test]
fn a_key_has_an_owner_an_end_in_the_future_and_limits_that_let_something_pass() {
    let given = callers();
    let owner = Owner::VirtualAccount(id(1));
    let limits = |requests_per_minute, tokens_per_minute| KeyLimits {
        requests_per_minute,
        tokens_per_minute,
    };
    check(&given, issue_key(2, owner), "key_issued");
    for (owner, noun) in [
        (Owner::User(id(7)), "user"),
        (Owner::VirtualAccount(id(7)), "virtual account"),
    ] {
        check(
            &given,
            issue_key(2, owner),
            &format!(
                "422 missing_reference at owner: There is no {noun} with the id 07070707070707070707070707070707."
            ),
        );
    }
    check(
        &given,
        issue_key_with(2, owner, Some(NOW), limits(None, None)),
        "422 expiry_in_past at expires_at: The expiry must lie in the future.",
    );
    let soon = Some(NOW.plus_micros(1));
    check(
        &given,
        issue_key_with(2, owner, soon, limits(Some(1), Some(1))),
        "key_issued",
    );
    let too_low = |field| {
        format!(
            "422 limit_too_low at {field}: A limit is at least 1. To let a key not work at all, disable it."
        )
    };
    check(
        &given,
        issue_key_with(2, owner, None, limits(Some(0), None)),
        &too_low("limits.requests_per_minute"),
    );
    check(
        &given,
        key(
            1,
            K::ChangeLimits {
                limits: limits(None, Some(0)),
            },
        ),
        &too_low("limits.tokens_per_minute"),
    );
    let mut same_hash = issue_key(1, owner);
    if let Command::Key(of, _) = &mut same_hash {
        *of = id(2);
    }
    check(
        &given,
        same_hash,
        "409 key_not_unique: The new key could not be told apart from another one. Send the command again.",
    );
}

fn relabel(number: u8, to: &str) -> Command {
    let label = name(to);
    key(number, K::Relabel { label, now: NOW })
}

/// A key that is issued with the label of the key 1 that the world's callers have.
fn issue_the_same(owner: Owner, expires_at: Option<Timestamp>, now: Timestamp) -> Command {
    let issue = K::Issue {
        owner,
        label: name("Bob's laptop 1"),
        hash: hash(9),
        hint: "wxyz".into(),
        expires_at,
        limits: KeyLimits::default(),
        now,
    };
    key(9, issue)
}

#[test]
fn a_label_is_unique_within_its_owner_and_is_held_until_the_key_is_revoked() {
    const TAKEN: &str =
        "409 label_taken at label: This owner already has a key labelled 'Bob's laptop 1'.";
    let owner = Owner::User(id(1));
    let given = [
        add_user(1),
        add_user(2),
        issue_key(1, owner),
        issue_key(2, owner),
    ];
    check(&given, issue_the_same(owner, None, NOW), TAKEN);
    check(&given, relabel(2, "Bob's laptop 1"), TAKEN);
    check(&given, relabel(1, "Bob's laptop 1"), "nothing");
    check(
        &given,
        issue_the_same(Owner::User(id(2)), None, NOW),
        "key_issued",
    );

    // Who is disabled holds the label, and so does a label of old; a revoked key's is free, and so is one that was given up.
    let disabled = and(given.to_vec(), [key(1, K::Disable)]);
    check(&disabled, issue_the_same(owner, None, NOW), TAKEN);
    let revoked = and(given.to_vec(), [key(1, K::Revoke)]);
    check(&revoked, issue_the_same(owner, None, NOW), "key_issued");
    let given_up = and(given.to_vec(), [relabel(1, "Bob's desk")]);
    check(&given_up, issue_the_same(owner, None, NOW), "key_issued");
    check(&given_up, relabel(2, "Bob's laptop 1"), "key_relabelled");

    // So does one that has expired, which is told.
    let soon = NOW.plus_micros(1);
    let expiring = [
        add_user(1),
        issue_key_with(1, owner, Some(soon), KeyLimits::default()),
        issue_key(2, owner),
    ];
    check(&expiring, issue_the_same(owner, None, NOW), TAKEN);
    let expired = format!(
        "{TAKEN} That one has expired, and keeps its label until it is revoked or relabelled."
    );
    check(&expiring, issue_the_same(owner, None, soon), &expired);
    let late = K::Relabel {
        label: name("Bob's laptop 1"),
        now: soon,
    };
    check(&expiring, key(2, late), &expired);
}

#[test]
fn a_key_is_changed_only_by_what_differs() {
    let given = callers();
    let relabel = |to| relabel(1, to);
    check(&given, relabel("Bob's laptop 1"), "nothing");
    check(&given, relabel("Bob's desk"), "key_relabelled");
    let expire = |expires_at| {
        key(
            1,
            K::ChangeExpiry {
                expires_at,
                now: NOW,
            },
        )
    };
    check(&given, expire(None), "nothing");
    check(
        &given,
        expire(Some(NOW.plus_micros(1))),
        "key_expiry_changed",
    );
    check(
        &given,
        expire(Some(NOW)),
        "422 expiry_in_past at expires_at: The expiry must lie in the future.",
    );
    let limits = KeyLimits {
        requests_per_minute: Some(5),
        tokens_per_minute: None,
    };
    check(
        &given,
        key(1, K::ChangeLimits { limits }),
        "key_limits_changed",
    );
    let limited = and(given, [key(1, K::ChangeLimits { limits })]);
    check(&limited, key(1, K::ChangeLimits { limits }), "nothing");
}

#[test]
fn a_revoked_key_takes_its_grants_along_and_is_gone() {
    let given = and(
        callers(),
        [1, 2].map(|number| {
            grant(
                number,
                G::Grant {
                    subject: Subject::Key(id(1)),
                    models: GrantedModels::All,
                },
            )
        }),
    );
    check(
        &given,
        key(1, K::Revoke),
        "access_revoked, access_revoked, key_revoked",
    );
    let revoked = and(given, [key(1, K::Revoke)]);
    check(
        &revoked,
        key(1, K::Revoke),
        "404 not_found: There is no key with this id.",
    );
    check(
        &revoked,
        issue_key(1, Owner::User(id(1))),
        "409 id_used: The id of the new key has been used before. Send the command again.",
    );
}

#[test]
fn a_grant_names_what_exists() {
    let given = and(providers(), callers());
    let missing = |noun, field| {
        format!(
            "422 missing_reference at {field}: There is no {noun} with the id 07070707070707070707070707070707."
        )
    };
    for (subject, noun) in [
        (Subject::User(id(7)), "user"),
        (Subject::VirtualAccount(id(7)), "virtual account"),
        (Subject::Key(id(7)), "key"),
    ] {
        let models = GrantedModels::All;
        check(
            &given,
            grant(1, G::Grant { subject, models }),
            &missing(noun, "subject"),
        );
    }
    for (models, noun) in [
        (ModelRef::Model(id(7)), "model"),
        (ModelRef::VirtualModel(id(7)), "virtual model"),
        (AllOf(id(7)), "provider account"),
    ] {
        let command = grant_models(1, Subject::Everyone, &[models]);
        check(&given, command, &missing(noun, "models"));
    }
    let all = [
        ModelRef::Model(id(1)),
        ModelRef::VirtualModel(id(1)),
        AllOf(id(1)),
    ];
    check(
        &given,
        grant_models(1, Subject::Key(id(1)), &all),
        "access_granted",
    );
}

#[test]
fn a_grant_lists_something_and_not_too_much() {
    let given = and(
        providers(),
        [grant_models(1, Subject::Everyone, &[AllOf(id(1))])],
    );
    let change = |models| grant(1, G::ChangeModels { models });
    let size = |found| {
        format!(
            "422 bad_grant at models: A grant lists 1 to 1000 models, virtual models and provider accounts, and this \
             one lists {found}."
        )
    };
    let many: Vec<_> = (0..1_001_u128)
        .map(|number| ModelRef::Model(ModelId::from_uuid(Uuid::from_u128(number))))
        .collect();
    check(&given, change(listed(&[])), &size(0));
    check(&given, change(listed(&many)), &size(1_001));
    check(&given, change(listed(&[AllOf(id(1))])), "nothing");
    check(&given, change(GrantedModels::All), "granted_models_changed");
    check(&given, grant(1, G::Revoke), "access_revoked");
    check(
        &[],
        grant(1, G::Revoke),
        "404 not_found: There is no grant with this id.",
    );
}

#[test]
fn a_key_is_rotated_to_a_secret_that_nobody_had_and_the_old_one_works_for_90_days_at_most() {
    let rotate = |to, grace_seconds| {
        key(
            1,
            K::Rotate {
                hash: hash(to),
                hint: "wxyz".into(),
                grace_seconds,
                now: NOW,
            },
        )
    };
    let given = and(callers(), [issue_key(2, Owner::User(id(1)))]);
    check(&given, rotate(3, 0), "key_rotated");
    check(&given, rotate(3, 7_776_000), "key_rotated");
    check(
        &given,
        rotate(3, 7_776_001),
        "422 grace_too_long at grace_seconds: After a rotation the former secret works for at most 90 days.",
    );
    check(&given, rotate(1, 0), "nothing");
    let taken = "409 key_not_unique: The new key could not be told apart from another one. Send the command again.";
    check(&given, rotate(2, 0), taken);
    let rotated = and(given, [rotate(3, 60)]);
    check(&rotated, rotate(1, 0), taken);
    check(&rotated, key(2, K::RevokeFormerSecret), "nothing");
    check(
        &rotated,
        key(1, K::RevokeFormerSecret),
        "key_former_secret_revoked",
    );
    // A secret that is forgotten could come again, if chance would have it so.
    let twice = and(rotated, [rotate(4, 0)]);
    check(&twice, key(1, K::RevokeFormerSecret), "nothing");
    check(&twice, rotate(1, 0), "key_rotated");
    check(
        &[],
        rotate(1, 0),
        "404 not_found: There is no key with this id.",
    );
}

#[test]
fn whoever_is_erased_stays_without_an_address_and_may_come_back_as_somebody_else() {
    let given = [add_user(1), issue_key(1, Owner::User(id(1)))];
    check(&given, user(1, U::Erase), "user_erased");
    let erased = and(given.to_vec(), [user(1, U::Erase)]);
    check(&erased, user(1, U::Erase), "nothing");
    check(&erased, user(1, U::Disable), "user_disabled");
    check(&erased, user(2, U::Add { email: address(1) }), "user_added");
    check(
        &erased,
        user(1, U::ChangeEmail { email: address(2) }),
        "409 person_erased at user: The person's name and address were erased. Somebody who comes back is a new user.",
    );
    check(
        &[],
        user(1, U::Erase),
        "404 not_found: There is no user with this id.",
    );
}

//! The business rules: what a command does in a state, or what it is refused with, as people read it.

use commands::domain::{
    Command, GrantCommand as G, KeyCommand as K, LogCommand, ModelCommand as M,
    OperatorCommand as O, ProviderAccountCommand as A, UserCommand as U,
    VirtualAccountCommand as V, VirtualModelCommand as R, decide,
};
use events_schema::{
    envelope::Epoch,
    events::{
        GrantedModels, KeyLimits,
        ModelRef::{self, ProviderAccount as AllOf},
        ModelType::{Chat, Embedding},
        Owner, Role, Routing, Subject, WeightedTarget, codec,
    },
    id::ModelId,
    money::{NanoUsd, Price},
};
use uuid::Uuid;

use crate::support::{
    journal::{Journal, NOW},
    world::*,
};

/// What `command` does after what is `given`: the kinds of its events, or status, code, field and wording.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a rule reads better without a reference"
)]
fn check(given: &[Command], command: Command, expected: &str) {
    let state = Journal::of(given).state;
    let found = match decide(&state, &command) {
        Ok(events) if events.is_empty() => "nothing".to_owned(),
        Ok(events) => {
            let kinds: Vec<_> = events
                .iter()
                .map(|event| codec::encode(event).kind)
                .collect();
            kinds.join(", ")
        }
        Err(rejection) => {
            let outcome = rejection.outcome();
            let field = outcome.field.map(|field| format!(" at {field}"));
            let (status, code, field) = (outcome.status, outcome.code, field.unwrap_or_default());
            format!("{status} {code}{field}: {rejection}")
        }
    };
    assert_eq!(found, expected, "{command:?} after {given:?}");
}

/// An account with a model for chat, and a virtual model over it.
fn providers() -> Vec<Command> {
    vec![
        register_account(1, "openai"),
        add_model(1, 1, "gpt", &[Chat]),
        create_virtual_model(1, "chat", vec![target(1, 1)]),
    ]
}

/// A user with a key, and a virtual account with none.
fn callers() -> Vec<Command> {
    vec![
        add_user(1),
        create_virtual_account(1, "ci"),
        issue_key(1, Owner::User(id(1))),
    ]
}

fn and(mut given: Vec<Command>, more: impl IntoIterator<Item = Command>) -> Vec<Command> {
    given.extend(more);
    given
}

fn epoch(seconds: u64) -> Epoch {
    Epoch {
        seconds,
        id: Uuid::nil(),
    }
}

fn route(targets: Vec<WeightedTarget>) -> Command {
    virtual_model(
        1,
        R::ChangeRouting {
            routing: Routing::Weighted { targets },
        },
    )
}

// === the log ===

#[test]
fn a_log_begins_once_and_goes_on_only_under_a_higher_epoch() {
    let begin = |seconds| {
        Command::Log(LogCommand::Initialise {
            epoch: epoch(seconds),
        })
    };
    let start = |seconds| {
        Command::Log(LogCommand::StartEpoch {
            epoch: epoch(seconds),
        })
    };
    check(&[], begin(5), "log_initialised");
    check(&[begin(5)], begin(6), "nothing");
    check(
        &[],
        start(5),
        "404 not_found: There is no log with this id.",
    );
    check(&[begin(5)], start(6), "epoch_started");
    check(
        &[begin(5)],
        start(5),
        "409 epoch_not_higher: A new epoch must be higher than the log's.",
    );
}

// === provider accounts ===

#[test]
fn a_provider_account_has_a_name_of_its_own_and_an_id_that_was_never_used() {
    let given = [register_account(1, "openai")];
    check(
        &[],
        register_account(1, "openai"),
        "provider_account_registered",
    );
    check(
        &given,
        register_account(2, "openai"),
        "409 name_taken at name: There is already a provider account named 'openai'.",
    );
    check(
        &given,
        register_account(1, "other"),
        "409 id_used: The id of the new provider account has been used before. Send the command again.",
    );
    let deleted = [register_account(1, "openai"), account(1, A::Delete)];
    check(
        &deleted,
        register_account(1, "openai"),
        "409 id_used: The id of the new provider account has been used before. Send the command again.",
    );
    check(
        &deleted,
        register_account(2, "openai"),
        "provider_account_registered",
    );
    let rename = |to| account(1, A::Rename { name: name(to) });
    check(&given, rename("other"), "provider_account_renamed");
    check(&given, rename("openai"), "nothing");
    check(
        &and(given.to_vec(), [register_account(2, "other")]),
        rename("other"),
        "409 name_taken at name: There is already a provider account named 'other'.",
    );
    check(
        &[],
        rename("other"),
        "404 not_found: There is no provider account with this id.",
    );
}

#[test]
fn a_credential_goes_nowhere_but_where_it_was_given_for() {
    let given = [register_account(1, "openai")];
    let go = |base_url, credential| {
        account(
            1,
            A::Move {
                base_url: name(base_url),
                credential,
            },
        )
    };
    check(
        &given,
        go("https://api.example/v2", None),
        "provider_account_moved",
    );
    check(&given, go("https://api.example/v1", None), "nothing");
    check(
        &given,
        go("https://evil.example/v1", None),
        "422 credential_needed at credential: The credential is bound to https://api.example. \
         Give it again to move the provider account to https://evil.example.",
    );
    check(
        &given,
        go(
            "https://evil.example/v1",
            Some(sealed(2, "https://evil.example")),
        ),
        "provider_account_moved",
    );
    check(
        &given,
        go(
            "https://evil.example/v1",
            Some(sealed(2, "https://api.example")),
        ),
        "409 credential_for_elsewhere at credential: The provider account was moved to https://evil.example in the \
         meantime. Give the credential again.",
    );
    let replace = |credential| account(1, A::ReplaceCredential { credential });
    check(
        &given,
        replace(Some(sealed(2, "https://api.example"))),
        "provider_credential_replaced",
    );
    check(&given, replace(None), "provider_credential_replaced");
    check(
        &given,
        replace(Some(sealed(2, "https://evil.example"))),
        "409 credential_for_elsewhere at credential: The provider account was moved to https://api.example in the \
         meantime. Give the credential again.",
    );
    let bare = and(given.to_vec(), [replace(None)]);
    check(&bare, replace(None), "nothing");
    check(
        &bare,
        go("https://evil.example/v1", None),
        "provider_account_moved",
    );
}

#[test]
fn a_provider_account_that_something_refers_to_cannot_be_deleted() {
    let given = [register_account(1, "openai")];
    check(&given, account(1, A::Delete), "provider_account_deleted");
    check(
        &and(given.to_vec(), [add_model(1, 1, "gpt", &[Chat])]),
        account(1, A::Delete),
        "409 still_used: The provider account 'openai' cannot be deleted: it has 1 model (for example 'gpt').",
    );
    check(
        &and(
            given.to_vec(),
            [
                add_model(1, 1, "gpt", &[Chat]),
                add_model(2, 1, "bge", &[Embedding]),
            ],
        ),
        account(1, A::Delete),
        "409 still_used: The provider account 'openai' cannot be deleted: it has 2 models (for example 'bge').",
    );
    check(
        &and(
            given.to_vec(),
            [grant_models(1, Subject::Everyone, &[AllOf(id(1))])],
        ),
        account(1, A::Delete),
        "409 still_used: The provider account 'openai' cannot be deleted: 1 grant of access name it; revoke them first.",
    );
}

// === models ===

#[test]
fn a_model_belongs_to_an_account_and_has_a_name_of_its_own_there() {
    let given = [register_account(1, "openai"), register_account(2, "other")];
    check(&given, add_model(1, 1, "gpt", &[Chat]), "model_added");
    check(
        &given,
        add_model(1, 3, "gpt", &[Chat]),
        "422 missing_reference at account: There is no provider account with the id \
         03030303030303030303030303030303.",
    );
    check(
        &given,
        add_model(1, 1, "gpt", &[]),
        "422 no_model_type at model_types: A model needs at least one type: chat or embedding.",
    );
    let given = and(given.to_vec(), [add_model(1, 1, "gpt", &[Chat])]);
    check(
        &given,
        add_model(2, 1, "gpt", &[Chat]),
        "409 name_taken at name: There is already a model named 'gpt' in the account 'openai'.",
    );
    check(&given, add_model(2, 2, "gpt", &[Chat]), "model_added");
    let rename = |number, to| model(number, M::Rename { name: name(to) });
    check(&given, rename(1, "gpt"), "nothing");
    check(&given, rename(1, "gpt-2"), "model_renamed");
    check(
        &and(given.clone(), [add_model(2, 1, "bge", &[Embedding])]),
        rename(2, "gpt"),
        "409 name_taken at name: There is already a model named 'gpt' in the account 'openai'.",
    );
    let stand_for = |upstream| {
        model(
            1,
            M::ChangeUpstreamName {
                upstream_name: name(upstream),
            },
        )
    };
    check(&given, stand_for("gpt"), "nothing");
    check(
        &given,
        stand_for("gpt-2026-11-01"),
        "model_upstream_name_changed",
    );
}

#[test]
fn a_price_is_set_once_for_each_moment_and_is_plausible() {
    let given = providers();
    let set = |input, output, cached_input: Option<u64>, at| {
        model(
            1,
            M::SetPrice {
                price: Price {
                    input: NanoUsd::new(input),
                    output: NanoUsd::new(output),
                    cached_input: cached_input.map(NanoUsd::new),
                },
                effective_at: at,
            },
        )
    };
    let too_high = |field| {
        format!(
            "422 price_too_high at {field}: A price is at most 1,000,000 dollars per million tokens."
        )
    };
    let most = 1_000_000_000_000_000;
    check(&given, set(most, most, Some(most), NOW), "model_priced");
    check(
        &given,
        set(most + 1, 0, None, NOW),
        &too_high("price.input"),
    );
    check(
        &given,
        set(0, most + 1, None, NOW),
        &too_high("price.output"),
    );
    check(
        &given,
        set(0, 0, Some(most + 1), NOW),
        &too_high("price.cached_input"),
    );
    let priced = and(given, [set(1, 2, None, NOW)]);
    check(&priced, set(1, 2, None, NOW), "nothing");
    check(&priced, set(1, 2, None, NOW.plus_micros(1)), "model_priced");
    check(&priced, set(1, 3, None, NOW), "model_priced");
}

#[test]
fn a_model_that_something_refers_to_cannot_be_deleted() {
    let given = providers();
    check(
        &given,
        model(1, M::Delete),
        "409 still_used: The model 'openai/gpt' cannot be deleted: the virtual model 'chat' routes to it.",
    );
    let unrouted = and(given, [virtual_model(1, R::Delete)]);
    check(&unrouted, model(1, M::Delete), "model_deleted");
    let grants =
        [1, 2].map(|number| grant_models(number, Subject::Everyone, &[ModelRef::Model(id(1))]));
    check(
        &and(unrouted, grants),
        model(1, M::Delete),
        "409 still_used: The model 'openai/gpt' cannot be deleted: 2 grants of access name it; revoke them first.",
    );
}

// === virtual models ===

#[test]
fn a_virtual_model_has_a_name_of_its_own() {
    let given = providers();
    check(
        &given,
        create_virtual_model(2, "chat", vec![target(1, 1)]),
        "409 name_taken at name: There is already a virtual model named 'chat'.",
    );
    let rename = |to| virtual_model(1, R::Rename { name: name(to) });
    check(&given, rename("chat"), "nothing");
    check(&given, rename("best"), "virtual_model_renamed");
    check(
        &and(given, [create_virtual_model(2, "best", vec![target(1, 1)])]),
        rename("best"),
        "409 name_taken at name: There is already a virtual model named 'best'.",
    );
}

#[test]
fn a_routing_can_be_followed() {
    const BAD: &str = "422 bad_routing at routing.weighted.targets: ";
    let given = and(
        providers(),
        [
            add_model(2, 1, "both", &[Chat, Embedding]),
            add_model(3, 1, "bge", &[Embedding]),
        ],
    );
    let bad = |targets, why: &str| check(&given, route(targets), &format!("{BAD}{why}."));
    check(&given, route(vec![target(1, 1)]), "nothing");
    check(
        &given,
        route(vec![target(1, 9), target(2, 0)]),
        "virtual_model_routing_changed",
    );
    bad(
        vec![],
        "A virtual model has 1 to 32 targets, and this one has 0",
    );
    bad(
        (0..33).map(|number| target(number, 1)).collect(),
        "A virtual model has 1 to 32 targets, and this one has 33",
    );
    bad(
        vec![target(1, 1), target(1, 2)],
        "The model 'openai/gpt' is a target twice",
    );
    bad(
        vec![target(1, 0), target(2, 0)],
        "At least one target needs a weight above 0",
    );
    bad(
        vec![target(1, 1_000_001)],
        "A weight is at most 1000000, and 'openai/gpt' has 1000001",
    );
    bad(
        vec![target(1, 1), target(3, 1)],
        "The targets have no type in common: 'openai/gpt' and 'openai/bge' cannot stand for each other",
    );
    bad(
        vec![target(2, 1), target(1, 1), target(3, 1)],
        "The targets have no type in common: 'openai/both' and 'openai/bge' cannot stand for each other",
    );
    for (code, fits) in [(399, false), (400, true), (599, true), (600, false)] {
        let mut with = target(1, 1);
        with.fallback_status_codes = Some([code].into());
        if fits {
            check(&given, route(vec![with]), "virtual_model_routing_changed");
        } else {
            bad(
                vec![with],
                &format!("{code} is no HTTP status to fall back on: those are 400 to 599"),
            );
        }
    }
    check(
        &given,
        route(vec![target(9, 1)]),
        "422 missing_reference at routing.weighted.targets: There is no model with the id \
         09090909090909090909090909090909.",
    );
}

#[test]
fn a_virtual_model_that_a_grant_names_cannot_be_deleted() {
    let names_it = grant_models(1, Subject::Everyone, &[ModelRef::VirtualModel(id(1))]);
    check(
        &providers(),
        virtual_model(1, R::Delete),
        "virtual_model_deleted",
    );
    check(
        &and(providers(), [names_it]),
        virtual_model(1, R::Delete),
        "409 still_used: The virtual model 'chat' cannot be deleted: 1 grant of access name it; revoke them first.",
    );
}

// === users and virtual accounts ===

#[test]
fn a_user_has_an_address_of_its_own() {
    let given = [add_user(1), add_user(2)];
    let another = user(3, U::Add { email: hash(1) });
    check(
        &given,
        another,
        "409 email_taken at email: There is already a user with this e-mail address.",
    );
    let change = |to| user(1, U::ChangeEmail { email: hash(to) });
    check(&given, change(1), "nothing");
    check(&given, change(3), "user_email_changed");
    check(
        &given,
        change(2),
        "409 email_taken at email: There is already a user with this e-mail address.",
    );
    check(
        &given,
        user(1, U::Add { email: hash(4) }),
        "409 id_used: The id of the new user has been used before. Send the command again.",
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

// === keys ===

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

#[test]
fn a_key_is_changed_only_by_what_differs() {
    let given = callers();
    let relabel = |to| key(1, K::Relabel { label: name(to) });
    check(&given, relabel("Bob's laptop"), "nothing");
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

// === grants ===

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

// === operators ===

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
                email: hash(2),
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
                email: hash(3),
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

// === what holds for all ===

#[test]
fn what_is_disabled_is_not_disabled_again_and_what_is_not_there_cannot_be() {
    let given = and(and(providers(), callers()), [add_operator(1, Role::Viewer)]);
    let switches = [
        (
            "provider account",
            account(1, A::Disable),
            account(1, A::Enable),
        ),
        ("model", model(1, M::Disable), model(1, M::Enable)),
        (
            "virtual model",
            virtual_model(1, R::Disable),
            virtual_model(1, R::Enable),
        ),
        ("user", user(1, U::Disable), user(1, U::Enable)),
        (
            "virtual account",
            virtual_account(1, V::Disable),
            virtual_account(1, V::Enable),
        ),
        ("key", key(1, K::Disable), key(1, K::Enable)),
        ("operator", operator(1, O::Disable), operator(1, O::Enable)),
    ];
    for (noun, disable, enable) in switches {
        let kind = noun.replace(' ', "_");
        let disabled = and(given.clone(), [disable.clone()]);
        check(&given, disable.clone(), &format!("{kind}_disabled"));
        check(&disabled, disable.clone(), "nothing");
        check(&disabled, enable.clone(), &format!("{kind}_enabled"));
        check(&given, enable.clone(), "nothing");
        for command in [disable, enable] {
            let expected = format!("404 not_found: There is no {noun} with this id.");
            check(&[], command, &expected);
        }
    }
}

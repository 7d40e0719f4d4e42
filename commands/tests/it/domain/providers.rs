//! Provider accounts, their models, and virtual models over them.

use commands::domain::{
    Command, ModelCommand as M, ProviderAccountCommand as A, VirtualModelCommand as R,
};
use events_schema::{
    events::{
        CostDifference, HeadersOverride,
        ModelRef::{self, ProviderAccount as AllOf},
        ModelType::{Chat, Embedding},
        Retry, Routing, RoutingStrategy, RoutingTarget, SessionIdentifier, SessionSource,
        SlaCutoff, StickySessions, Subject,
    },
    money::{NanoUsd, Price},
    names::HeaderName,
};

use super::{and, check, providers};
use crate::support::{journal::NOW, world::*};

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
        "422 no_model_type at model_types: A model needs at least one type: chat, embedding or completion.",
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
fn what_a_model_cost_is_corrected_for_a_time_that_is_past_and_as_it_was_shown() {
    const HOUR: i64 = 3_600_000_000;
    const DIFFERS: &str = "409 difference_changed at shown: By now the difference is another: 8 requests cost $0.00000001, and \
        $0.00000002 after the correction. Look at it again.";
    let given = providers();
    let shown = |requests| CostDifference {
        requests,
        cost_before: NanoUsd::new(10),
        cost_after: NanoUsd::new(20),
    };
    let of = |(from, until), input, found, known| {
        model(
            1,
            M::RepriceUsage {
                from: NOW.plus_micros(from),
                until: NOW.plus_micros(until),
                price: Price {
                    input: NanoUsd::new(input),
                    output: NanoUsd::new(2),
                    cached_input: None,
                },
                shown: shown(7),
                found: shown(found),
                known,
                now: NOW,
            },
        )
    };
    let day = (-24 * HOUR, 0);
    check(&given, of(day, 1, 7, 0), "usage_repriced");
    check(
        &given,
        of((0, 0), 1, 7, 0),
        "422 bad_repricing at until: The range must end after it begins.",
    );
    check(
        &given,
        of((-1, 1), 1, 7, 0),
        "422 bad_repricing at until: A range ends now at the latest: what is to come gets its price by setting it.",
    );
    check(&given, of((-366 * 24 * HOUR, 0), 1, 7, 0), "usage_repriced");
    check(
        &given,
        of((-366 * 24 * HOUR - 1, 0), 1, 7, 0),
        "422 bad_repricing at from: A range has at most 366 days: correct a longer one in parts.",
    );
    check(
        &given,
        of(day, 1_000_000_000_000_001, 7, 0),
        "422 price_too_high at price.input: A price is at most 1,000,000 dollars per million tokens.",
    );
    check(&given, of(day, 1, 8, 0), DIFFERS);
    let corrected = and(given, [of(day, 1, 7, 0)]);
    // The very same is so already, whatever was shown; parts of it, other prices and other times are not.
    check(&corrected, of(day, 1, 8, 0), "nothing");
    check(
        &corrected,
        of(day, 2, 7, 0),
        "409 difference_changed at shown: The price was corrected otherwise meanwhile. Look at the difference again.",
    );
    check(&corrected, of(day, 2, 7, 1), "usage_repriced");
    check(&corrected, of((-HOUR, 0), 1, 7, 1), "usage_repriced");
    let twice = and(corrected, [of((-HOUR, 0), 3, 7, 1)]);
    check(&twice, of(day, 1, 7, 2), "usage_repriced");
    check(
        &twice,
        model(
            9,
            match of(day, 1, 7, 0) {
                Command::Model(_, order) => order,
                other => panic!("{other:?}"),
            },
        ),
        "404 not_found: There is no model with this id.",
    );
    let often = (0..500).map(|at: usize| of((-HOUR, -1), 10 + at as u64, 7, at));
    let full = and(providers(), often);
    check(
        &full,
        of(day, 1, 7, 500),
        "409 too_many_repricings: The price of a model is corrected at most 500 times.",
    );
}

#[test]
fn the_prices_of_all_models_are_corrected_so_often_and_no_more() {
    let of = |number, input, known| {
        let shown = CostDifference::default();
        model(
            number,
            M::RepriceUsage {
                from: NOW.plus_micros(-2),
                until: NOW.plus_micros(-1),
                price: Price {
                    input: NanoUsd::new(input),
                    output: NanoUsd::new(2),
                    cached_input: None,
                },
                shown,
                found: shown,
                known,
                now: NOW,
            },
        )
    };
    let more = [2, 3].map(|number| add_model(number, 1, &format!("gpt-{number}"), &[Chat]));
    let given = and(providers(), more);
    let times = |number, times| (0..times).map(move |at: usize| of(number, 10 + at as u64, at));
    let almost = and(and(given, times(1, 499)), times(2, 500));
    check(&almost, of(3, 1, 0), "usage_repriced");
    let full = and(almost, [of(3, 1, 0)]);
    for number in [1, 3] {
        let known = if number == 1 { 499 } else { 1 };
        check(
            &full,
            of(number, 2, known),
            "409 too_many_repricings: The prices of all models together are corrected at most 1000 times.",
        );
    }
    check(
        &full,
        of(2, 2, 500),
        "409 too_many_repricings: The price of a model is corrected at most 500 times.",
    );
    // What is so already is no correction more.
    check(&full, of(3, 1, 1), "nothing");
    // A model that is gone leaves room for others.
    let fewer = and(full, [model(2, M::Delete)]);
    check(&fewer, of(3, 2, 1), "usage_repriced");
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

fn route(targets: Vec<RoutingTarget>) -> Command {
    virtual_model(
        1,
        R::ChangeRouting {
            routing: Routing::weighted(targets),
        },
    )
}

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
    const BAD: &str = "422 bad_routing at routing: ";
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
                &format!(
                    "{code} is no HTTP status to fall back or try again on: those are 400 to 599"
                ),
            );
        }
    }
    check(
        &given,
        route(vec![target(9, 1)]),
        "422 missing_reference at routing.targets: There is no model with the id \
         09090909090909090909090909090909.",
    );
}

#[test]
fn a_strategy_needs_of_each_target_what_it_goes_by() {
    let given = providers();
    let strategy = |strategy, targets| {
        virtual_model(
            1,
            R::ChangeRouting {
                routing: Routing {
                    strategy,
                    ..Routing::weighted(targets)
                },
            },
        )
    };
    let bare = RoutingTarget {
        weight: None,
        ..target(1, 1)
    };
    let ranked = RoutingTarget {
        priority: Some(0),
        ..bare.clone()
    };
    let check_one = |of, target: &RoutingTarget, expected: &str| {
        check(&given, strategy(of, vec![target.clone()]), expected);
    };
    let lacks = |strategy: &str, field: &str| {
        format!(
            "422 bad_routing at routing: Each target of {strategy} routing needs a {field}, and 'openai/gpt' has none."
        )
    };
    let changed = "virtual_model_routing_changed";
    check_one(
        RoutingStrategy::WeightBased,
        &bare,
        &lacks("weight_based", "weight"),
    );
    check_one(
        RoutingStrategy::PriorityBased,
        &bare,
        &lacks("priority_based", "priority"),
    );
    check_one(RoutingStrategy::PriorityBased, &ranked, changed);
    check_one(RoutingStrategy::LatencyBased, &bare, changed);
}

#[test]
fn what_a_target_may_ask_for_has_bounds() {
    let given = providers();
    let check_target = |change: fn(&mut RoutingTarget), expected: &str| {
        let mut changed = target(1, 1);
        change(&mut changed);
        let expected = match expected {
            "" => "virtual_model_routing_changed".to_owned(),
            why => format!("422 bad_routing at routing: {why}."),
        };
        check(&given, route(vec![changed]), &expected);
    };
    fn retries(attempts: u8, delay_ms: u32, code: u16) -> Option<Retry> {
        Some(Retry {
            attempts,
            delay_ms: Some(delay_ms),
            on_status_codes: Some([code].into()),
        })
    }
    check_target(|it| it.retry = retries(10, 60_000, 599), "");
    check_target(
        |it| it.retry = retries(0, 0, 500),
        "`retry.attempts` is 1 to 10, and here it is 0",
    );
    check_target(
        |it| it.retry = retries(1, 60_001, 500),
        "`retry.delay_ms` is 0 to 60000, and here it is 60001",
    );
    check_target(
        |it| it.retry = retries(1, 0, 200),
        "200 is no HTTP status to fall back or try again on: those are 400 to 599",
    );
    check_target(
        |it| {
            it.sla_cutoff = Some(SlaCutoff {
                time_to_first_token_ms: None,
                time_per_output_token_ms: None,
            });
        },
        "`sla_cutoff` is empty: leave it out",
    );
    check_target(
        |it| it.override_params = Some(r#"{"stream":true}"#.parse().expect("an object")),
        "`stream` cannot be overridden: the gateway writes it itself",
    );
    check_target(
        |it| it.override_params = Some("{}".parse().expect("an object")),
        "`override_params` is empty: leave it out",
    );
    check_target(
        |it| {
            let name: HeaderName = "x-region".parse().expect("a header");
            it.headers_override = Some(HeadersOverride {
                set: [(name.clone(), "eu".parse().expect("a value"))].into(),
                remove: [name].into(),
            });
        },
        "The header `x-region` cannot be both set and left out",
    );
    check_target(
        |it| {
            let key = "tier".parse().expect("a key");
            it.metadata_match = Some([(key, "x".repeat(129))].into());
        },
        "`a value of metadata_match` has at most 128, and here there are 129",
    );
}

#[test]
fn sessions_a_deadline_and_hedging_have_bounds() {
    let given = providers();
    let check_routing = |change: fn(&mut Routing), expected: &str| {
        let mut routing = Routing::weighted(vec![target(1, 1)]);
        change(&mut routing);
        let expected = match expected {
            "" => "virtual_model_routing_changed".to_owned(),
            why => format!("422 bad_routing at routing: {why}."),
        };
        check(
            &given,
            virtual_model(1, R::ChangeRouting { routing }),
            &expected,
        );
    };
    fn sticky(ttl_seconds: u32, identifiers: usize) -> Option<StickySessions> {
        let identifier = SessionIdentifier {
            source: SessionSource::Headers,
            key: "x-user-id".parse().expect("a key"),
        };
        Some(StickySessions {
            ttl_seconds,
            session_identifiers: vec![identifier; identifiers],
        })
    }
    check_routing(|it| it.sticky = sticky(604_800, 4), "");
    check_routing(
        |it| it.sticky = sticky(0, 1),
        "`sticky.ttl_seconds` is 1 to 604800, and here it is 0",
    );
    check_routing(
        |it| it.sticky = sticky(1, 0),
        "`sticky.session_identifiers` is empty: leave it out",
    );
    check_routing(
        |it| it.deadline_ms = Some(99),
        "`deadline_ms` is 100 to 3600000, and here it is 99",
    );
    check_routing(
        |it| it.hedge_after_ms = Some(9),
        "`hedge_after_ms` is 10 to 600000, and here it is 9",
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

#[test]
fn a_shredded_credential_is_replaced_before_anything_goes_to_the_account_again() {
    let given = [register_account(1, "openai")];
    let shred = account(1, A::ShredCredential);
    check(&given, shred.clone(), "provider_credential_shredded");
    let shredded = and(given.to_vec(), [shred.clone()]);
    check(&shredded, shred.clone(), "nothing");
    let replace = |credential| account(1, A::ReplaceCredential { credential });
    check(&shredded, replace(None), "provider_credential_replaced");
    let new = Some(sealed(2, "https://api.example"));
    check(&shredded, replace(new), "provider_credential_replaced");
    let without = and(shredded, [replace(None)]);
    check(&without, shred, "nothing");
}

#[test]
fn private_addresses_are_allowed_and_forbidden_once() {
    let given = [register_account(1, "openai")];
    let allow = account(1, A::AllowPrivateAddresses);
    let forbid = account(1, A::ForbidPrivateAddresses);
    check(&given, forbid.clone(), "nothing");
    check(&given, allow.clone(), "provider_private_addresses_allowed");
    let allowed = and(given.to_vec(), [allow.clone()]);
    check(&allowed, allow.clone(), "nothing");
    check(
        &allowed,
        forbid.clone(),
        "provider_private_addresses_forbidden",
    );
    for command in [allow, forbid] {
        check(
            &[],
            command,
            "404 not_found: There is no provider account with this id.",
        );
    }
}

#[test]
fn an_account_that_is_moved_may_still_lead_where_it_might() {
    let given = [
        register_account(1, "openai"),
        account(1, A::AllowPrivateAddresses),
        account(
            1,
            A::Move {
                base_url: name("https://api.example/v2"),
                credential: None,
            },
        ),
    ];
    check(&given, account(1, A::AllowPrivateAddresses), "nothing");
}

//! Lists, single things, waiting for a position, and what gateways serve.

use std::{collections::BTreeSet, time::Duration};

use events_schema::{report::GatewayReport, subjects};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    eventually,
    orders::create,
    service::{Caller, Service},
};

/// Every item of a list, page by page.
async fn all_pages(caller: &Caller<'_>, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{path}&cursor={cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        items.extend(page["items"].as_array().expect("items").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_by_cursor_without_gap_or_repeat_while_things_come_and_go() {
    let service = Service::start().await;
    let owner = service.owner().await;
    for number in 0..25 {
        let order = create(&format!("account-{number:02}"));
        service.control.submit(order).await.expect("a fresh name");
    }
    let names = |items: &[Value]| -> Vec<String> {
        items
            .iter()
            .map(|it| it["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let all = all_pages(&owner, "/virtual-accounts?limit=4").await;
    let expected: Vec<_> = (0..25)
        .map(|number| format!("account-{number:02}"))
        .collect();
    assert_eq!(names(&all), expected);

    let first = owner.get("/virtual-accounts?limit=10").await.json();
    // One that was shown goes, one that comes before the cursor comes: the next page does not notice.
    let gone =
        json!({ "type": "delete_virtual_account", "virtual_account": first["items"][3]["id"] });
    owner.command(gone).await;
    owner
        .command(json!({ "type": "create_virtual_account", "name": "aaa" }))
        .await;
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = owner
        .get(&format!("/virtual-accounts?limit=200&cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        names(second["items"].as_array().expect("items")),
        expected[10..]
    );
    assert_eq!(second["next_cursor"], Value::Null);

    let found = all_pages(&owner, "/virtual-accounts?limit=2&search=ACCOUNT-1").await;
    assert_eq!(names(&found), expected[10..20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_newest_first_and_found_by_owner_label_hint_and_id() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let user = owner
        .command(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob Baker" }))
        .await
        .field("id");
    let account = owner
        .command(json!({ "type": "create_virtual_account", "name": "crawler" }))
        .await
        .field("id");
    let mut made = Vec::new();
    for number in 0..6 {
        let whose = if number % 2 == 0 {
            json!({ "user": user })
        } else {
            json!({ "virtual_account": account })
        };
        let command = json!({
            "type": "issue_key", "owner": whose, "label": format!("label {number}"), "expires_at": null,
        });
        made.push(owner.command(command).await.field("id"));
    }
    let ids = |items: Vec<Value>| -> Vec<String> {
        items
            .iter()
            .map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    made.reverse();
    assert_eq!(ids(all_pages(&owner, "/keys?limit=4").await), made);
    let every_other = |from: usize| {
        made.iter()
            .skip(from)
            .step_by(2)
            .cloned()
            .collect::<Vec<_>>()
    };
    for (search, expected) in [
        ("baker", every_other(1)),
        ("BOB@example", every_other(1)),
        // Longer than a hint, which is random.
        ("crawler", every_other(0)),
        ("label%203", vec![made[2].clone()]),
        (&made[0], vec![made[0].clone()]),
        ("nothing", vec![]),
    ] {
        let found = ids(all_pages(&owner, &format!("/keys?limit=2&search={search}")).await);
        assert_eq!(found, expected, "{search}");
    }
    let key = owner.get(&format!("/keys/{}", made[1])).await.json();
    assert_eq!(
        (&key["owner_name"], &key["owner_disabled"]),
        (&json!("Bob Baker"), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_waits_for_the_position_and_says_when_it_does_not_come() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let next = service.control.head().position + 1;
    let path = format!("/virtual-accounts?at_least={next}");
    let waits = owner.get(&path);
    let (page, outcome) = tokio::join!(waits, async {
        // The reader is under way before there is anything to read.
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>())
            .await
            .ok();
        service.control.submit(create("ci")).await
    });
    assert_eq!(outcome.expect("a fresh name").position, next);
    assert_eq!(page.json()["items"][0]["name"], "ci");
    assert!(page.position() >= next);

    let never = format!("/keys?at_least={}", next + 1);
    let answer = owner.get(&never).await;
    answer.refuses_at(422, "invalid", "at_least");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_thing_can_be_read_at_the_position_that_its_command_answered() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let made = async |command: Value| {
        let answer = owner.command(command).await;
        (answer.field("id"), answer.position())
    };
    let (account, at) = made(json!({
        "type": "register_provider_account", "name": "openai", "provider": "openai_compatible",
        "base_url": "https://api.example/v1", "credential": null,
    }))
    .await;
    let mut things = vec![("provider-accounts", account.clone(), at)];
    let (model, at) = made(json!({
        "type": "add_model", "account": account, "name": "gpt", "upstream_name": null, "model_types": ["chat"],
    }))
    .await;
    things.push(("models", model.clone(), at));
    let target = json!({
        "model": model, "weight": 1, "fallback_status_codes": null, "fallback_candidate": true,
    });
    let (id, at) = made(json!({
        "type": "create_virtual_model", "name": "chat", "routing": { "strategy": "weight_based", "targets": [target] },
    }))
    .await;
    things.push(("virtual-models", id, at));
    let (user, at) =
        made(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" })).await;
    things.push(("users", user.clone(), at));
    let (id, at) = made(json!({ "type": "create_virtual_account", "name": "ci" })).await;
    things.push(("virtual-accounts", id, at));
    let (id, at) = made(json!({
        "type": "issue_key", "owner": { "user": user }, "label": "laptop", "expires_at": null,
    }))
    .await;
    things.push(("keys", id, at));
    let (id, at) = made(json!({
        "type": "grant_access", "subject": { "user": user }, "models": { "listed": [{ "model": model }] },
    }))
    .await;
    things.push(("grants", id, at));
    for (what, id, at) in things {
        let one = owner.get(&format!("/{what}/{id}?at_least={at}")).await;
        assert_eq!(one.field("id"), id, "{what}: {one:?}");
        assert_eq!(one.json()["life"]["position"], at, "{what}");
        let list = owner
            .get(&format!("/{what}?at_least={at}&search={id}"))
            .await
            .json();
        assert_eq!(list["items"][0], one.json(), "{what}");
        let nothing = "00000000000000000000000000000000";
        owner
            .get(&format!("/{what}/{nothing}"))
            .await
            .refuses(404, "not_found");
        owner
            .get(&format!("/{what}/no-id"))
            .await
            .refuses(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_served_when_every_gateway_that_reports_has_reached_it() {
    let service = Service::start_with_nats().await;
    let owner = service.owner().await;
    let head = service.control.head();
    let nats = service.nats.as_ref().expect("it was wanted").client().await;
    let report = |gateway: u128, position: u64| {
        let report = GatewayReport {
            gateway: Uuid::from_u128(gateway),
            incarnation: Uuid::from_u128(gateway),
            region: "default".into(),
            version: "0.1.0".into(),
            at: commands::clock::now(),
            started_at: commands::clock::now(),
            epoch: head.epoch,
            position,
            lacks_from: None,
            entries: 0,
            entries_digest: String::new(),
            unproven: false,
            from_disk: false,
            stream_silent_ms: 0,
            refused_entries: 0,
            requests: 0,
            in_flight: 0,
            records_in_ring: 0,
            spool_bytes: 0,
            records_dropped: 0,
            targets: None,
        };
        serde_json::to_vec(&report).expect("JSON")
    };
    let say = async |gateway, position| {
        let report = report(gateway, position);
        nats.publish(subjects::GATEWAY_REPORTS, report.into())
            .await
            .expect("it is connected");
        nats.flush().await.expect("it is connected");
    };
    let path = format!("/served?position={}&timeout_ms=0", head.position);
    assert_eq!(
        owner.get(&path).await.json()["served"],
        false,
        "no gateway, nobody who serves"
    );
    eventually("both gateways are seen", || async {
        say(1, head.position).await;
        say(2, head.position - 1).await;
        owner.get("/gateways").await.json().as_array().map(Vec::len) == Some(2)
    })
    .await;
    let lags: BTreeSet<_> = (owner
        .get("/gateways")
        .await
        .json()
        .as_array()
        .expect("a list")
        .iter())
    .map(|it| it["lag"].as_u64().expect("a lag"))
    .collect();
    assert_eq!(lags, BTreeSet::from([0, 1]));
    assert_eq!(
        owner.get(&path).await.json()["served"],
        false,
        "one is behind"
    );

    let path = format!("/served?position={}&timeout_ms=30000", head.position);
    let (served, ()) = tokio::join!(owner.get(&path), say(2, head.position));
    assert_eq!(
        served.json(),
        json!({ "served": true, "gateways": 2, "lowest_position": head.position })
    );
    let too_long = owner.get("/served?position=1&timeout_ms=30001").await;
    too_long.refuses_at(422, "invalid", "timeout_ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_are_listed_with_their_members_and_users_with_their_teams() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let make = async |command: Value| owner.command(command).await.field("id");
    let team = make(json!({ "type": "create_team", "name": "backend" })).await;
    let mut users = Vec::new();
    for name in ["Ada", "Bob", "Cleo"] {
        let email = format!("{name}@example.com");
        let user = make(json!({ "type": "add_user", "email": email, "name": name })).await;
        let add =
            json!({ "type": "add_team_member", "team": team, "user": user, "role": "member" });
        owner.command(add).await;
        users.push(user);
    }
    let promoted = owner
        .command(json!({
            "type": "change_team_member_role", "team": team, "user": users[1], "role": "manager",
        }))
        .await;
    let of_team = |rest: &str| format!("/teams/{team}{rest}");
    assert_eq!(owner.get(&of_team("")).await.json()["members"], 3);

    let first = owner.get(&of_team("/members?limit=2")).await.json();
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let rest = owner
        .get(&of_team(&format!("/members?limit=2&cursor={cursor}")))
        .await
        .json();
    let names: Vec<_> = [&first, &rest]
        .into_iter()
        .flat_map(|page| page["items"].as_array().expect("items"))
        .map(|it| (it["name"].clone(), it["role"].clone()))
        .collect();
    assert_eq!(
        json!(names),
        json!([["Ada", "member"], ["Bob", "manager"], ["Cleo", "member"]])
    );
    let found = owner.get(&of_team("/members?search=cle")).await.json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let bob = owner.get(&format!("/users/{}", users[1])).await.json();
    assert_eq!(
        bob["teams"],
        json!([{ "team": team, "name": "backend", "role": "manager" }])
    );

    // The history shows the one member that an event is about.
    let event = owner
        .get(&format!("/events/{}", promoted.position()))
        .await
        .json();
    assert_eq!(event["event"]["subject_name"], "backend");
    assert_eq!(event["before"]["member"]["membership"]["role"], "member");
    assert_eq!(event["after"]["member"]["membership"]["role"], "manager");

    let unknown = format!("/teams/{}/members", users[0]);
    owner.get(&unknown).await.refuses(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_a_thing_is_told_before_it_is_deleted() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let make = async |command: Value| owner.command(command).await.field("id");
    let account = make(json!({
        "type": "register_provider_account", "name": "openai", "provider": "openai_compatible",
        "base_url": "https://api.example/v1", "credential": null,
    }))
    .await;
    let model = make(json!({
        "type": "add_model", "account": account, "name": "gpt", "upstream_name": null, "model_types": ["chat"],
    }))
    .await;
    let user = make(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" })).await;
    let team = make(json!({ "type": "create_team", "name": "backend" })).await;
    let member = json!({ "type": "add_team_member", "team": team, "user": user, "role": "member" });
    owner.command(member).await;
    let grant = make(json!({
        "type": "grant_access", "subject": { "team": team }, "models": { "listed": [{ "model": model }] },
    }))
    .await;

    let used_by =
        async |stream: String| owner.get(&format!("/used-by?stream={stream}")).await.json();
    let told = |it: &Value| {
        let uses = it["uses"].as_array().expect("uses").iter();
        let uses: Vec<_> = uses
            .map(|it| json!([it["stream"], it["name"], it["relation"], it["blocks"]]))
            .collect();
        json!([it["name"], it["blocked"], uses])
    };
    let of = |kind: &str, id: &str| format!("{kind}.{id}");
    let found = used_by(of("provider_account", &account)).await;
    let by = json!([[of("model", &model), "openai/gpt", "model_of", true]]);
    assert_eq!(told(&found), json!(["openai", true, by]));
    let found = used_by(of("model", &model)).await;
    let by = json!([[of("grant", &grant), "backend", "opens", true]]);
    assert_eq!(told(&found), json!(["openai/gpt", true, by]));
    let found = used_by(of("team", &team)).await;
    let by = json!([
        [of("grant", &grant), "backend", "granted_to", true],
        [of("user", &user), "Bob", "member_of", false],
    ]);
    assert_eq!(told(&found), json!(["backend", true, by]));
    assert_eq!(
        found["counts"],
        json!([
            { "relation": "granted_to", "count": 1, "blocks": true },
            { "relation": "member_of", "count": 1, "blocks": false },
        ])
    );
    let found = used_by(of("user", &user)).await;
    let by = json!([[of("team", &team), "backend", "has_member", false]]);
    assert_eq!(told(&found), json!(["Bob", false, by]));

    owner
        .command(json!({ "type": "delete_user", "user": user }))
        .await;
    let path = |stream: &str| format!("/used-by?stream={stream}");
    let gone = path(&of("user", &user));
    owner.get(&gone).await.refuses(404, "not_found");
    let nonsense = path("nonsense");
    owner
        .get(&nonsense)
        .await
        .refuses_at(422, "invalid", "stream");
}

//! The history: filtered, paged, live, as of any position, and verified.

use bytes::Bytes;
use events_schema::events::Role;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, eventually,
    orders::{create, create_many},
    service::{Caller, PASSWORD, Service},
};

async fn positions(caller: &Caller<'_>, query: &str) -> Vec<u64> {
    let answer = caller.get(&format!("/events?{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.json()["items"].as_array().expect("items").clone();
    items
        .iter()
        .map(|it| it["position"].as_u64().expect("a position"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_filtered_by_what_by_whom_by_kind_and_by_time() {
    let service = Service::start().await;
    let other = service
        .add_operator("other@example.com", Role::Operator)
        .await;
    let (owner, other_caller) = (
        service.owner().await,
        service.sign_in("other@example.com", PASSWORD).await,
    );
    // 1: the log; 2, 3: operators.
    let made = owner
        .command(json!({ "type": "create_virtual_account", "name": "ci" }))
        .await;
    let id = made.field("id");
    let rename = json!({ "type": "rename_virtual_account", "virtual_account": id, "name": "cd" });
    other_caller.command(rename).await;
    owner
        .command(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" }))
        .await;
    let time = |position: u64| {
        let owner = owner.clone();
        async move {
            let event = owner.get(&format!("/events/{position}")).await.json();
            event["event"]["recorded_at"]
                .as_str()
                .expect("a time")
                .to_owned()
        }
    };
    let (fourth, fifth) = (time(4).await, time(5).await);
    for (query, expected) in [
        (String::new(), vec![6, 5, 4, 3, 2, 1]),
        ("aggregate=virtual_account".into(), vec![5, 4]),
        ("aggregate=log".into(), vec![1]),
        (format!("stream=virtual_account.{id}"), vec![5, 4]),
        (format!("actor=operator:{other}"), vec![5]),
        ("actor=system:init".into(), vec![1]),
        ("kind=user_added".into(), vec![6]),
        (
            format!("aggregate=virtual_account&actor=operator:{other}"),
            vec![5],
        ),
        (format!("from={fifth}"), vec![6, 5]),
        (format!("from={fourth}&to={fifth}"), vec![4]),
        ("kind=&stream=&actor=".into(), vec![6, 5, 4, 3, 2, 1]),
        ("limit=2".into(), vec![6, 5]),
    ] {
        assert_eq!(positions(&owner, &query).await, expected, "{query}");
    }
    for (query, field) in [
        ("aggregate=rocket", "aggregate"),
        ("stream=rocket.1", "stream"),
        ("actor=rocket", "actor"),
        ("from=yesterday", "from"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ] {
        let answer = owner.get(&format!("/events?{query}")).await;
        answer.refuses_at(422, "invalid", field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_history_do_not_shift_when_something_happens() {
    let service = Service::start().await;
    let owner = service.owner().await;
    create_many(&service.control, "account", 20).await;
    let last = service.control.head().position;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = owner
            .get(&format!("/events?limit=5&cursor={cursor}"))
            .await
            .json();
        let items = page["items"].as_array().expect("items").clone();
        seen.extend(
            items
                .iter()
                .map(|it| it["position"].as_u64().expect("a position")),
        );
        let order = create(&format!("meanwhile-{}", seen.len()));
        service.control.submit(order).await.expect("a fresh name");
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=last).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_shows_the_thing_before_and_after_it() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let id = owner
        .command(json!({ "type": "create_virtual_account", "name": "ci" }))
        .await
        .field("id");
    let renamed = owner
        .command(json!({ "type": "rename_virtual_account", "virtual_account": id, "name": "cd" }))
        .await;
    let deleted = owner
        .command(json!({ "type": "delete_virtual_account", "virtual_account": id }))
        .await;
    let names = async |position: u64| {
        let event = owner.get(&format!("/events/{position}")).await.json();
        let name = |side: &str| event[side]["name"].as_str().map(str::to_owned);
        (name("before"), name("after"))
    };
    let (ci, cd) = (Some("ci".to_owned()), Some("cd".to_owned()));
    assert_eq!(names(renamed.position() - 1).await, (None, ci.clone()));
    assert_eq!(names(renamed.position()).await, (ci, cd.clone()));
    assert_eq!(names(deleted.position()).await, (cd, None));
    for position in ["0", "999", "x", "-1"] {
        owner
            .get(&format!("/events/{position}"))
            .await
            .refuses(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_as_of_a_position_or_a_time_is_what_it_was_then() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let mut digests = Vec::new();
    for name in ["one", "two", "three"] {
        owner
            .command(json!({ "type": "create_virtual_account", "name": name }))
            .await;
        let status = owner.get("/status").await;
        digests.push((
            status.position(),
            status.field("state_digest"),
            status.field("recorded_at"),
        ));
    }
    for (position, digest, recorded_at) in digests {
        for query in [format!("position={position}"), format!("at={recorded_at}")] {
            let state = owner.get(&format!("/state?{query}")).await;
            assert_eq!(state.position(), position, "{query}");
            assert_eq!(state.field("state_digest"), digest, "{query}");
            assert_eq!(state.field("recorded_at"), recorded_at, "{query}");
        }
    }
    let now = owner.get("/state").await.json();
    assert_eq!(
        now["state"]["virtual_accounts"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(
        owner.get("/state?position=0").await.field("recorded_at"),
        "null"
    );
    let past_the_end = owner.get("/state?position=999").await;
    past_the_end.refuses_at(422, "invalid", "position");
    let both = owner.get("/state?position=1&at=2026-01-01T00:00:00Z").await;
    both.refuses_at(422, "invalid", "at");
}

/// A page of things as of a position: names as of then, what became of them, and names as of now.
async fn as_of(caller: &Caller<'_>, query: &str) -> Vec<(Value, Value, Value)> {
    let answer = caller.get(&format!("/state/{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let items = answer.json()["items"].as_array().expect("items").clone();
    let kind = query.split('?').next().unwrap_or_default();
    let name = |thing: &Value| {
        let item = &thing[kind];
        ["name", "full_name", "label", "subject_name", "owner_name"]
            .into_iter()
            .filter_map(|field| item.get(field).cloned())
            .collect::<Value>()
    };
    items
        .iter()
        .map(|it| (name(&it["then"]), it["since"].clone(), name(&it["now"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_there_was_is_shown_with_the_names_of_then_and_what_became_of_it() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let make = async |command: Value| owner.command(command).await.field("id");
    let one = make(json!({ "type": "create_virtual_account", "name": "one" })).await;
    let two = make(json!({ "type": "create_virtual_account", "name": "two" })).await;
    make(json!({ "type": "create_virtual_account", "name": "three" })).await;
    let user = make(json!({ "type": "add_user", "email": "bob@example.com", "name": "Bob" })).await;
    for (number, whose) in [json!({ "virtual_account": one }), json!({ "user": user })]
        .into_iter()
        .enumerate()
    {
        let label = format!("key {number}");
        make(json!({ "type": "issue_key", "owner": whose, "label": label, "expires_at": null }))
            .await;
    }
    let then = service.control.head().position;
    let rename = json!({ "type": "rename_virtual_account", "virtual_account": one, "name": "uno" });
    owner.command(rename).await;
    let delete = json!({ "type": "delete_virtual_account", "virtual_account": two });
    owner.command(delete).await;
    make(json!({ "type": "create_virtual_account", "name": "four" })).await;
    let erase = json!({ "type": "erase_user", "user": user });
    owner.command(erase).await;

    let summary = owner.get(&format!("/state/summary?position={then}")).await;
    let state = owner.get(&format!("/state?position={then}")).await;
    assert_eq!(summary.field("state_digest"), state.field("state_digest"));
    let summary = summary.json();
    assert_eq!(summary["event"]["position"], then);
    assert_eq!(summary["now"], service.control.head().position);
    let of = |kind: &str| {
        let kinds = summary["kinds"].as_array().expect("kinds");
        let found = kinds.iter().find(|it| it["aggregate"] == kind);
        let found = found.unwrap_or_else(|| panic!("no {kind}"));
        ["things", "changed", "gone", "came"].map(|it| found[it].as_u64().unwrap_or(99))
    };
    assert_eq!(of("virtual_account"), [3, 1, 1, 1]);
    assert_eq!((of("operator"), of("model")), ([1, 0, 0, 0], [0; 4]));
    // Whoever is erased stays as an id; the own keys are as before.
    assert_eq!((of("user"), of("key")), ([1, 1, 0, 0], [2, 0, 0, 0]));

    let query = |kind: &str, rest: &str| format!("{kind}?position={then}{rest}");
    let told = |it: &[(&str, &str, Option<&str>)]| -> Vec<(Value, Value, Value)> {
        let names = |name: Option<&str>| name.map_or_else(|| json!([]), |name| json!([name]));
        it.iter()
            .map(|(then, since, now)| (json!([then]), json!(since), names(*now)))
            .collect()
    };
    let accounts = [
        ("one", "changed", Some("uno")),
        ("three", "same", Some("three")),
        ("two", "gone", None),
    ];
    let found = as_of(&owner, &query("virtual_account", "")).await;
    assert_eq!(found, told(&accounts));
    for (rest, expected) in [
        ("&search=ONE", &accounts[..1]),
        ("&search=uno", &[]),
        ("&differs=false", &accounts[1..2]),
        ("&limit=1", &accounts[..1]),
    ] {
        let found = as_of(&owner, &query("virtual_account", rest)).await;
        assert_eq!(found, told(expected), "{rest}");
    }
    let differs = as_of(&owner, &query("virtual_account", "&differs=true")).await;
    assert_eq!(differs, told(&[accounts[0], accounts[2]]));
    let path = format!("/state/virtual_account?position={then}&differs=true&limit=1");
    let first = owner.get(&path).await.json();
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let rest = format!("&differs=true&limit=1&cursor={cursor}");
    let second = as_of(&owner, &query("virtual_account", &rest)).await;
    assert_eq!(second, told(&accounts[2..]));

    // The key's owner is called as then; the person, who was erased, by nothing but the id.
    let keys = as_of(&owner, &query("key", "")).await;
    let erased = format!("erased person {user}");
    let (of_erased, of_one) = (json!(["key 1", erased]), json!(["key 0", "one"]));
    assert_eq!(keys[0], (of_erased.clone(), json!("same"), of_erased));
    assert_eq!(keys[1], (of_one, json!("same"), json!(["key 0", "uno"])));
    let users = as_of(&owner, &query("user", "")).await;
    assert_eq!(users, [(json!([null]), json!("changed"), json!([null]))]);

    let now = owner.get("/state/virtual_account").await.json();
    assert_eq!(now["position"], service.control.head().position);
    assert_eq!(now["items"].as_array().map(Vec::len), Some(3));
    for unknown in ["/state/log", "/state/rocket"] {
        owner.get(unknown).await.refuses(404, "not_found");
    }
}

/// A stream of server-sent events.
struct Live {
    body: hyper::body::Incoming,
    text: String,
}

impl Live {
    async fn open(caller: &Caller<'_>, path: &str) -> Self {
        let response = caller.open(Method::GET, path, "", None::<Bytes>).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next event: its id and its data.
    async fn next(&mut self) -> (u64, Value) {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let found = field("id: ").zip(field("data: "));
                self.text = rest.to_owned();
                if let Some((id, data)) = found {
                    return (
                        id.parse().expect("a position"),
                        serde_json::from_str(&data).expect("JSON"),
                    );
                }
                continue;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame())
                .await
                .expect("something happens")
                .expect("the stream goes on")
                .expect("the connection holds");
            if let Some(data) = frame.data_ref() {
                self.text += std::str::from_utf8(data).expect("text");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_followed_live_and_from_where_one_left_off() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let head = service.control.head().position;
    let mut live = Live::open(&owner, "/events/live").await;
    // Past what waits in memory for one who lags behind, and past one page.
    create_many(&service.control, "account", 250).await;
    for expected in head + 1..=head + 250 {
        let (id, event) = live.next().await;
        assert_eq!((id, event["position"].as_u64()), (expected, Some(expected)));
        assert_eq!(event["kind"], "virtual_account_created");
    }
    drop(live);
    create_many(&service.control, "meanwhile", 10).await;
    let back = owner
        .clone()
        .with("last-event-id", &(head + 250).to_string());
    let mut live = Live::open(&back, "/events/live?after=3").await;
    assert_eq!(
        live.next().await.0,
        head + 251,
        "the header goes before the query"
    );
    let mut from_the_beginning = Live::open(&owner, "/events/live?after=0").await;
    assert_eq!(from_the_beginning.next().await.0, 1);
    let mut of_another_log = Live::open(&owner, "/events/live?after=99999").await;
    create_many(&service.control, "last", 1).await;
    assert_eq!(of_another_log.next().await.0, head + 261);

    let odd = owner.with("last-event-id", "x").get("/events/live").await;
    odd.refuses_at(422, "invalid", "last-event-id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_ends_when_the_service_is_asked_to_stop() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let live = Live::open(&owner, "/events/live").await;
    service.app.parts().stopping.cancel();
    tokio::time::timeout(PATIENCE, live.body.collect())
        .await
        .expect("it ends")
        .expect("in good order");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_that_all_is_well_until_somebody_changes_the_past() {
    let service = Service::start_with_nats().await;
    let owner = service.owner().await;
    create_many(&service.control, "account", 10).await;
    let head = service.control.head().position;
    eventually("everything is published", || async {
        service.control.relay_status().published == Some(head)
    })
    .await;
    let report = owner.post("/verify", &json!({})).await.json();
    assert_eq!(
        (
            &report["ok"],
            &report["rows"],
            &report["compared_with_events"]
        ),
        (&json!(true), &json!(head), &json!(head)),
        "{report}"
    );
    service
        .postgres
        .tamper("UPDATE events SET why = 'nothing to see here' WHERE position = 5")
        .await;
    let report = owner.post("/verify", &json!({})).await.json();
    assert_eq!(
        (&report["ok"], &report["findings"][0]["position"]),
        (&json!(false), &json!(5)),
        "{report}"
    );
}

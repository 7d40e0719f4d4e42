//! Searching for people, and for what belongs to them, also where very many are found.

use serde_json::{Value, json};

use crate::support::service::{Caller, Service};

/// More people than are fetched at once; they are in no list, for no event speaks of them.
const A_CROWD: &str = "INSERT INTO people (id, email, name)
 SELECT gen_random_uuid(), 'crowd.' || number || '@example.com', 'One of many' FROM generate_series(1, 10001) number";

async fn add(owner: &Caller<'_>, name: &str, email: &str) -> String {
    owner
        .command(json!({ "type": "add_user", "email": email, "name": name }))
        .await
        .field("id")
}

async fn ids(owner: &Caller<'_>, path: &str, field: &str) -> Vec<String> {
    let page = owner.get(path).await;
    assert_eq!(page.status, 200, "{page:?}");
    let page = page.json();
    let items = page["items"].as_array().expect("items");
    let id = |item: &Value| item[field].as_str().expect("an id").to_owned();
    items.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn upper_and_lower_case_are_the_same_beyond_ascii() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let person = add(&owner, "Øyvind Ångström", "oeyvind@example.com").await;
    add(&owner, "Olga", "olga@example.com").await;
    for search in ["%C3%B8yvind", "%C3%98YV", "%C3%A5ngstr%C3%B6m", "OEYVIND@"] {
        let found = ids(&owner, &format!("/users?search={search}"), "id").await;
        assert_eq!(found, [person.as_str()], "{search}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_very_many_people_are_found_lists_hold_those_who_belong_in_them() {
    let service = Service::start().await;
    let owner = service.owner().await;
    let (mut people, mut keys, mut grants) = (Vec::new(), Vec::new(), Vec::new());
    for (name, email) in [
        ("Many Mills", "mills@example.com"),
        ("Nobody", "none@example.org"),
        ("Otto Many", "otto@example.com"),
        ("Someone else", "one.of.many@example.com"),
    ] {
        let person = add(&owner, name, email).await;
        let key = json!({ "type": "issue_key", "owner": { "user": person }, "label": "laptop", "expires_at": null });
        keys.push(owner.command(key).await.field("id"));
        let grant =
            json!({ "type": "grant_access", "subject": { "user": person }, "models": "all" });
        grants.push(owner.command(grant).await.field("id"));
        people.push(person);
    }
    service.postgres.tamper(A_CROWD).await;
    for (list, mut made) in [("users", people), ("keys", keys), ("grants", grants)] {
        made.remove(1);
        made.reverse();
        let found = ids(&owner, &format!("/{list}?search=many"), "id").await;
        assert_eq!(found, made, "{list}");
        let page = owner
            .get(&format!("/{list}?search=many&limit=2"))
            .await
            .json();
        let cursor = page["next_cursor"].as_str().expect("there is one more");
        let rest = format!("/{list}?search=many&limit=2&cursor={cursor}");
        assert_eq!(ids(&owner, &rest, "id").await, made[2..], "{list}");
        assert_eq!(
            ids(&owner, &format!("/{list}?search=many%20mills"), "id").await,
            made[2..]
        );
    }
}

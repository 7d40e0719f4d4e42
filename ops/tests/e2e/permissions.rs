//! What each service may do on NATS, tried with its own password.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::crash::agrees;
use crate::stack::{Stack, block_on, connect_nats, wait_until};

/// The server answers what it allows at once; to what it refuses it says nothing that a request would hear.
const SAYS_NOTHING: Duration = Duration::from_millis(1_500);

/// A connection as one of the stack's users.
async fn connect(stack: &Stack, user: &str) -> Client {
    let file = stack.data().join("secrets/nats.json");
    let passwords = std::fs::read(file).expect("the passwords are there");
    let passwords: Value = serde_json::from_slice(&passwords).expect("JSON");
    let password = passwords[user].as_str().expect("a password");
    let (_, host) = stack.info.nats.rsplit_once('@').expect("a URL with a user");
    connect_nats(&format!("nats://{user}:{password}@{host}")).await
}

/// Asks for each of these, and fails when one is answered.
async fn is_refused(client: &Client, asks: &[(&str, Value)]) {
    let answers = asks.iter().map(|(subject, body)| async move {
        let body = Bytes::from(body.to_string());
        let asked = client.request((*subject).to_owned(), body);
        let answered = tokio::time::timeout(SAYS_NOTHING, asked).await;
        (subject, answered)
    });
    for (subject, answered) in join_all(answers).await {
        if let Ok(Ok(answer)) = answered {
            panic!(
                "{subject} was answered: {}",
                String::from_utf8_lossy(&answer.payload)
            );
        }
    }
}

/// Subscribes to each of these while everything runs, and fails when something is heard.
async fn hears_nothing(client: &Client, subjects: &[&str]) {
    let listening = subjects.iter().map(|subject| async move {
        let mut messages = client
            .subscribe((*subject).to_owned())
            .await
            .expect("the client asks the server");
        let heard = tokio::time::timeout(SAYS_NOTHING, messages.next()).await;
        (subject, heard)
    });
    for (subject, heard) in join_all(listening).await {
        if let Ok(Some(message)) = heard {
            panic!("{subject} was heard: {message:?}");
        }
    }
}

#[test]
fn a_gateways_password_reads_snapshots_and_writes_records_and_reports_and_nothing_else() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let position = session.status().await.position;
        agrees(&stack, &session, position).await;
        let gateway = connect(&stack, "gateway").await;

        // What it may.
        let info = gateway
            .request("$JS.API.STREAM.INFO.SNAPSHOTS", Bytes::new())
            .await;
        assert!(info.is_ok(), "{info:?}");
        let sent = gateway.request("usage.stranger", "no batch".into()).await;
        let sent = String::from_utf8_lossy(&sent.expect("a record is taken").payload).into_owned();
        assert!(sent.contains("USAGE"), "{sent}");

        let consumer = |stream: &str| json!({ "stream_name": stream, "config": { "ack_policy": "none", "deliver_policy": "all" } });
        is_refused(
            &gateway,
            &[
                ("events.key", json!({})),
                ("snap.v1.key.00", json!({})),
                ("snap.hb", json!({})),
                ("usage_dead.x", json!({})),
                ("limits.office", json!({})),
                ("limits.told.x", json!({})),
                ("limits.leases.x", json!({})),
                ("limits.totals.rates", json!({})),
                ("limits.of.rates", json!({})),
                ("limits.answer.x", json!({})),
                ("budgets.x", json!({})),
                ("$JS.API.STREAM.DELETE.BUDGETS", json!({})),
                ("$JS.API.DIRECT.GET.BUDGETS", json!({ "seq": 1 })),
                ("$JS.API.STREAM.DELETE.SNAPSHOTS", json!({})),
                ("$JS.API.STREAM.DELETE.EVENTS", json!({})),
                ("$JS.API.STREAM.PURGE.SNAPSHOTS", json!({})),
                (
                    "$JS.API.STREAM.UPDATE.SNAPSHOTS",
                    json!({ "name": "SNAPSHOTS", "subjects": ["x"] }),
                ),
                (
                    "$JS.API.STREAM.CREATE.MINE",
                    json!({ "name": "MINE", "subjects": ["mine"] }),
                ),
                ("$JS.API.STREAM.MSG.DELETE.SNAPSHOTS", json!({ "seq": 1 })),
                ("$JS.API.STREAM.MSG.GET.EVENTS", json!({ "seq": 1 })),
                ("$JS.API.STREAM.MSG.GET.USAGE", json!({ "seq": 1 })),
                ("$JS.API.DIRECT.GET.EVENTS", json!({ "seq": 1 })),
                ("$JS.API.DIRECT.GET.USAGE", json!({ "seq": 1 })),
                ("$JS.API.STREAM.INFO.EVENTS", json!({})),
                ("$JS.API.STREAM.NAMES", json!({})),
                ("$JS.API.CONSUMER.CREATE.EVENTS", consumer("EVENTS")),
                ("$JS.API.CONSUMER.CREATE.USAGE", consumer("USAGE")),
                ("$JS.API.CONSUMER.DELETE.USAGE.ledger", json!({})),
                ("$JS.API.CONSUMER.PAUSE.USAGE.ledger", json!({})),
                ("$SYS.REQ.SERVER.PING", json!({})),
            ],
        )
        .await;
        // The stream in the subject is the one that is read, whatever the body says.
        let other = gateway
            .request(
                "$JS.API.CONSUMER.CREATE.SNAPSHOTS",
                consumer("EVENTS").to_string().into(),
            )
            .await
            .expect("the server answers");
        let other: Value = serde_json::from_slice(&other.payload).expect("JSON");
        assert!(other["error"].is_object(), "{other}");
        let steered = json!({ "stream_name": "SNAPSHOTS", "config": {
            "ack_policy": "none", "deliver_policy": "all", "deliver_subject": "events.stolen",
        } });
        let steered = gateway
            .request(
                "$JS.API.CONSUMER.CREATE.SNAPSHOTS",
                steered.to_string().into(),
            )
            .await;
        // The server takes it, and delivers to clients that listen there, but into no stream: see the end.
        assert!(steered.is_ok(), "{steered:?}");
        hears_nothing(
            &gateway,
            &[
                ">",
                "events.>",
                "usage.>",
                "report.gateway.*",
                "limits.report.*",
                "limits.purses.*",
                "limits.totals.*",
                "limits.of.*",
                "limits.answer.*",
                "limits.office",
                "budgets.>",
                "snap.>",
                "_INBOX.>",
                "_INBOX.commands.>",
                "_INBOX.projections.>",
            ],
        )
        .await;

        // Nothing came of it.
        assert_eq!(session.status().await.position, position);
        agrees(&stack, &session, position).await;
    });
}

#[test]
fn the_consoles_page_runs_no_script_but_its_own_and_talks_to_nobody_else() {
    let stack = Stack::up();
    block_on(async {
        let page = crate::client::get(&stack.info.console, None)
            .await
            .expect("the console answers");
        let header = |name: &str| {
            let value = page.headers.get(name).and_then(|value| value.to_str().ok());
            value
                .unwrap_or_else(|| panic!("{name} is missing: {:?}", page.headers))
                .to_owned()
        };
        let policy = header("content-security-policy");
        let rules: BTreeMap<&str, Vec<&str>> = policy
            .split(';')
            .filter_map(|rule| {
                let mut words = rule.split_whitespace();
                Some((words.next()?, words.collect()))
            })
            .collect();
        assert_eq!(rules["default-src"], ["'none'"], "{policy}");
        assert_eq!(
            rules["script-src"],
            ["'self'", "'wasm-unsafe-eval'"],
            "{policy}"
        );
        for name in ["style-src", "connect-src", "font-src"] {
            assert_eq!(rules[name], ["'self'"], "{policy}");
        }
        for name in ["frame-ancestors", "base-uri"] {
            assert_eq!(rules[name], ["'none'"], "{policy}");
        }
        assert!(!policy.contains("//") && !policy.contains('*'), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let text = page.text();
        for script in text.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').expect("a whole tag");
            assert!(tag.contains("src="), "an inline script: {tag}");
            assert!(
                rest.trim_start().starts_with("</script>"),
                "an inline script: {rest:.80}"
            );
        }
        assert!(
            !text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick=")
        );
    });
}

#[test]
fn no_service_writes_what_another_writes_and_strangers_do_nothing() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let position = session.status().await.position;
        let commands = connect(&stack, "commands").await;
        is_refused(
            &commands,
            &[
                ("snap.v1.key.00", json!({})),
                ("snap.hb", json!({})),
                ("usage.x", json!({})),
                ("$JS.API.STREAM.DELETE.SNAPSHOTS", json!({})),
                ("$JS.API.STREAM.DELETE.USAGE", json!({})),
                ("$JS.API.STREAM.MSG.GET.USAGE", json!({ "seq": 1 })),
                ("report.gateway.x", json!({})),
                ("limits.office", json!({})),
                ("limits.report.x", json!({})),
                ("limits.purses.x", json!({})),
                ("limits.totals.budgets", json!({})),
                ("limits.answer.x", json!({})),
                ("budgets.x", json!({})),
            ],
        )
        .await;
        let projections = connect(&stack, "projections").await;
        is_refused(
            &projections,
            &[
                ("events.key", json!({})),
                ("usage.x", json!({})),
                ("report.gateway.x", json!({})),
                ("limits.report.x", json!({})),
                ("limits.purses.x", json!({})),
                ("$JS.API.STREAM.DELETE.EVENTS", json!({})),
                ("$JS.API.STREAM.PURGE.EVENTS", json!({})),
                (
                    "$JS.API.STREAM.UPDATE.EVENTS",
                    json!({ "name": "EVENTS", "subjects": ["x"] }),
                ),
            ],
        )
        .await;
        let (_, host) = stack.info.nats.rsplit_once('@').expect("a URL with a user");
        for url in [
            format!("nats://{host}"),
            format!("nats://gateway:guess@{host}"),
        ] {
            let connected = async_nats::connect(&url).await;
            assert!(connected.is_err(), "a stranger is connected");
        }
        wait_until("everything is as it was", || async {
            let now = session.status().await.position;
            (now == position)
                .then_some(())
                .ok_or_else(|| format!("{now}"))
        })
        .await;
        agrees(&stack, &session, position).await;
    });
}

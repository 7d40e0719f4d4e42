//! Where providers may be: at private and local addresses only where their account says so.

use events_schema::{snapshot::EntryKind, usage::Outcome};

use crate::support::{
    client::Answer,
    eventually,
    gateway::{Gateway, Scene},
    nats::Nats,
    provider::{Provider, answer},
    snapshots::{Snapshots, one_at, one_may_be_private},
};

const QUESTION: &str = r#"{"model":"both"}"#;
const FIRST: &str = r#"{"model":"one/first"}"#;

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_at_a_local_address_is_asked_only_while_its_account_says_so() {
    let mut scene = Scene::set(&[]).await;
    let jetstream = scene.nats.jetstream().await;
    // There is a connection to it already.
    assert_eq!(scene.gateway.chat(FIRST).await.status, 200);
    let private = EntryKind::PrivateAddresses;
    scene.snapshots.remove(&jetstream, private, 1).await;
    let refused = eventually("the address is refused", async || {
        let answer = scene.gateway.chat(FIRST).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status.as_u16(), code(&refused).as_str()),
        (502, "\"provider_address_not_allowed\"")
    );
    let asked = scene.one.requests().len();
    let record = scene.record_of(&refused).await;
    assert_eq!(record.outcome, Outcome::ProviderUnreachable);
    let attempt = &record.attempts[0];
    assert_eq!(
        (attempt.error.as_deref(), attempt.sent, attempt.tokens),
        (Some("address_not_allowed"), Some(false), None)
    );

    // More often than a circuit would bear.
    for _ in 0..8 {
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(answer.header("x-sluice-target"), "two/second");
    }
    assert_eq!(scene.one.requests().len(), asked, "nobody asked it");
    let allowed = one_may_be_private();
    scene.snapshots.change(&jetstream, &allowed).await;
    eventually("its account allows it again", async || {
        let answer = scene.gateway.chat(FIRST).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let answer = scene.gateway.chat(QUESTION).await;
    assert_eq!(
        answer.header("x-sluice-target"),
        "one/first",
        "what was refused says nothing of how the provider fares"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_to_write_a_local_address_leads_there() {
    let nats = Nats::start().await;
    let jetstream = nats.jetstream().await;
    // With an authority to trust, so that TLS would be tried.
    let (one, certificate) = Provider::start_with_tls(answer()).await;
    let two = Provider::start(answer()).await;
    let mut snapshots = Snapshots::of(&one, &two).without(&one_may_be_private());
    snapshots.publish(&jetstream).await;
    let mut gateway = Gateway::prepare(&nats, &[]);
    gateway.trust(&certificate);
    gateway.run();
    gateway.ready().await;
    let urls = [
        "http://127.0.0.1",
        "http://localhost",
        "http://127.1",
        "http://0x7f000001",
        "http://2130706433",
        "http://0.0.0.0",
        "http://[::1]",
        "http://[::ffff:127.0.0.1]",
        "http://[64:ff9b::7f00:1]",
        "https://127.0.0.1",
        "https://localhost",
        "https://[::1]",
    ];
    for url in urls {
        let account = one_at(format!("{url}:{}/v1", one.port()));
        snapshots.change(&jetstream, &account).await;
        let position = snapshots.position.to_string();
        let answer = eventually("the gateway serves the account", async || {
            let answer = gateway.chat(FIRST).await;
            (answer.header("x-sluice-position") == position).then_some(answer)
        })
        .await;
        assert_eq!(code(&answer), "\"provider_address_not_allowed\"", "{url}");
    }
    assert_eq!(one.connections(), 0);
}

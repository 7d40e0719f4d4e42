//! What a gateway serves: from the stream, from its disk, and never from what it cannot trust.

use events_schema::snapshot::{EntryKind, EntrySubject};

use crate::support::{
    client::Answer,
    eventually,
    gateway::{Gateway, Scene},
    nats::Nats,
    snapshots::{
        KEY, POOR_KEY, TEAM_KEY, a_team_with_a_grant_and_a_user_with_a_key, former_secret,
        memberships, put,
    },
};

const QUESTION: &str = r#"{"model":"both"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_and_the_position_moves_on() {
    let mut scene = Scene::set(&[]).await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    scene
        .snapshots
        .remove(&scene.nats.jetstream().await, EntryKind::Key, 41)
        .await;
    let refused = eventually("the key is refused", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    assert_eq!(refused.header("x-sluice-position"), "12");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_both_secrets_work_and_then_the_old_one_is_told_that_it_was_replaced() {
    const OLD: &str = "sk-sluice-before";
    const LATER_US: i64 = 4_000_000_000_000_000;
    let mut scene = Scene::set(&[]).await;
    let jetstream = scene.nats.jetstream().await;
    let refused = |answer: &Answer| {
        (answer.status == 401).then(|| answer.json()["error"]["code"].to_string())
    };
    let unknown = scene.gateway.chat_as(OLD, QUESTION).await;
    assert_eq!(refused(&unknown).as_deref(), Some("\"invalid_api_key\""));

    let grace = former_secret(41, OLD, LATER_US);
    scene.snapshots.change(&jetstream, &grace).await;
    eventually("the old secret works", async || {
        (scene.gateway.chat_as(OLD, QUESTION).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(scene.gateway.chat_as(KEY, QUESTION).await.status, 200);

    let over = former_secret(41, OLD, 1);
    scene.snapshots.change(&jetstream, &over).await;
    let code = eventually("the old secret is refused", async || {
        refused(&scene.gateway.chat_as(OLD, QUESTION).await)
    })
    .await;
    assert_eq!(code, "\"api_key_rotated\"");
    assert_eq!(scene.gateway.chat_as(KEY, QUESTION).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_trusted_changes_nothing_and_is_counted() {
    let scene = Scene::set(&[]).await;
    let jetstream = scene.nats.jetstream().await;
    let subject = EntrySubject {
        kind: EntryKind::Key,
        id: [41; 16],
    }
    .to_string();
    put(&jetstream, &subject, b"not a frame".to_vec()).await;
    // Under the right MAC, but no archive.
    scene
        .snapshots
        .send(&jetstream, &subject, 12, false, b"nonsense")
        .await;
    eventually("both are refused", async || {
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(
            answer.status, 200,
            "the last good one stays: {}",
            answer.body
        );
        (scene
            .gateway
            .metric("sluice_gateway_refused_entries_total")
            .await
            >= 2)
            .then_some(())
    })
    .await;
    assert_eq!(scene.gateway.chat_as(KEY, QUESTION).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stream_and_disk_it_is_alive_but_not_ready() {
    let mut nats = Nats::away();
    let mut gateway = Gateway::prepare(&nats, &[]);
    gateway.run();
    gateway.alive().await;
    assert_eq!(gateway.status("/readyz").await, Some(503));
    let answer = gateway.chat(QUESTION).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["code"]),
        (503, &"not_ready".into())
    );
    assert_eq!(answer.header("retry-after"), "1");
    nats.resume().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_stream_it_starts_from_its_disk_and_catches_up_later() {
    let mut scene = Scene::set(&[]).await;
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
    scene.nats.kill();
    scene.gateway.run();
    scene.gateway.ready().await;
    let answer = scene.gateway.chat(QUESTION).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-sluice-position")),
        (200, "11")
    );
    scene.nats.resume().await;
    scene
        .snapshots
        .remove(&scene.nats.jetstream().await, EntryKind::Key, 43)
        .await;
    eventually("it catches up", async || {
        (scene
            .gateway
            .chat(QUESTION)
            .await
            .header("x-sluice-position")
            == "12")
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teams_grant_opens_models_to_whoever_is_in_it_from_the_next_request_on() {
    let mut scene = Scene::set(&[]).await;
    let jetstream = scene.nats.jetstream().await;
    for entry in a_team_with_a_grant_and_a_user_with_a_key() {
        scene.snapshots.change(&jetstream, &entry).await;
    }
    let status = async |wanted: u16, what: &str| {
        eventually(what, async || {
            let answer = scene.gateway.chat_as(TEAM_KEY, QUESTION).await;
            (answer.status == wanted).then_some(())
        })
        .await;
    };
    status(403, "the user is in no team yet").await;
    let mut snapshots = scene.snapshots.clone();
    snapshots.change(&jetstream, &memberships(true)).await;
    status(200, "the team's grant holds for the user").await;
    snapshots.change(&jetstream, &memberships(false)).await;
    status(403, "the user has left the team").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_a_stream_made_anew_lacks_are_served_as_before_until_they_come() {
    let mut scene = Scene::set(&[]).await;
    let jetstream = scene.nats.jetstream().await;
    assert_eq!(scene.gateway.chat(QUESTION).await.status, 200);
    // The heartbeat speaks of everything; the accounts have not come, and a key is gone.
    scene.nats.renew_snapshots().await;
    let whole = scene.snapshots.clone();
    let is_account = |kind| kind == EntryKind::ProviderAccount;
    let gone = EntrySubject {
        kind: EntryKind::Key,
        id: [43; 16],
    };
    scene.snapshots.position += 1;
    let position = scene.snapshots.position;
    scene.snapshots.entries.retain(|(at, ..)| *at != gone);
    for (at, its, payload) in &whole.entries {
        if !is_account(at.kind) && *at != gone {
            let subject = at.to_string();
            whole.send(&jetstream, &subject, *its, false, payload).await;
        }
    }
    let subject = gone.to_string();
    whole.send(&jetstream, &subject, position, true, &[]).await;
    scene.snapshots.beat(&jetstream).await;
    let metric = async |name: &str| scene.gateway.metric(name).await;
    eventually("the gateway serves what it has", async || {
        scene.snapshots.beat(&jetstream).await;
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        (metric("sluice_gateway_unproven").await == 1).then_some(())
    })
    .await;
    let refused = scene.gateway.chat_as(POOR_KEY, QUESTION).await;
    assert_eq!(refused.json()["error"]["code"], "invalid_api_key");
    // What stands in is as of where it was served: what else has gone since then, nobody knows.
    let served = metric("sluice_gateway_position").await;
    assert_eq!(served, position - 1);
    for (at, its, payload) in &whole.entries {
        if is_account(at.kind) {
            let subject = at.to_string();
            whole.send(&jetstream, &subject, *its, false, payload).await;
        }
    }
    eventually("the heartbeat agrees", async || {
        scene.snapshots.beat(&jetstream).await;
        let answer = scene.gateway.chat(QUESTION).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        (metric("sluice_gateway_unproven").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_nothing_yet_waits_for_entries_that_are_on_their_way() {
    let scene = Scene::set(&[]).await;
    let jetstream = scene.nats.jetstream().await;
    scene.nats.renew_snapshots().await;
    let (late, early): (Vec<_>, Vec<_>) = (scene.snapshots.entries.iter())
        .partition(|(at, ..)| at.kind == EntryKind::ProviderAccount);
    let send = async |entries: &[&(EntrySubject, u64, Vec<u8>)]| {
        for (at, position, payload) in entries {
            let subject = at.to_string();
            let sent = scene
                .snapshots
                .send(&jetstream, &subject, *position, false, payload);
            sent.await;
        }
        scene.snapshots.beat(&jetstream).await;
    };
    send(&early).await;
    let mut fresh = Gateway::prepare(&scene.nats, &[]);
    fresh.run();
    fresh.alive().await;
    eventually("it has read what there is", async || {
        scene.snapshots.beat(&jetstream).await;
        assert_eq!(fresh.status("/readyz").await, Some(503));
        (scene.nats.readers_at_the_end().await == 2).then_some(())
    })
    .await;
    send(&late).await;
    fresh.ready().await;
    assert_eq!(fresh.chat(QUESTION).await.status, 200);
    assert_eq!(fresh.metric("sluice_gateway_unproven").await, 0);
}

//! Request records: every one arrives, once, in order, whatever becomes of NATS; and requests never notice.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use events_schema::usage::UsageBatch;
use http::Method;

use crate::support::{
    distance, eventually,
    gateway::{Gateway, Scene},
    nats::Nats,
};

const QUESTION: &str = r#"{"model":"both"}"#;

/// Makes requests; returns their ids.
async fn ask(gateway: &Gateway, times: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..times {
        let answer = gateway.chat(QUESTION).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        ids.push(answer.header("x-request-id").to_owned());
    }
    ids
}

/// Waits until records of all these requests have come, and checks that each came once, and the numbers without a gap.
async fn all_arrive_once(nats: &Nats, ids: &[String]) {
    let batches = eventually("all records arrive", async || {
        let batches = nats.batches().await;
        let arrived: BTreeSet<_> = requests(&batches).into_iter().collect();
        ids.iter().all(|id| arrived.contains(id)).then_some(batches)
    })
    .await;
    let arrived = requests(&batches);
    let distinct: BTreeSet<_> = arrived.iter().collect();
    assert_eq!(arrived.len(), distinct.len(), "none came twice");
    let mut ends = std::collections::BTreeMap::new();
    for batch in &batches {
        let next = ends.entry(batch.incarnation).or_insert(1);
        assert_eq!(batch.first_number, *next, "numbers go up without a gap");
        *next += batch.records.len() as u64;
    }
}

fn requests(batches: &[UsageBatch]) -> Vec<String> {
    batches
        .iter()
        .flat_map(|batch| &batch.records)
        .map(|record| record.request.to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_on_disk_while_nats_is_gone() {
    let mut scene = Scene::set(&[]).await;
    let mut ids = ask(&scene.gateway, 5).await;
    scene.nats.kill();
    ids.extend(ask(&scene.gateway, 20).await);
    eventually("records wait on disk", async || {
        (scene.gateway.metric("sluice_gateway_spool_bytes").await > 0).then_some(())
    })
    .await;
    ids.extend(ask(&scene.gateway, 5).await);
    scene.nats.resume().await;
    ids.extend(ask(&scene.gateway, 5).await);
    all_arrive_once(&scene.nats, &ids).await;
    eventually("the disk is empty again", async || {
        (scene.gateway.metric("sluice_gateway_spool_bytes").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_on_disk_while_nats_says_nothing() {
    let scene = Scene::set(&[]).await;
    let mut ids = ask(&scene.gateway, 5).await;
    scene.nats.freeze();
    ids.extend(ask(&scene.gateway, 20).await);
    eventually("records wait on disk", async || {
        (scene.gateway.metric("sluice_gateway_spool_bytes").await > 0).then_some(())
    })
    .await;
    scene.nats.thaw();
    ids.extend(ask(&scene.gateway, 5).await);
    all_arrive_once(&scene.nats, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_on_disk_outlives_the_gateway() {
    let mut scene = Scene::set(&[]).await;
    ask(&scene.gateway, 1).await;
    scene.nats.kill();
    let ids = ask(&scene.gateway, 10).await;
    eventually("all of it is on disk", async || {
        let bytes = scene.gateway.metric("sluice_gateway_spool_bytes").await;
        let waiting = scene.gateway.metric("sluice_gateway_records_in_ring").await;
        (bytes > 0 && waiting == 0).then_some(())
    })
    .await;
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
    scene.nats.resume().await;
    scene.gateway.run();
    scene.gateway.ready().await;
    all_arrive_once(&scene.nats, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_killed_says_how_many_records_it_had_made() {
    let mut scene = Scene::set(&[]).await;
    scene.nats.freeze();
    // Frozen, NATS takes nothing: these are in the ring, on their way, or on disk when the gateway is killed.
    let made = ask(&scene.gateway, 30).await.len() as u64;
    scene.gateway.kill();
    scene.nats.thaw();
    scene.gateway.run();
    scene.gateway.ready().await;
    let closing = eventually("the last word on the life that was killed", async || {
        let batches = scene.nats.batches().await;
        batches.into_iter().find(|batch| batch.records.is_empty())
    })
    .await;
    assert_eq!(closing.first_number, made + 1);
    let batches = scene.nats.batches().await;
    let of_it: Vec<_> = batches
        .iter()
        .filter(|it| it.incarnation == closing.incarnation)
        .collect();
    let last = of_it.last().expect("the closing one");
    assert!(
        last.records.is_empty(),
        "nothing of that life comes after its last word"
    );
    ask(&scene.gateway, 1).await;
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
    let left = std::fs::read_dir(scene.gateway.data().join("tallies"))
        .expect("the folder")
        .count();
    assert_eq!(left, 0, "a life that ends well leaves nothing to tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_drops_the_oldest_and_counts_them() {
    let mut scene = Scene::set(&["--spool-max-bytes", "16384"]).await;
    scene.nats.kill();
    ask(&scene.gateway, 60).await;
    eventually("some were dropped", async || {
        let answer = scene
            .gateway
            .client()
            .await
            .send(http::Method::GET, "/metrics", &[], "")
            .await;
        let line = r#"sluice_gateway_records_dropped_total{place="spool"} "#;
        let value = answer
            .body
            .lines()
            .find_map(|it| it.strip_prefix(line)?.parse::<u64>().ok())?;
        (value > 0).then_some(())
    })
    .await;
    let last = ask(&scene.gateway, 1).await;
    scene.nats.resume().await;
    eventually("the newest arrive", async || {
        requests(&scene.nats.batches().await)
            .contains(&last[0])
            .then_some(())
    })
    .await;
    let first = scene.nats.batches().await[0].first_number;
    assert!(first > 1, "the gap shows in the numbers: {first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_is_far_away_needs_no_disk() {
    let mut scene = Scene::set(&[]).await;
    scene.gateway.kill();
    let nats = distance::away(scene.nats.address(), Duration::from_millis(100)).await;
    scene.gateway = Gateway::prepare_at(format!("nats://{nats}"), &[]);
    scene.gateway.run();
    scene.gateway.ready().await;
    // Each acknowledgement takes 200 ms: eight times as long as records take to come.
    let (mut ids, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < Duration::from_secs(2) {
        ids.extend(ask(&scene.gateway, 5).await);
        let on_disk = scene.gateway.metric("sluice_gateway_spool_bytes").await;
        assert_eq!(on_disk, 0, "after {:?}", begin.elapsed());
    }
    all_arrive_once(&scene.nats, &ids).await;
    let batches = scene.nats.batches().await.len();
    assert!(
        batches < 20,
        "records that come meanwhile travel together: {batches} messages"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_key_cannot_fill_the_ledger() {
    let scene = Scene::set(&[]).await;
    let mut client = scene.gateway.client().await;
    let headers = [("authorization", "Bearer sk-sluice-guessed")];
    for _ in 0..300 {
        let answer = client
            .send(Method::POST, "/v1/chat/completions", &headers, QUESTION)
            .await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let unrecorded = scene
        .gateway
        .metric("sluice_gateway_unrecorded_total")
        .await;
    assert!(unrecorded > 0, "300 within a few seconds are too many");
    let recorded = eventually("the others are recorded", async || {
        let recorded = requests(&scene.nats.batches().await).len() as u64;
        (recorded + unrecorded == 300).then_some(recorded)
    })
    .await;
    assert!(recorded > 0);
    all_arrive_once(&scene.nats, &[]).await;
}

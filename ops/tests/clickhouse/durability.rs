//! What was acknowledged is there again after the process ended, however it ended.

use crate::server::Server;

async fn count(server: &Server) -> u64 {
    server
        .client()
        .query("SELECT count() FROM kept")
        .fetch_one()
        .await
        .expect("a count")
}

async fn with_rows() -> Server {
    let server = Server::start();
    let client = server.client();
    for sql in [
        "CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO kept SELECT number FROM numbers(1000)",
    ] {
        client.query(sql).execute().await.expect(sql);
    }
    server
}

#[tokio::test]
async fn killed_it_comes_back_with_every_acknowledged_row() {
    let mut server = with_rows().await;
    for round in 1..=3_u64 {
        server = server.kill_and_restart();
        assert_eq!(count(&server).await, 1000 + round - 1);
        server
            .client()
            .query("INSERT INTO kept VALUES (1)")
            .execute()
            .await
            .expect("a row");
    }
}

#[tokio::test]
async fn told_to_stop_it_ends_in_order_and_comes_back_with_its_rows() {
    let (status, server) = with_rows().await.stop_and_restart();
    assert!(status.success(), "{status}");
    assert_eq!(count(&server).await, 1000);
}

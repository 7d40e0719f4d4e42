//! The `clickhouse` crate with its defaults: LZ4, row validation, `DESCRIBE TABLE` before inserts.

use clickhouse::{Client, Compression, Row};
use serde::{Deserialize, Serialize};

use crate::server::Server;

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Sample {
    number: u64,
    text: String,
    values: Vec<i32>,
    maybe: Option<f64>,
}

fn sample(number: u64) -> Sample {
    // Blank lines, semicolons and quotes end nothing.
    let text = format!("row {number}\n\n; it's \\ \"quoted\"");
    Sample {
        number,
        text,
        values: vec![1, -2],
        maybe: number.is_multiple_of(2).then_some(0.5),
    }
}

async fn make_table(client: &Client) {
    let sql = "CREATE TABLE samples (number UInt64, text String, values Array(Int32), maybe Nullable(Float64)) \
               ENGINE = MergeTree ORDER BY number";
    client
        .query(sql)
        .execute()
        .await
        .expect("the table is made");
}

async fn insert(client: &Client, numbers: std::ops::Range<u64>) {
    let mut insert = client
        .insert::<Sample>("samples")
        .await
        .expect("the table is described");
    for number in numbers {
        insert.write(&sample(number)).await.expect("a row is taken");
    }
    insert.end().await.expect("the rows are stored");
}

async fn count(client: &Client, table: &str) -> u64 {
    client
        .query(&format!("SELECT count() FROM {table}"))
        .fetch_one()
        .await
        .expect("a count")
}

#[tokio::test]
async fn rows_come_back_as_they_were_inserted() {
    let server = Server::start();
    for client in [
        server.client(),
        server.client().with_compression(Compression::None),
    ] {
        client
            .query("DROP TABLE IF EXISTS samples")
            .execute()
            .await
            .expect("dropped");
        make_table(&client).await;
        insert(&client, 0..1000).await;
        let rows: Vec<Sample> = client
            .query("SELECT ?fields FROM samples WHERE number < {below:UInt64} AND text != ? ORDER BY number")
            .bind("it's")
            .param("below", 500)
            .fetch_all()
            .await
            .expect("rows");
        assert_eq!(rows, (0..500).map(sample).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_large_insert_and_a_large_result_are_streamed() {
    let server = Server::start();
    let client = server.client();
    make_table(&client).await;
    insert(&client, 0..300_000).await;
    let mut rows = client
        .query("SELECT ?fields FROM samples ORDER BY number")
        .fetch::<Sample>()
        .expect("a cursor");
    let mut expected = 0;
    while let Some(row) = rows.next().await.expect("a row") {
        assert_eq!(row.number, expected);
        expected += 1;
    }
    assert_eq!(expected, 300_000);
}

#[tokio::test]
async fn an_error_has_clickhouses_own_words() {
    let server = Server::start();
    let error = server
        .client()
        .query("SELECT * FROM nowhere")
        .execute()
        .await
        .expect_err("no such table");
    let text = error.to_string();
    assert!(
        text.contains("Code: 60. DB::Exception: ") && text.contains("(UNKNOWN_TABLE) (version "),
        "{text}"
    );
}

#[tokio::test]
async fn an_error_after_the_first_rows_is_an_error_and_not_an_end() {
    let server = Server::start();
    let sql =
        "SELECT throwIf(number = 150000) FROM numbers(1000000) SETTINGS max_block_size = 1000";
    let mut rows = server.client().query(sql).fetch::<u8>().expect("a cursor");
    let mut seen = 0_u32;
    let error = loop {
        match rows.next().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("the error was lost after {seen} rows"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        seen > 0 && error.contains("Code: 395. DB::Exception: "),
        "{seen} rows, then {error}"
    );
}

#[tokio::test]
async fn an_insert_that_is_given_up_stores_nothing() {
    let server = Server::start();
    let client = server.client();
    make_table(&client).await;
    let mut abandoned = client
        .insert::<Sample>("samples")
        .await
        .expect("the table is described");
    for number in 0..50_000 {
        abandoned
            .write(&sample(number))
            .await
            .expect("a row is taken");
    }
    drop(abandoned);
    insert(&client, 0..1).await;
    assert_eq!(count(&client, "samples").await, 1);
}

#[tokio::test]
async fn the_same_batch_three_times_counts_once_in_table_and_rollup() {
    let server = Server::start();
    let client = server.client();
    for sql in [
        "CREATE TABLE samples (number UInt64, text String, values Array(Int32), maybe Nullable(Float64)) \
         ENGINE = MergeTree ORDER BY number SETTINGS non_replicated_deduplication_window = 100",
        "CREATE TABLE rollup (odd UInt8, rows UInt64) ENGINE = SummingMergeTree ORDER BY odd \
         SETTINGS non_replicated_deduplication_window = 100",
        "CREATE MATERIALIZED VIEW to_rollup TO rollup AS \
         SELECT toUInt8(number % 2) AS odd, count() AS rows FROM samples GROUP BY odd",
    ] {
        client.query(sql).execute().await.expect(sql);
    }
    let once = client
        .clone()
        .with_setting("insert_deduplication_token", "1-2:abc")
        .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1");
    for _ in 0..3 {
        insert(&once, 0..10).await;
    }
    assert_eq!(count(&client, "samples").await, 10);
    let rolled: u64 = client
        .query("SELECT sum(rows) FROM rollup")
        .fetch_one()
        .await
        .expect("a sum");
    assert_eq!(rolled, 10);
}

#[tokio::test]
async fn many_queries_at_once_all_get_their_answer() {
    let server = Server::start();
    // Making a client reads the machine's certificates, which takes longer than a query.
    let client = server.client();
    let asking: Vec<_> = (0..200_u64)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let sql = "SELECT sum(number) + {mine:UInt64} FROM numbers(1000)";
                client
                    .query(sql)
                    .param("mine", number)
                    .fetch_one::<u64>()
                    .await
            })
        })
        .collect();
    for (number, asked) in (0..).zip(asking) {
        assert_eq!(
            asked.await.expect("no panic").expect("an answer"),
            499_500 + number
        );
    }
}

//! Whoever owns the database can change it; nobody can change it unseen.

use events_schema::api::history::VerifyReport;
use events_schema::envelope::{Envelope, GENESIS};
use events_schema::id::Id;
use events_schema::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, PgPool, Row as _};

use crate::stack::{Stack, block_on, said};

/// One way to tamper: what it is, the statements, and the position at which `verify` must point.
struct Tampering {
    how: &'static str,
    statements: Vec<String>,
    /// Whether the tamperer makes the chain and the head fit again.
    rechained: bool,
    position: u64,
}

#[test]
fn an_edited_dropped_or_moved_row_makes_verify_fail_and_name_the_position() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let head = session.status().await.position;
        assert!(head > 8, "the example organisation has more events: {head}");
        let pool = stack.postgres().await;

        let untouched = stack.commands_cli("verify");
        assert!(untouched.status.success(), "{}", said(&untouched));
        for tampering in tamperings(head) {
            let Tampering {
                how,
                statements,
                rechained,
                position,
            } = tampering;
            keep_a_copy(&pool).await;
            run(&pool, &statements).await;
            if rechained {
                rechain(&pool).await;
            }
            let output = stack.commands_cli("verify");
            restore(&pool).await;
            assert!(
                !output.status.success(),
                "{how} went unseen: {}",
                said(&output)
            );
            let text = String::from_utf8_lossy(&output.stdout);
            let report: VerifyReport = text
                .lines()
                .find_map(|line| serde_json::from_str(line).ok())
                .unwrap_or_else(|| panic!("{how}: no report in {}", said(&output)));
            assert!(!report.ok);
            let found: Vec<u64> = report
                .findings
                .iter()
                .map(|finding| finding.position)
                .collect();
            assert_eq!(
                found.first(),
                Some(&position),
                "{how}: {:?}",
                report.findings
            );
        }
        let restored = stack.commands_cli("verify");
        assert!(restored.status.success(), "{}", said(&restored));
    });
}

fn tamperings(head: u64) -> Vec<Tampering> {
    let edit = |at: u64| format!("UPDATE events SET why = 'something else' WHERE position = {at}");
    let drop_row = |at: u64| format!("DELETE FROM events WHERE position = {at}");
    let before = head - 1;
    let rewind = format!(
        "UPDATE log_head SET position = {before}, \
         hash = (SELECT hash FROM events WHERE position = {before})"
    );
    let swap = vec![
        "UPDATE events SET position = 1000000 WHERE position = 4".to_owned(),
        "UPDATE events SET position = 4 WHERE position = 5".to_owned(),
        "UPDATE events SET position = 5 WHERE position = 1000000".to_owned(),
    ];
    let close_the_gap = |from: u64| {
        // One after the other: the primary key is checked row by row.
        let moves = (from + 1..=head)
            .map(|at| format!("UPDATE events SET position = {at} - 1 WHERE position = {at}"));
        std::iter::once(drop_row(from))
            .chain(moves)
            .collect::<Vec<_>>()
    };
    let plain = |how, statements, position| Tampering {
        how,
        statements,
        rechained: false,
        position,
    };
    let rechained = |how, statements, position| Tampering {
        how,
        statements,
        rechained: true,
        position,
    };
    vec![
        plain("an edited row", vec![edit(4)], 4),
        plain("a dropped row", vec![drop_row(5)], 5),
        plain("the last row dropped", vec![drop_row(head)], head),
        plain(
            "the last row dropped and the head rewound",
            vec![drop_row(head), rewind],
            head,
        ),
        plain("two rows in the other order", swap.clone(), 4),
        rechained("an edited row, rechained", vec![edit(4)], 4),
        rechained("an edited last row, rechained", vec![edit(head)], head),
        rechained("a dropped row, rechained", close_the_gap(5), 5),
        rechained(
            "the last row dropped, rechained",
            vec![drop_row(head)],
            head,
        ),
        rechained("two rows in the other order, rechained", swap, 4),
    ]
}

/// Makes chain and head fit whatever the rows now say.
async fn rechain(pool: &PgPool) {
    let rows = sqlx::query(
        "SELECT *, (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_us \
         FROM events ORDER BY position",
    )
    .fetch_all(pool)
    .await
    .expect("Postgres answers");
    let mut hash = GENESIS;
    let mut statements = Vec::new();
    let mut position = 0;
    for row in &rows {
        let envelope = envelope(row, hash);
        hash = envelope.computed_hash();
        position = envelope.position;
        statements.push(format!(
            "UPDATE events SET prev_hash = '\\x{}', hash = '\\x{}' WHERE position = {position}",
            hex::encode(envelope.prev_hash),
            hex::encode(hash)
        ));
    }
    let hash = hex::encode(hash);
    statements.push(format!(
        "UPDATE log_head SET position = {position}, hash = '\\x{hash}'"
    ));
    run(pool, &statements).await;
}

/// A row with the hash of the row that is now before it.
fn envelope(row: &PgRow, prev_hash: [u8; 32]) -> Envelope {
    let text = |column: &str| row.get::<String, _>(column);
    let number = |column: &str| u64::try_from(row.get::<i64, _>(column)).expect("not negative");
    let id = |column: &str| row.get::<uuid::Uuid, _>(column);
    Envelope {
        position: number("position"),
        event_id: id("event_id")
            .as_simple()
            .to_string()
            .parse()
            .expect("an id"),
        stream: text("stream").parse().expect("a stream"),
        stream_version: number("stream_version"),
        kind: text("kind"),
        schema_version: u16::try_from(row.get::<i32, _>("schema_version")).expect("a version"),
        recorded_at: Timestamp::from_micros(row.get("recorded_us")).expect("a time"),
        actor: text("actor").parse().expect("an actor"),
        cause: Id::from_uuid(id("cause")),
        correlation: id("correlation"),
        why: row.get("why"),
        payload: text("payload"),
        prev_hash,
        hash: GENESIS,
    }
}

async fn keep_a_copy(pool: &PgPool) {
    run(
        pool,
        &[
            "CREATE TABLE kept AS SELECT * FROM events".into(),
            "CREATE TABLE kept_head AS SELECT * FROM log_head".into(),
        ],
    )
    .await;
}

async fn restore(pool: &PgPool) {
    let columns = "position, event_id, stream, stream_version, kind, schema_version, recorded_at, \
                   actor, cause, correlation, why, payload, prev_hash, hash";
    run(pool, &[
        "DELETE FROM events".into(),
        format!("INSERT INTO events ({columns}) SELECT {columns} FROM kept"),
        "UPDATE log_head SET position = kept_head.position, hash = kept_head.hash FROM kept_head".into(),
        "DROP TABLE kept, kept_head".into(),
    ])
    .await;
}

/// As the database's owner would, past the trigger that refuses changes.
async fn run(pool: &PgPool, statements: &[String]) {
    let mut transaction = pool.begin().await.expect("Postgres answers");
    transaction
        .execute("SET LOCAL session_replication_role = replica")
        .await
        .expect("the superuser may do that");
    for statement in statements {
        transaction
            .execute(sqlx::AssertSqlSafe(statement.clone()))
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    transaction.commit().await.expect("Postgres commits");
}

//! The tables: numbered SQL files, each run once, in one transaction, as the owner role.

use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{StartError, connect_options};

/// All migrations, in order. A released one is never changed.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "log", include_str!("../../migrations/0001_log.sql")),
    (
        2,
        "large organisations",
        include_str!("../../migrations/0002_large_organisations.sql"),
    ),
    (
        3,
        "session bounds",
        include_str!("../../migrations/0003_session_bounds.sql"),
    ),
    (
        4,
        "the head for readers",
        include_str!("../../migrations/0004_head_for_readers.sql"),
    ),
    (
        5,
        "an index for searches",
        include_str!("../../migrations/0005_search_index.sql"),
    ),
];

/// Any number that no other program is likely to choose: two migrators wait for each other.
const LOCK: i64 = 0x0510_ce00_0001;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";

/// Brings the database up to this version of Sluice. `url` is of the role that owns the tables.
///
/// # Errors
/// See [`StartError`].
pub async fn migrate(url: &str) -> Result<(), StartError> {
    let options = connect_options(url)?.options([("lock_timeout", "30000ms")]);
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(StartError::Connect)?;
    let failed = |source| StartError::Migration {
        version: 0,
        name: "the table of migrations",
        source,
    };
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::raw_sql(TABLE)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let done: Option<i32> = sqlx::query_scalar("SELECT max(version) FROM schema_migrations")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    let done = done.unwrap_or(0);
    let newest = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    if done > newest {
        return Err(StartError::NewerDatabase(done));
    }
    for (version, name, sql) in MIGRATIONS.iter().filter(|(version, ..)| *version > done) {
        apply(&mut transaction, *version, name, sql)
            .await
            .map_err(|source| StartError::Migration {
                version: *version,
                name,
                source,
            })?;
        tracing::info!(version, name, "migrated the database");
    }
    transaction.commit().await.map_err(failed)
}

async fn apply(
    transaction: &mut Transaction<'_, Postgres>,
    version: i32,
    name: &'static str,
    sql: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(&mut **transaction).await?;
    sqlx::query("INSERT INTO schema_migrations (version, name) VALUES ($1, $2)")
        .bind(version)
        .bind(name)
        .execute(&mut **transaction)
        .await
        .map(|_| ())
}

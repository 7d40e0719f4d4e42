//! Sealed credentials come from Postgres into the entries of their accounts, and from nowhere else.

use std::{fs, path::Path};

use events_schema::snapshot::{ENTRY_PREFIX, entries::ArchivedProviderAccountEntry};
use projections::snapshots::Rivals;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::{
    history::{ACCOUNT, History, SECRET},
    servers::{Nats, new_database},
    snapshots::{Publisher, Shelf, told_whole},
};

/// A database with the table as `commands` makes it.
struct Secrets(PgConnection);

impl Secrets {
    async fn prepare(url: &str) -> Self {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../commands/migrations");
        let all = fs::read_to_string(migrations.join("0001_log.sql")).expect("the log's tables");
        let begin = all.find("CREATE TABLE sealed_secrets").expect("the table");
        let end = begin + all[begin..].find(';').expect("its end");
        let mut connection = PgConnection::connect(url).await.expect("it is there");
        let table = sqlx::AssertSqlSafe(all[begin..end].to_owned());
        connection.execute(table).await.expect("a new table");
        Self(connection)
    }

    async fn keep(&mut self, version: i32, sealed: &[u8]) {
        let insert = "INSERT INTO sealed_secrets (id, version, sealing_key, account, origin, sealed) \
                      VALUES ($1, $2, 'g1', $3, 'https://api.openai.com', $4)";
        let insert = sqlx::query(insert)
            .bind(SECRET.uuid())
            .bind(version)
            .bind(ACCOUNT.uuid())
            .bind(sealed);
        insert.execute(&mut self.0).await.expect("inserted");
    }
}

/// The account's sealed credential as gateways read it; `None`: its entry has none.
fn credential(shelf: &Shelf) -> Option<(String, Vec<u8>)> {
    let subject = format!("{ENTRY_PREFIX}provider_account.{ACCOUNT}");
    let (_, payload) = shelf.entries.get(&subject).expect("the account's entry");
    let mut aligned = rkyv::util::AlignedVec::<16>::new();
    aligned.extend_from_slice(payload);
    let entry = rkyv::access::<ArchivedProviderAccountEntry, rkyv::rancor::Error>(&aligned);
    let sealed = entry.expect("a valid entry").credential.as_ref()?;
    Some((sealed.key.to_string(), sealed.sealed.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_waits_for_its_credential_and_then_carries_the_newest() {
    let (nats, postgres) = (Nats::start().await, new_database().await);
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.register_account();
    history.relay(&context).await;
    // Postgres is there, and cannot be read yet.
    let mut publisher = Publisher::start_with(&nats, Rivals::StandBy, &postgres).await;
    publisher
        .until("the account waits", |status| {
            status.pending == 1 && status.trouble.is_some()
        })
        .await;
    let mut secrets = Secrets::prepare(&postgres).await;
    secrets.keep(1, b"sealed once").await;
    publisher
        .until("nothing waits", |status| {
            status.pending == 0 && status.trouble.is_none()
        })
        .await;
    let shelf = told_whole(&context, history.position()).await;
    assert_eq!(
        credential(&shelf),
        Some(("g1".into(), b"sealed once".into()))
    );

    secrets.keep(2, b"sealed twice").await;
    history.replace_credential(2);
    history.relay(&context).await;
    let shelf = told_whole(&context, history.position()).await;
    assert_eq!(
        credential(&shelf),
        Some(("g1".into(), b"sealed twice".into()))
    );

    // A credential whose row is not there: the account stays, and its entry says that there should be one.
    let gone = Some((String::new(), Vec::new()));
    history.replace_credential(3);
    history.relay(&context).await;
    let shelf = told_whole(&context, history.position()).await;
    assert_eq!(credential(&shelf), gone);

    // One that was shredded, also where the row is still there, or Postgres away.
    history.replace_credential(2);
    history.relay(&context).await;
    told_whole(&context, history.position()).await;
    history.shred_credential();
    history.relay(&context).await;
    let shelf = told_whole(&context, history.position()).await;
    assert_eq!(credential(&shelf), gone);
    publisher.stop().await;
}

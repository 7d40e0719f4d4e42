//! Sealed credentials come from Postgres into the entries of their accounts, and from nowhere else.

use std::{fs, path::Path};

use events_schema::{
    snapshot::{ENTRY_PREFIX, entries::ArchivedProviderAccountEntry},
    subjects,
};
use projections::snapshots::Rivals;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::{
    history::{ACCOUNT, History, SECRET},
    servers::{Nats, eventually, new_database},
    snapshots::{Publisher, Shelf, shelf, told_whole},
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

/// A stream that lost an account, as one may that was deleted while two publishers took turns at it.
#[tokio::test(flavor = "multi_thread")]
async fn where_an_account_is_missing_that_was_told_nothing_is_told_without_it() {
    let (nats, postgres) = (Nats::start().await, new_database().await);
    let context = nats.jetstream().await;
    let mut secrets = Secrets::prepare(&postgres).await;
    secrets.keep(1, b"sealed once").await;
    let mut history = History::new();
    history.register_account();
    history.relay(&context).await;
    let publisher = Publisher::start_with(&nats, Rivals::StandBy, &postgres).await;
    let before = history.position();
    told_whole(&context, before).await;
    publisher.stop().await;
    let stream = context.get_stream(subjects::SNAPSHOTS).await;
    let stream = stream.expect("it is there");
    let subject = format!("{ENTRY_PREFIX}provider_account.{ACCOUNT}");
    let message = stream.get_last_raw_message_by_subject(&subject).await;
    let lost = stream.delete_message(message.expect("it lies there").sequence);
    assert!(lost.await.expect("deleted"));

    let mut publisher = Publisher::start(&nats, Rivals::StandBy).await;
    history.issue_key(1);
    history.relay(&context).await;
    publisher
        .until("the account waits", |status| {
            status.pending == 1 && status.position == history.position()
        })
        .await;
    let is_there = async || shelf(&context).await.filter(|shelf| shelf.has_key(1));
    let shelf = eventually("what needs nothing of Postgres is there", is_there).await;
    assert_eq!(shelf.told_position(), Some(before));
    publisher.stop().await;
    let publisher = Publisher::start_with(&nats, Rivals::StandBy, &postgres).await;
    told_whole(&context, history.position()).await;
    publisher.stop().await;
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

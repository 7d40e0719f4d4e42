//! No secret that the system was given lies anywhere in what it wrote: logs, Postgres, the streams, ClickHouse, a gateway's
//! disk, the supervisor's state.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::ProviderAccountItem;
use events_schema::api::resources::VirtualAccountItem;
use events_schema::api::{Page, commands::CommandAnswer};
use events_schema::events::{KeyLimits, Owner, Role};
use http::header::COOKIE;
use serde_json::Value;

use crate::crash::agrees;
use crate::stack::{Session, Stack, block_on, said, wait_until};

/// A credential that no other text contains.
const CREDENTIAL: &str = "sk-provider-e6f1b2c3d4a5968778695a4b3c2d1e0f";

/// What another operator signs in with.
const PASSWORD: &str = "correct-horse-7f3e9a-battery-staple";

/// A prompt: the gateway keeps none.
const PROMPT: &str = "the-prompt-91b7c4de-that-nobody-keeps";

/// A secret and what it is.
struct Secret {
    what: String,
    text: String,
}

fn secret(what: &str, text: impl Into<String>) -> Secret {
    Secret {
        what: what.to_owned(),
        text: text.into(),
    }
}

/// Everything that is done with secrets, once.
async fn use_secrets(stack: &Stack, session: &Session) -> Vec<Secret> {
    let mut secrets = vec![
        secret("the provider's credential", CREDENTIAL),
        secret("an operator's password", PASSWORD),
        secret("a prompt", PROMPT),
        secret("the example key", &stack.info.api_key),
        secret(
            "the first operator's password",
            &stack.info.operator.password,
        ),
    ];
    let accounts: Page<ProviderAccountItem> = session.get("/provider-accounts").await;
    let accounts = accounts
        .items
        .into_iter()
        .filter(|item| item.name == "mock");
    for account in accounts {
        let replace = NewCommand::ReplaceProviderCredential {
            account: account.id,
            credential: Some(CREDENTIAL.to_owned()),
        };
        give(session, 1, replace).await;
    }
    let add = NewCommand::AddOperator {
        email: "grace@example.com".into(),
        name: "Grace Hopper".into(),
        role: Role::Operator,
        password: PASSWORD.into(),
    };
    give(session, 2, add).await;
    let owners: Page<VirtualAccountItem> = session.get("/virtual-accounts").await;
    let owner = owners.items.first().expect("the example has one").id;
    let issue = NewCommand::IssueKey {
        owner: Owner::VirtualAccount(owner),
        label: "shown once".into(),
        expires_at: None,
        limits: KeyLimits::default(),
    };
    let key = give(session, 3, issue).await.secret.expect("it is shown");
    // Wrong attempts are logged, too: a key that does not exist, a password that is not right.
    let answer = stack.chat(PROMPT).await.expect("the gateway answers");
    assert!(answer.status.is_success(), "{}", answer.text());
    let guess = "sk-sluice-0000000000000000000000000000000000000guess";
    let refused = crate::stack::chat_as(&stack.info, guess, "chat", PROMPT).await;
    assert!(refused.is_ok_and(|answer| !answer.status.is_success()));
    let wrong = stack.try_sign_in("a-wrong-password-5c1d7e").await;
    assert!(!wrong.is_success(), "{wrong}");
    secrets.push(secret("a key that was issued", key));
    secrets.push(secret("a key that was guessed", guess));
    secrets.push(secret(
        "a password that was guessed",
        "a-wrong-password-5c1d7e",
    ));
    for (name, value) in session.headers() {
        let value = value.to_str().expect("ASCII");
        if *name == COOKIE {
            let token = value.split_once('=').map_or(value, |(_, token)| token);
            secrets.push(secret("a session's token", token));
        }
    }
    secrets.extend(secrets_in_files(&stack.data().join("secrets")));
    secrets
}

async fn give(session: &Session, nth: u32, command: NewCommand) -> CommandAnswer {
    let id = format!("{nth:032x}");
    let given = session.try_command(&id, command).await;
    given.unwrap_or_else(|why| panic!("command {nth}: {why}"))
}

/// Every string in the stack's secrets that is long enough to be one.
fn secrets_in_files(folder: &Path) -> Vec<Secret> {
    fn strings(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
            Value::Object(fields) => fields.values().for_each(|field| strings(field, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    for path in files(folder) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // The public half of the sealing key is none.
        if name == "sealing-public.json" || !name.ends_with(".json") {
            continue;
        }
        let text = fs::read(&path).expect("it can be read");
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        let mut texts = Vec::new();
        strings(&value, &mut texts);
        let long = texts.into_iter().filter(|text| text.len() >= 24);
        found.extend(long.map(|text| secret(&name, text)));
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// A secret as it is, as bytes where it is hexadecimal, and in base64.
fn shapes(secret: &str) -> Vec<Vec<u8>> {
    let mut shapes = vec![
        secret.as_bytes().to_vec(),
        STANDARD
            .encode(secret)
            .trim_end_matches('=')
            .as_bytes()
            .to_vec(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
    ];
    if let Ok(bytes) = hex::decode(secret) {
        shapes.push(STANDARD.encode(&bytes).into_bytes());
        // A line of the patterns' file cannot hold these.
        if !bytes.iter().any(|byte| matches!(byte, 0 | b'\n')) {
            shapes.push(bytes);
        }
    }
    shapes
}

/// The files below these folders that contain one of the texts, by `grep`: a hundred megabytes in no time.
fn containing(texts: &[Vec<u8>], places: &[&Path]) -> Vec<String> {
    let mut patterns = tempfile::NamedTempFile::new().expect("a file");
    for text in texts {
        patterns.write_all(text).expect("it can be written");
        patterns.write_all(b"\n").expect("it can be written");
    }
    let output = Command::new("grep")
        .env("LC_ALL", "C")
        .args([
            "--recursive",
            "--text",
            "--files-with-matches",
            "--fixed-strings",
            "--file",
        ])
        .arg(patterns.path())
        .args(places)
        .output()
        .expect("grep starts");
    // 1: nothing was found; more: it could not search.
    assert!(
        output.status.code().is_some_and(|code| code < 2),
        "{}",
        said(&output)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

/// Every table of ClickHouse as text: on disk it is compressed.
async fn everything_in_the_ledger(stack: &Stack) -> Vec<u8> {
    let client = stack.info.clickhouse();
    let tables: Vec<String> = client
        .query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
        .fetch_all()
        .await
        .expect("the ledger answers");
    assert!(tables.len() >= 5, "{tables:?}");
    let mut text = Vec::new();
    for table in tables {
        let question = format!("SELECT * FROM {table}");
        let mut rows = client
            .query(&question)
            .fetch_bytes("TSV")
            .expect("the question is sent");
        text.extend(rows.collect().await.expect("the ledger answers"));
    }
    text
}

/// A dump of the whole database.
fn everything_in_postgres(stack: &Stack) -> Vec<u8> {
    let program = stack.service("postgres")["program"]
        .as_str()
        .map(PathBuf::from);
    let tool = program.expect("a path").with_file_name("pg_dump");
    let output = Command::new(tool)
        .args(["--inserts", "--dbname", &stack.info.postgres])
        .output()
        .expect("pg_dump starts");
    assert!(output.status.success(), "{}", said(&output));
    output.stdout
}

#[test]
fn no_secret_lies_in_anything_that_the_system_wrote() {
    let stack = Stack::up();
    let (secrets, ledger) = block_on(async {
        let session = stack.sign_in().await;
        let secrets = use_secrets(&stack, &session).await;
        let position = session.status().await.position;
        agrees(&stack, &session, position).await;
        wait_until("the ledger has the requests", || async {
            let rows = stack.ledger("SELECT count() FROM requests").await;
            (rows >= 2)
                .then_some(())
                .ok_or_else(|| format!("{rows} rows"))
        })
        .await;
        (secrets, everything_in_the_ledger(&stack).await)
    });
    let dump = everything_in_postgres(&stack);
    // What is written at the end lies on disk then, the gateway's view among it.
    stack.down();

    let extra = tempfile::tempdir().expect("a folder");
    fs::write(extra.path().join("clickhouse.tsv"), ledger).expect("it can be written");
    fs::write(extra.path().join("postgres.sql"), dump).expect("it can be written");
    let kept_apart = stack.data().join("secrets");
    let folders: Vec<PathBuf> = fs::read_dir(stack.data())
        .expect("the folder is there")
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| *path != kept_apart)
        .collect();
    let mut places: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    places.push(extra.path());

    // The search finds what is there: the log, its stream, the audit trail, the dump.
    let label = containing(&[b"shown once".to_vec()], &places);
    assert!(label.len() >= 4, "{label:?}");
    let leaks: Vec<String> = secrets
        .iter()
        .flat_map(|Secret { what, text }| {
            let found = containing(&shapes(text), &places);
            found
                .into_iter()
                .map(move |place| format!("{what} lies in {place}"))
        })
        .collect();
    assert_eq!(leaks, Vec::<String>::new());
}

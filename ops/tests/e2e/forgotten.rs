//! What is to be forgotten is forgotten everywhere: an erased person's name and address, a renamed person's former ones, a
//! shredded credential, a rotated key's former secret. And what a team was granted opens models to whoever comes into it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ProviderAccountItem;
use events_schema::api::{Page, status::Status};
use events_schema::events::{GrantedModels, KeyLimits, Owner, Subject, TeamRole};
use events_schema::id::{KeyId, ProviderAccountId, TeamId, UserId};

use crate::stack::{Info, Session, Stack, block_on, chat, said, wait_until};

const NAME: &str = "Zenobia Quillfeather";
const ADDRESS: &str = "zenobia.quillfeather@example.com";
/// What is searched for, in lower case.
const TRACE: &str = "quillfeather";
/// The provider's credential; the mock provider takes any.
const CREDENTIAL: &str = "sk-upstream-to-be-shredded";

/// Gives a command, and waits until every gateway serves it.
pub(crate) async fn order(session: &Session, command: NewCommand) -> CommandAnswer {
    static SENT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{:032x}", SENT.fetch_add(1, Ordering::Relaxed));
    let answer = session.try_command(&id, command).await;
    let answer = answer.unwrap_or_else(|failure| panic!("{failure}"));
    let path = format!("/served?position={}&timeout_ms=30000", answer.position);
    let served: serde_json::Value = session.get(&path).await;
    assert_eq!(served["served"], true, "{served}");
    answer
}

fn made<T: std::str::FromStr<Err: std::fmt::Debug>>(answer: &CommandAnswer) -> T {
    let id = answer.id.as_deref().expect("it made something");
    id.parse().expect("an id")
}

/// The status and OpenAI's code of one chat with a key.
async fn with_key(stack: &Stack, key: &str) -> (u16, String) {
    let info = Info {
        api_key: key.to_owned(),
        ..stack.info.clone()
    };
    let answer = chat(&info, &info.model, "Hello").await;
    let answer = answer.expect("the gateway answers");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let code = body["error"]["code"].as_str().unwrap_or_default();
    (answer.status.as_u16(), code.to_owned())
}

#[test]
fn an_erased_person_is_found_nowhere_and_the_history_is_whole() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let add = NewCommand::AddUser {
            email: ADDRESS.to_owned(),
            name: NAME.to_owned(),
        };
        let user: UserId = made(&order(&session, add).await);
        let create = NewCommand::CreateTeam {
            name: "backend".to_owned(),
        };
        let team: TeamId = made(&order(&session, create).await);
        let issue = NewCommand::IssueKey {
            owner: Owner::User(user),
            label: "laptop".to_owned(),
            expires_at: None,
            limits: KeyLimits::default(),
        };
        let issued = order(&session, issue).await;
        let (key, secret): (KeyId, _) = (made(&issued), issued.secret.expect("it is shown"));

        // What the team may use, its members may use.
        let grant = NewCommand::GrantAccess {
            subject: Subject::Team(team),
            models: GrantedModels::All,
        };
        order(&session, grant).await;
        assert_eq!(
            with_key(&stack, &secret).await.0,
            403,
            "not in the team yet"
        );
        let role = TeamRole::Member;
        order(&session, NewCommand::AddTeamMember { team, user, role }).await;
        assert_eq!(with_key(&stack, &secret).await.0, 200);

        // Both secrets work until the former one is revoked.
        let rotate = NewCommand::RotateKey {
            key,
            grace_seconds: 3_600,
        };
        let rotated = order(&session, rotate).await;
        let new = rotated.secret.expect("it is shown");
        assert_eq!(with_key(&stack, &secret).await.0, 200);
        assert_eq!(with_key(&stack, &new).await.0, 200);
        order(&session, NewCommand::RevokeFormerSecret { key }).await;
        let refused = with_key(&stack, &secret).await;
        assert_eq!(refused, (401, "invalid_api_key".to_owned()));
        assert_eq!(with_key(&stack, &new).await.0, 200);

        // The requests are in the ledger, under the user's id.
        let owned = format!("SELECT count() FROM requests WHERE owner = 'user:{user}'");
        wait_until("the requests are in the ledger", || async {
            let found = stack.ledger(&owned).await;
            (found >= 4).then_some(()).ok_or_else(|| found.to_string())
        })
        .await;
        assert!(in_postgres(&stack).await, "the search finds what is there");

        order(&session, NewCommand::EraseUser { user }).await;
        assert!(!in_postgres(&stack).await, "the name is left in Postgres");
        for folder in ["nats", "clickhouse", "gateway", "logs", "secrets"] {
            let found = files_with(&stack.data().join(folder), TRACE);
            assert!(found.is_empty(), "the name is left in {found:?}");
        }
        let verified = stack.commands_cli("verify");
        assert!(verified.status.success(), "{}", said(&verified));
        assert_eq!(
            with_key(&stack, &new).await.0,
            200,
            "the key is as good as it was"
        );
    });
}

#[test]
fn a_former_name_is_found_nowhere() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let add = NewCommand::AddUser {
            email: ADDRESS.to_owned(),
            name: NAME.to_owned(),
        };
        let user: UserId = made(&order(&session, add).await);
        assert!(in_postgres(&stack).await, "the search finds what is there");
        let name = "Zenobia Feather".to_owned();
        order(&session, NewCommand::RenameUser { user, name }).await;
        let email = "zenobia@example.com".to_owned();
        order(&session, NewCommand::ChangeUserEmail { user, email }).await;
        assert!(!in_postgres(&stack).await, "the name is left in Postgres");
        let renamed =
            "SELECT count() FROM admin_events WHERE kind = 'user_renamed' AND payload = '{}'";
        wait_until("the audit trail knows that it changed", || async {
            let found = stack.ledger(renamed).await;
            (found == 1).then_some(()).ok_or_else(|| found.to_string())
        })
        .await;
        for folder in ["nats", "clickhouse", "gateway", "logs", "secrets"] {
            let found = files_with(&stack.data().join(folder), TRACE);
            assert!(found.is_empty(), "the name is left in {found:?}");
        }
    });
}

#[test]
fn a_shredded_credential_is_found_nowhere_and_nothing_goes_to_its_account() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        let accounts: Page<ProviderAccountItem> = session.get("/provider-accounts").await;
        let account: ProviderAccountId = accounts.items[0].id;
        let replace = |credential: &str| NewCommand::ReplaceProviderCredential {
            account,
            credential: Some(credential.to_owned()),
        };
        let others = secrets(&stack).await;
        order(&session, replace(CREDENTIAL)).await;
        let key = stack.info.api_key.clone();
        assert_eq!(with_key(&stack, &key).await.0, 200);
        let sealed = ciphertext(&stack, &others).await.expect("it is sealed");
        assert!(
            !files_holding(&stack.data().join("nats"), &sealed).is_empty(),
            "the search finds what is there"
        );

        order(&session, NewCommand::ShredProviderCredential { account }).await;
        assert_eq!(ciphertext(&stack, &others).await, None);
        let refused = with_key(&stack, &key).await;
        assert_eq!(refused, (502, "provider_credential_missing".to_owned()));
        let plain = CREDENTIAL.to_lowercase();
        for folder in ["nats", "clickhouse", "gateway", "logs", "postgres"] {
            let found = files_with(&stack.data().join(folder), &plain);
            assert!(found.is_empty(), "the credential lies open in {found:?}");
        }

        order(&session, replace("sk-upstream-new")).await;
        assert_eq!(with_key(&stack, &key).await.0, 200);
        let status: Status = session.status().await;
        assert_eq!(status.appends_stopped, None);
    });
}

/// Whether any row of any table of the log's database holds the trace.
async fn in_postgres(stack: &Stack) -> bool {
    let pool = stack.postgres().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&pool)
    .await
    .expect("a list of tables");
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        let sql =
            format!("SELECT count(*) FROM {table} t WHERE position($1 IN lower(t::text)) > 0");
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(TRACE)
            .fetch_one(&pool)
            .await
            .expect("the table can be read");
        if found > 0 {
            return true;
        }
    }
    false
}

/// The ids of the credentials that there are.
async fn secrets(stack: &Stack) -> Vec<uuid::Uuid> {
    sqlx::query_scalar("SELECT id FROM sealed_secrets")
        .fetch_all(&stack.postgres().await)
        .await
        .expect("the table can be read")
}

/// The ciphertext of the one credential that there is beside the others.
async fn ciphertext(stack: &Stack, others: &[uuid::Uuid]) -> Option<Vec<u8>> {
    sqlx::query_scalar("SELECT sealed FROM sealed_secrets WHERE id <> ALL($1)")
        .bind(others)
        .fetch_optional(&stack.postgres().await)
        .await
        .expect("the table can be read")
}

/// The files below a folder that hold a text, in whatever case.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    files_where(folder, &|bytes| {
        let lower = bytes.to_ascii_lowercase();
        holds(&lower, text.as_bytes())
    })
}

/// The files below a folder that hold these bytes.
fn files_holding(folder: &Path, wanted: &[u8]) -> Vec<String> {
    files_where(folder, &|bytes| holds(bytes, wanted))
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

fn files_where(folder: &Path, wanted: &dyn Fn(&[u8]) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_where(&path, wanted));
        } else if fs::read(&path).is_ok_and(|bytes| wanted(&bytes)) {
            found.push(path.display().to_string());
        }
    }
    found
}

//! A whole stack of which all parts talk over TLS: it works, and it refuses whoever comes in plain text, whoever cannot
//! prove who they are, and whoever proves to be somebody else.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use events_schema::api::Page;
use events_schema::api::analytics::Summary;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::VirtualAccountItem;
use events_schema::api::status::Served;
use events_schema::events::{KeyLimits, Owner};
use http::Method;
use http::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::client;
use crate::crash::agrees;
use crate::stack::{
    Operator, PATIENCE, Session, Stack, block_on, chat_as, said, sign_in_at, sluice, wait_for,
    wait_until,
};

/// A stack and what a test must know of it beyond its URLs.
struct Scene {
    stack: Stack,
    ca_file: PathBuf,
}

/// A program of the stack beside those that it runs; killed when it is dropped.
struct Started {
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

// === impl Scene ===

impl Scene {
    fn up() -> Self {
        let stack = Stack::up_with(&["--tls"]);
        let ca_file = stack.info.ca_file.clone().expect("the servers speak TLS");
        Self { stack, ca_file }
    }

    /// The port of a server, of its URL.
    fn port(url: &str) -> u16 {
        let authority = url.split('?').next().unwrap_or_default();
        let after = authority.rsplit(':').next().unwrap_or_default();
        let digits = after.split('/').next().unwrap_or_default();
        digits.parse().expect("the URL has a port")
    }

    fn console_port(&self) -> u16 {
        Self::port(&self.stack.info.console)
    }

    /// Where TLS ends in front of the gateway.
    fn gateway_over_tls(&self) -> String {
        format!("https://127.0.0.1:{}", self.console_port() + 9)
    }

    fn password(&self, file: &str, name: &str) -> String {
        let path = self.stack.data().join("secrets").join(file);
        let text = fs::read(path).expect("the passwords are there");
        let passwords: Value = serde_json::from_slice(&text).expect("JSON");
        passwords[name].as_str().expect("a password").to_owned()
    }

    fn nats(&self, user: &str, host: &str) -> String {
        let password = self.password("nats.json", user);
        let port = Self::port(&self.stack.info.nats);
        format!("tls://{user}:{password}@{host}:{port}")
    }

    fn postgres(&self, role: &str, key: &str, host: &str) -> String {
        let password = self.password("postgres.json", key);
        let port = Self::port(&self.stack.info.postgres);
        format!("postgres://{role}:{password}@{host}:{port}/sluice?sslmode=verify-full")
    }

    fn clickhouse(&self, user: &str, host: &str) -> String {
        let password = self.password("clickhouse.json", user);
        let port = Self::port(&self.stack.info.clickhouse);
        format!("https://{user}:{password}@{host}:{port}")
    }

    /// A program with what the stack's own service of that name has, but for what differs.
    fn program(&self, service: &str, differs: &[(&str, &str)]) -> Command {
        let program = self.stack.service(service)["program"].clone();
        let mut command = Command::new(program.as_str().expect("a path"));
        let secrets = self.stack.data().join("secrets");
        command
            .env("SLUICE_SECRETS_DIR", secrets)
            .env("SLUICE_LISTEN", "127.0.0.1:0")
            .env("SLUICE_CA_FILE", &self.ca_file)
            .env("SLUICE_NATS_URL", self.nats(service, "127.0.0.1"))
            .stdin(Stdio::null());
        if service != "gateway" {
            let (role, key) = match service {
                "commands" => ("sluice_service", "service_password"),
                _ => ("sluice_reader", "reader_password"),
            };
            command
                .env("SLUICE_POSTGRES_URL", self.postgres(role, key, "127.0.0.1"))
                .env(
                    "SLUICE_CLICKHOUSE_URL",
                    self.clickhouse(service, "127.0.0.1"),
                );
        }
        command.envs(differs.iter().copied());
        command
    }

    /// Starts one that goes on.
    fn start(&self, service: &str, args: &[&str], differs: &[(&str, &str)]) -> Started {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut command = self.program(service, differs);
        command.args(args);
        if service == "gateway" {
            command.arg("--data-dir").arg(folder.path().join("data"));
        }
        let file = File::create(&log).expect("a log");
        let child = command
            .stderr(file.try_clone().expect("a log"))
            .stdout(file)
            .spawn()
            .expect("the program starts");
        Started {
            child,
            log,
            _folder: folder,
        }
    }
}

// === impl Started ===

impl Started {
    /// Waits until the log has a line with all of these words.
    fn wait_for_line(&self, words: &[&str]) {
        wait_for(&format!("a line with {words:?}"), || {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let found = text
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)));
            found.then_some(())
        });
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another authority than the stack's.
fn stranger() -> (tempfile::TempDir, PathBuf) {
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    fs::write(&file, key.expect("a certificate").cert.pem()).expect("it can be written");
    (folder, file)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A new key, and the position at which it was made.
async fn issue_key(session: &Session) -> (String, u64) {
    let owners: Page<VirtualAccountItem> = session.get("/virtual-accounts").await;
    let issue = NewCommand::IssueKey {
        owner: Owner::VirtualAccount(owners.items.first().expect("the example has one").id),
        label: "over TLS".into(),
        expires_at: None,
        limits: KeyLimits::default(),
    };
    let id = format!("{:032x}", 1);
    let answer = session.try_command(&id, issue).await.expect("it is issued");
    (answer.secret.expect("it is shown"), answer.position)
}

/// A question in the playground.
async fn ask_in_the_playground(session: &Session, model: &str) -> client::Answer {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }] });
    let path = "/playground/chat/completions";
    let answer = session.call(Method::POST, path, Some(&body)).await;
    answer.expect("the API answers")
}

/// The sums of the minutes around the newest request.
async fn summary(scene: &Scene, session: &Session) -> Result<u64, String> {
    let minute = |offset: i8| {
        format!(
            "SELECT formatDateTime(max(received_at) + toIntervalMinute({offset}), '%Y-%m-%dT%H:%i:%SZ', 'UTC') FROM requests"
        )
    };
    let ledger = scene.stack.info.clickhouse();
    let mut ends = Vec::new();
    for offset in [-5, 5] {
        let end: String = ledger
            .query(&minute(offset))
            .fetch_one()
            .await
            .expect("the ledger answers");
        ends.push(end);
    }
    let path = format!("/analytics/summary?from={}&to={}", ends[0], ends[1]);
    let answer = session.try_get(&path).await?;
    let sums: Summary = answer.json().map_err(|failure| failure.to_string())?;
    Ok(sums.total.requests)
}

async fn a_command_reaches_the_gateway_and_its_requests_the_dashboard(scene: &Scene) {
    let stack = &scene.stack;
    let session = stack.sign_in().await;
    let (key, position) = issue_key(&session).await;
    let served: Served = session
        .get(&format!("/served?position={position}&timeout_ms=10000"))
        .await;
    assert!(served.served, "{served:?}");
    let answer = chat_as(&stack.info, &key, &stack.info.model, "Hello").await;
    let answer = answer.expect("the gateway answers");
    assert!(answer.status.is_success(), "{}", answer.text());
    let bearer = HeaderValue::from_str(&format!("Bearer {key}")).expect("ASCII");
    let models = client::call_trusting(
        Some(&scene.ca_file),
        Method::GET,
        &format!("{}/v1/models", scene.gateway_over_tls()),
        &[(AUTHORIZATION, bearer)],
        None,
    )
    .await;
    assert!(models.expect("the gateway answers").status.is_success());

    let played = wait_until("the playground has its key", || async {
        let answer = ask_in_the_playground(&session, &stack.info.model).await;
        let text = answer.text();
        answer
            .status
            .is_success()
            .then_some(text.clone())
            .ok_or(text)
    })
    .await;
    assert!(played.contains("choices"), "{played}");
    wait_until("the ledger has both requests", || async {
        let rows = stack
            .ledger("SELECT count() FROM requests WHERE outcome = 'success'")
            .await;
        (rows >= 2)
            .then_some(())
            .ok_or_else(|| format!("{rows} rows"))
    })
    .await;
    wait_until("the dashboard shows them", || async {
        let requests = summary(scene, &session).await?;
        (requests >= 2)
            .then_some(())
            .ok_or_else(|| format!("{requests} requests"))
    })
    .await;
    agrees(stack, &session, position).await;
}

/// What `up` leaves to other tasks: they find the stack's servers over TLS, too.
fn the_tools_find_their_way(scene: &Scene) {
    let data = scene.stack.data().display().to_string();
    let backup = scene.stack.data().with_file_name("backup");
    for task in [
        &["status", "--json", "--data", &data][..],
        &["rebuild", "audit", "--data", &data],
        &["rebuild", "snapshots", "--data", &data],
        &[
            "backup",
            "--to",
            &backup.display().to_string(),
            "--data",
            &data,
        ],
    ] {
        let output = sluice(task);
        assert!(output.status.success(), "{task:?}: {}", said(&output));
    }
    assert!(backup.join("backup.json").exists());
}

/// `export --console https://…`.
fn export_over_tls(scene: &Scene, ca_file: Option<&Path>, token: &str) -> Output {
    let mut export = Command::new(env!("CARGO_BIN_EXE_sluice"));
    export.args(["export", "--console", &scene.stack.info.console]);
    export.args(["--token", token]);
    if let Some(file) = ca_file {
        export.arg("--ca-file").arg(file);
    }
    export.output().expect("the tool starts")
}

async fn make_token(session: &Session) -> String {
    let body = json!({ "label": "over TLS", "expires_at": null });
    let answer = session.call(Method::POST, "/tokens", Some(&body)).await;
    let made: Value = answer.expect("the API answers").json().expect("it is made");
    made["secret"].as_str().expect("it is shown").to_owned()
}

/// All that a NATS client would say, in plain text.
fn nats_takes_no_plain_text(scene: &Scene) {
    let port = Scene::port(&scene.stack.info.nats);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout is taken");
    let password = scene.password("nats.json", "admin");
    let hello = json!({ "user": "admin", "pass": password, "verbose": false, "protocol": 1 });
    let text = format!("CONNECT {hello}\r\nPING\r\n");
    stream.write_all(text.as_bytes()).expect("it can be sent");
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut heard);
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.contains("\"tls_required\":true"), "{heard}");
    assert!(!heard.contains("PONG"), "{heard}");
}

async fn nobody_is_heard_in_plain_text(scene: &Scene) {
    nats_takes_no_plain_text(scene);
    let url = scene.stack.info.postgres.split('?').next().expect("a URL");
    let refused = sqlx::PgConnection::connect(&format!("{url}?sslmode=disable")).await;
    let refused = refused.expect_err("Postgres refuses").to_string();
    assert!(refused.contains("no encryption"), "{refused}");
    let clickhouse = Scene::port(&scene.stack.info.clickhouse);
    let console = scene.console_port();
    // The console, ClickHouse, the projections' status, the gateway.
    for port in [console, clickhouse, console + 6, console + 9] {
        let plain = client::get(&format!("http://127.0.0.1:{port}/"), None).await;
        assert!(plain.is_err(), "{port}: {plain:?}");
    }
}

/// Each program says, of each of its connections, that the certificate is not good, and of which connection.
fn who_is_not_known_is_refused_by_name(scene: &Scene, stranger: &Path) {
    let other = stranger.display().to_string();
    let strange: &[(&str, &str)] = &[("SLUICE_CA_FILE", &other)];
    let gateway = scene.start("gateway", &[], strange);
    gateway.wait_for_line(&["NATS cannot be reached", "tls://127.0.0.1", "UnknownIssuer"]);
    drop(gateway);
    for service in ["gateway", "projections"] {
        let elsewhere = scene.nats(service, "localhost");
        let started = scene.start(service, &[], &[("SLUICE_NATS_URL", &elsewhere)]);
        let words = [
            "NATS cannot be reached",
            "tls://localhost",
            "not valid for name",
        ];
        started.wait_for_line(&words);
    }
    let migrate = |differs: &[(&str, &str)]| {
        let output = scene.program("commands", differs).arg("migrate").output();
        output.expect("the program starts")
    };
    let owner = |host: &str| scene.postgres("sluice_owner", "owner_password", host);
    let (here, elsewhere) = (owner("127.0.0.1"), owner("localhost"));
    let migrated = migrate(&[("SLUICE_POSTGRES_OWNER_URL", &here)]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    for (differs, why) in [
        (
            &[("SLUICE_POSTGRES_OWNER_URL", here.as_str()), strange[0]][..],
            "UnknownIssuer",
        ),
        (
            &[("SLUICE_POSTGRES_OWNER_URL", elsewhere.as_str())],
            "not valid for name",
        ),
    ] {
        let refused = migrate(differs);
        let told = said(&refused);
        assert!(!refused.status.success(), "{told}");
        assert!(told.contains("Postgres") && told.contains(why), "{told}");
        assert!(!told.contains(&scene.password("postgres.json", "owner_password")));
    }
    let elsewhere = scene.clickhouse("projections", "localhost");
    let rebuilt = scene
        .program("projections", &[("SLUICE_CLICKHOUSE_URL", &elsewhere)])
        .args(["rebuild", "audit"])
        .output();
    let told = said(&rebuilt.expect("the program starts"));
    assert!(
        told.contains("ClickHouse") && told.contains("not valid for name"),
        "{told}"
    );
}

/// A control plane of which ClickHouse and the gateway are somebody else, as far as it can tell.
async fn a_console_believes_no_stranger(scene: &Scene) {
    let listen = format!("127.0.0.1:{}", free_port());
    let clickhouse = scene.clickhouse("commands", "localhost");
    let gateway = format!("https://localhost:{}", scene.console_port() + 9);
    let second = scene.start(
        "commands",
        &["serve"],
        &[
            ("SLUICE_LISTEN", &listen),
            ("SLUICE_CLICKHOUSE_URL", &clickhouse),
            ("SLUICE_GATEWAY_URL", &gateway),
        ],
    );
    let console = format!("http://{listen}");
    let ready = format!("{console}/readyz");
    wait_until("the second control plane is ready", || async {
        let answer = client::get(&ready, None)
            .await
            .map_err(|it| it.to_string())?;
        answer
            .status
            .is_success()
            .then_some(())
            .ok_or(answer.text())
    })
    .await;
    let Operator { email, password } = scene.stack.info.operator.clone();
    let session = sign_in_at(&console, None, email, password).await;
    wait_until("the playground says that the gateway is away", || async {
        let answer = ask_in_the_playground(&session, &scene.stack.info.model).await;
        let text = answer.text();
        let right = answer.status.as_u16() == 502 && text.contains("cannot be reached");
        right.then_some(()).ok_or(text)
    })
    .await;
    second.wait_for_line(&["the gateway did not answer", "not valid for name"]);
    let refused = summary(scene, &session).await.expect_err("no ledger");
    assert!(refused.contains("ledger"), "{refused}");
    second.wait_for_line(&["the ledger did not answer", "not valid for name"]);
}

#[test]
fn all_parts_talk_over_tls_and_take_nobody_on_trust() {
    let scene = Scene::up();
    let (_folder, stranger) = stranger();
    block_on(async {
        a_command_reaches_the_gateway_and_its_requests_the_dashboard(&scene).await;
        nobody_is_heard_in_plain_text(&scene).await;
    });
    the_tools_find_their_way(&scene);

    let token = block_on(async {
        let session = scene.stack.sign_in().await;
        make_token(&session).await
    });
    let exported = export_over_tls(&scene, Some(&scene.ca_file), &token);
    assert!(exported.status.success(), "{}", said(&exported));
    assert!(
        said(&exported).contains("sluice: v1"),
        "{}",
        said(&exported)
    );
    for authority in [None, Some(stranger.as_path())] {
        let refused = export_over_tls(&scene, authority, &token);
        let told = said(&refused);
        assert!(
            !refused.status.success() && told.contains("UnknownIssuer"),
            "{told}"
        );
    }

    who_is_not_known_is_refused_by_name(&scene, &stranger);
    block_on(a_console_believes_no_stranger(&scene));
}

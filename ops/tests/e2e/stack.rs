//! A whole stack for one test, and what a test wants to know about it.

use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events_schema::api::commands::{CommandAnswer, CommandRequest, NewCommand};
use events_schema::api::session::{SessionInfo, SignIn};
use events_schema::api::status::{GatewayItem, Status};
use http::Method;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{self, Answer};
use crate::ledger;

/// How long anything may take that a stack does by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Two stacks at once would only slow each other down.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A stack that is up; it is taken down, and its data deleted, when this is dropped.
pub(crate) struct Stack {
    folder: tempfile::TempDir,
    pub(crate) info: Info,
    _alone: MutexGuard<'static, ()>,
}

/// The line that `up --detach` ends with.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Info {
    pub(crate) console: String,
    pub(crate) gateway: String,
    pub(crate) postgres: String,
    pub(crate) nats: String,
    pub(crate) clickhouse: String,
    pub(crate) operator: Operator,
    pub(crate) api_key: String,
    pub(crate) model: String,
    /// The authority of the stack's servers, when they speak TLS.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Operator {
    pub(crate) email: String,
    pub(crate) password: String,
}

impl Info {
    /// ClickHouse, as its administrator.
    pub(crate) fn clickhouse(&self) -> clickhouse::Client {
        ledger::client(&self.clickhouse, self.ca_file.as_deref()).expect("a URL")
    }

    /// NATS' administrator's connection.
    pub(crate) async fn jetstream(&self) -> async_nats::jetstream::Context {
        let options = match &self.ca_file {
            Some(file) => async_nats::ConnectOptions::new().add_root_certificates(file.clone()),
            None => async_nats::ConnectOptions::new(),
        };
        async_nats::jetstream::new(connect_nats_with(options, &self.nats).await)
    }
}

/// A connection to NATS as the user in the URL: the client does not look there by itself.
pub(crate) async fn connect_nats(url: &str) -> async_nats::Client {
    connect_nats_with(async_nats::ConnectOptions::new(), url).await
}

async fn connect_nats_with(options: async_nats::ConnectOptions, url: &str) -> async_nats::Client {
    let address: async_nats::ServerAddr = url.parse().expect("a URL");
    let user = address.username().expect("a user").to_owned();
    let password = address.password().expect("a password").to_owned();
    options
        .custom_inbox_prefix(format!("_INBOX.{user}"))
        .user_and_password(user, password)
        .connect(url)
        .await
        .expect("NATS answers")
}

/// A signed-in operator.
#[derive(Clone)]
pub(crate) struct Session {
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The authority that vouches for the console, where it speaks TLS.
    ca_file: Option<PathBuf>,
}

// === impl Stack ===

impl Stack {
    /// Brings one up.
    pub(crate) fn up() -> Self {
        Self::up_with(&[])
    }

    /// The same with more flags.
    pub(crate) fn up_with(flags: &[&str]) -> Self {
        let alone = alone();
        let folder = tempfile::Builder::new()
            .prefix("sluice-e2e-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a folder for the data");
        let info = up(&folder, &[&["--port-base", "0"], flags].concat());
        Self {
            folder,
            info,
            _alone: alone,
        }
    }

    /// Brings it up again, after `down` or while it runs.
    pub(crate) fn up_again(&mut self) {
        self.up_again_with(&[]);
    }

    /// The same, with the flags that it needs each time.
    pub(crate) fn up_again_with(&mut self, flags: &[&str]) {
        self.info = up(&self.folder, flags);
    }

    /// Takes it down.
    pub(crate) fn down(&self) {
        let output = sluice(&["down", "--data", &self.data().display().to_string()]);
        assert!(output.status.success(), "{}", said(&output));
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the supervisor says.
    pub(crate) fn state(&self) -> Value {
        let text = std::fs::read(self.data().join("stack.json")).expect("the stack runs");
        serde_json::from_slice(&text).expect("the state is JSON")
    }

    /// What the supervisor says of one process.
    pub(crate) fn service(&self, name: &str) -> Value {
        let state = self.state();
        let services = state["services"].as_array().cloned().unwrap_or_default();
        services
            .into_iter()
            .find(|service| service["name"] == name)
            .unwrap_or_else(|| panic!("the stack has no {name}"))
    }

    /// The process id of a service.
    pub(crate) fn pid(&self, name: &str) -> i32 {
        let pid = self.service(name)["process"]["pid"]
            .as_i64()
            .expect("it runs");
        i32::try_from(pid).expect("a process id")
    }

    /// Sends a signal to a service's process.
    pub(crate) fn signal(&self, name: &str, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid(name));
        nix::sys::signal::kill(pid, signal).expect("the process is there");
    }

    /// Sends a signal to the supervisor.
    pub(crate) fn signal_supervisor(&self, signal: nix::sys::signal::Signal) {
        let pid = self.state()["supervisor"]["pid"].as_i64();
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        let pid = nix::unistd::Pid::from_raw(pid.expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("the supervisor is there");
    }

    /// Signs in as the first owner.
    pub(crate) async fn sign_in(&self) -> Session {
        let Operator { email, password } = self.info.operator.clone();
        let ca_file = self.info.ca_file.as_deref();
        sign_in_at(&self.info.console, ca_file, email, password).await
    }

    /// What signing in as the first owner with another password is answered with.
    pub(crate) async fn try_sign_in(&self, password: &str) -> http::StatusCode {
        let body = serde_json::to_value(SignIn {
            email: self.info.operator.email.clone(),
            password: password.to_owned(),
        })
        .expect("it is JSON");
        let url = format!("{}/api/v1/sessions", self.info.console);
        let answer = client::call(Method::POST, &url, &[], Some(&body)).await;
        answer.expect("the API answers").status
    }

    /// One chat through the gateway.
    pub(crate) async fn chat(&self, words: &str) -> Result<Answer, String> {
        chat(&self.info, &self.info.model, words).await
    }

    /// Runs a program of the stack with what its services are started with, and returns its output.
    pub(crate) fn commands_cli(&self, subcommand: &str) -> Output {
        let program = self.service("commands")["program"]
            .as_str()
            .expect("a path")
            .to_owned();
        let secrets = self.data().join("secrets");
        let text = std::fs::read(secrets.join("postgres.json")).expect("the passwords");
        let passwords: Value = serde_json::from_slice(&text).expect("JSON");
        let authority = self
            .info
            .postgres
            .rsplit('@')
            .next()
            .expect("the URL has a host");
        let url = |role: &str, key: &str| {
            let password = passwords[key].as_str().expect("a password");
            format!("postgres://{role}:{password}@{authority}")
        };
        Command::new(program)
            .arg(subcommand)
            .env(
                "SLUICE_POSTGRES_URL",
                url("sluice_service", "service_password"),
            )
            .env(
                "SLUICE_POSTGRES_OWNER_URL",
                url("sluice_owner", "owner_password"),
            )
            .env("SLUICE_NATS_URL", &self.info.nats)
            .env("SLUICE_SECRETS_DIR", secrets)
            .envs(
                self.info
                    .ca_file
                    .iter()
                    .map(|file| ("SLUICE_CA_FILE", file)),
            )
            .output()
            .expect("the program starts")
    }

    /// The superuser's connection to the log.
    pub(crate) async fn postgres(&self) -> sqlx::PgPool {
        sqlx::PgPool::connect(&self.info.postgres)
            .await
            .expect("Postgres answers")
    }

    /// A question to the embedded ClickHouse; the answer is one number.
    pub(crate) async fn ledger(&self, question: &str) -> u64 {
        let answer = self.try_ledger(question).await;
        answer.expect("the ledger answers")
    }

    /// The same of one that may be on its way up.
    pub(crate) async fn try_ledger(&self, question: &str) -> Result<u64, String> {
        let asked = self.info.clickhouse().query(question).fetch_one::<u64>();
        asked.await.map_err(|error| error.to_string())
    }

    /// A statement to the embedded ClickHouse.
    pub(crate) async fn change_ledger(&self, statement: &str) {
        let client = self.info.clickhouse();
        let done = client.query(statement).execute().await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// The last sequence of the stream that carries the log.
    pub(crate) async fn events_sequence(&self) -> u64 {
        let stream = self
            .info
            .jetstream()
            .await
            .get_stream("EVENTS")
            .await
            .expect("the stream is there");
        stream.cached_info().state.last_sequence
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
        let output = sluice(&["down", "--data", &self.data().display().to_string()]);
        if !output.status.success() {
            eprintln!("the stack could not be stopped: {}", said(&output));
        }
    }
}

impl Stack {
    /// The ends of the logs of a test that failed.
    fn keep_logs(&self) {
        let Ok(logs) = std::fs::read_dir(self.data().join("logs")) else {
            return;
        };
        for log in logs.filter_map(Result::ok) {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("── {} ──\n{}", log.path().display(), tail.join("\n"));
        }
    }
}

// === impl Session ===

impl Session {
    /// What the session sends with each request.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// `GET` below `/api/v1`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.try_get(path)
            .await
            .unwrap_or_else(|failure| panic!("{path}: {failure}"))
            .json()
            .unwrap_or_else(|failure| panic!("{path}: {failure}"))
    }

    /// `GET` below `/api/v1`, whatever comes of it.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Answer, String> {
        self.call(Method::GET, path, None).await
    }

    /// Any call below `/api/v1`, whatever comes of it.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let url = format!("{}{path}", self.base);
        client::call_trusting(self.ca_file.as_deref(), method, &url, &self.headers, body)
            .await
            .map_err(|failure| failure.to_string())
    }

    /// One command, whose outcome may be unknown. The same id may be sent again.
    pub(crate) async fn try_command(
        &self,
        command_id: &str,
        command: NewCommand,
    ) -> Result<CommandAnswer, String> {
        let request = CommandRequest {
            command_id: Some(command_id.parse().expect("an id")),
            why: None,
            command,
        };
        let body = serde_json::to_value(request).expect("it is JSON");
        let answer = self.call(Method::POST, "/commands", Some(&body)).await?;
        answer.json().map_err(|failure| failure.to_string())
    }

    pub(crate) async fn status(&self) -> Status {
        self.get("/status").await
    }

    /// The gateways that reported lately.
    pub(crate) async fn live_gateways(&self) -> Vec<GatewayItem> {
        let gateways: Vec<GatewayItem> = self.get("/gateways").await;
        gateways
            .into_iter()
            .filter(|gateway| gateway.live)
            .collect()
    }
}

/// Signs in at a console.
pub(crate) async fn sign_in_at(
    console: &str,
    ca_file: Option<&Path>,
    email: String,
    password: String,
) -> Session {
    let base = format!("{console}/api/v1");
    let body = serde_json::to_value(SignIn { email, password }).expect("it is JSON");
    let url = format!("{base}/sessions");
    let answer = client::call_trusting(ca_file, Method::POST, &url, &[], Some(&body))
        .await
        .expect("the API answers");
    let session: SessionInfo = answer.json().expect("the owner may sign in");
    let cookie = answer.headers[SET_COOKIE]
        .to_str()
        .expect("a cookie is ASCII");
    let is_secure = cookie.ends_with("; Secure");
    assert_eq!(is_secure, console.starts_with("https:"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap_or_default();
    let header = |value: &str| HeaderValue::from_str(value).expect("a header's value");
    let csrf = HeaderName::from_static("x-csrf-token");
    let headers = vec![
        (COOKIE, header(cookie)),
        (csrf, header(&session.csrf_token)),
    ];
    Session {
        base,
        headers,
        ca_file: ca_file.map(Path::to_path_buf),
    }
}

/// One chat through the gateway with a model of the caller's choice.
pub(crate) async fn chat(info: &Info, model: &str, words: &str) -> Result<Answer, String> {
    chat_as(info, &info.api_key, model, words).await
}

/// The same with another key.
pub(crate) async fn chat_as(
    info: &Info,
    key: &str,
    model: &str,
    words: &str,
) -> Result<Answer, String> {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": words }] });
    chat_with(info, key, &body).await
}

/// The same with a body of one's own.
pub(crate) async fn chat_with(info: &Info, key: &str, body: &Value) -> Result<Answer, String> {
    let bearer = format!("Bearer {key}");
    let bearer = HeaderValue::from_str(&bearer).expect("a key is ASCII");
    let url = format!("{}/v1/chat/completions", info.gateway);
    client::call(Method::POST, &url, &[(AUTHORIZATION, bearer)], Some(body))
        .await
        .map_err(|failure| failure.to_string())
}

fn up(folder: &tempfile::TempDir, flags: &[&str]) -> Info {
    let data = folder.path().join("data").display().to_string();
    let own_pid = std::process::id().to_string();
    let mut args = vec![
        "up",
        "--detach",
        "--no-build",
        "--data",
        &data,
        "--bound-to",
        &own_pid,
    ];
    args.extend(flags);
    let output = sluice(&args);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().expect("up ends with a line");
    serde_json::from_str(line).expect("the line is the contract's JSON")
}

/// The right to have a stack; the others wait.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    // A test that failed while it held the lock says nothing about the next one.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the tool to its end.
pub(crate) fn sluice(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .output()
        .expect("the tool starts")
}

/// What a program said.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The value of a `SLUICE_TEST_…` variable.
pub(crate) fn variable(name: &str) -> String {
    std::env::vars()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
        .unwrap_or_else(|| panic!("{name} is not set: run this test with `cargo ops test`"))
}

/// Runs a test's asynchronous part.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// Looks again and again until `look` finds what it looks for.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {} s",
            PATIENCE.as_secs()
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks again and again until `look` finds what it looks for; what it saw last is shown when it does not.
pub(crate) async fn wait_until<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(why) => assert!(
                Instant::now() < deadline,
                "{what}: not within {} s: {why}",
                PATIENCE.as_secs()
            ),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

//! The service over HTTP: the router on a socket of its own, a real Postgres behind it, and callers who sign in.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf};

use axum::body::Body;
use bytes::Bytes;
use commands::{
    alerts::Alerts,
    analytics::Analytics,
    auth::{
        Email,
        passwords::{NewPassword, Passwords},
    },
    control::{Control, ControlOptions, PasswordChange, Person, PersonChange, SideEffects},
    counters::Counters,
    domain::{Command, OperatorCommand},
    fresh,
    gateways::Gateways,
    http::{App, AppParts, router},
    playground::Playground,
    secrets::Secrets,
    totals::Totals,
    trust::Trust,
};
use events_schema::{api::session::SessionInfo, events::Role, id::OperatorId, keyring::KeyRing};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Nats, Postgres, orders::submission};

/// Everyone's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The first owner's address.
pub(crate) const OWNER: &str = "owner@example.com";

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// What a test may want otherwise.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// With NATS and the relay.
    pub(crate) nats: bool,
    /// Behind a proxy of ours.
    pub(crate) trust_forwarded: bool,
}

/// A running service.
pub(crate) struct Service {
    pub(crate) control: Control,
    pub(crate) app: App,
    pub(crate) nats: Option<Nats>,
    pub(crate) postgres: Postgres,
    base: String,
    client: Client<HttpConnector, Body>,
    _stopping: DropGuard,
}

impl Service {
    /// A service on a fresh Postgres, with an owner.
    pub(crate) async fn start() -> Self {
        Self::start_as(Wanted::default()).await
    }

    /// The same with NATS and a relay.
    pub(crate) async fn start_with_nats() -> Self {
        Self::start_as(Wanted {
            nats: true,
            ..Wanted::default()
        })
        .await
    }

    pub(crate) async fn start_as(wanted: Wanted) -> Self {
        let postgres = Postgres::start().await;
        let nats = if wanted.nats {
            Some(Nats::start().await)
        } else {
            None
        };
        let client = match &nats {
            Some(nats) => Some(nats.client().await),
            None => None,
        };
        let control = Control::start(ControlOptions {
            postgres_url: postgres.url("sluice_service"),
            postgres_owner_url: Some(postgres.url("sluice_owner")),
            relay: client.is_some(),
            nats: client.clone(),
        })
        .await
        .expect("the control starts");
        let stopping = CancellationToken::new();
        let app = app(wanted.trust_forwarded, stopping.clone());
        if let Some(client) = client {
            tokio::spawn(app.parts().gateways.clone().listen(client));
        }
        app.set_control(control.clone());
        let base = listen(&app).await;
        let service = Self {
            control,
            app,
            nats,
            postgres,
            base,
            client: client_of_http(),
            _stopping: stopping.drop_guard(),
        };
        service.add_operator(OWNER, Role::Owner).await;
        service
    }

    /// Adds an operator with [`PASSWORD`], as `create-owner` does.
    pub(crate) async fn add_operator(&self, email: &str, role: Role) -> OperatorId {
        let id: OperatorId = fresh::id();
        let address: Email = email.parse().expect("an address");
        let password = NewPassword::parse(PASSWORD.into()).expect("long enough");
        let hash = Passwords::default().hash(password).await.expect("a turn");
        let side = SideEffects {
            person: Some(PersonChange::Put(Person {
                id: id.uuid(),
                email: email.into(),
                name: email.split('@').next().unwrap_or_default().into(),
            })),
            password: Some(PasswordChange {
                operator: id,
                hash,
                keep_session: None,
            }),
            ..SideEffects::default()
        };
        let mut order = submission(Command::Operator(
            id,
            OperatorCommand::Add {
                role,
                email: self.app.secrets().fingerprints(&address),
            },
        ));
        order.orders[0].side = side;
        self.control.submit(order).await.expect("a fresh address");
        id
    }

    /// A caller who shows nothing.
    pub(crate) fn anybody(&self) -> Caller<'_> {
        self.elsewhere(self.base.clone())
    }

    /// The same at another service.
    pub(crate) fn elsewhere(&self, base: String) -> Caller<'_> {
        Caller {
            client: &self.client,
            base,
            headers: HeaderMap::new(),
        }
    }

    /// Whoever has this token.
    pub(crate) fn bearer(&self, token: &str) -> Caller<'_> {
        self.anybody()
            .with("authorization", &format!("Bearer {token}"))
    }

    /// The owner, in a new session.
    pub(crate) async fn owner(&self) -> Caller<'_> {
        self.sign_in(OWNER, PASSWORD).await
    }

    /// Whoever has this address, in a new session.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Caller<'_> {
        let answer = self.try_to_sign_in(email, password).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let info: SessionInfo = answer.read();
        let cookie = answer.text_of("set-cookie");
        let pair = cookie.split(';').next().expect("a cookie");
        self.anybody()
            .with("cookie", pair)
            .with("x-csrf-token", &info.csrf_token)
    }

    pub(crate) async fn try_to_sign_in(&self, email: &str, password: &str) -> Answer {
        self.anybody()
            .post(
                "/sessions",
                &json!({ "email": email, "password": password }),
            )
            .await
    }
}

/// An application that is not ready yet.
pub(crate) fn app(trust_forwarded: bool, stopping: CancellationToken) -> App {
    App::new(AppParts {
        secrets: secrets(),
        gateways: Gateways::default(),
        totals: Totals::default(),
        counters: Counters::default(),
        alerts: Alerts::default(),
        playground: Playground::new(NOWHERE, &Trust::default()).expect("a URL"),
        analytics: Analytics::new(NOWHERE, &Trust::default()).expect("a URL"),
        gateway_url: NOWHERE.into(),
        trust_forwarded,
        speaks_tls: false,
        stopping,
    })
}

/// Serves the application on a free port; the base URL.
pub(crate) async fn listen(app: &App) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = router(app, None).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}")
}

fn client_of_http() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn secrets() -> Secrets {
    let ring = |byte: &str| {
        let text = json!({ "active": "k1", "keys": { "k1": byte.repeat(32) } }).to_string();
        KeyRing::parse(&text).expect("a key ring")
    };
    Secrets {
        pepper: ring("01"),
        sealing_public: ring("09"),
        fingerprint: ring("03"),
    }
}

/// Writes the same key rings into a new folder, for the program.
pub(crate) fn secrets_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sluice-test-{}", fresh::uuid().as_simple()));
    std::fs::create_dir(&folder).expect("a new folder");
    for (file, byte) in [
        ("api-key-pepper.json", "01"),
        ("sealing-public.json", "09"),
        ("fingerprint.json", "03"),
    ] {
        let text = json!({ "active": "k1", "keys": { "k1": byte.repeat(32) } }).to_string();
        let path = folder.join(file);
        std::fs::write(&path, text).expect("it can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .expect("it is ours");
    }
    folder
}

/// Who calls: what every request shows.
#[derive(Clone)]
pub(crate) struct Caller<'a> {
    client: &'a Client<HttpConnector, Body>,
    base: String,
    headers: HeaderMap,
}

impl Caller<'_> {
    /// The same with another header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a value"),
        );
        self
    }

    /// What a header shows.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).expect("it is shown");
        value.to_str().expect("text").to_owned()
    }

    /// The same without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends a command; the answer must be 200.
    pub(crate) async fn command(&self, command: Value) -> Answer {
        let answer = self.try_command(command).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer
    }

    pub(crate) async fn try_command(&self, command: Value) -> Answer {
        self.post("/commands", &json!({ "command": command })).await
    }

    /// A request below `/api/v1`, or anywhere when the path begins with `//`.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| body.to_string().into());
        self.send_bytes(method, path, "application/json", body)
            .await
    }

    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Option<Bytes>,
    ) -> Answer {
        let (parts, body) = self.open(method, path, media_type, body).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// The answer as it begins.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Option<Bytes>,
    ) -> http::Response<hyper::body::Incoming> {
        let base = &self.base;
        let url = match path.strip_prefix("//") {
            Some(path) => format!("{base}/{path}"),
            None => format!("{base}/api/v1{path}"),
        };
        let mut request = Request::builder().method(method).uri(url);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
            if body.is_some() {
                let media_type = HeaderValue::from_str(media_type).expect("a media type");
                headers.insert(header::CONTENT_TYPE, media_type);
            }
        }
        let body = body.map_or_else(Body::empty, Body::from);
        let request = request.body(body).expect("a good request");
        self.client
            .request(request)
            .await
            .expect("the service answers")
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header that must be there.
    pub(crate) fn text_of(&self, header: &str) -> String {
        let value = self.headers.get(header);
        let value = value.unwrap_or_else(|| panic!("no {header}: {self:?}"));
        value.to_str().expect("text").to_owned()
    }

    /// A field of the JSON, as text.
    pub(crate) fn field(&self, name: &str) -> String {
        match &self.json()[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.json()["position"].as_u64().expect("a position")
    }

    /// What a refusal says: status, code and field. It must be a whole problem document.
    pub(crate) fn problem(&self) -> (u16, String, Option<String>) {
        assert_eq!(
            self.text_of("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem: events_schema::api::problem::Problem = self.read();
        assert_eq!(problem.status, self.status.as_u16(), "{problem:?}");
        assert_eq!(problem.kind, format!("urn:sluice:problem:{}", problem.code));
        let starts_well = |text: &str| text.chars().next().is_some_and(char::is_uppercase);
        assert!(starts_well(&problem.title), "{problem:?}");
        assert!(!problem.detail.is_empty(), "{problem:?}");
        (problem.status, problem.code, problem.field)
    }

    /// That this is a refusal with this status and code.
    pub(crate) fn refuses(&self, status: u16, code: &str) {
        let (found, found_code, _) = self.problem();
        assert_eq!((found, found_code.as_str()), (status, code), "{self:?}");
    }

    /// The same, with the field that it belongs to.
    pub(crate) fn refuses_at(&self, status: u16, code: &str, field: &str) {
        let (_, _, found) = self.problem();
        self.refuses(status, code);
        assert_eq!(found.as_deref(), Some(field), "{self:?}");
    }
}

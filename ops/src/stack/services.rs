//! The processes of a stack: what is started, with what, and in which order.

use std::path::{Path, PathBuf};

use super::binaries::Binaries;
use super::links::{Link, Links};
use super::nats::User;
use super::ports::Ports;
use super::secrets::{ClickhousePasswords, NatsPasswords, PostgresPasswords};
use super::tls::Server;
use super::ways::{Asker, Ways};
use super::{DataDir, nats, postgres};
use crate::failure::{Doing, Outcome};
use crate::paths;
use crate::supervise::plan::{Plan, Probe, Service, StopSignal};

/// How long a gateway lets requests under way go on when it is stopped, in milliseconds.
const DRAIN_MS: &str = "10000";

/// Everything that the processes of a stack are started with.
pub(crate) struct Ingredients<'a> {
    pub(crate) data: &'a DataDir,
    pub(crate) ports: Ports,
    pub(crate) binaries: &'a Binaries,
    /// What tells this build of the programs from another.
    pub(crate) build: String,
    pub(crate) nats_server: PathBuf,
    pub(crate) postgres_bin: PathBuf,
    pub(crate) engine: PathBuf,
    /// The built console.
    pub(crate) assets: Option<PathBuf>,
    pub(crate) passwords: PostgresPasswords,
    pub(crate) nats_passwords: NatsPasswords,
    pub(crate) clickhouse_passwords: ClickhousePasswords,
    /// Whether they talk over TLS.
    pub(crate) ways: Ways,
    /// How the processes reach one another.
    pub(crate) links: Links,
    /// Whether there is a second gateway.
    pub(crate) second_gateway: bool,
    /// Whether there is a second control plane: `commands` and `projections`.
    pub(crate) second_control: bool,
}

/// One of the places that `commands` and `projections` can have in a stack.
struct Seat {
    name: &'static str,
    port: u16,
    postgres: Link,
    nats: Link,
    clickhouse: Link,
}

// === impl Ingredients ===

impl Ingredients<'_> {
    /// The plan for the supervisor.
    pub(crate) fn plan(&self) -> Outcome<Plan> {
        let mut services = vec![
            postgres::service(self.data, self.ports, &self.postgres_bin, &self.ways),
            nats::prepare(
                self.data,
                self.ports,
                &self.nats_server,
                &self.nats_passwords,
                &self.ways,
            )?,
            self.clickhouse(),
            self.mock_provider(),
            self.commands(&Seat {
                name: "commands",
                port: self.ports.console(),
                postgres: Link::CommandsPostgres,
                nats: Link::CommandsNats,
                clickhouse: Link::CommandsClickhouse,
            }),
            self.projections(&Seat {
                name: "projections",
                port: self.ports.projections(),
                postgres: Link::ProjectionsPostgres,
                nats: Link::ProjectionsNats,
                clickhouse: Link::ProjectionsClickhouse,
            }),
            self.gateway(
                "gateway",
                self.ports.gateway(),
                &self.data.gateway(),
                Link::GatewayNats,
            ),
        ];
        if self.ways.ca_file().is_some() {
            services.push(self.gateway_tls());
        }
        if self.second_control {
            services.push(self.commands(&Seat {
                name: "commands-2",
                port: self.ports.second_console(),
                postgres: Link::SecondCommandsPostgres,
                nats: Link::SecondCommandsNats,
                clickhouse: Link::SecondCommandsClickhouse,
            }));
            services.push(self.projections(&Seat {
                name: "projections-2",
                port: self.ports.second_projections(),
                postgres: Link::SecondProjectionsPostgres,
                nats: Link::SecondProjectionsNats,
                clickhouse: Link::SecondProjectionsClickhouse,
            }));
        }
        if self.second_gateway {
            services.push(self.gateway(
                "gateway-2",
                self.ports.second_gateway(),
                &self.data.second_gateway(),
                Link::SecondGatewayNats,
            ));
        }
        let text = serde_json::to_vec(&services).doing(|| "writing the plan".into())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&text).update(self.build.as_bytes());
        Ok(Plan {
            port_base: self.ports.base(),
            tls: self.ways.ca_file().is_some(),
            stamp: hasher.finalize().to_hex()[..16].to_owned(),
            services,
        })
    }

    fn clickhouse(&self) -> Service {
        let port = self.ports.clickhouse();
        let passwords = &self.clickhouse_passwords;
        let service = self
            .ours("clickhouse", "sluice", port, "/ping")
            .args(["clickhouse", "--listen", &local(port)])
            .args(["--path", &text(&self.data.clickhouse())])
            .args(["--lib", &text(&self.engine)])
            .env("SLUICE_CLICKHOUSE_PASSWORD", &passwords.admin)
            .env("SLUICE_CLICKHOUSE_USERS", &Asker::list(passwords))
            .stopped_at(3);
        self.over_tls_if_asked(service, Server::Clickhouse)
    }

    /// What a deployment has a proxy of its own for: TLS in front of the gateway.
    fn gateway_tls(&self) -> Service {
        let port = self.ports.gateway_tls();
        let service = self
            .ours("gateway-tls", "sluice", port, "/healthz")
            .args(["tls-proxy", "--listen", &local(port)])
            .args(["--to", &local(self.ports.gateway())])
            .after(["gateway"])
            .stopped_at(1);
        self.over_tls_if_asked(service, Server::Gateway)
    }

    /// In a stack whose parts talk over TLS: with its certificate, and asked over TLS whether it is ready.
    fn over_tls_if_asked(&self, service: Service, server: Server) -> Service {
        let Some(ca_file) = self.ways.ca_file() else {
            return service;
        };
        let mut service = service
            .args(["--tls-cert", &text(&server.certificate(self.data))])
            .args(["--tls-key", &text(&server.key(self.data))]);
        if let Probe::Http { ca_file: asked, .. } = &mut service.ready {
            *asked = Some(ca_file.to_path_buf());
        }
        service
    }

    fn mock_provider(&self) -> Service {
        let port = self.ports.mock_provider();
        self.ours("mock-provider", "sluice", port, "/v1/models")
            .args(["mock-provider", "--listen", &local(port)])
            .stopped_at(2)
    }

    fn commands(&self, seat: &Seat) -> Service {
        let port = seat.port;
        let service = self
            .ours(seat.name, "sluice-commands", port, "/readyz")
            .args(["serve", "--listen", &local(port)])
            .args(["--gateway-url", &self.gateway_url()])
            .args(["--secrets-dir", &text(&self.data.secrets())])
            .env(
                "SLUICE_CLICKHOUSE_URL",
                &self.clickhouse_url(Asker::Commands, seat.clickhouse),
            )
            .env("SLUICE_NATS_URL", &self.nats_url(User::Commands, seat.nats))
            .env(
                "SLUICE_POSTGRES_URL",
                &self.role_url(
                    seat.postgres,
                    "sluice_service",
                    &self.passwords.service_password,
                ),
            )
            .env(
                "SLUICE_POSTGRES_OWNER_URL",
                &self.role_url(
                    seat.postgres,
                    "sluice_owner",
                    &self.passwords.owner_password,
                ),
            )
            .after(["postgres", "nats"])
            .stopped_at(1);
        let service = self.over_tls_if_asked(service, Server::Commands);
        match &self.assets {
            Some(assets) => service.args(["--assets-dir", &text(assets)]),
            None => service,
        }
    }

    fn projections(&self, seat: &Seat) -> Service {
        let port = seat.port;
        let service = self
            .ours(seat.name, "sluice-projections", port, "/readyz")
            .args(["--listen", &local(port)])
            .args(["--secrets-dir", &text(&self.data.secrets())])
            .env(
                "SLUICE_CLICKHOUSE_URL",
                &self.clickhouse_url(Asker::Projections, seat.clickhouse),
            )
            .env(
                "SLUICE_NATS_URL",
                &self.nats_url(User::Projections, seat.nats),
            )
            .env(
                "SLUICE_POSTGRES_URL",
                &self.role_url(
                    seat.postgres,
                    "sluice_reader",
                    &self.passwords.reader_password,
                ),
            )
            .after(["commands", "clickhouse"])
            .stopped_at(1);
        self.over_tls_if_asked(service, Server::Projections)
    }

    fn gateway(&self, name: &str, port: u16, data: &Path, nats: Link) -> Service {
        self.ours(name, "sluice-gateway", port, "/readyz")
            .args(["--listen", &local(port)])
            .args(["--data-dir", &text(data)])
            .args(["--secrets-dir", &text(&self.data.secrets())])
            .args(["--drain-timeout-ms", DRAIN_MS])
            .env("SLUICE_NATS_URL", &self.nats_url(User::Gateway, nats))
            .after(["nats"])
            .stopped_at(0)
    }

    fn ours(&self, name: &str, program: &str, port: u16, ready: &str) -> Service {
        let service = Service {
            name: name.into(),
            program: self.binaries.program(program),
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            after: Vec::new(),
            ready: Probe::Http {
                port,
                path: ready.into(),
                ca_file: None,
            },
            port,
            stop: StopSignal::Terminate,
            stop_rank: 0,
        };
        let service = match self.ways.ca_file() {
            Some(file) if program != "sluice" => service.env("SLUICE_CA_FILE", &text(file)),
            _ => service,
        };
        match paths::variable("SLUICE_LOG").and_then(|filter| filter.into_string().ok()) {
            Some(filter) => service.env("SLUICE_LOG", &filter),
            None => service,
        }
    }

    fn nats_url(&self, user: User, link: Link) -> String {
        let port = self.links.port(link);
        self.ways.nats(user, &self.nats_passwords, port)
    }

    fn clickhouse_url(&self, user: Asker, link: Link) -> String {
        let port = self.links.port(link);
        self.ways.clickhouse(user, &self.clickhouse_passwords, port)
    }

    fn gateway_url(&self) -> String {
        let port = match self.ways.ca_file() {
            Some(_) => self.ports.gateway_tls(),
            None => self.links.port(Link::CommandsGateway),
        };
        self.ways.gateway(port)
    }

    fn role_url(&self, link: Link, role: &str, password: &str) -> String {
        let port = self.links.port(link);
        self.ways.postgres(role, password, "sluice", port)
    }
}

// === impl Service ===

impl Service {
    fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.args.extend(args.map(str::to_owned));
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn after<const N: usize>(mut self, names: [&str; N]) -> Self {
        self.after.extend(names.map(str::to_owned));
        self
    }

    fn stopped_at(mut self, rank: u8) -> Self {
        self.stop_rank = rank;
        self
    }
}

/// `http://127.0.0.1:PORT`.
pub(crate) fn url(port: u16) -> String {
    format!("http://{}", local(port))
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

//! A stack that runs, for tasks that work on it.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, Outcome};
use crate::stack::nats::User;
use crate::stack::ports::Ports;
use crate::stack::ways::{Asker, Ways};
use crate::stack::{DataDir, secrets};
use crate::supervise::state::StackState;

/// A running stack.
pub(crate) struct Running {
    pub(crate) data: DataDir,
    pub(crate) ports: Ports,
    pub(crate) ways: Ways,
    pub(crate) state: StackState,
}

// === impl Running ===

impl Running {
    /// The stack on this data folder.
    pub(crate) fn find(data: DataDir) -> Outcome<Self> {
        let state = StackState::read(&data.state_file())?
            .filter(|state| state.supervisor.is_running())
            .ok_or_else(|| Failure::new(format!("no stack runs on {}", data.root().display())))?;
        let ports = Ports::from_base(state.port_base)?;
        let ways = Ways::of(&data, state.tls);
        Ok(Self {
            data,
            ports,
            ways,
            state,
        })
    }

    /// A program of the projections, told where everything is.
    pub(crate) fn projections(&self) -> Outcome<Command> {
        let passwords = secrets::postgres_passwords(&self.data)?;
        let reader = &passwords.reader_password;
        let mut command = self.told("projections", User::Projections)?;
        command
            .env("SLUICE_CLICKHOUSE_URL", self.clickhouse_url()?)
            .env("SLUICE_SECRETS_DIR", self.data.secrets())
            .env(
                "SLUICE_POSTGRES_URL",
                self.postgres_url("sluice_reader", reader),
            );
        Ok(command)
    }

    /// The control plane's program, told where everything is.
    pub(crate) fn commands(&self) -> Outcome<Command> {
        let passwords = secrets::postgres_passwords(&self.data)?;
        let service = &passwords.service_password;
        let mut command = self.told("commands", User::Commands)?;
        command.env(
            "SLUICE_POSTGRES_URL",
            self.postgres_url("sluice_service", service),
        );
        Ok(command)
    }

    /// One of Postgres' own tools.
    pub(crate) fn postgres_tool(&self, name: &str) -> Outcome<PathBuf> {
        Ok(self.program("postgres")?.with_file_name(name))
    }

    /// A service's program, told where NATS is and whom to trust.
    fn told(&self, service: &str, user: User) -> Outcome<Command> {
        let passwords = secrets::nats_passwords(&self.data)?;
        let mut command = Command::new(self.program(service)?);
        command.env(
            "SLUICE_NATS_URL",
            self.ways.nats(user, &passwords, self.ports.nats()),
        );
        if let Some(file) = self.ways.ca_file() {
            command.env("SLUICE_CA_FILE", file);
        }
        Ok(command)
    }

    fn postgres_url(&self, role: &str, password: &str) -> String {
        let port = self.ports.postgres();
        self.ways.postgres(role, password, "sluice", port)
    }

    fn clickhouse_url(&self) -> Outcome<String> {
        let passwords = secrets::clickhouse_passwords(&self.data)?;
        let port = self.ports.clickhouse();
        Ok(self.ways.clickhouse(Asker::Projections, &passwords, port))
    }

    fn program(&self, service: &str) -> Outcome<PathBuf> {
        self.state
            .service(service)
            .map(|service| service.program.clone())
            .ok_or_else(|| Failure::new(format!("the stack has no {service}")))
    }
}

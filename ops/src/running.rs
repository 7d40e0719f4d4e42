//! A stack that runs, for tasks that work on it.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, Outcome};
use crate::stack::nats::User;
use crate::stack::ports::Ports;
use crate::stack::services::url;
use crate::stack::{DataDir, postgres, secrets};
use crate::supervise::state::StackState;

/// A running stack.
pub(crate) struct Running {
    pub(crate) data: DataDir,
    pub(crate) ports: Ports,
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
        Ok(Self { data, ports, state })
    }

    /// A program of the projections, told where everything is.
    pub(crate) fn projections(&self) -> Outcome<Command> {
        let passwords = secrets::postgres_passwords(&self.data)?;
        let reader = &passwords.reader_password;
        let mut command = Command::new(self.program("projections")?);
        command
            .env("SLUICE_NATS_URL", self.nats_url(User::Projections)?)
            .env("SLUICE_CLICKHOUSE_URL", url(self.ports.clickhouse()))
            .env("SLUICE_SECRETS_DIR", self.data.secrets())
            .env(
                "SLUICE_POSTGRES_URL",
                postgres::url(self.ports, "sluice_reader", reader, "sluice"),
            );
        Ok(command)
    }

    /// The control plane's program, told where everything is.
    pub(crate) fn commands(&self) -> Outcome<Command> {
        let passwords = secrets::postgres_passwords(&self.data)?;
        let service = &passwords.service_password;
        let mut command = Command::new(self.program("commands")?);
        command
            .env("SLUICE_NATS_URL", self.nats_url(User::Commands)?)
            .env(
                "SLUICE_POSTGRES_URL",
                postgres::url(self.ports, "sluice_service", service, "sluice"),
            );
        Ok(command)
    }

    /// One of Postgres' own tools.
    pub(crate) fn postgres_tool(&self, name: &str) -> Outcome<PathBuf> {
        Ok(self.program("postgres")?.with_file_name(name))
    }

    fn nats_url(&self, user: User) -> Outcome<String> {
        let passwords = secrets::nats_passwords(&self.data)?;
        Ok(user.url(&passwords, self.ports.nats()))
    }

    fn program(&self, service: &str) -> Outcome<PathBuf> {
        self.state
            .service(service)
            .map(|service| service.program.clone())
            .ok_or_else(|| Failure::new(format!("the stack has no {service}")))
    }
}

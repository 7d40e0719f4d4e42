//! What `up` ends with: where to go, for people and for programs.

use serde_json::json;

use crate::failure::{Doing, Outcome};
use crate::stack::DataDir;
use crate::stack::nats::User;
use crate::stack::ports::Ports;
use crate::stack::secrets::{self, ExampleKey};
use crate::stack::services::url;
use crate::stack::ways::{Asker, Ways};

/// For people, on stderr.
pub(super) fn print(data: &DataDir, ports: Ports, ways: &Ways, example: &ExampleKey) -> Outcome {
    let operator = secrets::operator(data)?;
    let (console, gateway) = (ways.console(ports.console()), url(ports.gateway()));
    let key = &example.api_key;
    let model = &example.model;
    eprintln!(
        "
  Sluice is up.

    console   {console}
              {email}  {password}
    gateway   {gateway}/v1
    key       {key}
    data      {data}

  Try it:

    curl {gateway}/v1/chat/completions \\
      -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
      -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'
",
        email = operator.email,
        password = operator.password,
        data = data.root().display(),
    );
    Ok(())
}

/// For programs: one line of JSON.
pub(super) fn line(
    data: &DataDir,
    ports: Ports,
    ways: &Ways,
    example: &ExampleKey,
) -> Outcome<String> {
    let operator = secrets::operator(data)?;
    let passwords = secrets::postgres_passwords(data)?;
    let nats = secrets::nats_passwords(data)?;
    let clickhouse = secrets::clickhouse_passwords(data)?;
    let mut line = json!({
        "console": ways.console(ports.console()),
        "gateway": url(ports.gateway()),
        "postgres": ways.postgres("postgres", &passwords.superuser_password, "sluice", ports.postgres()),
        "nats": ways.nats(User::Admin, &nats, ports.nats()),
        "clickhouse": ways.clickhouse(Asker::Admin, &clickhouse, ports.clickhouse()),
        "operator": operator,
        "api_key": example.api_key,
        "model": example.model,
    });
    if let Some(file) = ways.ca_file() {
        line["ca_file"] = json!(file);
    }
    serde_json::to_string(&line).doing(|| "writing the last line".into())
}

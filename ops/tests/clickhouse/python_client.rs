//! Python's official client, which no one here wrote, with the script beside this file.

use std::process::Command;

use crate::server::{Server, Users, variable};

#[test]
fn pythons_clickhouse_connect_works_unchanged() {
    let server = Server::start_for(Users {
        password: Some("secret"),
        others: &[],
    });
    let port = server
        .url
        .rsplit(':')
        .next()
        .expect("the URL ends with the port");
    let output = Command::new(variable("SLUICE_TEST_PYTHON"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/clickhouse/python_client.py"
        ))
        .args([port, "secret"])
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

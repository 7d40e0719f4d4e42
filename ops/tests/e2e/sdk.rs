//! OpenAI's own SDK, unchanged but for the base URL and the key.

use std::process::Command;

use crate::client;
use crate::stack::{Stack, block_on, said, variable, wait_until};

#[test]
fn openais_own_python_sdk_works_unchanged_and_its_requests_are_in_the_ledger() {
    let stack = Stack::up();
    let output = Command::new(variable("SLUICE_TEST_PYTHON"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/e2e/openai_sdk.py"
        ))
        .args([&stack.info.gateway, &stack.info.api_key, &stack.info.model])
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let requests: u64 = text
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .expect("the script ends with the number of its requests");

    block_on(async {
        let metrics = client::get(&format!("{}/metrics", stack.info.gateway), None)
            .await
            .expect("the gateway answers");
        assert!(metrics.text().contains("sluice_"), "{}", metrics.text());
        wait_until("the ledger has every request once", || async {
            let found = stack
                .ledger("SELECT count() FROM requests WHERE outcome = 'success'")
                .await;
            if found == requests {
                Ok(())
            } else {
                Err(format!("{found} of {requests}"))
            }
        })
        .await;
    });
}

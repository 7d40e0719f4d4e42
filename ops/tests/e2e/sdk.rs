//! The official SDKs, unchanged but for the base URL and the key.

use std::process::Command;

use crate::client;
use crate::stack::{Stack, block_on, said, variable, wait_until};

#[test]
fn openais_own_python_sdk_works_unchanged_and_its_requests_are_in_the_ledger() {
    let stack = Stack::up();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/openai_sdk.py");
    let requests = run(&stack, script, &[&stack.info.model, "mock/instruct"]);
    block_on(async {
        let metrics = client::get(&format!("{}/metrics", stack.info.gateway), None)
            .await
            .expect("the gateway answers");
        assert!(metrics.text().contains("sluice_"), "{}", metrics.text());
        all_are_in_the_ledger(&stack, requests).await;
    });
}

#[test]
fn anthropics_own_python_sdk_works_unchanged_and_its_requests_are_accounted_for() {
    let stack = Stack::up();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/anthropic_sdk.py");
    let requests = run(&stack, script, &["mock-anthropic/claude", "mock/fast"]);
    block_on(async {
        all_are_in_the_ledger(&stack, requests).await;
        // Of 4 tokens of a question, 32 of an answer, and what the one with a cache adds.
        let exact = "SELECT count() FROM requests WHERE endpoint = 'messages' AND NOT tokens_estimated \
                     AND input_tokens = 4 + cached_input_tokens + cache_write_input_tokens \
                     AND output_tokens = 32 AND cost = input_tokens * 3000 + output_tokens * 15000";
        assert_eq!(stack.ledger(exact).await, requests - 1);
        let cached = "SELECT count() FROM requests WHERE cached_input_tokens = 200 AND cache_write_input_tokens = 30";
        assert_eq!(stack.ledger(cached).await, 1);
        let counted = "SELECT count() FROM requests WHERE endpoint = 'count_tokens' AND input_tokens = 0 AND cost IS NULL";
        assert_eq!(stack.ledger(counted).await, 1);
        // What breaks off keeps what was stated, and its output is counted: two events came.
        let cut = "SELECT count() FROM requests WHERE outcome IN ('stream_cut', 'provider_error') AND streamed \
                   AND tokens_estimated AND input_tokens = 4 AND output_tokens = 2";
        wait_until("the ledger has the streams that broke off", || async {
            match stack.ledger(cut).await {
                2 => Ok(()),
                found => Err(format!("{found} of 2")),
            }
        })
        .await;
    });
}

/// Runs a script with the gateway, the key and these arguments; how many requests it says that it made.
fn run(stack: &Stack, script: &str, arguments: &[&str]) -> u64 {
    let output = Command::new(variable("SLUICE_TEST_PYTHON"))
        .arg(script)
        .args([&stack.info.gateway, &stack.info.api_key])
        .args(arguments)
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .last()
        .and_then(|line| line.parse().ok())
        .expect("the script ends with the number of its requests")
}

async fn all_are_in_the_ledger(stack: &Stack, requests: u64) {
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
}

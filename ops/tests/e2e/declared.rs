//! The configuration as a document, from the command line: shown, applied, exported, and lived on by the gateway.

use std::fs;

use crate::client;
use crate::stack::{Stack, block_on, chat_as, said, sluice, wait_until};

const DOCUMENT: &str = "sluice: v1
virtual_accounts:
  - name: billing
keys:
  - owner: {virtual_account: billing}
    label: production
grants:
  - to: {virtual_account: billing}
    models: {listed: [{model: mock/fast}]}
";

/// A rule in the format of other gateways: requests for a model go to another one first.
const RULES: &str = "name: routing
type: gateway-load-balancing-config
rules:
  - id: slow-first
    type: priority-based-routing
    when: { subjects: [\"*\"], models: [\"mock/fast\"], metadata: {} }
    load_balance_targets:
      - { target: mock/fast, priority: 1 }
      - { target: mock/slow, priority: 0, retry_config: { attempts: 1, delay: 100, on_status_codes: [\"503\"] } }
";

/// Rate limits in the format of other gateways; the second rule can match no request.
const LIMITS: &str = "name: limits
type: gateway-rate-limiting-config
rules:
  - id: everybody
    when: {}
    limit_to: 100000
    unit: requests_per_minute
  - id: billing
    when: { subjects: [\"virtualaccount:billing\"] }
    limit_to: 5
    unit: requests_per_day
";

#[test]
fn a_document_is_applied_from_the_command_line_and_its_key_works() {
    let stack = Stack::up();
    let data = stack.data();
    let data = data.to_str().expect("a path in Unicode");
    let file = stack.data().join("sluice.yaml");
    let path = file.to_str().expect("a path in Unicode");
    let apply = |more: &[&str]| {
        let args = [&["apply", "--data", data, "-f", path], more].concat();
        sluice(&args)
    };

    // What there is already: nothing to change.
    let export = sluice(&["export", "--data", data]);
    assert!(export.status.success(), "{}", said(&export));
    fs::write(&file, &export.stdout).expect("writable");
    let nothing = apply(&[]);
    assert!(
        said(&nothing).contains("Nothing to change."),
        "{}",
        said(&nothing)
    );

    // A mistake is told by its line, and nothing is done.
    fs::write(&file, DOCUMENT.replace("mock/fast", "mock/faster")).expect("writable");
    let wrong = apply(&[]);
    assert!(!wrong.status.success());
    let expected = format!("{path}:9:13: There is no model 'mock/faster'. (grants[0].models)");
    assert!(said(&wrong).contains(&expected), "{}", said(&wrong));

    // The difference first, then the same for real.
    fs::write(&file, DOCUMENT).expect("writable");
    let dry = apply(&["--dry-run"]);
    assert!(
        said(&dry).contains("+ key billing: production"),
        "{}",
        said(&dry)
    );
    assert!(said(&dry).contains("3 to make, 0 to change, 0 to delete."));
    assert!(!said(&dry).contains("sk-sluice-"), "{}", said(&dry));
    let done = apply(&["--why", "as it should be"]);
    assert!(done.status.success(), "{}", said(&done));
    let text = said(&done);
    let secret = text
        .split_whitespace()
        .find(|word| word.starts_with("sk-sluice-"))
        .expect("the new key is shown");
    block_on(async {
        let bearer = format!("Bearer {secret}").parse().expect("a header");
        let headers = [(http::header::AUTHORIZATION, bearer)];
        let url = format!("{}/v1/models", stack.info.gateway);
        wait_until("the gateway knows the key", || async {
            let answer = client::call(http::Method::GET, &url, &headers, None)
                .await
                .map_err(|failure| failure.to_string())?;
            let text = answer.text();
            if answer.status.is_success() && text.contains("mock/fast") {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    });
    // A rule for the model that the key may use: file, line and field of a mistake, then the rule itself. Who may ask for the
    // name is who might before, and its requests go where the rule says.
    let wrong = RULES.replace("subjects: [\"*\"]", "subjects: [\"team:backend\"]");
    fs::write(&file, format!("{DOCUMENT}---\n{wrong}")).expect("writable");
    let wrong = apply(&[]);
    let expected = format!("{path}:16:23: A rule cannot depend on who asks");
    assert!(
        said(&wrong).contains(&expected) && said(&wrong).contains("(rules[0].when.subjects)"),
        "{}",
        said(&wrong)
    );
    fs::write(&file, format!("{DOCUMENT}---\n{RULES}")).expect("writable");
    let done = apply(&[]);
    assert!(
        said(&done).contains("+ virtual model mock/fast"),
        "{}",
        said(&done)
    );
    block_on(async {
        wait_until("the gateway follows the rule", || async {
            let answer = chat_as(&stack.info, secret, "mock/fast", "who answers?").await?;
            let target = answer.headers.get("x-sluice-target");
            if answer.status.is_success() && target.is_some_and(|it| it == "mock/slow") {
                Ok(())
            } else {
                Err(format!("{target:?}: {}", answer.text()))
            }
        })
        .await;
    });
    let again = apply(&[]);
    assert!(
        said(&again).contains("Nothing to change."),
        "{}",
        said(&again)
    );

    // Rate limits: which rule is never reached is told, and what is exported in their format is the same again.
    fs::write(&file, LIMITS).expect("writable");
    let done = apply(&[]);
    let expected =
        "Warning: The rate-limit policy 'billing' can match no request: 'everybody' before it";
    assert!(said(&done).contains(expected), "{}", said(&done));
    let export = sluice(&[
        "export",
        "--data",
        data,
        "--format",
        "gateway-rate-limiting-config",
    ]);
    assert!(export.status.success(), "{}", said(&export));
    assert!(said(&export).contains("type: gateway-rate-limiting-config"));
    fs::write(&file, &export.stdout).expect("writable");
    let again = apply(&["--prune"]);
    assert!(
        said(&again).contains("Nothing to change."),
        "{}",
        said(&again)
    );
}

//! The restore drill: a backup, a loss, a restore, and everybody agrees again.

use std::fs;
use std::path::PathBuf;

use events_schema::api::Page;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::KeyItem;
use http::StatusCode;

use crate::crash::agrees;
use crate::stack::{Session, Stack, block_on, said, sluice, wait_until};

/// Relabels a key of the example, and returns the position.
async fn change_something(session: &Session, nth: u32) -> Result<u64, String> {
    let page: Page<KeyItem> = session.get("/keys?limit=1").await;
    let key = page.items.first().expect("the example has keys").id;
    let command = NewCommand::RelabelKey {
        key,
        label: format!("label {nth}"),
    };
    let id = format!("{nth:032x}");
    session
        .try_command(&id, command)
        .await
        .map(|it| it.position)
}

fn backup(stack: &Stack) -> PathBuf {
    let to = stack.data().with_file_name("backup");
    let data = stack.data().display().to_string();
    let output = sluice(&["backup", "--data", &data, "--to", &to.display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    to
}

fn restore(stack: &Stack, from: &std::path::Path) -> String {
    restore_with(stack, from, &[])
}

fn restore_with(stack: &Stack, from: &std::path::Path, flags: &[&str]) -> String {
    let data = stack.data().display().to_string();
    let from = from.display().to_string();
    let task = ["restore", "--data", &data, "--from", &from];
    let output = sluice(&[&task, flags].concat());
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn start_epoch(stack: &Stack) {
    let data = stack.data().display().to_string();
    let output = sluice(&["start-epoch", "--why", "the drill", "--data", &data]);
    assert!(output.status.success(), "{}", said(&output));
}

fn lose(stack: &Stack, folders: &[&str]) {
    for folder in folders {
        fs::remove_dir_all(stack.data().join(folder)).expect("the folder was there");
    }
}

/// Commands are refused, with the reason and what to do, until an operator starts a new epoch; gateways serve on, and
/// follow it.
async fn only_a_new_epoch_helps(stack: &Stack, session: &Session) {
    wait_until("the log says that it is not whole", || async {
        let status = session.status().await;
        match status.appends_stopped {
            Some(why) if why.contains("start-epoch") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let why = change_something(session, 100)
        .await
        .expect_err("appends are stopped");
    assert!(why.contains("start-epoch"), "{why}");
    let before = session.status().await.epoch;
    let answer = stack.chat("Hello").await.expect("the gateway answers");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());

    start_epoch(stack);
    let position = wait_until("commands are taken", || change_something(session, 101)).await;
    let after = session.status().await.epoch;
    assert!(after > before, "{before:?} and then {after:?}");
    agrees(stack, session, position).await;
    let gateways = session.live_gateways().await;
    assert!(
        gateways.iter().all(|it| it.report.epoch == after),
        "{gateways:?}"
    );
    let answer = stack.chat("Hello").await.expect("the gateway answers");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[test]
fn after_the_loss_of_everything_a_backup_brings_the_deployment_back() {
    let mut stack = Stack::up();
    let from = backup(&stack);
    let before = block_on(async { stack.sign_in().await.status().await });
    stack.down();
    lose(
        &stack,
        &["postgres", "nats", "clickhouse", "gateway", "secrets"],
    );
    let said = restore(&stack, &from);
    assert!(said.contains("start-epoch"), "{said}");
    let key = stack.info.api_key.clone();
    let password = stack.info.operator.password.clone();
    stack.up_again();
    assert_eq!(stack.info.api_key, key);
    assert_eq!(stack.info.operator.password, password);
    block_on(async {
        let session = stack.sign_in().await;
        let status = session.status().await;
        assert_eq!(status.state_digest, before.state_digest);
        only_a_new_epoch_helps(&stack, &session).await;
    });
}

#[test]
fn a_stack_over_tls_is_brought_back_as_one() {
    let mut stack = Stack::up_with(&["--tls"]);
    let from = backup(&stack);
    let before = block_on(async { stack.sign_in().await.status().await });
    stack.down();
    lose(&stack, &["postgres"]);
    let said = restore_with(&stack, &from, &["--tls"]);
    assert!(said.contains("taken back from EVENTS"), "{said}");
    stack.up_again_with(&["--tls"]);
    assert!(stack.info.ca_file.is_some(), "the servers speak TLS");
    block_on(async {
        let session = stack.sign_in().await;
        let status = session.status().await;
        assert_eq!(status.state_digest, before.state_digest);
        let position = wait_until("commands are taken", || change_something(&session, 1)).await;
        agrees(&stack, &session, position).await;
    });
}

#[test]
fn an_older_backup_is_completed_from_events() {
    let mut stack = Stack::up();
    let from = backup(&stack);
    let before = block_on(async {
        let session = stack.sign_in().await;
        for nth in 0..5 {
            change_something(&session, nth)
                .await
                .expect("commands are taken");
        }
        let status = session.status().await;
        agrees(&stack, &session, status.position).await;
        status
    });
    stack.down();
    lose(&stack, &["postgres"]);
    let said = restore(&stack, &from);
    assert!(said.contains("taken back from EVENTS"), "{said}");
    stack.up_again();
    block_on(async {
        let session = stack.sign_in().await;
        wait_until("the log is whole again", || async {
            let status = session.status().await;
            let whole = status.position == before.position
                && status.state_digest == before.state_digest
                && status.appends_stopped.is_none();
            whole.then_some(()).ok_or_else(|| format!("{status:?}"))
        })
        .await;
        let position = change_something(&session, 6)
            .await
            .expect("commands are taken");
        assert_eq!(position, before.position + 1);
        agrees(&stack, &session, position).await;
    });
}

#[test]
fn an_older_backup_beside_a_gateway_that_knows_more_needs_a_new_epoch() {
    let mut stack = Stack::up();
    let from = backup(&stack);
    block_on(async {
        let session = stack.sign_in().await;
        for nth in 0..5 {
            change_something(&session, nth)
                .await
                .expect("commands are taken");
        }
        let status = session.status().await;
        agrees(&stack, &session, status.position).await;
    });
    stack.down();
    // The gateway's disk stays: it has served what the backup does not know.
    lose(&stack, &["postgres", "nats", "clickhouse"]);
    restore(&stack, &from);
    stack.up_again();
    block_on(async {
        let session = stack.sign_in().await;
        only_a_new_epoch_helps(&stack, &session).await;
    });
}

#[test]
fn a_restore_overwrites_nothing_and_takes_no_damaged_backup() {
    let stack = Stack::up();
    let from = backup(&stack);
    let data = stack.data().display().to_string();
    let refused = |from: &std::path::Path, because: &str| {
        let from = from.display().to_string();
        let output = sluice(&["restore", "--data", &data, "--from", &from]);
        assert!(!output.status.success(), "{}", said(&output));
        assert!(said(&output).contains(because), "{}", said(&output));
    };
    refused(&from, "the stack runs");
    stack.down();
    refused(&from, "move it away first");
    let dump = from.join("log.dump");
    let mut bytes = fs::read(&dump).expect("the dump is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&dump, bytes).expect("the dump is written");
    refused(&from, "the backup is damaged");
}

//! The program `sluice-commands`, as an operator runs it.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{
    Nats, Postgres, eventually,
    orders::create_many,
    service::{PASSWORD, Service, secrets_folder},
};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-commands"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that wants no input may have ended already.
    let _written = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn create_owner_makes_somebody_who_can_sign_in() {
    let service = Service::start().await;
    let (url, secrets) = (service.postgres.url("sluice_service"), secrets_folder());
    let secrets = secrets.display().to_string();
    let make = |email: &str, password: &str| {
        let arguments = [
            "create-owner",
            "--postgres-url",
            &url,
            "--secrets-dir",
            &secrets,
            "--email",
            email,
            "--name",
            "Second",
        ];
        run(&arguments, &format!("{password}\n"))
    };
    let output = make("Second@Example.com", PASSWORD);
    assert!(output.status.success(), "{}", said(&output.stderr));
    let id = said(&output.stdout);
    // The running service hears of it, and lets the owner in.
    eventually("the running service knows the owner", || async {
        service.control.state().operators().len() == 2
    })
    .await;
    let second = service.sign_in("second@example.com", PASSWORD).await;
    let info = second.get("/sessions/current").await;
    assert_eq!(
        (info.field("operator"), info.field("role")),
        (id, "owner".into())
    );

    for (email, password, says) in [
        (
            "second@example.com",
            PASSWORD,
            "There is already an operator with this e-mail address.",
        ),
        ("third@example.com", "short", "at least 12 characters"),
        ("third", PASSWORD, "name@example.com"),
    ] {
        let output = make(email, password);
        let error = said(&output.stderr);
        assert!(!output.status.success(), "{email}");
        let line = error.lines().last().unwrap_or_default();
        assert!(
            line.starts_with("sluice-commands: ") && line.contains(says),
            "{error}"
        );
    }
    std::fs::remove_dir_all(&secrets).expect("it was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_prints_a_report_and_fails_when_the_log_was_changed() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = crate::support::control_with_relay(&postgres, &nats).await;
    create_many(&control, "account", 5).await;
    eventually("everything is published", || async {
        control.relay_status().published == Some(6)
    })
    .await;
    let (url, nats_url) = (postgres.url("sluice_service"), nats.url());
    let verify = || {
        let output = run(
            &["verify", "--postgres-url", &url, "--nats-url", &nats_url],
            "",
        );
        let report: Value = serde_json::from_str(&said(&output.stdout)).expect("a report");
        (output.status.success(), report)
    };
    let (good, report) = verify();
    assert!(
        good && report["rows"] == 6 && report["compared_with_events"] == 6,
        "{report}"
    );
    postgres
        .tamper("UPDATE events SET why = 'x' WHERE position = 4")
        .await;
    let (good, report) = verify();
    assert!(!good && report["findings"][0]["position"] == 4, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_epoch_says_which_epoch_it_is_now() {
    let (postgres, nats) = (Postgres::start().await, Nats::start().await);
    let control = crate::support::control_with_relay(&postgres, &nats).await;
    let old = control.head().epoch.expect("it has begun");
    let (url, nats_url) = (postgres.url("sluice_service"), nats.url());
    let arguments = [
        "start-epoch",
        "--postgres-url",
        &url,
        "--nats-url",
        &nats_url,
        "--why",
        "a test",
    ];
    let output = run(&arguments, "");
    assert!(output.status.success(), "{}", said(&output.stderr));
    eventually("the running service is in the new epoch", || async {
        control.head().epoch.is_some_and(|epoch| epoch > old)
    })
    .await;
    let new = control.head().epoch.expect("it has begun");
    assert_eq!(said(&output.stdout), new.to_string());
}

#[test]
fn a_mistake_on_the_command_line_is_one_line_that_says_what_to_do() {
    let serve = [
        "serve",
        "--postgres-url",
        "postgres://x@127.0.0.1:1/x",
        "--secrets-dir",
        "/nowhere",
    ];
    let output = run(&serve, "");
    let error = said(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains("the key ring /nowhere/api-key-pepper.json cannot be read"),
        "{error}"
    );
}

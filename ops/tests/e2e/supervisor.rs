//! What the tool promises about processes: nothing that died stays dead, nothing outlives its stack,
//! nothing strange is touched.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stack::{Stack, said, sluice, wait_for};

/// Every process of a stack that must not be there any more.
fn pids(stack: &Stack) -> Vec<i32> {
    let state = stack.state();
    let services = state["services"].as_array().cloned().unwrap_or_default();
    services
        .iter()
        .filter_map(|service| service["process"]["pid"].as_i64())
        .map(|pid| i32::try_from(pid).expect("a process id"))
        .collect()
}

/// Whether a process runs; one that only waits for its parent to notice its end does not.
fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|line| !line.contains(") Z ") && !line.contains(") X "))
}

#[test]
fn a_stack_comes_up_twice_dies_in_parts_and_leaves_nothing_behind() {
    let mut stack = Stack::up();
    let before = pids(&stack);
    assert_eq!(before.len(), 7, "{:#}", stack.state());

    // A second `up` changes nothing, not even the key.
    let key = stack.info.api_key.clone();
    stack.up_again();
    assert_eq!(pids(&stack), before);
    assert_eq!(stack.info.api_key, key);

    // Who dies is started again.
    let mock = stack.pid("mock-provider");
    stack.signal("mock-provider", Signal::SIGKILL);
    wait_for("the mock provider is started again", || {
        let service = stack.service("mock-provider");
        let reborn = service["process"]["pid"] != mock && service["ready"] == true;
        (reborn && service["restarts"] == 1).then_some(())
    });

    // `status` agrees, and the control plane answers it.
    let data = stack.data().display().to_string();
    let status = sluice(&["status", "--json", "--data", &data]);
    assert!(status.status.success(), "{}", said(&status));
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert!(
        status["history"]["status"]["position"].as_u64() > Some(0),
        "{status:#}"
    );

    // A killed supervisor takes its processes along, and the next `up` starts anew.
    let supervisor = stack.state()["supervisor"]["pid"]
        .as_i64()
        .expect("a process id");
    let orphans = pids(&stack);
    kill(
        Pid::from_raw(i32::try_from(supervisor).expect("a process id")),
        Signal::SIGKILL,
    )
    .expect("it runs");
    wait_for("the processes of a killed supervisor end", || {
        orphans.iter().all(|pid| !runs(*pid)).then_some(())
    });
    stack.up_again();
    assert_eq!(stack.info.api_key, key);

    let all = pids(&stack);
    stack.down();
    assert!(
        all.iter().all(|pid| !runs(*pid)),
        "something outlived `down`"
    );
    assert!(!stack.data().join("stack.json").exists());
}

#[test]
fn a_taken_port_is_one_clear_sentence_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    // The block's first port is the taken one.
    let output = sluice(&[
        "up",
        "--detach",
        "--data",
        &data,
        "--port-base",
        &port.to_string(),
    ]);
    assert!(!output.status.success());
    let said = said(&output);
    assert!(
        said.contains(&format!("port {port}")) || said.contains("leaves no room"),
        "{said}"
    );
    assert!(!folder.path().join("data/stack.json").exists());
}

#[test]
fn down_never_touches_a_stranger_that_got_a_process_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut stranger = Stranger::start();
    let pid = stranger.0.id();
    // A state as a machine that was switched off leaves it: the id now belongs to somebody else.
    let process = serde_json::json!({ "pid": pid, "started": 1, "boot": "an earlier one" });
    let state = serde_json::json!({
        "supervisor": process, "since_ms": 0, "port_base": 7700, "stamp": "x",
        "services": [{
            "name": "postgres", "port": 7701, "process": process, "since_ms": 0, "restarts": 0,
            "ready": true, "why_not": null, "last_end": null, "log": "/dev/null",
            "program": "/bin/cat", "probe": { "Http": { "port": 1, "path": "/" } },
        }],
    });
    fs::write(folder.path().join("stack.json"), state.to_string()).expect("the state is written");
    let output = sluice(&["down", "--data", &folder.path().display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        stranger.0.try_wait().expect("it can be asked").is_none(),
        "the stranger was killed"
    );
}

/// A process of somebody else's; ended when dropped.
struct Stranger(Child);

// === impl Stranger ===

impl Stranger {
    fn start() -> Self {
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat starts");
        Self(child)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! Every store but Postgres can be thrown away.

use std::fs;

use crate::stack::{Stack, block_on, wait_until};

#[test]
fn without_streams_ledger_and_views_the_same_state_is_served_again() {
    let mut stack = Stack::up();
    let before = block_on(async {
        let session = stack.sign_in().await;
        stack.chat("Hello").await.expect("the gateway answers");
        (session.status().await, session.live_gateways().await)
    });
    stack.down();
    for folder in ["nats", "clickhouse", "gateway"] {
        fs::remove_dir_all(stack.data().join(folder)).expect("the folder was there");
    }
    stack.up_again();

    block_on(async {
        let session = stack.sign_in().await;
        let (status, gateways) = before;
        let after = session.status().await;
        assert_eq!(after.position, status.position);
        assert_eq!(after.state_digest, status.state_digest);
        let [gateway] = &gateways[..] else {
            panic!("one gateway was expected: {gateways:?}");
        };
        wait_until("a gateway serves the same entries", || async {
            let live = session.live_gateways().await;
            let same = live.iter().any(|now| {
                now.report.entries_digest == gateway.report.entries_digest
                    && now.report.position == after.position
                    && !now.report.unproven
            });
            same.then_some(()).ok_or_else(|| format!("{live:?}"))
        })
        .await;

        // The key from before works, and the ledger says since when it has records.
        let answer = stack
            .chat("Hello again")
            .await
            .expect("the gateway answers");
        assert!(answer.status.is_success(), "{}", answer.text());
        wait_until("the ledger says since when it has records", || async {
            let status = session.status().await;
            status
                .ledger_since
                .map(|_| ())
                .ok_or_else(|| format!("{:?}", status.ledger_error))
        })
        .await;
    });
}

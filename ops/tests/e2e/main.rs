//! End to end: every test brings up a whole stack of its own, on free ports and a temporary data
//! folder, with the programs as they were last built, and treats it as its users and accidents do.
//!
//! `cargo ops test` builds the programs before and names the parts in `SLUICE_TEST_…` variables.

mod at_a_time;
mod benches;
mod budgets;
#[path = "../../src/client.rs"]
mod client;
#[expect(dead_code, reason = "the tool itself uses more of it")]
#[path = "../../src/clock.rs"]
mod clock;
mod counters;
mod crash;
mod cut_off;
mod declared;
#[expect(dead_code, reason = "the tool itself uses more of it")]
#[path = "../../src/failure.rs"]
mod failure;
mod faults;
mod forgotten;
mod leaks;
#[path = "../../src/ledger.rs"]
mod ledger;
mod limits;
mod load;
mod outages;
mod permissions;
mod rebuild;
mod refusals;
mod repricing;
mod requests;
mod restore;
mod sdk;
mod settings;
mod stack;
mod supervisor;
mod tamper;
mod tls;
#[path = "../../src/trust.rs"]
mod trust;

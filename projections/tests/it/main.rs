//! The projections on real servers: NATS and the embedded ClickHouse, each with a folder and a port
//! of its own, and Postgres with a database of its own.

mod asking;
mod audit;
mod budgets;
mod corrections;
mod credentials;
mod history;
mod ledger;
mod ledger_killed;
mod limits;
mod process;
mod retention;
mod servers;
mod snapshots;
mod teams;

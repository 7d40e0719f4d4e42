//! The embedded ClickHouse, as its clients see it: the `clickhouse` crate, Python's
//! `clickhouse-connect`, and plain HTTP. Every test has a server process of its own.
//!
//! `cargo ops test` fetches the engine and a Python with the client, and names them in
//! `SLUICE_TEST_CHDB` and `SLUICE_TEST_PYTHON`.

mod crate_client;
mod durability;
mod http;
mod python_client;
mod server;

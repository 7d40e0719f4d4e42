//! Integration tests: the service's parts on a real Postgres and a real NATS, each test with servers of its own.
//!
//! `SLUICE_TEST_POSTGRES_BIN` names the folder with `initdb` and `postgres`, `SLUICE_TEST_NATS_SERVER` the binary
//! `nats-server`; `cargo ops test` sets both.

mod domain;
mod http;
mod log;
mod outages;
mod properties;
mod relay;
mod support;
mod tls;
mod verify;

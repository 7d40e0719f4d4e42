#![doc = include_str!("../README.md")]

pub mod clock;
pub mod config;
pub mod counters;
pub mod exchange;
pub mod failure;
pub mod identity;
pub mod metrics;
pub mod nats;
pub mod record;
pub mod report;
pub mod request;
pub mod server;
pub mod trust;
pub mod upstream;
pub mod view;

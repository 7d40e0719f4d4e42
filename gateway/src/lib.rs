#![doc = include_str!("../README.md")]

pub mod clock;
pub mod config;
pub mod counters;
pub mod identity;
pub mod metrics;
pub mod nats;
pub mod report;
pub mod request;
pub mod view;

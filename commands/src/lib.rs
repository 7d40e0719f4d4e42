#![doc = include_str!("../README.md")]

pub mod alerts;
pub mod analytics;
pub mod auth;
pub mod causes;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console_key;
pub mod control;
pub mod counters;
pub mod declared;
pub mod domain;
pub mod fresh;
pub mod gateways;
pub mod http;
pub mod log;
pub mod nats;
pub mod playground;
pub mod postgres;
pub mod relay;
pub mod secrets;
pub mod totals;
pub mod trust;
mod unreached;
pub mod verify;

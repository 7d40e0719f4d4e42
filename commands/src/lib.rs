#![doc = include_str!("../README.md")]

pub mod analytics;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console_key;
pub mod control;
pub mod domain;
pub mod fresh;
pub mod gateways;
pub mod http;
pub mod log;
pub mod playground;
pub mod relay;
pub mod secrets;
pub mod verify;

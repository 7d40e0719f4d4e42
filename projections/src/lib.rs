#![doc = include_str!("../README.md")]

pub mod audit;
pub mod certificate;
pub mod clock;
pub mod config;
pub mod corrections;
mod feed;
mod fold;
pub mod ledger;
pub mod limits;
pub mod log_head;
pub mod nats;
pub mod postgres;
mod reader;
pub mod rebuild;
pub mod retention;
pub mod snapshots;
pub mod status;
mod trail;
pub mod trust;
pub mod warehouse;

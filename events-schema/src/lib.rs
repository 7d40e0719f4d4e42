#![doc = include_str!("../README.md")]

pub mod actor;
pub mod address;
pub mod api;
pub mod envelope;
pub mod events;
pub mod id;
pub mod json;
pub mod keyring;
pub mod ledger;
pub mod money;
pub mod names;
#[cfg(feature = "openapi")]
mod openapi;
pub mod report;
pub mod secrets;
pub mod snapshot;
pub mod state;
pub mod subjects;
pub mod time;
pub mod totals;
pub mod usage;

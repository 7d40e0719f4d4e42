#![doc = include_str!("../README.md")]

pub mod configuration;

pub use configuration::{Configuration, EntryId, Served};

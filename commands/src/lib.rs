#![doc = include_str!("../README.md")]

pub mod clock;
pub mod control;
pub mod domain;
pub mod fresh;
pub mod log;
pub mod relay;
pub mod verify;

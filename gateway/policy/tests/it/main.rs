//! The rules, asked as a gateway asks them.

mod access;
mod caller;
mod limits;
mod memory;
mod plan;
mod routing;

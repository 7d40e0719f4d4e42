#![doc = include_str!("../README.md")]

pub mod access;
pub mod caller;
pub mod configuration;
pub mod denial;
mod endpoint;
pub mod limits;
pub mod plan;
pub mod window;

pub use access::{Resolved, Target, authorize, resolve, usable_models, usable_virtual_models};
pub use caller::{Caller, authenticate};
pub use configuration::{Configuration, EntryId, Served};
pub use denial::Denial;
pub use limits::{
    Admission, Ask, Limit, Measure, Refusal, Settlement, Share, Standing, Used, admit, settle,
};
pub use plan::{Plan, Step, plan, price_at};
pub use window::{Slot, SlotNumber, Window};

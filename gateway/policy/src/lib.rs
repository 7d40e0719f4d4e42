#![doc = include_str!("../README.md")]

pub mod access;
pub mod caller;
pub mod configuration;
pub mod denial;
mod endpoint;
pub mod health;
pub mod limits;
mod mix;
pub mod plan;
pub mod price;
pub mod routed;
pub mod rules;
pub mod sim;

pub use access::{Resolved, Target, authorize, resolve, usable_models, usable_virtual_models};
pub use caller::{Caller, authenticate};
pub use configuration::{Configuration, EntryId, Served};
pub use denial::Denial;
pub use health::Rank;
pub use limits::{Measure, Share, SlotNumber, Standing};
pub use plan::{Asking, Ended, Next, Order, Plan, Progress, Step, plan, takes};
pub use price::price_at;
pub use routed::{Routed, RoutedTarget};
pub use rules::{Facts, Matching, ModelIds, Rule, RuleLimit, Rules, Segments, Wanted};

//! A deterministic simulation of many gateways under common limits: the code that gateways and the aggregator run, a
//! virtual clock, a network that delays, loses, doubles and overtakes, and everything that goes wrong.
//!
//! A seed gives the same run again, to the microsecond. After each step the properties that [`crate::limits`] promises are
//! checked; each is a function with its name.

mod dice;
mod figures;
mod money;
mod setup;
mod truth;
mod world;

pub use figures::{Figures, figures};
pub use money::{BudgetSetup, Carriage, Costs, MoneyOutcome, MoneySetup, MoneyTrouble, run_money};
pub use setup::{LimitSetup, Load, Network, Setup, Trouble};
pub use truth::Breach;
pub use world::{CutOffs, Outcome, WindowOutcome, run};

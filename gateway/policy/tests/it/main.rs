//! The rules, asked as a gateway asks them.

mod access;
mod aggregator;
mod at_a_time;
mod budgets;
mod caller;
mod counters;
mod leases;
mod limits;
mod memory;
mod plan;
mod routing;
mod rules;
mod seen;
mod simulation;
mod spending;
mod strangers;
mod supposed;

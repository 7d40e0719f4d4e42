//! What is stored and sent keeps its form, and the fold keeps its promises.

mod alerts;
mod chain;
mod codec;
mod fold;
mod golden;
mod kinds;
mod log;
mod messages;
mod samples;
mod snapshots;
mod strategies;

//! The gateway's process, on a real NATS, in front of a provider that does what a test says.

mod addresses;
mod at_a_time;
mod budgets;
mod callers;
mod callers_http2;
mod completions;
mod counted;
mod cut_off;
mod explained;
mod faults;
mod http2;
mod messages;
mod nats_tls;
mod places;
mod policies;
mod record;
mod rolling;
mod routing;
mod serve;
mod stream;
mod support;
mod traces;
mod trouble;
mod view;

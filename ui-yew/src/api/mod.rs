//! The one way to the control plane: typed requests, answers and failures.
//!
//! Types of bodies are `events_schema::api`'s own, so that the console and the service cannot disagree.

mod failure;
mod live;
mod requests;
mod stream;

pub(crate) use failure::{Failure, Rejection};
pub(crate) use live::{LiveProvider, Seen, Standing, use_live};
pub(crate) use requests::{Answered, Client, use_client};
pub(crate) use stream::{LineReader, read_chunks};

//! What the HTTP API takes and gives: `/api/v1`, served by `commands`, used by the console and by automation.
//!
//! These shapes are the wire's, apart from the stored ones: they are converted by naming every field.

pub mod analytics;
pub mod commands;
pub mod declared;
pub mod history;
pub mod limits;
pub mod problem;
pub mod resources;
pub mod session;
pub mod status;

use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give it back as `cursor` for the next page; `None`: this was the last.
    pub next_cursor: Option<String>,
    /// The position of the log that this page shows.
    pub position: u64,
}

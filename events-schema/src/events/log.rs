//! The log's own events.

use serde::{Deserialize, Serialize};

use crate::envelope::Epoch;

/// What happens to the log itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LogEvent {
    /// The log begins: always position 1, and nowhere else.
    LogInitialised {
        /// The first epoch.
        epoch: Epoch,
    },
    /// An operator accepted that the log was forked or lost, and went on under a higher epoch.
    EpochStarted {
        /// The new epoch, higher than any before.
        epoch: Epoch,
    },
}

//! Events of the organisation's settings: what holds for all of it.

use serde::{Deserialize, Serialize};

use crate::names::Label;

/// What happens to the settings. Until something does, they are what [`crate::state::Settings`] begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SettingsEvent {
    /// The organisation is called otherwise.
    OrganisationRenamed {
        /// What it is called; `None`: it has no name.
        name: Option<Label>,
    },
    /// Request records, and their sums by the minute, are kept for another time.
    RetentionChanged {
        /// How long request records are kept, in days.
        requests_days: u32,
        /// How long their sums by the minute are kept, in days.
        sums_days: u32,
    },
    /// Sessions of the console, also those that there are, end after another time.
    SessionBoundsChanged {
        /// How long a session may go unused, in minutes.
        idle_minutes: u32,
        /// How long it lasts at most, used or not, in hours.
        longest_hours: u32,
    },
}

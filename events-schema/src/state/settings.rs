//! The organisation's settings, and what their events do to them.

use serde::{Deserialize, Serialize};

use super::{Life, Organisation, evolve::Now};
use crate::{events::SettingsEvent, names::Label};

/// What holds for the whole organisation. There is always one of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where it stands in the history; `None`: nothing was ever changed.
    pub life: Option<Life>,
    /// What the organisation is called.
    pub organisation: Option<Label>,
    /// How long what the ledger counts is kept.
    pub retention: Retention,
    /// How long sessions of the console last.
    pub sessions: SessionBounds,
}

/// How long what the ledger counts is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retention {
    /// Request records, in days.
    pub requests_days: u32,
    /// Their sums by the minute, in days.
    pub sums_days: u32,
}

/// How long sessions of the console last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionBounds {
    /// How long a session may go unused, in minutes.
    pub idle_minutes: u32,
    /// How long it lasts at most, used or not, in hours.
    pub longest_hours: u32,
}

// === impl Retention ===

impl Default for Retention {
    /// A year and a month of requests; sums of three years and some, so that years can be compared.
    fn default() -> Self {
        Self {
            requests_days: 400,
            sums_days: 1_200,
        }
    }
}

// === impl SessionBounds ===

impl Default for SessionBounds {
    /// Half a day without use, a week in all.
    fn default() -> Self {
        Self {
            idle_minutes: 12 * 60,
            longest_hours: 7 * 24,
        }
    }
}

impl SessionBounds {
    /// How long a session may go unused, in microseconds.
    #[must_use]
    pub fn idle_us(self) -> i64 {
        i64::from(self.idle_minutes) * 60 * 1_000_000
    }

    /// How long a session lasts at most, in microseconds.
    #[must_use]
    pub fn longest_us(self) -> i64 {
        i64::from(self.longest_hours) * 3_600 * 1_000_000
    }
}

// === impl Organisation ===

impl Organisation {
    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn settings_changed(&mut self, now: Now, event: &SettingsEvent) {
        let it = &mut self.settings;
        it.life = Some(it.life.map_or_else(|| now.born(), |life| now.lived(life)));
        match event {
            SettingsEvent::OrganisationRenamed { name } => it.organisation.clone_from(name),
            SettingsEvent::RetentionChanged {
                requests_days,
                sums_days,
            } => {
                it.retention = Retention {
                    requests_days: *requests_days,
                    sums_days: *sums_days,
                };
            }
            SettingsEvent::SessionBoundsChanged {
                idle_minutes,
                longest_hours,
            } => {
                it.sessions = SessionBounds {
                    idle_minutes: *idle_minutes,
                    longest_hours: *longest_hours,
                };
            }
        }
    }
}

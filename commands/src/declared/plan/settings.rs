//! The settings.

use events_schema::{
    api::declared::Action,
    state::{Retention, SessionBounds},
};

use super::{Fields, Planner};
use crate::{
    declared::{document::Settings, read::Place},
    domain::{Command, SettingsCommand},
};

impl Planner<'_> {
    /// What is missing stays: a number that is not named is no thing that could be deleted, and a shorter retention deletes
    /// what no document brings back. Only the name goes, where everything is to go that is not named.
    pub(super) fn settings(&mut self, place: Place, it: &Settings) {
        let (now, prune) = (self.around.state.settings(), self.around.prune);
        let orders = self.plan.orders.len();
        let mut fields = Fields::default();
        if it.organisation.is_some() || prune {
            let (before, name) = (now.organisation.clone(), it.organisation.clone());
            if fields.set("organisation", before, name.clone()) {
                let order = SettingsCommand::RenameOrganisation { name };
                self.order(Some(place.at("organisation")), Command::Settings(order));
            }
        }
        let named = it.retention.map(|it| Retention {
            requests_days: it.requests_days,
            sums_days: it.sums_days,
        });
        if let Some(retention) = named {
            let before = Some(retention_told(now.retention));
            if fields.set("retention", before, Some(retention_told(retention))) {
                let order = SettingsCommand::ChangeRetention { retention };
                self.order(Some(place.at("retention")), Command::Settings(order));
            }
        }
        let named = it.console_sessions.map(|it| SessionBounds {
            idle_minutes: it.idle_minutes,
            longest_hours: it.longest_hours,
        });
        if let Some(bounds) = named {
            let before = Some(sessions_told(now.sessions));
            if fields.set("console_sessions", before, Some(sessions_told(bounds))) {
                let order = SettingsCommand::ChangeSessionBounds { bounds };
                self.order(Some(place.at("console_sessions")), Command::Settings(order));
            }
        }
        self.change(Action::Change, "settings", "of the organisation", fields);
        self.plan.changes_settings = self.plan.orders.len() > orders;
    }
}

fn retention_told(it: Retention) -> String {
    format!(
        "requests {} days, sums by the minute {} days",
        it.requests_days, it.sums_days
    )
}

fn sessions_told(it: SessionBounds) -> String {
    format!(
        "{} minutes without use, {} hours in all",
        it.idle_minutes, it.longest_hours
    )
}

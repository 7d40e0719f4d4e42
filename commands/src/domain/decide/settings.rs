//! What commands for the organisation's settings do.

use events_schema::{
    events::{Event, SettingsEvent as E},
    state::{Organisation, Retention, SessionBounds},
};

use super::{Decision, when};
use crate::domain::{
    command::SettingsCommand as C,
    rejection::{Rejection, SettingFault},
};

/// Two weeks: `USAGE`, in which records wait while ClickHouse is away, is kept a week shorter than what was counted of it.
const SHORTEST_RETENTION_DAYS: u32 = 14;
/// Ten years.
const LONGEST_RETENTION_DAYS: u32 = 3_650;
/// A session's last use is written down once a minute: with less, a session in use might end.
const SHORTEST_IDLE_MINUTES: u32 = 5;
/// A week.
const LONGEST_IDLE_MINUTES: u32 = 7 * 24 * 60;
/// 90 days.
const LONGEST_SESSION_HOURS: u32 = 90 * 24;

pub(super) fn decide(state: &Organisation, command: &C) -> Decision {
    let now = state.settings();
    match command {
        C::RenameOrganisation { name } => Ok(when(now.organisation != *name, || {
            Event::Settings(E::OrganisationRenamed { name: name.clone() })
        })),
        C::ChangeRetention { retention } => {
            is_kept_long_enough(*retention).map_err(Rejection::Setting)?;
            outlives_budgets(state, *retention).map_err(Rejection::Setting)?;
            let Retention {
                requests_days,
                sums_days,
            } = *retention;
            Ok(when(now.retention != *retention, || {
                Event::Settings(E::RetentionChanged {
                    requests_days,
                    sums_days,
                })
            }))
        }
        C::ChangeSessionBounds { bounds } => {
            ends_in_time(*bounds).map_err(Rejection::Setting)?;
            let SessionBounds {
                idle_minutes,
                longest_hours,
            } = *bounds;
            Ok(when(now.sessions != *bounds, || {
                Event::Settings(E::SessionBoundsChanged {
                    idle_minutes,
                    longest_hours,
                })
            }))
        }
    }
}

fn is_kept_long_enough(retention: Retention) -> Result<(), SettingFault> {
    const DAYS: std::ops::RangeInclusive<u32> = SHORTEST_RETENTION_DAYS..=LONGEST_RETENTION_DAYS;
    if !DAYS.contains(&retention.requests_days) {
        return Err(SettingFault::RequestsDays);
    }
    if !DAYS.contains(&retention.sums_days) {
        return Err(SettingFault::SumsDays);
    }
    if retention.sums_days < retention.requests_days {
        return Err(SettingFault::SumsShorter);
    }
    Ok(())
}

/// What was spent of a budget is added up from requests when all else is lost, and when a gateway has died.
fn outlives_budgets(state: &Organisation, retention: Retention) -> Result<(), SettingFault> {
    let policies = state.budget_policies().values();
    let longest = policies.map(|it| it.rule.longest_days()).max().unwrap_or(0);
    if retention.requests_days < longest {
        return Err(SettingFault::RequestsShorter(longest));
    }
    Ok(())
}

fn ends_in_time(bounds: SessionBounds) -> Result<(), SettingFault> {
    if !(SHORTEST_IDLE_MINUTES..=LONGEST_IDLE_MINUTES).contains(&bounds.idle_minutes) {
        return Err(SettingFault::Idle);
    }
    if !(1..=LONGEST_SESSION_HOURS).contains(&bounds.longest_hours) {
        return Err(SettingFault::Longest);
    }
    if bounds.idle_us() > bounds.longest_us() {
        return Err(SettingFault::IdleLonger);
    }
    Ok(())
}

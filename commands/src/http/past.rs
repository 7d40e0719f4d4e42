//! Past states, as of a position or a time. The newest few that were asked for are kept: whoever looks at one turns
//! its pages, and each would otherwise be folded again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use events_schema::{state::Organisation, time::Timestamp};

use super::{
    app::{Answer, App},
    list,
    names::unreadable,
    problem::ApiError,
};
use crate::control::{Control, Live};

/// How many past states are kept, in memory: each may be as large as the state of now.
const KEPT: usize = 4;

/// Past states by position, the newest asked for last.
#[derive(Default)]
pub(super) struct Past(Mutex<VecDeque<(u64, Organisation)>>);

/// The state as of a moment, and that of now.
pub(super) struct Moment {
    /// The position.
    pub(super) position: u64,
    /// The state as of it.
    pub(super) then: Organisation,
    /// The state of now.
    pub(super) live: Arc<Live>,
}

impl Past {
    fn get(&self, position: u64) -> Option<Organisation> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(of, _)| *of == position);
        found.map(|(_, state)| state.clone())
    }

    fn keep(&self, position: u64, state: &Organisation) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| *of != position);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((position, state.clone()));
    }

    /// The state as of a position, kept or read; `None` past the end of the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn state_at(
        &self,
        control: &Control,
        position: u64,
    ) -> Answer<Option<Organisation>> {
        let live = control.live();
        if live.head.position == position {
            return Ok(Some(live.state.clone()));
        }
        if let Some(state) = self.get(position) {
            return Ok(Some(state));
        }
        let found = control.state_at(position).await.map_err(|error| {
            tracing::warn!(%error, position, "a past state could not be read");
            ApiError::LogUnavailable("The state cannot be read; try again in a moment.".into())
        })?;
        if let Some(state) = &found {
            self.keep(position, state);
        }
        Ok(found)
    }
}

/// The state as of a position or a time; neither: as of now. Waits for `at_least` first.
///
/// # Errors
/// When both are given, the position is past the end, or the log cannot be read.
pub(super) async fn moment(
    app: &App,
    position: Option<u64>,
    at: Option<Timestamp>,
    at_least: Option<u64>,
) -> Answer<Moment> {
    let control = app.control()?;
    let live = list::live(app, at_least).await?;
    let position = match (position, at) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "at",
                "Give a position or a time, not both.",
            ));
        }
        (Some(position), None) => position,
        (None, Some(time)) => control.position_at(time).await.map_err(unreadable)?,
        (None, None) => live.head.position,
    };
    let then = if position == live.head.position {
        live.state.clone()
    } else {
        let found = app.past().state_at(control, position).await?;
        found.ok_or_else(|| {
            ApiError::invalid(
                "position",
                format!("the log ends at {}", live.head.position),
            )
        })?
    };
    Ok(Moment {
        position,
        then,
        live,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_asked_for_last_are_kept_and_no_more_than_that() {
        let past = Past::default();
        for position in 1..=KEPT as u64 {
            past.keep(position, &Organisation::default());
        }
        past.keep(1, &Organisation::default());
        past.keep(9, &Organisation::default());
        let kept: Vec<u64> = (0..10).filter(|it| past.get(*it).is_some()).collect();
        assert_eq!(kept, [1, 3, 4, 9]);
    }
}

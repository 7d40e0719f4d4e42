//! Past states, as of a position or a time. The newest few that were asked for are kept: whoever looks at one turns
//! its pages, and each would otherwise be folded again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use events_schema::{
    state::{Organisation, StateDigest},
    time::Timestamp,
};

use super::{
    app::{Answer, App, digest_of},
    list,
    names::unreadable,
    problem::ApiError,
};
use crate::{
    clock,
    control::{Control, Live},
};

/// How many past states are kept, in memory: each may be as large as the state of now.
const KEPT: usize = 2;

/// A state that nobody has asked for this long is let go.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// How long a question waits for its turn to fold a past state: one does at a time, for each takes time and memory in
/// proportion to the organisation.
const TURN_TIME: Duration = Duration::from_secs(15);

/// Past states, the newest asked for last.
#[derive(Default)]
pub(super) struct Past {
    kept: Mutex<VecDeque<Kept>>,
    /// Held by the one who folds.
    turn: tokio::sync::Mutex<()>,
}

/// A state that was folded, and its digest once that was asked for.
struct Kept {
    position: u64,
    state: Organisation,
    digest: Option<StateDigest>,
    asked: Instant,
}

/// The state as of a moment, and that of now.
pub(super) struct Moment {
    /// The position.
    pub(super) position: u64,
    /// The time, where one was asked for, or it is now; else that of the event at the position counts.
    pub(super) time: Option<Timestamp>,
    /// The state as of it.
    pub(super) then: Organisation,
    /// The state of now.
    pub(super) live: Arc<Live>,
}

impl Past {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, position: u64) -> Option<Organisation> {
        let mut kept = self.kept();
        let place = kept.iter().position(|it| it.position == position)?;
        let mut found = kept.remove(place)?;
        found.asked = Instant::now();
        let state = found.state.clone();
        kept.push_back(found);
        Some(state)
    }

    fn keep(&self, position: u64, state: &Organisation) {
        let mut kept = self.kept();
        kept.retain(|it| it.position != position);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept {
            position,
            state: state.clone(),
            digest: None,
            asked: Instant::now(),
        });
    }

    /// Lets go what nobody has asked for in a while.
    pub(super) fn sweep(&self) {
        self.kept().retain(|it| it.asked.elapsed() < IDLE);
    }

    /// The state as of a position, kept or read; `None` past the end of the log.
    ///
    /// # Errors
    /// When the log cannot be read, or too many ask at once.
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
        let busy = || ApiError::Busy("Other past states are being read; try again soon.".into());
        let turn = tokio::time::timeout(TURN_TIME, self.turn.lock()).await;
        let _turn = turn.map_err(|_| busy())?;
        // Somebody else may have asked for the same one.
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

    /// The digest of a state, computed once while the state is kept.
    pub(super) async fn digest(&self, app: &App, state: &Organisation) -> StateDigest {
        let position = state.position();
        let is_live = app
            .control()
            .is_ok_and(|control| control.head().position == position);
        if is_live {
            return app.digest(state.clone()).await;
        }
        let known = self
            .kept()
            .iter()
            .find(|it| it.position == position)
            .and_then(|it| it.digest);
        if let Some(digest) = known {
            return digest;
        }
        let digest = digest_of(state.clone()).await;
        if let Some(kept) = self.kept().iter_mut().find(|it| it.position == position) {
            kept.digest = Some(digest);
        }
        digest
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
    let time = at.or((position == live.head.position).then(clock::now));
    Ok(Moment {
        position,
        time,
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
        let kept = |past: &Past| past.kept().iter().map(|it| it.position).collect::<Vec<_>>();
        past.keep(1, &Organisation::default());
        past.keep(2, &Organisation::default());
        assert!(past.get(1).is_some() && past.get(3).is_none());
        assert_eq!(kept(&past), [2, 1]);
        past.keep(9, &Organisation::default());
        assert_eq!(kept(&past), [1, 9]);
        past.sweep();
        assert_eq!(kept(&past), [1, 9], "they were asked for just now");
    }
}

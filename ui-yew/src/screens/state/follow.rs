//! How far the log must have come for what is shown: now is followed, now and then; a named moment is not.

use gloo_timers::callback::Timeout;
use yew::prelude::*;

/// How long now stays as it is after it moved, in milliseconds: a burst of events is one question, not hundreds.
const REST_MS: u32 = 3_000;

/// The position that an answer must hold at least. `when` names the moment and is empty for now; `newest` is the
/// newest position that is known.
///
/// A moment keeps the position at which it was chosen. Now moves at once when it has rested for [`REST_MS`].
#[hook]
pub(super) fn use_at_least(when: &str, newest: u64) -> u64 {
    let chosen_at = use_memo(when.to_owned(), |_| newest);
    let moved_to = use_state_eq(|| 0_u64);
    let is_resting = use_state_eq(|| false);
    let is_now = when.is_empty();
    let at_least = if is_now {
        (*chosen_at).max(*moved_to)
    } else {
        *chosen_at
    };
    let moves = moves(is_now, *is_resting, at_least, newest);
    {
        let (moved_to, is_resting) = (moved_to.setter(), is_resting.setter());
        use_effect_with(moves, move |moves| {
            if let Some(newest) = moves {
                moved_to.set(*newest);
                is_resting.set(true);
            }
        });
    }
    {
        let resting = is_resting.setter();
        use_effect_with(*is_resting, move |is_resting| {
            let end = is_resting.then(|| Timeout::new(REST_MS, move || resting.set(false)));
            move || drop(end)
        });
    }
    at_least
}

/// Where now moves to; `None`: it stays.
fn moves(is_now: bool, is_resting: bool, at_least: u64, newest: u64) -> Option<u64> {
    (is_now && !is_resting && at_least < newest).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_now_moves_and_only_when_it_has_rested() {
        assert_eq!(moves(true, false, 7, 9), Some(9));
        assert_eq!(moves(true, true, 7, 9), None);
        assert_eq!(moves(true, false, 9, 9), None);
        assert_eq!(moves(false, false, 7, 9), None);
    }
}

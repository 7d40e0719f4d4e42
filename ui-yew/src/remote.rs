//! What comes over the network, in every state that a screen must be able to show.
//!
//! [`Remote`] is the state; [`use_remote`] loads it, loads it again when its key or the configuration
//! changes, and drops answers that were overtaken; [`use_polled`] also asks again by itself, a while after each
//! answer; [`show`] draws each state that is not the content.

use std::future::Future;
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use patternfly_yew::prelude::*;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::api::{Client, Failure, use_client};

/// Something that is loaded.
#[derive(Debug)]
pub(crate) enum Remote<T> {
    /// The first answer has not come yet.
    Loading,
    /// There is nothing: the screen says what to do next.
    Empty,
    /// The content; it stays while it is loaded again.
    Ready(Rc<T>),
    /// This operator may not see it.
    Forbidden(String),
    /// It could not be loaded.
    Failed(Failure),
}

/// Content that knows whether there is anything in it.
pub(crate) trait Content {
    /// Whether the screen should say that there is nothing.
    fn is_empty(&self) -> bool {
        false
    }
}

/// A loaded thing and the means to load it again.
pub(crate) struct Loaded<T> {
    /// What there is now.
    pub(crate) state: Remote<T>,
    /// Loads it again.
    pub(crate) reload: Callback<()>,
}

/// The questions that were asked, by their numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Questions {
    /// The newest that was asked.
    asked: u64,
    /// The newest that was answered.
    answered: u64,
}

/// Loads `fetch(client, key)`, and again whenever the key changes.
#[hook]
pub(crate) fn use_remote<K, T, F, A>(key: K, fetch: F) -> Loaded<T>
where
    K: Clone + PartialEq + 'static,
    T: Content + 'static,
    F: Fn(Client, K) -> A + 'static,
    A: Future<Output = Result<T, Failure>> + 'static,
{
    use_polled(key, None, fetch)
}

/// Loads `fetch(client, key)`, again whenever the key changes, and again `pause_ms` milliseconds after each answer
/// (`None`: not by itself). While an answer is awaited nothing is asked again, however long it takes.
#[hook]
pub(crate) fn use_polled<K, T, F, A>(key: K, pause_ms: Option<u32>, fetch: F) -> Loaded<T>
where
    K: Clone + PartialEq + 'static,
    T: Content + 'static,
    F: Fn(Client, K) -> A + 'static,
    A: Future<Output = Result<T, Failure>> + 'static,
{
    let client = use_client();
    let state = use_state(|| Remote::Loading);
    let round = use_state_eq(|| 0_u64);
    let answered = use_state_eq(|| 0_u64);
    let questions = use_mut_ref(Questions::default);
    {
        let (state, answered) = (state.clone(), answered.setter());
        let questions = Rc::clone(&questions);
        use_effect_with((key, *round), move |(key, _)| {
            let mine = questions.borrow_mut().ask();
            let answer = fetch(client, key.clone());
            spawn_local(async move {
                let answer = answer.await;
                if questions.borrow_mut().answer(mine) {
                    state.set(Remote::settled(answer));
                    answered.set(mine);
                }
            });
        });
    }
    {
        let round = round.clone();
        use_effect_with((pause_ms, *answered), move |(pause_ms, answered)| {
            let pause_ms = pause_ms.filter(|_| *answered > 0);
            let again = pause_ms.map(|pause_ms| {
                Timeout::new(pause_ms, move || {
                    if !questions.borrow().is_pending() {
                        round.set(*round + 1);
                    }
                })
            });
            move || drop(again)
        });
    }
    let reload = Callback::from(move |()| round.set(*round + 1));
    Loaded {
        state: (*state).clone(),
        reload,
    }
}

// === impl Questions ===

impl Questions {
    /// Asks another; answers to those before are not waited for any more.
    fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Takes note of the answer to one; `false`: it was overtaken.
    fn answer(&mut self, number: u64) -> bool {
        let is_newest = number == self.asked;
        if is_newest {
            self.answered = number;
        }
        is_newest
    }

    /// Whether an answer is awaited.
    const fn is_pending(self) -> bool {
        self.answered < self.asked
    }
}

// === impl Remote ===

impl<T: Content> Remote<T> {
    /// The state after an answer.
    pub(crate) fn settled(answer: Result<T, Failure>) -> Self {
        match answer {
            Ok(content) if content.is_empty() => Self::Empty,
            Ok(content) => Self::Ready(Rc::new(content)),
            Err(Failure::Forbidden(why)) => Self::Forbidden(why),
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl<T> Remote<T> {
    /// The content, if it is there.
    pub(crate) fn ready(&self) -> Option<&Rc<T>> {
        match self {
            Self::Ready(content) => Some(content),
            Self::Loading | Self::Empty | Self::Forbidden(_) | Self::Failed(_) => None,
        }
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Loading => Self::Loading,
            Self::Empty => Self::Empty,
            Self::Ready(content) => Self::Ready(Rc::clone(content)),
            Self::Forbidden(why) => Self::Forbidden(why.clone()),
            Self::Failed(failure) => Self::Failed(failure.clone()),
        }
    }
}

impl<T> Loaded<T> {
    /// Draws the content, `empty` where there is none, or why there is nothing to draw.
    pub(crate) fn show(
        &self,
        empty: impl FnOnce() -> Html,
        content: impl FnOnce(&Rc<T>) -> Html,
    ) -> Html {
        match &self.state {
            Remote::Loading => loading(),
            Remote::Empty => empty(),
            Remote::Ready(ready) => content(ready),
            Remote::Forbidden(why) => forbidden(why),
            Remote::Failed(failure) => failed(failure, &self.reload),
        }
    }
}

/// A quiet sign that something is on its way.
pub(crate) fn loading() -> Html {
    html!(
        <div class="sl-loading" role="status" aria-label="Loading">
            <span class="sl-spinner"></span>
        </div>
    )
}

/// Says that this operator may not see it.
pub(crate) fn forbidden(why: &str) -> Html {
    html!(
        <div class="sl-state" data-state="forbidden">
            <EmptyState title="You may not see this" icon={Icon::Lock}>
                <p>{ why }</p>
                <p>{ "Ask an owner of this organisation for another role." }</p>
            </EmptyState>
        </div>
    )
}

fn failed(failure: &Failure, reload: &Callback<()>) -> Html {
    if let Failure::Missing(why) = failure {
        return html!(
            <div class="sl-state" data-state="missing">
                <EmptyState title="It is not there" icon={Icon::Search}>{ why }</EmptyState>
            </div>
        );
    }
    let again = Action::new("Try again", reload.clone());
    html!(
        <div class="sl-state" data-state="failed">
            <EmptyState title="This could not be loaded" icon={Icon::ExclamationCircle} primary={again}>
                <p>{ failure.to_string() }</p>
            </EmptyState>
        </div>
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Content for Vec<u8> {
        fn is_empty(&self) -> bool {
            self.as_slice().is_empty()
        }
    }

    #[test]
    fn an_answer_is_awaited_until_the_newest_question_has_one() {
        let mut questions = Questions::default();
        assert!(!questions.is_pending());
        let (first, second) = (questions.ask(), questions.ask());
        assert!(!questions.answer(first), "it was overtaken");
        assert!(questions.is_pending());
        assert!(questions.answer(second));
        assert!(!questions.is_pending());
        let third = questions.ask();
        assert!(questions.is_pending());
        assert!(!questions.answer(second));
        assert!(questions.answer(third) && !questions.is_pending());
    }

    #[test]
    fn every_answer_has_its_own_state() {
        assert!(matches!(Remote::settled(Ok(vec![1])), Remote::Ready(_)));
        assert!(matches!(
            Remote::settled(Ok(Vec::<u8>::new())),
            Remote::Empty
        ));
        let forbidden: Remote<Vec<u8>> = Remote::settled(Err(Failure::Forbidden("no".to_owned())));
        assert!(matches!(forbidden, Remote::Forbidden(why) if why == "no"));
        let failed: Remote<Vec<u8>> = Remote::settled(Err(Failure::Unreachable));
        assert!(failed.ready().is_none() && matches!(failed, Remote::Failed(_)));
    }
}

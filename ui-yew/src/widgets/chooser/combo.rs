//! What a chooser's keys do: the states of the ARIA authoring practices' editable combobox with list autocomplete. Pure.
//!
//! See <https://www.w3.org/WAI/ARIA/apg/patterns/combobox/>. The focus stays in the text; which choice is active is told
//! by `aria-activedescendant`.

use std::rc::Rc;

use yew::prelude::*;

use crate::widgets::menu::Move;

/// Whether the list is open, what was typed, and which choice is active.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Combo {
    /// Whether the list is open.
    pub(super) open: bool,
    /// What stands in the text in the place of what is chosen; `None`: nothing was typed since.
    pub(super) typed: Option<String>,
    at: At,
}

/// Which choice is active, as far as it can be said before the choices are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// None.
    #[default]
    Nowhere,
    /// The one that is chosen, if it is among them.
    Chosen,
    /// The one that is chosen, or else the one at this end.
    ChosenOr(Move),
    /// The first: what fits best what was typed.
    First,
    /// The one at this place.
    Place(u32),
}

/// The choices that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shown {
    /// How many.
    pub(super) count: u32,
    /// The place of the one that is chosen already.
    pub(super) chosen: Option<u32>,
    /// Whether they are the answer to what stands in the text, rather than to what stood there before.
    pub(super) settled: bool,
}

/// What changes the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The list opens: by a click (`None`), or at one of its ends where nothing is chosen.
    Open(Option<Move>),
    /// Something was typed.
    Type(String),
    /// Another choice is active.
    Activate(u32),
    /// The list closes, and what was typed is forgotten.
    Close,
}

/// What a key does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// It changes the state.
    Step(Step),
    /// It chooses.
    Choose(u32),
    /// It takes the choice back.
    Clear,
    /// It asks for the choices again.
    Again,
    /// Nothing: nor does it send the form or close the dialog.
    Nothing,
}

// === impl Combo ===

impl Combo {
    /// What is searched for.
    pub(super) fn search(&self) -> &str {
        self.typed.as_deref().unwrap_or_default().trim()
    }

    /// Whether the text was emptied.
    pub(super) fn is_emptied(&self) -> bool {
        self.typed
            .as_deref()
            .is_some_and(|text| text.trim().is_empty())
    }

    /// The place of the choice that Enter chooses.
    pub(super) fn active(&self, shown: Shown) -> Option<u32> {
        if !self.open || !shown.settled {
            return None;
        }
        match self.at {
            At::Nowhere => None,
            At::Chosen => shown.chosen,
            At::ChosenOr(end) => shown.chosen.or_else(|| end.target(shown.count, None)),
            At::First => (shown.count > 0).then_some(0),
            At::Place(place) => Some(place).filter(|place| *place < shown.count),
        }
    }

    /// What a key does; `None`: what it does everywhere. `optional`: whether the choice can be taken back.
    pub(super) fn on_key(&self, key: &str, alt: bool, shown: Shown, optional: bool) -> Option<Act> {
        if !self.open {
            return match key {
                "ArrowDown" if alt => Some(Act::Step(Step::Open(None))),
                "ArrowDown" => Some(Act::Step(Step::Open(Some(Move::First)))),
                "ArrowUp" if !alt => Some(Act::Step(Step::Open(Some(Move::Last)))),
                _ => None,
            };
        }
        let active = self.active(shown);
        match key {
            "Escape" => Some(Act::Step(Step::Close)),
            "ArrowUp" if alt => Some(Act::Step(Step::Close)),
            "ArrowDown" | "ArrowUp" => Some(self.after_arrow(key, shown)),
            // Where no choice is active, they go to the ends of the text.
            "Home" | "End" if active.is_some() => Some(self.after_arrow(key, shown)),
            "Enter" => Some(match active {
                Some(place) => Act::Choose(place),
                None if optional && self.is_emptied() => Act::Clear,
                None => Act::Nothing,
            }),
            _ => None,
        }
    }

    fn after_arrow(&self, key: &str, shown: Shown) -> Act {
        if !shown.settled {
            return Act::Nothing;
        }
        let target = Move::of_key(key).and_then(|it| it.target(shown.count, self.active(shown)));
        target.map_or(Act::Again, |place| Act::Step(Step::Activate(place)))
    }

    fn after(&self, step: Step) -> Self {
        match step {
            Step::Open(end) => Self {
                open: true,
                typed: self.typed.clone(),
                at: end.map_or(At::Chosen, At::ChosenOr),
            },
            Step::Type(text) => Self {
                open: true,
                // Enter must not choose anything for who has just emptied it.
                at: if text.trim().is_empty() {
                    At::Nowhere
                } else {
                    At::First
                },
                typed: Some(text),
            },
            Step::Activate(place) => Self {
                at: At::Place(place),
                ..self.clone()
            },
            Step::Close => Self::default(),
        }
    }
}

impl Reducible for Combo {
    type Action = Step;

    fn reduce(self: Rc<Self>, step: Step) -> Rc<Self> {
        Rc::new(self.after(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Shown = Shown {
        count: 3,
        chosen: None,
        settled: true,
    };

    /// Presses the keys one after another, a text in quotes being typed, and says what came of it: the place of the active
    /// choice, and what the last key did beyond that.
    fn check(keys: &[&str], shown: Shown, expected: (Option<u32>, Option<&Act>)) {
        let mut combo = Combo::default();
        let mut last = None;
        for key in keys {
            last = match key.strip_prefix('"') {
                Some(text) => Some(Act::Step(Step::Type(text.to_owned()))),
                None => combo.on_key(key, false, shown, true),
            };
            if let Some(Act::Step(step)) = &last {
                combo = combo.after(step.clone());
                last = None;
            }
        }
        assert_eq!((combo.active(shown), last.as_ref()), expected, "{keys:?}");
    }

    #[test]
    fn arrow_keys_open_the_list_and_go_round_it() {
        let chosen = Shown {
            chosen: Some(1),
            ..THREE
        };
        check(&["ArrowDown"], THREE, (Some(0), None));
        check(&["ArrowUp"], THREE, (Some(2), None));
        check(&["ArrowDown"], chosen, (Some(1), None));
        check(&["ArrowDown", "ArrowDown"], chosen, (Some(2), None));
        check(&["ArrowUp", "ArrowDown"], THREE, (Some(0), None));
        check(&["ArrowDown", "End"], THREE, (Some(2), None));
        check(&["ArrowDown", "End", "Home"], THREE, (Some(0), None));
    }

    #[test]
    fn enter_chooses_what_is_active_and_never_sends_the_form_while_the_list_is_open() {
        let none = Shown { count: 0, ..THREE };
        check(&["Enter"], THREE, (None, None));
        check(
            &["ArrowDown", "Enter"],
            THREE,
            (Some(0), Some(&Act::Choose(0))),
        );
        check(&["\"ada", "Enter"], THREE, (Some(0), Some(&Act::Choose(0))));
        check(&["\"ada", "Enter"], none, (None, Some(&Act::Nothing)));
        check(&["\"ada", "ArrowDown"], none, (None, Some(&Act::Again)));
    }

    #[test]
    fn what_is_shown_for_an_earlier_text_is_not_chosen() {
        let stale = Shown {
            settled: false,
            ..THREE
        };
        check(&["\"ada", "Enter"], stale, (None, Some(&Act::Nothing)));
        check(&["\"ada", "ArrowDown"], stale, (None, Some(&Act::Nothing)));
    }

    #[test]
    fn an_emptied_text_takes_the_choice_back() {
        check(&["\"", "Enter"], THREE, (None, Some(&Act::Clear)));
        let combo = Combo::default().after(Step::Type(String::new()));
        assert_eq!(
            combo.on_key("Enter", false, THREE, false),
            Some(Act::Nothing)
        );
    }

    #[test]
    fn escape_closes_the_list_first_and_is_the_dialogs_after_that() {
        check(&["\"ada", "Escape"], THREE, (None, None));
        let closed = Combo::default().after(Step::Type("ada".to_owned()));
        let closed = closed.after(Step::Close);
        assert_eq!((closed.open, closed.typed.clone()), (false, None));
        assert_eq!(closed.on_key("Escape", false, THREE, true), None);
        assert_eq!(
            closed.on_key("ArrowDown", true, THREE, true),
            Some(Act::Step(Step::Open(None)))
        );
    }
}

//! What is being filled in: a plain value, and edits that are applied one after another.

use std::ops::Deref;
use std::rc::Rc;

use yew::prelude::*;

/// A draft, held by a form.
pub(crate) struct Draft<D: Clone + PartialEq + 'static> {
    held: UseReducerHandle<Held<D>>,
}

/// What a form holds.
#[derive(Clone, PartialEq)]
struct Held<D> {
    value: D,
}

/// A form's draft, which begins as `first` makes it.
#[hook]
pub(crate) fn use_draft<D: Clone + PartialEq + 'static>(first: impl FnOnce() -> D) -> Draft<D> {
    Draft {
        held: use_reducer_eq(|| Held { value: first() }),
    }
}

// === impl Draft ===

impl<D: Clone + PartialEq + 'static> Draft<D> {
    /// What an input calls with each change.
    pub(crate) fn edit<A: 'static>(&self, edit: impl Fn(&mut D, A) + 'static) -> Callback<A> {
        let dispatcher = self.held.dispatcher();
        let edit = Rc::new(edit);
        Callback::from(move |input: A| {
            let edit = Rc::clone(&edit);
            dispatcher.dispatch(Box::new(move |draft: &mut D| edit(draft, input)));
        })
    }
}

impl<D: Clone + PartialEq + 'static> Deref for Draft<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.held.value
    }
}

impl<D: Clone + PartialEq + 'static> Clone for Draft<D> {
    fn clone(&self) -> Self {
        Self {
            held: self.held.clone(),
        }
    }
}

impl<D: Clone + PartialEq + 'static> PartialEq for Draft<D> {
    fn eq(&self, other: &Self) -> bool {
        self.held == other.held
    }
}

// === impl Held ===

impl<D: Clone + PartialEq + 'static> Reducible for Held<D> {
    type Action = Box<dyn FnOnce(&mut D)>;

    fn reduce(self: Rc<Self>, edit: Self::Action) -> Rc<Self> {
        let mut next = (*self).clone();
        edit(&mut next.value);
        Rc::new(next)
    }
}

//! Which requests a rule matches: whose, and to which models. One field for both, which differ in what can be chosen.

use std::collections::BTreeSet;

use events_schema::api::resources::{GrantedModelItem, LimitedSubjectItem};
use events_schema::events::{Choice, LimitedSubject, ModelRef};
use yew::prelude::*;

use super::draft::{ChoiceDraft, HasRule, RuleDraft};
use crate::api::Rejection;
use crate::widgets::chooser::{ChoicesField, List, OPENED, Source};
use crate::widgets::draft::Draft;
use crate::widgets::field::{Check, Frame};
use crate::widgets::reference;

/// Whose requests can be limited. Teams first: they are what limits should be made for.
const SUBJECTS: Source = Source {
    fixed: &[],
    lists: &[List::Teams, List::VirtualAccounts, List::Users],
};

/// What of a request is chosen.
struct Chosen<T: Ord + 'static> {
    /// The command's field.
    name: &'static str,
    label: &'static str,
    /// That all are meant.
    all: &'static str,
    all_name: &'static str,
    /// That some are not.
    but_not: &'static str,
    but_not_name: &'static str,
    but_not_label: &'static str,
    placeholder: &'static str,
    source: Source,
    read: fn(&str) -> Option<T>,
    value: fn(T) -> AttrValue,
    of: fn(&RuleDraft) -> &ChoiceDraft<T>,
    of_mut: fn(&mut RuleDraft) -> &mut ChoiceDraft<T>,
}

const WHOSE: Chosen<LimitedSubject> = Chosen {
    name: "rule.when.subjects",
    label: "Whose requests",
    all: "Everybody's",
    all_name: "subjects-all",
    but_not: "But not theirs",
    but_not_name: "subjects-not-in",
    but_not_label: "Not whose requests",
    placeholder: "Search teams, accounts, users",
    source: SUBJECTS,
    read: reference::limited_subject,
    value: reference::of_limited_subject,
    of: |rule| &rule.subjects,
    of_mut: |rule| &mut rule.subjects,
};

const TO_WHICH: Chosen<ModelRef> = Chosen {
    name: "rule.when.models",
    label: "To which models",
    all: "All models, also those that come later",
    all_name: "models-all",
    but_not: "But not to these",
    but_not_name: "models-not-in",
    but_not_label: "Not to which models",
    placeholder: "Search models, virtual models, accounts",
    source: OPENED,
    read: reference::model,
    value: reference::of_model,
    of: |rule| &rule.models,
    of_mut: |rule| &mut rule.models,
};

/// Whose requests a rule matches. `known`: what some of them are called.
pub(super) fn subject_field<D: HasRule>(
    draft: &Draft<D>,
    known: &[LimitedSubjectItem],
    rejection: Option<&Rejection>,
) -> Html {
    let known = known.iter().map(|it| {
        let value = reference::of_limited_subject(it.subject);
        (value, it.name.clone().into())
    });
    field(draft, &WHOSE, known.collect(), rejection)
}

/// To which models the requests are that a rule matches. `known`: what some of them are called.
pub(super) fn model_field<D: HasRule>(
    draft: &Draft<D>,
    known: &[GrantedModelItem],
    rejection: Option<&Rejection>,
) -> Html {
    let known = known
        .iter()
        .map(|it| (reference::of_model(it.model), it.name.clone().into()));
    field(draft, &TO_WHICH, known.collect(), rejection)
}

/// One side of a choice.
type Side<T> = fn(&mut Choice<T>) -> &mut BTreeSet<T>;

fn field<D: HasRule, T: Ord + Copy>(
    draft: &Draft<D>,
    it: &Chosen<T>,
    known: Vec<(AttrValue, AttrValue)>,
    rejection: Option<&Rejection>,
) -> Html {
    let (read, value, of_mut) = (it.read, it.value, it.of_mut);
    let choose = |is_chosen: bool, side: Side<T>| {
        draft.edit(move |draft: &mut D, value: AttrValue| {
            let Some(item) = read(&value) else {
                return;
            };
            let side = side(&mut of_mut(draft.rule_mut()).chosen);
            if is_chosen {
                side.insert(item);
            } else {
                side.remove(&item);
            }
        })
    };
    let within: Side<T> = |choice| &mut choice.within;
    let not_in: Side<T> = |choice| &mut choice.not_in;
    let values = |of: &BTreeSet<T>| of.iter().map(|it| value(*it)).collect::<Vec<_>>();
    let ChoiceDraft { all, chosen } = (it.of)(draft.rule());
    let onchange = draft.edit(move |draft: &mut D, all| of_mut(draft.rule_mut()).all = all);
    html!(
        <Frame name={it.name} label={it.label} rejection={rejection.cloned()}>
            <Check name={it.all_name} label={it.all} checked={*all} {onchange} />
            if !all {
                <div class="sl-below">
                    <ChoicesField name={it.name} label={it.label} source={it.source} placeholder={it.placeholder}
                        chosen={values(&chosen.within)} known={known.clone()}
                        onadd={choose(true, within)} onremove={choose(false, within)} />
                </div>
            }
            <details class="sl-more" open={!chosen.not_in.is_empty()}>
                <summary>{ it.but_not }</summary>
                <ChoicesField name={it.but_not_name} label={it.but_not_label} source={it.source} placeholder={it.placeholder}
                    chosen={values(&chosen.not_in)} {known} onadd={choose(true, not_in)} onremove={choose(false, not_in)} />
            </details>
        </Frame>
    )
}

//! What the policies would do with a request, as they stand and with the one that is being edited in its place: the compiled rules
//! of `gateway-policy`, which gateways follow, asked in the browser.

mod policies;
mod shown;
mod supposed;

use std::rc::Rc;

use patternfly_yew::prelude::*;
use yew::prelude::*;

pub(crate) use self::policies::{Edited, Sort};
use self::policies::{Policies, aggregates};
use self::shown::{CounterRow, Part, Question, Row, Shown, never_first, told};
use self::supposed::{Known, RequestDraft};
use super::fields::MODELS;
use crate::api::{Client, use_live};
use crate::remote::use_remote;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{ChooserField, List, Offer, Source};
use crate::widgets::dialog::Dialog;
use crate::widgets::draft::{Draft, use_draft};
use crate::widgets::field::TextArea;

/// Who may make a request. A team stands for somebody who is in it, and in no other.
const CALLERS: Source = Source {
    fixed: &[],
    lists: &[List::Users, List::Teams, List::VirtualAccounts, List::Keys],
};

/// Properties of [`Preview`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// Of which policies.
    pub(crate) sort: Sort,
    /// The one that is being edited, when enough of it is filled in; it is one of them.
    #[prop_or_default]
    pub(crate) edited: Option<Edited>,
    /// Whether one is being edited.
    #[prop_or_default]
    pub(crate) edits: bool,
}

/// The same thing, and not one that is equal: what is compared often may be large.
struct Same<T>(Rc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// A request to be filled in, and what the policies make of it.
#[component]
pub(crate) fn Preview(props: &Props) -> Html {
    let draft = use_draft(RequestDraft::default);
    let newest = use_live().newest(aggregates(props.sort));
    let policies = use_remote(
        (props.sort, newest),
        |client: Client, (sort, newest)| async move { Policies::read(client, sort, newest).await },
    );
    let chosen = (draft.caller.clone(), draft.model.clone());
    let known = use_remote(chosen, |client: Client, (caller, model)| async move {
        Known::read(client, caller, model).await
    });
    let compiled = policies.state.ready().map(|it| Same(Rc::clone(it)));
    let sort = props.sort;
    let asked_of = use_memo(
        (compiled, props.edited.clone()),
        move |(policies, edited)| {
            let edited = edited.as_ref();
            let rules = policies.as_ref()?.0.rules(edited);
            let before = edited.and_then(|it| never_first(sort, &rules, it.id()));
            Some((rules, before))
        },
    );
    let result = match (&*asked_of, known.state.ready()) {
        (Some((rules, _)), Some(known)) => match (&known.caller, &known.asked) {
            (Some(caller), Some(asked)) => {
                let edited = props.edited.as_ref().map(Edited::id);
                let shown = draft.pairs().map(|metadata| {
                    let question = Question {
                        sort: props.sort,
                        rules,
                        edited,
                        caller,
                        asked,
                        metadata: &metadata,
                    };
                    question.shown()
                });
                let own = caller.own.as_ref().is_some_and(|own| {
                    own.requests_per_minute.is_some() || own.tokens_per_minute.is_some()
                });
                html!(
                    <>
                        <p>{ told(caller, asked) }</p>
                        if props.edits && props.edited.is_none() {
                            <p class="sl-quiet">{ "The policy in this form is not complete, and not among them." }</p>
                        }
                        { shown.map_or_else(unreadable, |shown| answer(props.sort, &shown)) }
                        if own {
                            <p class="sl-quiet">{ "The key has limits of its own, which a request has to keep as well." }</p>
                        }
                    </>
                )
            }
            _ => hint(props),
        },
        _ => known.show(Html::default, |_| {
            policies.show(Html::default, |_| hint(props))
        }),
    };
    html!(
        <div class="sl-preview" data-part="preview">
            { request_fields(&draft) }
            { never(sort, (*asked_of).as_ref().and_then(|(_, before)| before.as_deref())) }
            <div class="sl-preview-result" aria-live="polite">{ result }</div>
        </div>
    )
}

fn request_fields(draft: &Draft<RequestDraft>) -> Html {
    let choose = |change: fn(&mut RequestDraft, String)| {
        draft.edit(move |draft: &mut RequestDraft, offer: Option<Offer>| {
            let value = offer.map(|it| it.value.to_string());
            change(draft, value.unwrap_or_default());
        })
    };
    html!(
        <>
            <div class="sl-columns">
                <ChooserField name="preview-caller" label="Whose request" source={CALLERS} value={draft.caller.clone()}
                    placeholder="A user, team, virtual account or key" onchoose={choose(|draft, value| draft.caller = value)} />
                <ChooserField name="preview-model" label="To which model" source={MODELS} value={draft.model.clone()}
                    placeholder="A model or virtual model" onchoose={choose(|draft, value| draft.model = value)} />
            </div>
            <TextArea name="preview-metadata" label="With this metadata" rows={2} value={draft.metadata.clone()}
                placeholder="project=apollo" hint="One key=value a line."
                onchange={draft.edit(|draft: &mut RequestDraft, text| draft.metadata = text)} />
        </>
    )
}

fn hint(props: &Props) -> Html {
    let text = if props.edits && props.edited.is_none() {
        "Choose whose request it is, and to which model. The policy in this form is among those that are asked as soon as it is complete."
    } else {
        "Choose whose request it is, and to which model."
    };
    html!(<p class="sl-quiet">{ text }</p>)
}

fn unreadable() -> Html {
    html!(<p class="sl-quiet">{ "The metadata cannot be read: one key=value a line." }</p>)
}

/// That the policy in the form is never the first, whoever asks for what.
fn never(sort: Sort, before: Option<&str>) -> Html {
    let Some(before) = before else {
        return Html::default();
    };
    let title = match sort {
        Sort::RateLimits => format!("This policy would never apply: {before} comes first"),
        Sort::Budgets => format!("This budget would never decide: {before} comes first"),
    };
    html!(
        <Alert inline={true} r#type={AlertType::Warning} {title}>
            { "That one stands before it, and matches every request that this one matches." }
        </Alert>
    )
}

fn answer(sort: Sort, shown: &Shown) -> Html {
    let none = match sort {
        Sort::RateLimits => "No rate-limit policy matches it.",
        Sort::Budgets => "No budget matches it.",
    };
    html!(
        <>
            if shown.edited_matches == Some(false) {
                <p data-part="preview-misses">
                    <Label label="The policy in this form does not match it" color={Color::Orange} compact={true} />
                </p>
            }
            if shown.request.is_empty() {
                <p class="sl-quiet">{ none }</p>
            } else {
                { rows(&shown.request) }
            }
            if let Some(name) = &shown.left_out {
                <p class="sl-quiet">{ format!("{name} matches as well: a request counts for 16 at most.") }</p>
            }
            { for shown.targets.iter().map(|(target, of_target)| html!(
                <>
                    <h4 class="sl-targets-title">{ format!("Where it is led to {target}") }</h4>
                    { rows(of_target) }
                </>
            )) }
        </>
    )
}

fn rows(all: &[Row]) -> Html {
    html!(<ol class="sl-matching">{ for all.iter().map(row) }</ol>)
}

fn row(row: &Row) -> Html {
    let (part, color) = match &row.part {
        Part::Applies => ("Applies".to_owned(), Color::Green),
        Part::Decides => ("Decides, and counts".to_owned(), Color::Green),
        Part::Counts => ("Counts".to_owned(), Color::Blue),
        Part::Behind(before) => (format!("Not reached: {before} comes first"), Color::Grey),
    };
    let class = classes!(row.is_edited.then_some("pf-m-edited"));
    html!(
        <li key={row.name.clone()} {class} data-policy={row.name.clone()}>
            <div class="sl-labels">
                <b>{ &row.name }</b>
                if row.is_edited {
                    <Label label="This form" color={Color::Purple} compact={true} />
                }
                <Label label={part} {color} compact={true} />
                if row.audits {
                    <Label label="Audit only" color={Color::Grey} compact={true} />
                }
            </div>
            { for row.counters.iter().map(counter) }
            if row.is_cut {
                <div class="sl-quiet">{ "The caller is in more teams than a request counts for." }</div>
            }
        </li>
    )
}

fn counter(it: &CounterRow) -> Html {
    let of = if it.of.is_empty() {
        "All that match it together".to_owned()
    } else {
        it.of.join(" and ")
    };
    html!(
        <div class="sl-matching-counter">
            <span class="sl-quiet">{ format!("{of}: ") }</span>
            { it.limits.join(", ") }
            if it.is_exception {
                { " " }<Label label="Exception" color={Color::Blue} compact={true} />
            }
        </div>
    )
}

/// Properties of [`TryPolicies`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct TryProps {
    /// Of which policies.
    pub(crate) sort: Sort,
    /// Called when it is to go away.
    pub(crate) onclose: Callback<()>,
}

/// The same in a dialog, for the policies as they stand.
#[component]
pub(crate) fn TryPolicies(props: &TryProps) -> Html {
    let (title, description) = match props.sort {
        Sort::RateLimits => (
            "Try the rate-limit policies",
            "Of those that match a request, the first applies.",
        ),
        Sort::Budgets => (
            "Try the budgets",
            "Of those that match a request, the first decides, and all count it.",
        ),
    };
    let footer = html!(<Button variant={Variant::Secondary} label="Close" onclick={props.onclose.reform(|_| ())} />);
    html!(
        <Dialog {title} {description} wide={true} onclose={props.onclose.clone()} {footer}>
            <Preview sort={props.sort} />
        </Dialog>
    )
}

/// Properties of [`TryEdited`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct TryEditedProps {
    /// Of which policies.
    pub(crate) sort: Sort,
    /// The one that is being edited, when enough of it is filled in.
    pub(crate) edited: Option<Edited>,
}

/// The same in a form, where it is wanted.
#[component]
pub(crate) fn TryEdited(props: &TryEditedProps) -> Html {
    let is_open = use_state_eq(|| false);
    let onclick = {
        let is_open = is_open.clone();
        Callback::from(move |_: MouseEvent| is_open.set(!*is_open))
    };
    let icon = if *is_open {
        Icon::AngleDown
    } else {
        Icon::AngleRight
    };
    html!(
        <div class="sl-try-rule">
            <Button variant={Variant::Link} {icon} label="Try it on a request" aria_expanded={is_open.to_string()} {onclick} />
            if *is_open {
                <Preview sort={props.sort} edited={props.edited.clone()} edits={true} />
            }
        </div>
    )
}

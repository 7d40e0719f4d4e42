//! The fields of a rule, but for its limits.

use events_schema::api::resources::{GrantedModelItem, LimitedSubjectItem};
use events_schema::events::{LimitMode, LimitSegment};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::chosen::{model_field, subject_field};
use super::draft::{HasRule, LimitDraft, OverrideDraft, RuleDraft};
use super::limits::{choices, limit_rows};
use crate::api::Rejection;
use crate::widgets::button::{Button, Variant};
use crate::widgets::chooser::{ChooserField, List, Offer, Source};
use crate::widgets::draft::Draft;
use crate::widgets::field::{Check, Frame, SelectField, TextArea, TextField};

/// The fields of a rule that show a refusal of their own, and those of every form for one.
pub(crate) const FIELDS: &[&str] = &[
    "name",
    "order",
    "rule.limits",
    "rule.when.subjects",
    "rule.when.models",
    "rule.when.metadata",
    "rule.applies_per",
    "rule.overrides",
    "rule.alerts",
    "why",
];

/// Who can have other limits than the others.
const USERS: Source = Source {
    fixed: &[],
    lists: &[List::Users],
};

/// See [`USERS`].
const TEAMS: Source = Source {
    fixed: &[],
    lists: &[List::Teams],
};

/// See [`USERS`].
const VIRTUAL_ACCOUNTS: Source = Source {
    fixed: &[],
    lists: &[List::VirtualAccounts],
};

/// What can have a counter of its own, and be asked for.
pub(super) const MODELS: Source = Source {
    fixed: &[],
    lists: &[List::VirtualModels, List::Models],
};

/// What happens above a limit, which requests the rule matches, and what has a counter and limits of its own. `known`: what
/// some of those whom the rule names are called.
pub(crate) fn rule_fields<D: HasRule>(
    draft: &Draft<D>,
    (subjects, models): (&[LimitedSubjectItem], &[GrantedModelItem]),
    rejection: Option<&Rejection>,
) -> Html {
    let rule = draft.rule();
    let mode = match rule.mode {
        LimitMode::Enforce => "enforce",
        LimitMode::Audit => "audit",
    };
    let modes = choices(&[
        ("enforce", "Refuse the request"),
        ("audit", "Only note what would have been refused"),
    ]);
    let onmode = draft.edit(|draft: &mut D, mode: String| {
        draft.rule_mut().mode = if mode == "audit" {
            LimitMode::Audit
        } else {
            LimitMode::Enforce
        };
    });
    let onmetadata = draft.edit(|draft: &mut D, text| draft.rule_mut().metadata = text);
    html!(
        <>
            <SelectField name="rule.mode" label="Above a limit" value={mode} choices={modes} onchange={onmode} />
            { subject_field(draft, subjects, rejection) }
            { model_field(draft, models, rejection) }
            <TextArea name="rule.when.metadata" label="Only with this metadata" rows={2} value={rule.metadata.clone()}
                placeholder="environment=production" hint="One key=value or key!=value a line. Of several values of one key a request needs one."
                onchange={onmetadata} rejection={rejection.cloned()} />
            { counter_fields(draft, rejection) }
            { other_limits(draft, rejection) }
        </>
    )
}

/// What has a counter of its own.
fn counter_fields<D: HasRule>(draft: &Draft<D>, rejection: Option<&Rejection>) -> Html {
    let rule = draft.rule();
    let per = |name: &'static str,
               label: &'static str,
               checked: bool,
               of: fn(&mut RuleDraft) -> &mut bool| {
        let onchange = draft.edit(move |draft: &mut D, it| *of(draft.rule_mut()) = it);
        html!(<Check {name} {label} {checked} {onchange} />)
    };
    html!(
        <Frame name="rule.applies_per" label="A counter for each" rejection={rejection.cloned()}
            hint="At most two. None: all requests that match share one counter. A request counts for each team of its caller, or for those that are named above.">
            <div class="sl-columns">
                { per("per-user", "User", rule.per_user, |rule| &mut rule.per_user) }
                { per("per-team", "Team", rule.per_team, |rule| &mut rule.per_team) }
                { per("per-virtual-account", "Virtual account", rule.per_virtual_account, |rule| &mut rule.per_virtual_account) }
                { per("per-model", "Model", rule.per_model, |rule| &mut rule.per_model) }
                { per("per-key", "Key", rule.per_key, |rule| &mut rule.per_key) }
            </div>
            <TextField name="per-metadata" label="Value of metadata" placeholder="project" value={rule.per_metadata.clone()}
                onchange={draft.edit(|draft: &mut D, text| draft.rule_mut().per_metadata = text)} />
        </Frame>
    )
}

/// Other limits for some of those that have a counter.
fn other_limits<D: HasRule>(draft: &Draft<D>, rejection: Option<&Rejection>) -> Html {
    let rule = draft.rule();
    let per = rule.applies_per().unwrap_or_default();
    // Single keys have no other limits.
    let none_can_be = per.is_empty() || per.contains(&LimitSegment::Key);
    if none_can_be && rule.overrides.is_empty() {
        return html!();
    }
    let add = draft.edit(|draft: &mut D, _: MouseEvent| {
        draft.rule_mut().overrides.push(OverrideDraft {
            limits: vec![LimitDraft::first::<D::Limit>()],
            ..OverrideDraft::default()
        });
    });
    let row = |(at, other): (usize, &OverrideDraft)| {
        let remove = draft.edit(move |draft: &mut D, _: MouseEvent| {
            draft.rule_mut().overrides.remove(at);
        });
        html!(
            <div class="sl-override-draft" key={at}>
                { for per.iter().map(|segment| segment_field(draft, at, other, segment)) }
                { limit_rows(draft, &format!("override-{at}"), &other.limits,
                    move |rule| rule.overrides.get_mut(at).map(|it| &mut it.limits)) }
                <Button variant={Variant::Link} icon={Icon::MinusCircle} label="Remove these" onclick={remove} />
            </div>
        )
    };
    html!(
        <Frame name="rule.overrides" label="Other limits for some" rejection={rejection.cloned()}
            hint="They apply in place of the limits above.">
            { for rule.overrides.iter().enumerate().map(row) }
            <Button variant={Variant::Link} icon={Icon::PlusCircle} label="Add an exception" onclick={add} />
        </Frame>
    )
}

/// For which one of a kind other limits are.
fn segment_field<D: HasRule>(
    draft: &Draft<D>,
    at: usize,
    other: &OverrideDraft,
    segment: &LimitSegment,
) -> Html {
    let chooser = |label: &'static str,
                   source,
                   value: &str,
                   change: fn(&mut OverrideDraft, String)| {
        let onchoose = draft.edit(move |draft: &mut D, offer: Option<Offer>| {
            if let Some(other) = draft.rule_mut().overrides.get_mut(at) {
                change(
                    other,
                    offer.map(|it| it.value.to_string()).unwrap_or_default(),
                );
            }
        });
        html!(<ChooserField name={format!("override-{at}-{label}")} {label} {source} value={value.to_owned()} {onchoose} required={true} />)
    };
    match segment {
        LimitSegment::User => chooser("User", USERS, &other.user, |it, value| it.user = value),
        LimitSegment::Team => chooser("Team", TEAMS, &other.team, |it, value| it.team = value),
        LimitSegment::VirtualAccount => chooser(
            "Virtual account",
            VIRTUAL_ACCOUNTS,
            &other.virtual_account,
            |it, value| it.virtual_account = value,
        ),
        LimitSegment::Model => chooser("Model", MODELS, &other.model, |it, value| it.model = value),
        LimitSegment::Key => Html::default(),
        LimitSegment::Metadata(key) => {
            let value = other.metadata.get(&key.to_string()).cloned();
            let key = key.to_string();
            let label = format!("Value of {key}");
            let name = format!("override-{at}-{key}");
            let onchange = draft.edit(move |draft: &mut D, text: String| {
                if let Some(other) = draft.rule_mut().overrides.get_mut(at) {
                    other.metadata.insert(key.clone(), text);
                }
            });
            html!(<TextField {name} {label} value={value.unwrap_or_default()} {onchange} required={true} />)
        }
    }
}

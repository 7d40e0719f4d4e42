//! What is told of a rule in a row.

use std::collections::{BTreeMap, BTreeSet};

use events_schema::api::resources::{GrantedModelItem, LimitedSubjectItem};
use events_schema::events::{Choice, LimitMode, LimitSegment, When};
use events_schema::names::MetadataKey;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::limits::Limit;
use crate::widgets::label;

/// How many names are shown in a row.
const NAMED: usize = 4;

/// The limits of a rule, what each of which applies to, and that there are exceptions.
pub(crate) fn limits_told<L: Limit>(
    limits: &BTreeSet<L>,
    applies_per: &BTreeSet<LimitSegment>,
    exceptions: usize,
) -> Html {
    html!(
        <>
            { for limits.iter().map(|limit| html!(<div class="sl-nowrap">{ limit.told() }</div>)) }
            if let Some(per) = per(applies_per) {
                <div class="sl-quiet">{ per }</div>
            }
            if exceptions > 0 {
                <div class="sl-quiet">{ others(exceptions) }</div>
            }
        </>
    )
}

/// `with 2 exceptions`.
fn others(count: usize) -> String {
    match count {
        1 => "with one exception".to_owned(),
        many => format!("with {many} exceptions"),
    }
}

/// `for each user and each project`.
fn per(applies_per: &BTreeSet<LimitSegment>) -> Option<String> {
    let each = |segment: &LimitSegment| match segment {
        LimitSegment::User => "each user".to_owned(),
        LimitSegment::Team => "each team".to_owned(),
        LimitSegment::VirtualAccount => "each virtual account".to_owned(),
        LimitSegment::Model => "each model".to_owned(),
        LimitSegment::Key => "each key".to_owned(),
        LimitSegment::Metadata(key) => format!("each {key}"),
    };
    let each: Vec<_> = applies_per.iter().map(each).collect();
    (!each.is_empty()).then(|| format!("for {}", each.join(" and ")))
}

/// Whose requests a rule matches, and to which models: two cells.
pub(crate) fn all_but(
    when: &When,
    subjects: &[LimitedSubjectItem],
    models: &[GrantedModelItem],
) -> [Html; 2] {
    let subject = |of: &_| {
        let named = subjects.iter().find(|it| it.subject == *of);
        named.map(|it| it.name.clone()).unwrap_or_default()
    };
    let model = |of: &_| {
        let named = models.iter().find(|it| it.model == *of);
        named.map(|it| it.name.clone()).unwrap_or_default()
    };
    [
        names("Everybody's", &when.subjects, subject, &when.metadata),
        names("All", &when.models, model, &BTreeMap::new()),
    ]
}

/// Whether a policy matches requests, and refuses any.
pub(crate) fn state(disabled: bool, mode: LimitMode) -> Html {
    html!(
        <span class="sl-labels">
            { label::enabled(!disabled) }
            if mode == LimitMode::Audit {
                <Label label="Audit only" color={Color::Grey} compact={true} />
            }
        </span>
    )
}

/// That a policy never does what it is for, behind another one; nothing, where there is none.
pub(crate) fn never(what: &str, behind: Option<&str>) -> Html {
    let Some(before) = behind else {
        return Html::default();
    };
    html!(
        <div>
            <Label label={format!("{what}: {before} comes first")} color={Color::Orange} compact={true} />
        </div>
    )
}

fn names<T: Ord>(
    all: &'static str,
    choice: &Choice<T>,
    name: impl Fn(&T) -> String,
    metadata: &BTreeMap<MetadataKey, Choice<String>>,
) -> Html {
    let few = |of: &BTreeSet<T>| {
        let rest = of.len().saturating_sub(NAMED);
        html!(
            <>
                { for of.iter().take(NAMED).map(|it| html!(<Label label={name(it)} compact={true} outline={true} />)) }
                if rest > 0 {
                    <span class="sl-quiet">{ format!("and {rest} more") }</span>
                }
            </>
        )
    };
    let conditions = metadata.iter().flat_map(|(key, values)| {
        let within = values.within.iter().map(move |it| format!("{key}={it}"));
        within.chain(values.not_in.iter().map(move |it| format!("{key}!={it}")))
    });
    html!(
        <span class="sl-labels">
            if choice.within.is_empty() {
                <span class="sl-quiet">{ all }</span>
            }
            { few(&choice.within) }
            if !choice.not_in.is_empty() {
                <span class="sl-quiet">{ "but not" }</span>
                { few(&choice.not_in) }
            }
            { for conditions.map(|condition| label::code(&condition)) }
        </span>
    )
}

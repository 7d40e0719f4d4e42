//! Rate-limit policies.

mod draft;
mod edit;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use edit::EditPolicy;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{
    Aggregate, Choice, LimitMode, LimitSegment, LimitUnit, LimitWindow, LimitedSubject, ModelRef,
    RateLimit, RateLimitRule, When,
};
use events_schema::names::MetadataKey;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::format;
use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
use crate::widgets::label;
use crate::widgets::listing::{Listing, Row};
use crate::widgets::menu::{HistoryLink, MenuItem, item};
use crate::widgets::rename::{OneText, Rename};

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[
    Aggregate::RateLimitPolicy,
    Aggregate::Team,
    Aggregate::VirtualAccount,
    Aggregate::Model,
    Aggregate::VirtualModel,
];

/// The headings.
pub(super) const COLUMNS: &[&str] = &[
    "Order",
    "Name",
    "Limit",
    "Whose requests",
    "To which models",
    "State",
];

/// How many names are shown in a row.
const NAMED: usize = 4;

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Create,
    Rule(Rc<RateLimitPolicyItem>),
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Policies() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let create = show.reform(|()| Open::Create);
    let row = {
        let show = show.clone();
        Callback::from(move |policy: RateLimitPolicyItem| {
            let actions = if may_change {
                actions(&policy, &show)
            } else {
                Vec::new()
            };
            row(policy, actions)
        })
    };
    html!(
        <>
            <Heading screen={Screen::Policies}>
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Create policy" onclick={create.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                <Listing<RateLimitPolicyItem> path="/rate-limit-policies" noun="policies" aggregates={SHOWS} columns={COLUMNS} {row}
                    empty={empty(may_change, create)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, create: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Create policy", create));
    html!(
        <EmptyState title="No rate-limit policies yet" icon={Icon::TachometerAlt} {primary}>
            { "A policy says how many requests or tokens may be used in a while: by whom, of which models, and what has a counter of its own." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Create => html!(<EditPolicy {onclose} />),
        Open::Rule(policy) => html!(<EditPolicy {policy} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(policy: RateLimitPolicyItem, actions: Vec<MenuItem>) -> Row {
    let stream = format!("rate_limit_policy.{}", policy.id);
    let rule = &policy.rule;
    let When {
        subjects,
        models,
        metadata,
    } = &rule.when;
    let subject_name = |of: &LimitedSubject| {
        let named = policy.subjects.iter().find(|it| it.subject == *of);
        named.map(|it| it.name.clone()).unwrap_or_default()
    };
    let model_name = |of: &ModelRef| {
        let named = policy.models.iter().find(|it| it.model == *of);
        named.map(|it| it.name.clone()).unwrap_or_default()
    };
    Row {
        id: policy.id.to_string(),
        cells: vec![
            html!(policy.order),
            html!(<HistoryLink name={policy.name.clone()} {stream} />),
            html!(
                <>
                    { for rule.limits.iter().map(|limit| html!(<div class="sl-nowrap">{ amount(limit) }</div>)) }
                    if let Some(per) = per(rule) {
                        <div class="sl-quiet">{ per }</div>
                    }
                    if !rule.overrides.is_empty() {
                        <div class="sl-quiet">{ others(rule.overrides.len()) }</div>
                    }
                </>
            ),
            names("Everybody's", subjects, subject_name, metadata),
            names("All", models, model_name, &BTreeMap::new()),
            html!(
                <span class="sl-labels">
                    { label::enabled(!policy.disabled) }
                    if rule.mode == LimitMode::Audit {
                        <Label label="Audit only" color={Color::Grey} compact={true} />
                    }
                </span>
            ),
        ],
        name: policy.name,
        actions,
    }
}

/// `1,000,000 tokens a day`.
fn amount(limit: &RateLimit) -> String {
    let unit = match limit.unit {
        LimitUnit::Requests => "requests",
        LimitUnit::Tokens => "tokens",
    };
    let window = match limit.window {
        LimitWindow::Minute => "a minute",
        LimitWindow::Hour => "an hour",
        LimitWindow::Day => "a day",
    };
    format!("{} {unit} {window}", format::count(limit.limit))
}

/// `with 2 exceptions`.
fn others(count: usize) -> String {
    match count {
        1 => "with one exception".to_owned(),
        many => format!("with {many} exceptions"),
    }
}

/// `for each user and each project`.
fn per(rule: &RateLimitRule) -> Option<String> {
    let each = |segment: &LimitSegment| match segment {
        LimitSegment::User => "each user".to_owned(),
        LimitSegment::VirtualAccount => "each virtual account".to_owned(),
        LimitSegment::Model => "each model".to_owned(),
        LimitSegment::Metadata(key) => format!("each {key}"),
    };
    let each: Vec<_> = rule.applies_per.iter().map(each).collect();
    (!each.is_empty()).then(|| format!("for {}", each.join(" and ")))
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

fn actions(policy: &RateLimitPolicyItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let (id, name) = (policy.id, &policy.name);
    let on_off = if policy.disabled {
        Question {
            title: format!("Enable {name}?"),
            consequence: "It matches requests again.",
            action: "Enable",
            danger: false,
            of: None,
            command: NewCommand::EnableRateLimitPolicy { policy: id },
        }
    } else {
        Question {
            title: format!("Disable {name}?"),
            consequence: "It matches no request until it is enabled again.",
            action: "Disable",
            danger: true,
            of: None,
            command: NewCommand::DisableRateLimitPolicy { policy: id },
        }
    };
    let delete = Question {
        title: format!("Delete {name}?"),
        consequence: "The next policy that matches a request applies instead.",
        action: "Delete",
        danger: true,
        of: None,
        command: NewCommand::DeleteRateLimitPolicy { policy: id },
    };
    let rename = OneText {
        title: format!("Rename {name}"),
        consequence: "Only people see the name.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: name.clone(),
        command: Rc::new(move |name| NewCommand::RenameRateLimitPolicy { policy: id, name }),
    };
    let moved = OneText {
        title: format!("Change the order of {name}"),
        consequence: "Of the policies that match a request, the one with the smallest number applies.",
        fields: &["order", "why"],
        label: "Order",
        kind: "number",
        now: policy.order.to_string(),
        command: Rc::new(move |order| NewCommand::MoveRateLimitPolicy {
            policy: id,
            order: order.parse().unwrap_or(u32::MAX),
        }),
    };
    vec![
        item("Change rule", show, Open::Rule(Rc::new(policy.clone()))),
        item("Rename", show, Open::OneText(rename)),
        item("Change order", show, Open::OneText(moved)),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Delete", show, Open::Confirm(delete)).dangerous(),
    ]
}

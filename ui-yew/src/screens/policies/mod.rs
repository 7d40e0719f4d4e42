//! Rate-limit policies.

mod draft;
mod edit;

use std::rc::Rc;

use edit::EditPolicy;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::RateLimitPolicyItem;
use events_schema::events::{Aggregate, LimitWhenCutOff};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::rules::{
    Choices, Orders, Policy, Sort, TryPolicies, all_but, limits_told, never, state,
};
use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
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

/// What a gateway may do that is cut off.
const CUT_OFF: Choices = &[
    ("alone", "Keep the limit by itself"),
    ("open", "Let every request through"),
    ("closed", "Refuse every request"),
];

/// What each of these comes to.
const CUT_OFF_EXPLAINED: &str = "A gateway that hears nothing of the others goes by its share of a limit for ten seconds. Then it keeps the limit by itself, so that each that is cut off lets through as much as the limit; or, if its policy says so, lets every request through, so that there is no limit; or refuses every request with 503, so that the limit holds.";

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Create,
    Try,
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
    let try_them = show.reform(|_: MouseEvent| Open::Try);
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
                <Button variant={Variant::Secondary} icon={Icon::Play} label="Try on a request" onclick={try_them} />
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Create policy" onclick={create.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                <Listing<RateLimitPolicyItem> path="/rate-limit-policies" noun="policies" aggregates={SHOWS} columns={COLUMNS} {row}
                    empty={empty(may_change, create)} />
                <p class="sl-quiet">{ CUT_OFF_EXPLAINED }</p>
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
        Open::Try => html!(<TryPolicies sort={Sort::RateLimits} {onclose} />),
        Open::Rule(policy) => html!(<EditPolicy {policy} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(policy: RateLimitPolicyItem, actions: Vec<MenuItem>) -> Row {
    let stream = format!("rate_limit_policy.{}", policy.id);
    let rule = &policy.rule;
    let [whose, to_which] = all_but(&rule.when, &policy.subjects, &policy.models);
    Row {
        id: policy.id.to_string(),
        cells: vec![
            html!(policy.order),
            html!(<HistoryLink name={policy.name.clone()} {stream} />),
            limits_told(&rule.limits, &rule.applies_per, rule.overrides.len()),
            whose,
            to_which,
            html!(
                <>
                    { state(policy.disabled, rule.mode) }
                    { cut_off(rule.when_cut_off) }
                    { never("Never applies", policy.unreachable_behind.as_deref()) }
                </>
            ),
        ],
        name: policy.name,
        actions,
    }
}

const fn cut_off_word(then: LimitWhenCutOff) -> &'static str {
    match then {
        LimitWhenCutOff::Alone => "alone",
        LimitWhenCutOff::Open => "open",
        LimitWhenCutOff::Closed => "closed",
    }
}

/// What a gateway does that is cut off; nothing, where that is what it usually does.
fn cut_off(then: LimitWhenCutOff) -> Html {
    if then == LimitWhenCutOff::USUAL {
        return Html::default();
    }
    let label = format!("{} when cut off", cut_off_word(then));
    html!(
        <div>
            <Label {label} color={Color::Grey} compact={true} />
        </div>
    )
}

fn actions(it: &RateLimitPolicyItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let policy = it.id;
    let orders = Orders {
        rename: Rc::new(move |name| NewCommand::RenameRateLimitPolicy { policy, name }),
        place: Rc::new(move |order| NewCommand::MoveRateLimitPolicy { policy, order }),
        enable: NewCommand::EnableRateLimitPolicy { policy },
        disable: NewCommand::DisableRateLimitPolicy { policy },
        delete: NewCommand::DeleteRateLimitPolicy { policy },
    };
    let about = Policy {
        name: &it.name,
        order: it.order,
        disabled: it.disabled,
        of_order: "Of the policies that match a request, the one with the smallest number applies.",
        without: "The next policy that matches a request applies instead.",
    };
    let on_off = about.on_off(&orders);
    vec![
        item("Change rule", show, Open::Rule(Rc::new(it.clone()))),
        item("Rename", show, Open::OneText(about.rename(&orders))),
        item("Change order", show, Open::OneText(about.place(&orders))),
        item(on_off.action, show, Open::Confirm(on_off)),
        item("Delete", show, Open::Confirm(about.delete(&orders))).dangerous(),
    ]
}

//! Budgets: how much may be spent, or how many tokens used, by the calendar.

mod draft;
mod edit;

use std::collections::BTreeSet;
use std::rc::Rc;

use edit::EditBudget;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::{BudgetAlerted, BudgetPolicyItem};
use events_schema::events::Aggregate;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::limit_usage::alerts::badge;
use super::rules::{Orders, Policy, Sort, TryPolicies, all_but, limits_told, never, state};
use crate::format;
use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
use crate::widgets::link::To;
use crate::widgets::listing::{Listing, Row};
use crate::widgets::menu::{HistoryLink, MenuItem, item};
use crate::widgets::rename::{OneText, Rename};

/// The aggregates whose changes show in the list.
const SHOWS: &[Aggregate] = &[
    Aggregate::BudgetPolicy,
    Aggregate::BudgetAlert,
    Aggregate::Team,
    Aggregate::VirtualAccount,
    Aggregate::Model,
    Aggregate::VirtualModel,
];

/// The headings.
pub(super) const COLUMNS: &[&str] = &[
    "Order",
    "Name",
    "Budget",
    "Whose requests",
    "To which models",
    "State",
];

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Create,
    Try,
    Rule(Rc<BudgetPolicyItem>),
    OneText(OneText),
    Confirm(Question),
}

/// The list, with all that can be done.
#[component]
pub(crate) fn Budgets() -> Html {
    let may_change = use_session().may_change();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let create = show.reform(|()| Open::Create);
    let try_them = show.reform(|_: MouseEvent| Open::Try);
    let row = {
        let show = show.clone();
        Callback::from(move |policy: BudgetPolicyItem| {
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
            <Heading screen={Screen::Budgets}>
                <Button variant={Variant::Secondary} icon={Icon::Play} label="Try on a request" onclick={try_them} />
                if may_change {
                    <Button variant={Variant::Primary} icon={Icon::Plus} label="Create budget" onclick={create.reform(|_| ())} />
                }
            </Heading>
            <section class="pf-v6-c-page__main-section sl-stack">
                <Listing<BudgetPolicyItem> path="/budget-policies" noun="budgets" aggregates={SHOWS} columns={COLUMNS} {row}
                    empty={empty(may_change, create)} />
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn empty(may_change: bool, create: Callback<()>) -> Html {
    let primary = may_change.then(|| Action::new("Create budget", create));
    html!(
        <EmptyState title="No budgets yet" icon={Icon::BalanceScale} {primary}>
            { "A budget says how much may be spent, or how many tokens used, in a day, a week, a month or a quarter: by whom, on which models, and what has a budget of its own." }
        </EmptyState>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Create => html!(<EditBudget {onclose} />),
        Open::Try => html!(<TryPolicies sort={Sort::Budgets} {onclose} />),
        Open::Rule(policy) => html!(<EditBudget {policy} {onclose} />),
        Open::OneText(asked) => html!(<Rename {asked} {onclose} />),
        Open::Confirm(question) => html!(<Confirm {question} {onclose} />),
    }
}

/// One of them in a row.
pub(super) fn row(policy: BudgetPolicyItem, actions: Vec<MenuItem>) -> Row {
    let stream = format!("budget_policy.{}", policy.id);
    let rule = &policy.rule;
    let [whose, to_which] = all_but(&rule.when, &policy.subjects, &policy.models);
    Row {
        id: policy.id.to_string(),
        cells: vec![
            html!(policy.order),
            html!(<HistoryLink name={policy.name.clone()} {stream} />),
            html!(
                <>
                    { limits_told(&rule.limits, &rule.applies_per, rule.overrides.len()) }
                    if !rule.alerts.is_empty() {
                        <div class="sl-quiet">{ alerts(&rule.alerts) }</div>
                    }
                    if let Some(alerted) = &policy.alerted {
                        <div>{ reached(alerted) }</div>
                    }
                </>
            ),
            whose,
            to_which,
            html!(
                <>
                    { state(policy.disabled, rule.mode) }
                    { never("Never decides", policy.unreachable_behind.as_deref()) }
                </>
            ),
        ],
        name: policy.name,
        actions,
    }
}

/// The highest threshold that was reached, and by how many.
fn reached(alerted: &BudgetAlerted) -> Html {
    html!(
        <To screen={Screen::LimitUsage}>
            { badge(alerted.threshold) }
            if alerted.counters > 1 {
                { format!(" by {}", format::count(alerted.counters)) }
            }
        </To>
    )
}

/// `alerts at 75 and 100 %`.
fn alerts(thresholds: &BTreeSet<u8>) -> String {
    let all: Vec<_> = thresholds.iter().map(ToString::to_string).collect();
    match all.split_last() {
        Some((last, [])) => format!("alert at {last}\u{a0}%"),
        Some((last, others)) => format!("alerts at {} and {last}\u{a0}%", others.join(", ")),
        None => String::new(),
    }
}

fn actions(it: &BudgetPolicyItem, show: &Callback<Open>) -> Vec<MenuItem> {
    let policy = it.id;
    let orders = Orders {
        rename: Rc::new(move |name| NewCommand::RenameBudgetPolicy { policy, name }),
        place: Rc::new(move |order| NewCommand::MoveBudgetPolicy { policy, order }),
        enable: NewCommand::EnableBudgetPolicy { policy },
        disable: NewCommand::DisableBudgetPolicy { policy },
        delete: NewCommand::DeleteBudgetPolicy { policy },
    };
    let about = Policy {
        name: &it.name,
        order: it.order,
        disabled: it.disabled,
        of_order: "Of the budgets that match a request, the one with the smallest number decides; all of them count it.",
        without: "The next budget that matches a request decides instead.",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_told_in_one_sentence() {
        let told = |thresholds: &[u8]| alerts(&thresholds.iter().copied().collect());
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[100]), "alert at 100\u{a0}%");
        assert_eq!(told(&[75, 100, 90]), "alerts at 75, 90 and 100\u{a0}%");
    }
}

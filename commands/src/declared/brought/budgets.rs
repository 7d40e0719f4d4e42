//! `gateway-budget-config`: rules that say how much may be spent, or how many tokens used, by the calendar. Each becomes a budget
//! policy that is called by its `id`, in the order of the file: of those that match a request the first decides, all count.

use std::collections::BTreeSet;

use events_schema::{
    events::{BudgetWindow, LimitMode},
    money::NanoUsd,
};

use super::{
    super::{document::BudgetLimit, node::Value, read::Fault},
    Brought, BroughtBudget,
    form::{At, filled, flag, item, list, number, only, optional, refuse},
    policies::{self, Ids, Units},
};

/// Which field says what has a budget of its own.
const PER: &str = "budget_applies_per";

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::declared) enum Counts {
    /// Money, in dollars.
    Cost,
    /// Tokens, input and output together.
    Tokens,
}

/// What is counted, and in which time.
pub(in crate::declared) const UNITS: [(&str, (Counts, BudgetWindow)); 8] = [
    ("cost_per_day", (Counts::Cost, BudgetWindow::Day)),
    ("cost_per_week", (Counts::Cost, BudgetWindow::Week)),
    ("cost_per_month", (Counts::Cost, BudgetWindow::Month)),
    ("cost_per_quarter", (Counts::Cost, BudgetWindow::Quarter)),
    ("tokens_per_day", (Counts::Tokens, BudgetWindow::Day)),
    ("tokens_per_week", (Counts::Tokens, BudgetWindow::Week)),
    ("tokens_per_month", (Counts::Tokens, BudgetWindow::Month)),
    (
        "tokens_per_quarter",
        (Counts::Tokens, BudgetWindow::Quarter),
    ),
];

pub(super) fn read<'d>(
    at: &At<'d>,
    ids: &mut Ids,
    brought: &mut Brought<'d>,
    faults: &mut Vec<Fault>,
) {
    let units = Units {
        names: &UNITS,
        amount: limit,
    };
    let rules = brought.budget_policies.get_or_insert_default();
    policies::document(at, faults, |rule, faults| {
        let own = [PER, "audit_mode", "alerts"];
        let known: Vec<_> = policies::FIELDS.into_iter().chain(own).collect();
        only(rule, &known, faults);
        let audits = optional(rule, "audit_mode", faults, flag);
        if audits.is_some() {
            let why = "`audit_mode` says it already: leave one of them out.";
            refuse(rule, "mode", why, faults);
        }
        let alerts = alerts(rule, faults);
        let policy = ids.policy(rule, PER, &units, faults);
        rules.extend(policy.map(|mut policy| {
            if audits == Some(true) {
                policy.mode = LimitMode::Audit;
            }
            BroughtBudget { policy, alerts }
        }));
    });
}

fn limit((counts, window): (Counts, BudgetWindow), at: &At<'_>) -> Result<BudgetLimit, String> {
    let (cost, tokens) = match counts {
        Counts::Cost => (Some(dollars(at)?), None),
        Counts::Tokens => (None, Some(number(at)?)),
    };
    if cost == Some(NanoUsd::ZERO) || tokens == Some(0) {
        return Err("A limit is more than 0.".to_owned());
    }
    Ok(BudgetLimit {
        cost: cost.map(NanoUsd::to_dollars),
        tokens,
        window,
    })
}

/// An amount of dollars, as a number, or as a text, which has room for more digits.
fn dollars(at: &At<'_>) -> Result<NanoUsd, String> {
    let text = match at.value() {
        Value::Text(text) => text.clone(),
        // What a number of a document means is the shortest that is read as the same; never with an exponent.
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(decimal)) => decimal.to_string(),
            (None, None) => number.to_string(),
        },
        _ => return Err("Here is no amount of dollars, like 2.50.".to_owned()),
    };
    NanoUsd::from_dollars(&text).map_err(|error| format!("'{text}': {error}."))
}

/// At how many percent of a limit something is said.
fn alerts(rule: &At<'_>, faults: &mut Vec<Fault>) -> BTreeSet<u8> {
    let Some(at) = filled(rule, "alerts") else {
        return BTreeSet::new();
    };
    only(&at, &["thresholds", "notification_target"], faults);
    refuse(
        &at,
        "notification_target",
        "Nobody is written to from here: alerts are events of the history, which the console and the API show. Leave it empty.",
        faults,
    );
    let thresholds = list(&at, "thresholds", faults, |it, faults| {
        item(it, faults, |it| match number(it)? {
            percent @ 1..=100 => Ok(percent),
            other => Err(format!("{other} is no percentage from 1 to 100.")),
        })
    });
    thresholds.into_iter().flatten().collect()
}

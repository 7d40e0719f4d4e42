//! Limits: what they count, and the fields for them.

use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetWindow, LimitUnit, LimitWindow, RateLimit,
};
use events_schema::money::NanoUsd;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::draft::{HasRule, LimitDraft, RuleDraft};
use crate::api::Rejection;
use crate::format;
use crate::widgets::button::{Button, Variant};
use crate::widgets::draft::Draft;
use crate::widgets::field::{Choice, Frame, SelectField, TextField};

/// What can be chosen, and what people call it.
pub(crate) type Choices = &'static [(&'static str, &'static str)];

/// A limit of rules of one sort: how it is filled in, and what people are told of it.
pub(crate) trait Limit: Copy + Ord + 'static {
    /// What may be counted.
    const UNITS: Choices;
    /// In which times; the first is that of a new limit.
    const WINDOWS: Choices;
    /// An amount, as an example.
    const EXAMPLE: &'static str;

    /// As it is filled in.
    fn draft(&self) -> LimitDraft;

    /// What is filled in, when that is a limit.
    fn read(draft: &LimitDraft) -> Option<Self>;

    /// `1,000,000 tokens a day`.
    fn told(&self) -> String;
}

impl Limit for RateLimit {
    const UNITS: Choices = &[("requests", "requests"), ("tokens", "tokens")];
    const WINDOWS: Choices = &[
        ("minute", "a minute"),
        ("hour", "an hour"),
        ("day", "a day"),
        ("at_a_time", "at a time"),
    ];
    const EXAMPLE: &'static str = "600";

    fn draft(&self) -> LimitDraft {
        let unit = match self.unit {
            LimitUnit::Requests => "requests",
            LimitUnit::Tokens => "tokens",
        };
        let window = match self.window {
            LimitWindow::Minute => "minute",
            LimitWindow::Hour => "hour",
            LimitWindow::Day => "day",
            LimitWindow::AtATime => "at_a_time",
        };
        LimitDraft::new(self.limit.to_string(), unit, window)
    }

    fn read(draft: &LimitDraft) -> Option<Self> {
        Some(Self {
            unit: match draft.unit.as_str() {
                "requests" => LimitUnit::Requests,
                "tokens" => LimitUnit::Tokens,
                _ => return None,
            },
            window: match draft.window.as_str() {
                "minute" => LimitWindow::Minute,
                "hour" => LimitWindow::Hour,
                "day" => LimitWindow::Day,
                "at_a_time" => LimitWindow::AtATime,
                _ => return None,
            },
            limit: without_separators(&draft.amount).parse().ok()?,
        })
    }

    fn told(&self) -> String {
        told::<Self>(&format::count(self.limit), &self.draft())
    }
}

impl Limit for BudgetLimit {
    const UNITS: Choices = &[("cost", "dollars"), ("tokens", "tokens")];
    const WINDOWS: Choices = &[
        ("month", "a month"),
        ("quarter", "a quarter"),
        ("week", "a week"),
        ("day", "a day"),
    ];
    const EXAMPLE: &'static str = "5,000";

    fn draft(&self) -> LimitDraft {
        let (amount, unit) = match self.amount {
            BudgetAmount::Cost(cost) => (cost.to_dollars(), "cost"),
            BudgetAmount::Tokens(tokens) => (tokens.to_string(), "tokens"),
        };
        let window = match self.window {
            BudgetWindow::Day => "day",
            BudgetWindow::Week => "week",
            BudgetWindow::Month => "month",
            BudgetWindow::Quarter => "quarter",
        };
        LimitDraft::new(amount, unit, window)
    }

    fn read(draft: &LimitDraft) -> Option<Self> {
        let amount = without_separators(&draft.amount);
        Some(Self {
            amount: match draft.unit.as_str() {
                "cost" => BudgetAmount::Cost(NanoUsd::from_dollars(&amount).ok()?),
                "tokens" => BudgetAmount::Tokens(amount.parse().ok()?),
                _ => return None,
            },
            window: match draft.window.as_str() {
                "day" => BudgetWindow::Day,
                "week" => BudgetWindow::Week,
                "month" => BudgetWindow::Month,
                "quarter" => BudgetWindow::Quarter,
                _ => return None,
            },
        })
    }

    fn told(&self) -> String {
        match self.amount {
            BudgetAmount::Cost(cost) => {
                let window = name_of(Self::WINDOWS, &self.draft().window);
                format!("{} {window}", format::usd(cost.nanos()))
            }
            BudgetAmount::Tokens(tokens) => told::<Self>(&format::count(tokens), &self.draft()),
        }
    }
}

/// People write large numbers with separators.
fn without_separators(amount: &str) -> String {
    amount.trim().replace([',', ' '], "")
}

fn told<L: Limit>(amount: &str, draft: &LimitDraft) -> String {
    let (unit, window) = (
        name_of(L::UNITS, &draft.unit),
        name_of(L::WINDOWS, &draft.window),
    );
    format!("{amount} {unit} {window}")
}

fn name_of(choices: Choices, value: &str) -> &'static str {
    let found = choices.iter().find(|(it, _)| *it == value);
    found.map(|(_, name)| *name).unwrap_or_default()
}

/// The limits of a rule.
pub(crate) fn limit_fields<D: HasRule>(draft: &Draft<D>, rejection: Option<&Rejection>) -> Html {
    html!(
        <Frame name="rule.limits" label="Limits" required={true} rejection={rejection.cloned()}
            hint="A request has to keep all of them.">
            { limit_rows(draft, "limit", &draft.rule().limits, |rule| Some(&mut rule.limits)) }
        </Frame>
    )
}

/// How much of what, in which time, one below the other. `of` finds the limits in a rule.
pub(super) fn limit_rows<D: HasRule>(
    draft: &Draft<D>,
    named: &str,
    limits: &[LimitDraft],
    of: impl Fn(&mut RuleDraft) -> Option<&mut Vec<LimitDraft>> + Copy + 'static,
) -> Html {
    let add = draft.edit(move |draft: &mut D, _: MouseEvent| {
        if let Some(limits) = of(draft.rule_mut()) {
            limits.push(LimitDraft::another::<D::Limit>());
        }
    });
    let row = |(at, limit): (usize, &LimitDraft)| {
        let edit = |change: fn(&mut LimitDraft, String)| {
            draft.edit(move |draft: &mut D, text: String| {
                if let Some(limit) = of(draft.rule_mut()).and_then(|limits| limits.get_mut(at)) {
                    change(limit, text);
                }
            })
        };
        let remove = draft.edit(move |draft: &mut D, _: MouseEvent| {
            if let Some(limits) = of(draft.rule_mut()) {
                limits.remove(at);
            }
        });
        html!(
            <div class="sl-limit-draft" key={at}>
                <TextField name={format!("{named}-{at}")} label="Limit" required={true} placeholder={D::Limit::EXAMPLE}
                    value={limit.amount.clone()} onchange={edit(|limit, text| limit.amount = text)} />
                <SelectField name={format!("{named}-{at}-unit")} label="Of what" value={limit.unit.clone()}
                    choices={choices(D::Limit::UNITS)} onchange={edit(|limit, unit| limit.unit = unit)} />
                <SelectField name={format!("{named}-{at}-window")} label="In which time" value={limit.window.clone()}
                    choices={choices(D::Limit::WINDOWS)} onchange={edit(|limit, window| limit.window = window)} />
                <Button variant={Variant::Plain} icon={Icon::MinusCircle} aria_label="Remove limit"
                    disabled={limits.len() == 1} onclick={remove} />
            </div>
        )
    };
    html!(
        <>
            { for limits.iter().enumerate().map(row) }
            <Button variant={Variant::Link} icon={Icon::PlusCircle} label="Add limit" onclick={add} />
        </>
    )
}

/// What a native list offers.
pub(crate) fn choices(of: Choices) -> Vec<Choice> {
    of.iter()
        .map(|(value, label)| Choice {
            value: (*value).into(),
            label: (*label).into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Limit + std::fmt::Debug>(limit: L, told: &str) {
        assert_eq!(L::read(&limit.draft()), Some(limit), "{:?}", limit.draft());
        assert_eq!(limit.told(), told);
    }

    #[test]
    fn a_limit_is_filled_in_and_read_back_and_told() {
        let rate = |unit, window, limit| RateLimit {
            unit,
            window,
            limit,
        };
        check(
            rate(LimitUnit::Requests, LimitWindow::Hour, 600),
            "600 requests an hour",
        );
        check(
            rate(LimitUnit::Tokens, LimitWindow::Day, 1_000_000),
            "1,000,000 tokens a day",
        );
        check(
            rate(LimitUnit::Requests, LimitWindow::AtATime, 20),
            "20 requests at a time",
        );
        let budget = |amount, window| BudgetLimit { amount, window };
        let cost = BudgetAmount::Cost(NanoUsd::new(2_500_500_000_000));
        check(budget(cost, BudgetWindow::Month), "$2,500.50 a month");
        check(
            budget(BudgetAmount::Tokens(7), BudgetWindow::Quarter),
            "7 tokens a quarter",
        );
    }

    #[test]
    fn an_amount_is_read_as_people_write_it() {
        let read = |amount: &str, unit: &str| {
            BudgetLimit::read(&LimitDraft::new(amount.to_owned(), unit, "month"))
                .map(|limit| limit.amount)
        };
        let dollars = |nanos| Some(BudgetAmount::Cost(NanoUsd::new(nanos)));
        assert_eq!(read(" $5,000.50 ", "cost"), dollars(5_000_500_000_000));
        assert_eq!(
            read("1 000 000", "tokens"),
            Some(BudgetAmount::Tokens(1_000_000))
        );
        for (amount, unit) in [("", "cost"), ("much", "cost"), ("0.5", "tokens")] {
            assert_eq!(read(amount, unit), None, "{amount} {unit}");
        }
    }
}

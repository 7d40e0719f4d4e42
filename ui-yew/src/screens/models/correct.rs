//! Corrects what a model cost in a time that is past: first the difference is shown, then it is decided.

use std::rc::Rc;

use events_schema::api::analytics::{RepricedDay, RepricedOwner, RepricingPreview};
use events_schema::api::commands::{CommandAnswer, NewCommand};
use events_schema::api::resources::ModelItem;
use events_schema::events::CostDifference;
use events_schema::id::ModelId;
use events_schema::money::Price;
use events_schema::time::Timestamp;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::dollars::{Dollars, PriceFields};
use crate::api::{Client, Failure};
use crate::command::use_command;
use crate::format;
use crate::query::Query;
use crate::remote::{Content, use_remote};
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::WhyField;
use crate::widgets::dialog::FormDialog;
use crate::widgets::draft::use_draft;
use crate::widgets::field::TextField;
use crate::widgets::moment;

/// The fields that show a refusal of their own.
const FIELDS: &[&str] = &[
    "from",
    "until",
    "price.input",
    "price.output",
    "price.cached_input",
    "why",
];

/// How many days are shown: the rest is in the sum.
const SHOWN_DAYS: usize = 14;

/// What has been filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Correction {
    from: String,
    until: String,
    price: Dollars,
}

/// What would be changed; nothing, where nobody asked.
struct Difference(Option<RepricingPreview>);

impl Content for Difference {}

/// Properties of [`CorrectPrice`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The model.
    pub(super) model: Rc<ModelItem>,
    /// Called when it is done, or given up.
    pub(super) onclose: Callback<()>,
}

/// The form. What it sends is what was shown: the correction can be sent once its own difference is there.
#[component]
pub(super) fn CorrectPrice(props: &Props) -> Html {
    let model = props.model.id;
    let draft = use_draft(|| Correction {
        price: props.model.price.map(Dollars::of).unwrap_or_default(),
        ..Correction::default()
    });
    let why = use_state_eq(String::new);
    // What was asked, and how often: the same may be asked again, when it was refused.
    let asked = use_state_eq(|| None::<(String, u32)>);
    let difference = use_remote(
        (*asked).clone(),
        |client: Client, asked: Option<(String, u32)>| async move {
            let Some((path, _)) = asked else {
                return Ok(Difference(None));
            };
            let preview: Result<RepricingPreview, Failure> = client.get(&path).await;
            preview.map(|preview| Difference(Some(preview)))
        },
    );
    let onclose = props.onclose.clone();
    let commander = use_command(Callback::from(move |_: CommandAnswer| onclose.emit(())));
    let path = draft.path(model);
    let is_asked = asked
        .as_ref()
        .is_some_and(|(of, _)| Some(of) == path.as_ref());
    let shown = difference.state.ready().filter(|_| is_asked);
    let shown = shown.and_then(|it| it.0.as_ref().map(|preview| preview.total));
    let command = shown.and_then(|shown| draft.command(model, shown));
    let onsubmit = {
        let (send, command, why) = (commander.send.clone(), command.clone(), why.clone());
        Callback::from(move |()| {
            if let Some(command) = command.clone() {
                send(command, &why);
            }
        })
    };
    let ask = {
        let (asked, path) = (asked.clone(), path.clone());
        Callback::from(move |_: MouseEvent| {
            let times = asked.as_ref().map_or(0, |(_, times)| *times);
            asked.set(path.clone().map(|path| (path, times + 1)));
        })
    };
    let rejection = commander.rejection;
    html!(
        <FormDialog title={format!("Correct a price of {}", props.model.full_name)} action="Correct the price" wide={true}
            description="For requests of a time that is past, where the price was wrong. Prices of what is to come stay as they are; what \
                was written down first stays known."
            busy={commander.busy} complete={command.is_some()} rejection={rejection.clone()} fields={FIELDS}
            {onsubmit} onclose={props.onclose.clone()}>
            <TextField name="from" label="From" kind="datetime-local" required={true} hint="In UTC."
                value={draft.from.clone()} onchange={draft.edit(|draft: &mut Correction, text| draft.from = text)}
                rejection={rejection.clone()} />
            <TextField name="until" label="Until" kind="datetime-local" required={true}
                hint="In UTC, exclusive, not later than now. Requests that are under way still change the difference."
                value={draft.until.clone()} onchange={draft.edit(|draft, text| draft.until = text)}
                rejection={rejection.clone()} />
            <PriceFields value={draft.price.clone()} rejection={rejection.clone()}
                onchange={draft.edit(|draft, price| draft.price = price)} />
            <div>
                <Button variant={Variant::Secondary} label="Show the difference" disabled={path.is_none()} onclick={ask} />
            </div>
            if is_asked {
                <div data-part="difference">
                    { difference.show(Html::default, |it| it.0.as_ref().map(|it| shown_difference(it, &draft)).unwrap_or_default()) }
                </div>
            }
            <WhyField {why} {rejection} />
        </FormDialog>
    )
}

// === impl Correction ===

impl Correction {
    /// The range and the price, when everything can be read.
    fn read(&self) -> Option<(Timestamp, Timestamp, Price)> {
        let from = moment::parse(&self.from)??;
        let until = moment::parse(&self.until)??;
        Some((from, until, self.price.price()?)).filter(|_| from < until)
    }

    /// Where its difference is to be had.
    fn path(&self, model: ModelId) -> Option<String> {
        let (from, until, price) = self.read()?;
        let query = Query::of([
            ("from", &from.to_string()),
            ("until", &until.to_string()),
            ("input", &price.input.to_string()),
            ("output", &price.output.to_string()),
        ]);
        let cached = price.cached_input.map(|it| it.to_string());
        let query = query.with("cached_input", &cached.unwrap_or_default());
        Some(format!("/models/{model}/repricing{}", query.suffix()))
    }

    /// The command, for which this was shown.
    fn command(&self, model: ModelId, shown: CostDifference) -> Option<NewCommand> {
        let (from, until, price) = self.read()?;
        Some(NewCommand::RepriceUsage {
            model,
            from,
            until,
            price,
            shown,
        })
    }
}

/// What would be changed, in all, by day and by owner.
fn shown_difference(preview: &RepricingPreview, draft: &Correction) -> Html {
    let RepricingPreview {
        corrects_from,
        total,
        without_price,
        without_tokens,
        days,
        owners,
        more_owners,
    } = preview;
    let is_cut = draft.read().is_some_and(|(from, ..)| from < *corrects_from);
    let day = |it: &RepricedDay| {
        let name = it.day.to_chrono().format("%Y-%m-%d").to_string();
        line(name, &it.difference)
    };
    let owner = |it: &RepricedOwner| {
        let name = it.owner_name.clone().or_else(|| it.owner.clone());
        line(
            name.unwrap_or_else(|| format::NOTHING.to_owned()),
            &it.difference,
        )
    };
    let more_days = days.len().saturating_sub(SHOWN_DAYS);
    html!(
        <>
            <table class="pf-v6-c-table pf-m-compact" role="grid" aria-label="The difference">
                <thead class="pf-v6-c-table__thead">
                    <tr class="pf-v6-c-table__tr" role="row">
                        { for ["", "Requests", "Cost until now", "Corrected", "Difference"].map(|it| html!(
                            <th class="pf-v6-c-table__th" role="columnheader" scope="col">{ it }</th>)) }
                    </tr>
                </thead>
                <tbody class="pf-v6-c-table__tbody" role="rowgroup">
                    { line("In all".to_owned(), total) }
                    { for days.iter().take(SHOWN_DAYS).map(day) }
                    { for owners.iter().map(owner) }
                </tbody>
            </table>
            if more_days > 0 || *more_owners {
                <p class="sl-quiet">{ "Further days and owners are in the sum." }</p>
            }
            if *without_price > 0 {
                <p class="sl-quiet">{ format!("{} of the requests had no price until now.", format::count(*without_price)) }</p>
            }
            if *without_tokens > 0 {
                <p class="sl-quiet">{ format!("{} of the requests used no tokens, and cost nothing.", format::count(*without_tokens)) }</p>
            }
            if is_cut {
                <Alert inline={true} r#type={AlertType::Warning}
                    title={format!("Only requests since {} are corrected: of earlier ones some are no longer kept", format::time(corrects_from.to_chrono()))} />
            }
        </>
    )
}

fn line(name: String, difference: &CostDifference) -> Html {
    let CostDifference {
        requests,
        cost_before,
        cost_after,
    } = difference;
    let cells = [
        name,
        format::count(*requests),
        format::usd(cost_before.nanos()),
        format::usd(cost_after.nanos()),
        changed(difference),
    ];
    html!(
        <tr class="pf-v6-c-table__tr" role="row">
            { for cells.map(|cell| html!(<td class="pf-v6-c-table__td" role="cell">{ cell }</td>)) }
        </tr>
    )
}

/// By how much it is more or less: `+$1.20`, `−$3.00`.
pub(super) fn changed(difference: &CostDifference) -> String {
    let (before, after) = (
        difference.cost_before.nanos(),
        difference.cost_after.nanos(),
    );
    let sign = match after.cmp(&before) {
        std::cmp::Ordering::Less => "−",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => "+",
    };
    format!("{sign}{}", format::usd(after.abs_diff(before)))
}

#[cfg(test)]
mod tests {
    use events_schema::money::NanoUsd;

    use super::*;

    #[test]
    fn a_correction_is_asked_about_and_sent_with_what_was_shown() {
        let model = ModelId::from_bytes([1; 16]);
        let mut draft = Correction {
            from: "2026-11-01T00:00".to_owned(),
            until: "2026-11-02T00:00".to_owned(),
            price: Dollars {
                input: "1".to_owned(),
                output: "2".to_owned(),
                cached_input: String::new(),
            },
        };
        let path = draft.path(model).expect("it can be read");
        assert!(path.starts_with(&format!("/models/{model}/repricing?from=2026-11-01T00")));
        assert!(
            path.ends_with("&input=1000000000&output=2000000000"),
            "{path}"
        );
        let shown = CostDifference {
            requests: 7,
            ..CostDifference::default()
        };
        let Some(NewCommand::RepriceUsage { shown: sent, .. }) = draft.command(model, shown) else {
            unreachable!("it can be read")
        };
        assert_eq!(sent, shown);
        draft.until = draft.from.clone();
        assert_eq!(draft.path(model), None);
    }

    #[test]
    fn a_difference_has_a_sign() {
        let check = |before, after, text: &str| {
            let difference = CostDifference {
                requests: 1,
                cost_before: NanoUsd::new(before),
                cost_after: NanoUsd::new(after),
            };
            assert_eq!(changed(&difference), text);
        };
        check(1_000_000_000, 2_500_000_000, "+$1.50");
        check(2_500_000_000, 1_000_000_000, "−$1.50");
        check(1, 1, "$0.00");
    }
}

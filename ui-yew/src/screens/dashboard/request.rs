//! One request, with everything that the ledger knows of it.

use std::rc::Rc;

use events_schema::api::analytics::RequestItem;
use events_schema::usage::{Attempt, Outcome};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::format;
use crate::widgets::button::{Button, Variant};
use crate::widgets::dialog::Dialog;
use crate::widgets::label;

/// Properties of [`RequestDialog`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The request.
    pub(super) item: Rc<RequestItem>,
    /// Called when it is to go away.
    pub(super) onclose: Callback<()>,
}

/// What was asked for, what was tried, what it took.
#[component]
pub(super) fn RequestDialog(props: &Props) -> Html {
    let item = &*props.item;
    let footer = html!(<Button variant={Variant::Primary} label="Close" onclick={props.onclose.reform(|_| ())} />);
    html!(
        <Dialog title={format!("Request for {}", item.requested_model)} wide={true} onclose={props.onclose.clone()} {footer}>
            <div class="sl-stack">
                <dl class="sl-facts sl-facts-wide">
                    { fact("Outcome", outcome(item)) }
                    { fact("Error", html!(item.error_code.as_deref().map_or_else(|| html!(format::NOTHING), label::code))) }
                    { fact("Received", html!(format::time(item.received_at.to_chrono()))) }
                    { fact("Owner", html!(owner(item))) }
                    { fact("Tokens", html!(tokens(item))) }
                    { fact("Cost", html!(cost(item))) }
                    { fact("First byte", html!(item.first_byte_us.map_or_else(|| format::NOTHING.to_owned(), format::latency))) }
                    { fact("Last byte", html!(format::latency(item.duration_us))) }
                    { fact("Asked for", html!(format!("{}{}", format::words(item.endpoint.as_str()), if item.streamed { ", streamed" } else { "" }))) }
                    { fact("Decided at position", html!(format!("#{}", item.position))) }
                </dl>
                { attempts(&item.attempts) }
                <dl class="sl-facts">
                    <dt>{ "Request" }</dt><dd class="sl-mono">{ item.request.to_string() }</dd>
                    <dt>{ "Key" }</dt><dd class="sl-mono">{ item.key.as_deref().unwrap_or(format::NOTHING) }</dd>
                    <dt>{ "Gateway" }</dt><dd class="sl-mono">{ item.gateway.to_string() }</dd>
                    { for item.metadata.iter().map(|(name, value)| html!(<><dt>{ name }</dt><dd class="sl-mono">{ value }</dd></>)) }
                </dl>
            </div>
        </Dialog>
    )
}

fn fact(name: &'static str, value: Html) -> Html {
    html!(<div><dt>{ name }</dt><dd>{ value }</dd></div>)
}

/// Each try at a model, in order.
fn attempts(attempts: &[Attempt]) -> Html {
    if attempts.is_empty() {
        return html!(<p class="sl-quiet">{ "It was refused before a model was tried." }</p>);
    }
    let row = |(index, attempt): (usize, &Attempt)| {
        let answer = match (attempt.status, &attempt.error) {
            (Some(status), None) => format!("HTTP {status}"),
            (Some(status), Some(error)) => format!("HTTP {status}, {}", format::words(error)),
            (None, Some(error)) => format::words(error),
            (None, None) => format::NOTHING.to_owned(),
        };
        let first_byte = attempt
            .first_byte_us
            .map_or_else(|| format::NOTHING.to_owned(), format::latency);
        html!(
            <tr key={index}>
                <th scope="row">{ &attempt.target }</th>
                <td>{ answer }</td>
                <td>{ format::latency(attempt.began_us) }</td>
                <td>{ first_byte }</td>
                <td>{ format::latency(attempt.duration_us) }</td>
            </tr>
        )
    };
    const COLUMNS: [&str; 5] = ["Model tried", "Answer", "Began after", "First byte", "Took"];
    html!(
        <table class="sl-diff sl-attempts" aria-label="Attempts">
            <thead><tr>{ for COLUMNS.iter().map(|column| html!(<th scope="col">{ *column }</th>)) }</tr></thead>
            <tbody>{ for attempts.iter().enumerate().map(row) }</tbody>
        </table>
    )
}

/// The owner's name, as far as it is known.
pub(super) fn owner(item: &RequestItem) -> String {
    let known = item.owner_name.clone().or_else(|| item.owner.clone());
    known.unwrap_or_else(|| format::NOTHING.to_owned())
}

/// What it cost, where the model has a price.
pub(super) fn cost(item: &RequestItem) -> String {
    item.cost.map_or_else(
        || format::NOTHING.to_owned(),
        |cost| format::usd(cost.nanos()),
    )
}

/// Tokens in and out, and how many of them the provider had cached or spent on reasoning.
fn tokens(item: &RequestItem) -> String {
    let tokens = &item.tokens;
    let mut text = format!(
        "{}{} in, {} out",
        if tokens.estimated { "≈ " } else { "" },
        format::count(tokens.input),
        format::count(tokens.output)
    );
    for (number, what) in [
        (tokens.cached_input, "cached"),
        (tokens.reasoning, "reasoning"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {} {what}", format::count(number)));
        }
    }
    text
}

/// How it ended, in the colour that it deserves.
pub(super) fn outcome(item: &RequestItem) -> Html {
    let color = match item.outcome {
        Outcome::Success => Color::Green,
        Outcome::ClientGone => Color::Grey,
        Outcome::BadRequest
        | Outcome::Unauthenticated
        | Outcome::Forbidden
        | Outcome::UnknownModel
        | Outcome::LimitExceeded => Color::Orange,
        Outcome::ProviderError | Outcome::ProviderUnreachable | Outcome::StreamCut => Color::Red,
    };
    let label = match item.outcome {
        Outcome::Success => "Success".to_owned(),
        Outcome::ClientGone
        | Outcome::BadRequest
        | Outcome::Unauthenticated
        | Outcome::Forbidden
        | Outcome::UnknownModel
        | Outcome::LimitExceeded
        | Outcome::ProviderError
        | Outcome::ProviderUnreachable
        | Outcome::StreamCut => {
            format!("{} ({})", format::words(item.outcome.as_str()), item.status)
        }
    };
    html!(<Label {label} {color} compact={true} />)
}

#[cfg(test)]
mod tests {
    use events_schema::time::Timestamp;
    use events_schema::usage::{Endpoint, Tokens};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn tokens_name_what_is_special_about_them() {
        let mut item = RequestItem {
            request: Uuid::nil(),
            received_at: Timestamp::from_micros(0).expect("a time"),
            endpoint: Endpoint::ChatCompletions,
            streamed: true,
            key: None,
            owner: None,
            owner_name: None,
            requested_model: "chat".to_owned(),
            target: None,
            attempts: Vec::new(),
            outcome: Outcome::Success,
            status: 200,
            error_code: None,
            tokens: Tokens {
                input: 1_200,
                output: 30,
                ..Tokens::default()
            },
            cost: None,
            duration_us: 1,
            first_byte_us: None,
            position: 1,
            gateway: Uuid::nil(),
            metadata: std::collections::BTreeMap::new(),
        };
        assert_eq!(tokens(&item), "1,200 in, 30 out");
        item.tokens.reasoning = 20;
        item.tokens.estimated = true;
        assert_eq!(tokens(&item), "≈ 1,200 in, 30 out, 20 reasoning");
        assert_eq!(
            (owner(&item), cost(&item)),
            ("–".to_owned(), "–".to_owned())
        );
    }
}

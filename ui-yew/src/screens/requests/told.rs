//! A request in words and signs.

use events_schema::api::analytics::{CostCorrection, FiredRule, RequestDetail, RequestItem};
use events_schema::events::{Aggregate, RoutingStrategy};
use events_schema::id::ModelId;
use events_schema::usage::{Attempt, Circuit, Outcome};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::format;

/// The owner's name, as far as it is known.
pub(crate) fn owner(item: &RequestItem) -> String {
    let known = item.owner_name.clone().or_else(|| item.owner.clone());
    known.unwrap_or_else(|| format::NOTHING.to_owned())
}

/// What it cost, where the model has a price.
pub(crate) fn cost(item: &RequestItem) -> String {
    item.cost.map_or_else(
        || format::NOTHING.to_owned(),
        |cost| format::usd(cost.nanos()),
    )
}

/// What was written down of its cost at first.
pub(super) fn first_cost(correction: &CostCorrection) -> String {
    correction
        .first_cost
        .map_or_else(|| "no price".to_owned(), |cost| format::usd(cost.nanos()))
}

/// How it ended, in the colour that it deserves.
pub(crate) fn outcome(item: &RequestItem) -> Html {
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

/// What the model's name stood for, in words that follow it.
pub(crate) fn stood_for(detail: &RequestDetail) -> &'static str {
    match resolved_kind(detail) {
        Some(Aggregate::VirtualModel) => "which was the virtual model",
        Some(Aggregate::Model) => "which was the model",
        Some(Aggregate::ProviderAccount) => "which was any model of the provider account",
        Some(
            Aggregate::Log
            | Aggregate::User
            | Aggregate::VirtualAccount
            | Aggregate::Key
            | Aggregate::Grant
            | Aggregate::Operator
            | Aggregate::Team
            | Aggregate::RateLimitPolicy
            | Aggregate::BudgetPolicy
            | Aggregate::BudgetAlert
            | Aggregate::Settings,
        )
        | None => "which stood for nothing that there was, or was not looked up",
    }
}

/// The kind of thing that the model's name stood for; `None`: it stood for nothing, or was not looked up.
fn resolved_kind(detail: &RequestDetail) -> Option<Aggregate> {
    let (kind, _) = detail.resolved.as_ref()?.stream.split_once('.')?;
    kind.parse().ok()
}

/// What a rule had to say.
pub(crate) fn rule(rule: &FiredRule) -> String {
    match rule.rule.as_str() {
        "key:requests_per_minute" => {
            "Refused by the key's own limit of requests a minute".to_owned()
        }
        "key:tokens_per_minute" => "Refused by the key's own limit of tokens a minute".to_owned(),
        audited if audited.starts_with("audit:") => {
            "Would have been refused, if it did more than audit, by the limits of".to_owned()
        }
        policy if policy.starts_with("rate_limit_policy:") => {
            "Counted against the limits of".to_owned()
        }
        budget if budget.starts_with("budget_policy:") => "Counted against the budget".to_owned(),
        _ if rule.of.is_some() => "Allowed by the grant to".to_owned(),
        other => format!("Rule {other}"),
    }
}

/// Why each attempt was made, in their order.
pub(crate) fn why_tried(detail: &RequestDetail) -> Vec<String> {
    let attempts = &detail.request.attempts;
    let is_virtual = resolved_kind(detail) == Some(Aggregate::VirtualModel);
    let is_bound = detail.routing.as_ref().is_some_and(|it| it.bound.is_some());
    let first = match (is_virtual, &detail.chosen_by) {
        (false, _) => "It was asked for by its own name.",
        (true, None) => {
            "Drawn among the targets of the virtual model, which are not known any more."
        }
        (true, Some(_)) if is_bound => {
            "The session's last request was answered by one of the targets."
        }
        (true, Some(routing)) => match routing.strategy {
            RoutingStrategy::WeightBased => "Drawn among the targets, by their weights.",
            RoutingStrategy::LatencyBased => "One of the fastest targets.",
            RoutingStrategy::PriorityBased => "The first of the targets, by their priorities.",
        },
    };
    let fell_back = attempts
        .iter()
        .zip(attempts.iter().skip(1))
        .map(|(before, it)| {
            let why = answer(before);
            if before.error.as_deref() == Some("superseded") {
                format!(
                    "Asked beside {}, which had not answered yet.",
                    before.target
                )
            } else if before.target == it.target {
                format!("Tried again, after it had failed: {why}.")
            } else {
                format!("Stood in, after {} had failed: {why}.", before.target)
            }
        });
    std::iter::once(first.to_owned())
        .chain(fell_back)
        .take(attempts.len())
        .collect()
}

/// What the choice knew of how a target fared, where it depended on that.
pub(crate) fn fared(detail: &RequestDetail, model: ModelId) -> Option<String> {
    let all = detail.routing.iter().flat_map(|it| &it.health);
    let mut its = all.filter(|it| it.model == model);
    let health = its.next()?.health;
    let circuit = match health.circuit {
        Circuit::Closed => None,
        Circuit::Open => Some("left alone: it had failed too often".to_owned()),
        Circuit::Probe => Some("had failed too often; asked whether it works again".to_owned()),
    };
    let mean = health.per_token_us.or(health.recent_per_token_us);
    let mean = mean.map(|it| format!("{} a token", format::latency(it)));
    let first = health.recent_first_token_us;
    let first = first.map(|it| format!("{} to the first token", format::latency(it)));
    let parts: Vec<String> = [circuit, mean, first].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What a model answered.
pub(crate) fn answer(attempt: &Attempt) -> String {
    match (attempt.status, &attempt.error) {
        (Some(status), None) => format!("HTTP {status}"),
        (Some(status), Some(error)) => format!("HTTP {status}, {}", format::words(error)),
        (None, Some(error)) => format::words(error),
        (None, None) => format::NOTHING.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use events_schema::api::analytics::NamedThing;
    use events_schema::api::resources::TargetItem;
    use events_schema::events::Routing;
    use events_schema::time::Timestamp;
    use events_schema::usage::{Endpoint, Tokens};
    use uuid::Uuid;

    use super::*;

    fn item() -> RequestItem {
        RequestItem {
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
            correction: None,
            duration_us: 1,
            first_byte_us: None,
            position: 1,
            gateway: Uuid::nil(),
            metadata: std::collections::BTreeMap::new(),
        }
    }

    fn attempt(target: &str, status: Option<u16>, error: Option<&str>) -> Attempt {
        Attempt {
            model: ModelId::from_bytes([0; 16]),
            target: target.to_owned(),
            status,
            error: error.map(str::to_owned),
            began_us: 0,
            first_byte_us: None,
            duration_us: 0,
            sent: None,
            tokens: None,
            first_token_us: None,
            per_output_token_us: None,
        }
    }

    fn detail(resolved: &str, targets: usize, attempts: Vec<Attempt>) -> RequestDetail {
        let target = TargetItem {
            model: ModelId::from_bytes([0; 16]),
            full_name: "a/fast".to_owned(),
        };
        RequestDetail {
            request: RequestItem { attempts, ..item() },
            key_label: None,
            resolved: Some(NamedThing {
                stream: format!("{resolved}.{}", "0".repeat(32)),
                name: None,
            }),
            answered_by: None,
            routing: None,
            chosen_by: (targets > 0).then(|| Routing::weighted(Vec::new())),
            rules: Vec::new(),
            budgets: Vec::new(),
            limits: Vec::new(),
            targets: vec![target; targets],
            seed: "0".to_owned(),
            epoch: None,
            region: "default".to_owned(),
            incarnation: Uuid::nil(),
            number: 1,
        }
    }

    #[test]
    fn every_attempt_has_its_reason() {
        assert!(why_tried(&detail("virtual_model", 2, Vec::new())).is_empty());
        let attempts = vec![
            attempt("a/fast", Some(503), None),
            attempt("a/slow", None, Some("timeout")),
            attempt("b/fast", Some(200), None),
        ];
        assert_eq!(
            why_tried(&detail("virtual_model", 3, attempts.clone())),
            [
                "Drawn among the targets, by their weights.",
                "Stood in, after a/fast had failed: HTTP 503.",
                "Stood in, after a/slow had failed: Timeout.",
            ]
        );
        assert_eq!(
            why_tried(&detail("virtual_model", 0, attempts.clone()))[0],
            "Drawn among the targets of the virtual model, which are not known any more."
        );
        assert_eq!(
            why_tried(&detail("model", 0, attempts))[0],
            "It was asked for by its own name."
        );
    }

    #[test]
    fn rules_are_told_in_words() {
        let told = |text: &str, of: Option<&str>| {
            rule(&FiredRule {
                rule: text.to_owned(),
                of: of.map(|stream| NamedThing {
                    stream: stream.to_owned(),
                    name: None,
                }),
            })
        };
        assert_eq!(
            told("grant:00", Some("grant.00")),
            "Allowed by the grant to"
        );
        assert_eq!(
            told("rate_limit_policy:00", Some("rate_limit_policy.00")),
            "Counted against the limits of"
        );
        assert!(told("audit:rate_limit_policy:00", None).starts_with("Would have been refused"));
        assert!(told("key:tokens_per_minute", None).contains("tokens a minute"));
        assert_eq!(told("something:new", None), "Rule something:new");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let mut item = item();
        assert_eq!(
            (owner(&item), cost(&item)),
            ("–".to_owned(), "–".to_owned())
        );
        item.owner = Some("user:00".to_owned());
        assert_eq!(owner(&item), "user:00");
        item.owner_name = Some("Ada".to_owned());
        assert_eq!(owner(&item), "Ada");
    }
}

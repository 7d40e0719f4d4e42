//! A routing in words, for lists. Pure.

use events_schema::events::{Routing, RoutingStrategy, RoutingTarget};

use crate::format;

/// What people call a strategy.
pub(crate) const fn strategy(strategy: RoutingStrategy) -> &'static str {
    match strategy {
        RoutingStrategy::WeightBased => "By weight",
        RoutingStrategy::LatencyBased => "The fastest",
        RoutingStrategy::PriorityBased => "By priority",
    }
}

/// What a target has of the requests: its share, its priority, or that the fastest gets them.
pub(crate) fn part(routing: &Routing, index: usize) -> String {
    let Some(target) = routing.targets.get(index) else {
        return String::new();
    };
    match routing.strategy {
        RoutingStrategy::LatencyBased => "if fastest".to_owned(),
        RoutingStrategy::PriorityBased => format!("priority {}", target.priority.unwrap_or(0)),
        RoutingStrategy::WeightBased => {
            let weight = |it: &RoutingTarget| u64::from(it.weight.unwrap_or(0));
            let total = routing.targets.iter().map(weight).sum();
            match weight(target) {
                0 => "fallback".to_owned(),
                its => format::share(its, total),
            }
        }
    }
}

/// What is not as usual about a target.
pub(crate) fn notes(target: &RoutingTarget) -> Vec<String> {
    let RoutingTarget {
        model: _,
        weight: _,
        priority: _,
        fallback_status_codes: _,
        fallback_candidate,
        retry,
        sla_cutoff,
        override_params,
        headers_override,
        metadata_match,
    } = target;
    let conditions = metadata_match.iter().flatten();
    let conditions: Vec<_> = conditions
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let notes = [
        (!fallback_candidate).then(|| "no fallback to it".to_owned()),
        retry.as_ref().map(|it| match it.attempts {
            1 => "tried again once".to_owned(),
            times => format!("tried again {times} times"),
        }),
        sla_cutoff.map(|_| "unless it is slow".to_owned()),
        override_params
            .as_ref()
            .map(|_| "with other parameters".to_owned()),
        headers_override
            .as_ref()
            .map(|_| "with other headers".to_owned()),
        (!conditions.is_empty()).then(|| format!("only {}", conditions.join(", "))),
    ];
    notes.into_iter().flatten().collect()
}

/// What is not as usual about the routing as a whole.
pub(crate) fn extras(routing: &Routing) -> Vec<String> {
    let extras = [
        (routing.strategy != RoutingStrategy::WeightBased)
            .then(|| strategy(routing.strategy).to_owned()),
        routing
            .sticky
            .as_ref()
            .map(|_| "Sticky sessions".to_owned()),
        routing.deadline_ms.map(|it| format!("{it} ms in all")),
        routing
            .hedge_after_ms
            .map(|it| format!("another beside it after {it} ms")),
    ];
    extras.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use events_schema::events::Retry;
    use events_schema::id::ModelId;

    use super::*;

    fn routing(strategy: RoutingStrategy) -> Routing {
        let target = |number: u8, weight| RoutingTarget {
            priority: Some(u32::from(number)),
            ..RoutingTarget::weighted(ModelId::from_bytes([number; 16]), weight)
        };
        Routing {
            strategy,
            ..Routing::weighted(vec![target(1, 3), target(2, 1), target(3, 0)])
        }
    }

    #[test]
    fn a_targets_part_is_told_by_its_strategy() {
        let parts = |strategy| {
            let routing = routing(strategy);
            [0, 1, 2].map(|at| part(&routing, at))
        };
        assert_eq!(
            parts(RoutingStrategy::WeightBased),
            ["75.0 %", "25.0 %", "fallback"]
        );
        assert_eq!(
            parts(RoutingStrategy::PriorityBased),
            ["priority 1", "priority 2", "priority 3"]
        );
        assert_eq!(parts(RoutingStrategy::LatencyBased)[0], "if fastest");
    }

    #[test]
    fn only_what_is_not_as_usual_is_noted() {
        let mut routing = routing(RoutingStrategy::WeightBased);
        assert!(notes(&routing.targets[0]).is_empty() && extras(&routing).is_empty());
        routing.deadline_ms = Some(900);
        routing.targets[0].retry = Some(Retry {
            attempts: 1,
            delay_ms: None,
            on_status_codes: None,
        });
        routing.targets[0].fallback_candidate = false;
        assert_eq!(
            notes(&routing.targets[0]),
            ["no fallback to it", "tried again once"]
        );
        assert_eq!(extras(&routing), ["900 ms in all"]);
    }
}

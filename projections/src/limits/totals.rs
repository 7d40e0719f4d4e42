//! Tells whoever wants to see it how limits and budgets stand.

use std::time::Duration;

use async_nats::{Client, Message};
use events_schema::{
    subjects,
    time::Timestamp,
    totals::{LimitTotal, LimitTotals},
    usage::{LimitMeasure, LimitPeriod},
};
use gateway_policy::limits::{
    Measure,
    aggregator::Standing,
    lease::{BudgetId, BudgetStanding},
    message::CounterId,
    period::{Period, SlotNumber},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::SEND;

/// How often it is told.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Tells how these stand.
pub(super) async fn tell(client: &Client, subject: &str, totals: &LimitTotals) {
    let Ok(json) = serde_json::to_vec(totals) else {
        return;
    };
    let sent = timeout(SEND, client.publish(subject.to_owned(), json.into())).await;
    if !matches!(sent, Ok(Ok(()))) {
        tracing::debug!("how limits stand was not told");
    }
}

/// Where an answer is to be told, and of which rule; `None`: nobody asks who may. What is answered goes where answers are heard, and
/// nowhere else, whatever the question says: this process may publish on streams, and to gateways.
pub(super) fn asked(question: &Message) -> Option<(&str, Uuid)> {
    let to = question.reply.as_ref()?.as_str();
    let rule = Uuid::from_slice(&question.payload).ok()?;
    subjects::is_limits_answer(to).then_some((to, rule))
}

/// A counter of a rate limit.
pub(super) fn of_counter(id: &CounterId, standing: &Standing, wall: Timestamp) -> LimitTotal {
    let period = id.period;
    if period.is_at_a_time() {
        return LimitTotal {
            began_at: wall,
            ends_at: wall,
            most: standing.most,
            used: standing.admitted,
            refused: standing.refused,
            ..of(id)
        };
    }
    let ends = period.slot_at(wall).plus(period.slots());
    LimitTotal {
        began_at: period.window_began(wall),
        ends_at: period.slot_begins(ends),
        most: standing.most,
        used: standing.admitted,
        refused: standing.refused,
        ..of(id)
    }
}

/// A counter of a budget.
pub(super) fn of_budget(budget: &BudgetId, standing: &BudgetStanding) -> LimitTotal {
    let BudgetId { counter, slot } = budget;
    let begins = |slot: SlotNumber| counter.period.slot_begins(slot);
    LimitTotal {
        began_at: begins(*slot),
        ends_at: begins(slot.plus(1)),
        most: standing.most,
        used: standing.spent,
        held: standing.committed.saturating_sub(standing.spent),
        refused: standing.refused,
        is_lower_bound: standing.is_lower_bound,
        ..of(counter)
    }
}

fn of(id: &CounterId) -> LimitTotal {
    LimitTotal {
        rule: Uuid::from_bytes(id.rule),
        segment: Uuid::from_bytes(id.segment),
        measure: match id.measure {
            Measure::Requests => LimitMeasure::Requests,
            Measure::Tokens => LimitMeasure::Tokens,
            Measure::Cost => LimitMeasure::Cost,
        },
        period: match id.period {
            Period::SlidingMinute | Period::Minute => LimitPeriod::Minute,
            Period::Hour => LimitPeriod::Hour,
            Period::Day => LimitPeriod::Day,
            Period::Week => LimitPeriod::Week,
            Period::Month => LimitPeriod::Month,
            Period::Quarter => LimitPeriod::Quarter,
            Period::AtATime => LimitPeriod::AtATime,
        },
        began_at: Timestamp::MIN,
        ends_at: Timestamp::MIN,
        most: 0,
        used: 0,
        held: 0,
        refused: 0,
        is_lower_bound: false,
    }
}

//! Names of JetStream streams and NATS subjects. Ids are `[a-z0-9]`; user text never stands in a subject.

use crate::events::Aggregate;

/// The stream of all events; a message's sequence is the event's position.
pub const EVENTS: &str = "EVENTS";
/// What `EVENTS` takes.
pub const EVENTS_SUBJECTS: &str = "events.>";
/// A header that the relay puts on the last event of each command, with any value: nothing more of it follows.
pub const COMMAND_END: &str = "Sluice-Command-End";
/// The compacted stream of what gateways need: the newest entry of each subject.
pub const SNAPSHOTS: &str = "SNAPSHOTS";
/// What `SNAPSHOTS` takes.
pub const SNAPSHOTS_SUBJECTS: &str = "snap.>";
/// The publisher's heartbeat, in `SNAPSHOTS`.
pub const HEARTBEAT: &str = "snap.hb";
/// Fillers, in `SNAPSHOTS`: they pass the highest sequence that anyone has seen after a lost tail.
pub const FILLER: &str = "snap.filler";
/// The stream of request records.
pub const USAGE: &str = "USAGE";
/// What `USAGE` takes.
pub const USAGE_SUBJECTS: &str = "usage.>";
/// The stream of request records that could not be read.
pub const USAGE_DEAD: &str = "USAGE_DEAD";
/// What `USAGE_DEAD` takes.
pub const USAGE_DEAD_SUBJECTS: &str = "usage_dead.>";
/// What gateways report on, each on a subject of its own; core NATS, not stored.
pub const GATEWAY_REPORTS: &str = "report.gateway.*";

/// The stream that says who adds up what gateways count against limits.
pub const LIMITS: &str = "LIMITS";
/// Who is in that office, in `LIMITS`: the newest message counts.
pub const LIMITS_OFFICE: &str = "limits.office";
/// What gateways count against limits, each incarnation on a subject of its own; core NATS, not stored.
pub const LIMITS_REPORTS: &str = "limits.report.*";

/// What gateways have spent of budgets, each incarnation on a subject of its own; core NATS, not stored.
pub const LIMITS_PURSES: &str = "limits.purses.*";

/// How rate limits stand over all gateways, once a second; core NATS, not stored.
pub const LIMITS_TOTALS: &str = "limits.totals.rates";
/// How budgets stand over all gateways, once a second; core NATS, not stored.
pub const BUDGETS_TOTALS: &str = "limits.totals.budgets";
/// What is used of budgets, for alerts: those of which a further percent is used first, and in turns all others; once a
/// second, core NATS, not stored.
pub const BUDGETS_USED: &str = "limits.totals.used";

/// Asks how the counters of one rate-limit policy, or key, stand, by its id: the worker in office answers; core NATS, not stored.
pub const LIMITS_TOTALS_OF: &str = "limits.of.rates";
/// The same of a budget policy.
pub const BUDGETS_TOTALS_OF: &str = "limits.of.budgets";
/// Where the answers to that are heard, each on a subject of its own: it ends with what the asking client makes up.
#[must_use]
pub fn limits_answer(unique: &str) -> String {
    format!("{LIMITS_ANSWERS}{unique}")
}

/// What they begin with.
const LIMITS_ANSWERS: &str = "limits.answer.";

/// Whether a subject is one of those: who answers may publish on others as well, on which an answer would be taken for something
/// else, and goes nowhere but there.
#[must_use]
pub fn is_limits_answer(subject: &str) -> bool {
    let unique = subject.strip_prefix(LIMITS_ANSWERS);
    unique.is_some_and(|it| !it.is_empty() && !it.contains(['.', '*', '>']))
}

/// The stream of what is lent of budgets: the newest record of each counter and window.
pub const BUDGETS: &str = "BUDGETS";
/// What `BUDGETS` takes.
pub const BUDGETS_SUBJECTS: &str = "budgets.>";

/// The subject on which an incarnation of a gateway reports what it counts against limits.
#[must_use]
pub fn limits_report(incarnation: uuid::Uuid) -> String {
    format!("limits.report.{}", incarnation.as_simple())
}

/// The subject on which an incarnation of a gateway is told what all count, and its shares.
#[must_use]
pub fn limits_told(incarnation: uuid::Uuid) -> String {
    format!("limits.told.{}", incarnation.as_simple())
}

/// The subject on which an incarnation of a gateway reports what it has spent of budgets.
#[must_use]
pub fn limits_purses(incarnation: uuid::Uuid) -> String {
    format!("limits.purses.{}", incarnation.as_simple())
}

/// The subject on which an incarnation of a gateway is told of its leases.
#[must_use]
pub fn limits_leases(incarnation: uuid::Uuid) -> String {
    format!("limits.leases.{}", incarnation.as_simple())
}

/// The subject of events of this aggregate.
#[must_use]
pub fn events(aggregate: Aggregate) -> String {
    format!("events.{aggregate}")
}

/// The subject of request records of one life of one gateway process.
#[must_use]
pub fn usage(incarnation: uuid::Uuid) -> String {
    format!("usage.{}", incarnation.as_simple())
}

/// The subject on which a gateway reports its state.
#[must_use]
pub fn gateway_report(gateway: uuid::Uuid) -> String {
    format!("report.gateway.{}", gateway.as_simple())
}

/// The prefix of the inboxes of a NATS user: `_INBOX.<user>`, so that permissions can keep users from reading one
/// another's answers. `None` where the name cannot stand in a subject: the client's own prefix serves.
#[must_use]
pub fn inbox_prefix(user: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    (!user.is_empty() && user.chars().all(plain)).then(|| format!("_INBOX.{user}"))
}

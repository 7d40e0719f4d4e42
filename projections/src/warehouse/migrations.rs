//! The tables. A statement here may be run any number of times; a change is a new statement at the
//! end (`ALTER TABLE … ADD COLUMN IF NOT EXISTS …`).
//!
//! Plain `MergeTree` forgets which inserts it has seen unless `non_replicated_deduplication_window`
//! is set; the rollup needs it too. Only the newest batch is ever inserted again, so the windows are
//! far larger than they must be.

use std::borrow::Cow;

/// All statements, in order.
pub(super) fn statements() -> [Cow<'static, str>; 20] {
    let to_usage_1m = format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS requests_to_usage_1m TO usage_1m AS \
         {SUMS} FROM requests {BY_MINUTE}"
    );
    let to_cost_corrections_1m = format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS cost_corrections_to_1m TO cost_corrections_1m AS \
         {CORRECTION_SUMS} FROM cost_corrections {CORRECTIONS_BY_MINUTE}"
    );
    [
        REQUESTS.into(),
        USAGE_1M.into(),
        to_usage_1m.into(),
        LEDGER_BATCHES.into(),
        LEDGER_GAPS.into(),
        ADMIN_EVENTS.into(),
        LEDGER_GAPS_BATCH.into(),
        LEDGER_RETENTION.into(),
        REQUESTS_ROUTING.into(),
        REQUESTS_TOKENS.into(),
        REQUESTS_LIMITS.into(),
        LEDGER_ENDS.into(),
        COST_CORRECTIONS.into(),
        COST_CORRECTIONS_1M.into(),
        to_cost_corrections_1m.into(),
        CORRECTION_PASSES.into(),
        CORRECTIONS.into(),
        CORRECTIONS_1M.into(),
        REQUESTS_BATCH.into(),
        REQUESTS_EXCEEDED.into(),
    ]
}

/// One row a request: ordered for one owner's requests in a time range, cut by day for a time range
/// over all owners, kept for a year and a month unless the settings say otherwise (see [`crate::retention`]). Ids that belong to configuration are 32 hexadecimal digits; what does not apply
/// is empty. Money is in nano-dollars.
const REQUESTS: &str = "
CREATE TABLE IF NOT EXISTS requests (
    request UUID,
    received_at DateTime64(6, 'UTC'),
    gateway UUID,
    incarnation UUID,
    number UInt64,
    usage_sequence UInt64,
    ledger_batch UInt64,
    region LowCardinality(String),
    epoch LowCardinality(String),
    position UInt64,
    endpoint LowCardinality(String),
    streamed Bool,
    key String,
    owner String,
    requested_model String,
    resolved String,
    answered_by String,
    target LowCardinality(String),
    attempts String CODEC(ZSTD(1)),
    outcome LowCardinality(String),
    status UInt16,
    error_code LowCardinality(String),
    rules Array(String),
    seed UInt64,
    input_tokens UInt64,
    cached_input_tokens UInt64,
    output_tokens UInt64,
    reasoning_tokens UInt64,
    tokens_estimated Bool,
    cost Nullable(UInt64),
    duration_us UInt64,
    first_byte_us Nullable(UInt64),
    metadata Map(String, String)
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (owner, received_at, request)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000";

/// The dashboard's sums, by minute: three years and some, unless the settings say otherwise.
const USAGE_1M: &str = "
CREATE TABLE IF NOT EXISTS usage_1m (
    minute DateTime('UTC'),
    owner String,
    target LowCardinality(String),
    requests SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, UInt64),
    output_tokens SimpleAggregateFunction(sum, UInt64),
    cost SimpleAggregateFunction(sum, UInt64),
    durations AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, owner, target)
TTL minute + INTERVAL 1200 DAY
SETTINGS non_replicated_deduplication_window = 1000";

/// The columns of `usage_1m`, out of `requests`.
pub(super) const SUMS: &str = "
SELECT
    toStartOfMinute(toDateTime(received_at)) AS minute,
    owner,
    target,
    count() AS requests,
    countIf(outcome != 'success') AS errors,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(ifNull(cost, 0)) AS cost,
    quantilesTDigestState(0.5, 0.95, 0.99)(duration_us) AS durations";

/// What stands after [`SUMS`] and the rows that it adds up.
pub(super) const BY_MINUTE: &str = "GROUP BY minute, owner, target";

/// What the ledger worker is about to insert: written before each batch, and replayed after a crash.
/// Only the newest counts, so of each worker only the newest is kept.
const LEDGER_BATCHES: &str = "
CREATE TABLE IF NOT EXISTS ledger_batches (
    ordinal UInt64,
    first_sequence UInt64,
    last_sequence UInt64,
    hash String,
    worker UUID,
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(ordinal)
ORDER BY worker
SETTINGS non_replicated_deduplication_window = 1000";

/// Numbers of a gateway's records that never came.
const LEDGER_GAPS: &str = "
CREATE TABLE IF NOT EXISTS ledger_gaps (
    gateway UUID,
    incarnation UUID,
    first_number UInt64,
    last_number UInt64,
    usage_sequence UInt64,
    noticed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (incarnation, first_number)
TTL toDateTime(noticed_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000";

/// The batch with which a gap was noticed, so that a batch is repeated as it was the first time.
const LEDGER_GAPS_BATCH: &str = "
ALTER TABLE ledger_gaps ADD COLUMN IF NOT EXISTS ledger_batch UInt64 AFTER usage_sequence";

/// Lives of gateways that were killed, of which all records that will ever come have come: what they had leases for is spent as
/// far as their records say, and the rest is lent again.
const LEDGER_ENDS: &str = "
CREATE TABLE IF NOT EXISTS ledger_ends (
    incarnation UUID,
    last_number UInt64,
    noticed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY incarnation
TTL toDateTime(noticed_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000";

/// What the choice among targets depended on, as JSON; empty where there is nothing to say.
const REQUESTS_ROUTING: &str = "
ALTER TABLE requests ADD COLUMN IF NOT EXISTS routing String CODEC(ZSTD(1)) AFTER metadata";
/// What else providers state of tokens; `NULL`: nothing.
const REQUESTS_TOKENS: &str = "
ALTER TABLE requests
    ADD COLUMN IF NOT EXISTS cache_write_input_tokens Nullable(UInt64) AFTER cached_input_tokens,
    ADD COLUMN IF NOT EXISTS audio_input_tokens Nullable(UInt64) AFTER cache_write_input_tokens,
    ADD COLUMN IF NOT EXISTS audio_output_tokens Nullable(UInt64) AFTER reasoning_tokens";

/// The counters of budgets for which a request counts: `<policy>:<segment>`, each 32 hexadecimal digits. And how the limits
/// and budgets stood that were asked, as JSON; empty where there were none.
const REQUESTS_LIMITS: &str = "
ALTER TABLE requests
    ADD COLUMN IF NOT EXISTS budgets Array(String) CODEC(ZSTD(1)) AFTER routing,
    ADD COLUMN IF NOT EXISTS limits String CODEC(ZSTD(1)) AFTER budgets";

/// Whose limits did not let a request through, or would not have: `<kind>:<id>`. It stands in `limits` as well, but there for each
/// request that limits concern; whoever looks for the few that one stood in the way of reads this alone.
const REQUESTS_EXCEEDED: &str = r#"
ALTER TABLE requests ADD COLUMN IF NOT EXISTS exceeded Array(String) MATERIALIZED
    if(position(limits, '"exceeded":true') = 0, [],
        arrayDistinct(arrayMap(it -> concat(mapKeys(it.1)[1], ':', mapValues(it.1)[1]),
            arrayFilter(it -> it.2, JSONExtract(limits, 'Array(Tuple(of Map(String, String), exceeded Bool))')))))
    CODEC(ZSTD(1)) AFTER limits"#;

/// For how many days requests were kept until they were kept for another time: of a day and a number, the last moment.
const LEDGER_RETENTION: &str = "
CREATE TABLE IF NOT EXISTS ledger_retention (
    days UInt32,
    until DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(until)
ORDER BY (days, toDate(until))";

/// What corrections of prices change of requests' costs: one row each time that a request's cost changes, with what is added to what
/// was known before, so that whoever adds up the cost of requests adds these rows. What was written down first stays in
/// `requests`. A row holds once its pass stands in `correction_passes`; read the view `corrections`. `position` is that of the
/// correction from then on, 0: there is none any more. Amounts are signed, and hold whatever two costs differ by.
const COST_CORRECTIONS: &str = "
CREATE TABLE IF NOT EXISTS cost_corrections (
    request UUID,
    received_at DateTime64(6, 'UTC'),
    owner String,
    key String,
    target LowCardinality(String),
    model String,
    incarnation UUID,
    budgets Array(String) CODEC(ZSTD(1)),
    amount Int128,
    position UInt64,
    pass UUID,
    ordinal UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (owner, received_at, request)
TTL toDateTime(received_at) + INTERVAL 400 DAY";

/// The same, by minute, for as long as the sums of requests are kept; read the view `corrections_1m`.
const COST_CORRECTIONS_1M: &str = "
CREATE TABLE IF NOT EXISTS cost_corrections_1m (
    minute DateTime('UTC'),
    owner String,
    target LowCardinality(String),
    pass UUID,
    amount SimpleAggregateFunction(sum, Int128)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, owner, target, pass)
TTL minute + INTERVAL 1200 DAY";

/// The columns of `cost_corrections_1m`, out of `cost_corrections`.
pub(super) const CORRECTION_SUMS: &str = "
SELECT
    toStartOfMinute(toDateTime(received_at)) AS minute,
    owner,
    target,
    pass,
    sum(amount) AS amount";

/// What stands after [`CORRECTION_SUMS`] and the rows that it adds up.
pub(super) const CORRECTIONS_BY_MINUTE: &str = "GROUP BY minute, owner, target, pass";

/// The passes whose rows hold: a row here is written after all of them. It also says which corrections of prices hold by then, as JSON,
/// and up to which batch of the ledger requests were compared with them.
const CORRECTION_PASSES: &str = "
CREATE TABLE IF NOT EXISTS correction_passes (
    ordinal UInt64,
    pass UUID,
    through_batch UInt64,
    repricings String CODEC(ZSTD(1)),
    made_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY ordinal
SETTINGS non_replicated_deduplication_window = 1000";

/// What corrections of prices change, as far as they are complete.
const CORRECTIONS: &str = "
CREATE VIEW IF NOT EXISTS corrections AS
SELECT request, received_at, owner, key, target, model, incarnation, budgets, amount, position, ordinal
FROM cost_corrections WHERE pass IN (SELECT pass FROM correction_passes)";

/// The same, by minute.
const CORRECTIONS_1M: &str = "
CREATE VIEW IF NOT EXISTS corrections_1m AS
SELECT minute, owner, target, amount
FROM cost_corrections_1m WHERE pass IN (SELECT pass FROM correction_passes)";

/// Of which batches a part has rows, so that who looks for those of new batches passes over the parts that have none. Parts of before
/// this get it when they are merged.
const REQUESTS_BATCH: &str = "
ALTER TABLE requests ADD INDEX IF NOT EXISTS ledger_batch_range ledger_batch TYPE minmax GRANULARITY 1";

/// The audit trail, kept for ever: the log's events as rows. An insert that is repeated because its answer was lost
/// replaces what it wrote before.
const ADMIN_EVENTS: &str = "
CREATE TABLE IF NOT EXISTS admin_events (
    position UInt64,
    epoch LowCardinality(String),
    event_id UUID,
    aggregate LowCardinality(String),
    stream String,
    stream_version UInt64,
    kind LowCardinality(String),
    schema_version UInt16,
    recorded_at DateTime64(6, 'UTC'),
    actor String,
    cause UUID,
    correlation UUID,
    why Nullable(String),
    payload String CODEC(ZSTD(1)),
    prev_hash String,
    hash String
)
ENGINE = ReplacingMergeTree
ORDER BY position
SETTINGS non_replicated_deduplication_window = 1000";

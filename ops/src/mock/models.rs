//! The catalogue: any name is a model here, and these are the ones worth listing.

use serde_json::{Value, json};

use super::plan::Plan;

/// The listed models: the plain ones, and one example of each thing a name can script.
const LISTED: [&str; 10] = [
    "fast",
    "slow",
    "embed",
    "claude",
    "instruct",
    "mock-latency-200",
    "mock-tokens-100-tps-50",
    "mock-error-503",
    "mock-cut-after-3",
    "mock-malformed-2",
];

/// When the models were "made", in Unix seconds: always the same.
const CREATED: u64 = 1_700_000_000;

/// The answer to `GET /v1/models`.
pub(super) fn list() -> Plan {
    let data: Vec<Value> = LISTED.iter().map(|id| document(id)).collect();
    Plan::whole(&json!({ "object": "list", "data": data }))
}

/// The answer to `GET /v1/models/{id}`.
pub(super) fn one(id: &str) -> Plan {
    Plan::whole(&document(id))
}

fn document(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "mock" })
}

//! What gateways and the publisher send as JSON keeps its form: another version may be at the other end, and
//! request records may have waited on a disk.

use std::collections::BTreeMap;

use events_schema::{
    events::{LimitMode, LimitWhenCutOff, ModelRef, Owner},
    id::Id,
    money::NanoUsd,
    report::{GatewayReport, ReportedTarget},
    snapshot::Heartbeat,
    totals::{LimitTotal, LimitTotals},
    usage::{
        Attempt, BudgetCharge, Circuit, CounterSeen, Endpoint, Health, Instead, LimitMeasure,
        LimitOf, LimitPeriod, LimitSeen, Outcome, RetryWish, RoutingGrounds, TargetHealth, Tokens,
        UsageBatch, UsageRecord,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    golden,
    log::{EPOCH, a_time},
};

fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, message: &T) {
    let json = serde_json::to_string_pretty(message).expect("JSON");
    golden::check(&format!("messages/{name}.json"), &json);
    let again: T = serde_json::from_str(&json).expect("what was written is read");
    assert_eq!(again, *message);
}

fn answered() -> UsageRecord {
    let attempt = |status, error: Option<&str>| Attempt {
        model: Id::from_bytes([2; 16]),
        target: "openai-main/gpt-4o".to_owned(),
        status,
        error: error.map(str::to_owned),
        began_us: 10,
        first_byte_us: status.map(|_| 20),
        duration_us: 30,
        sent: None,
        tokens: None,
        first_token_us: None,
        per_output_token_us: None,
    };
    UsageRecord {
        request: Uuid::from_bytes([8; 16]),
        received_at: a_time(),
        epoch: Some(EPOCH),
        position: 42,
        endpoint: Endpoint::ChatCompletions,
        streamed: true,
        key: Some(Id::from_bytes([6; 16])),
        owner: Some(Owner::VirtualAccount(Id::from_bytes([5; 16]))),
        requested_model: "chat".to_owned(),
        resolved: Some(ModelRef::VirtualModel(Id::from_bytes([3; 16]))),
        answered_by: Some(Id::from_bytes([2; 16])),
        target: Some("openai-main/gpt-4o".to_owned()),
        attempts: vec![attempt(None, Some("connect")), attempt(Some(200), None)],
        outcome: Outcome::Success,
        status: 200,
        error_code: None,
        rules: vec!["fallback".to_owned()],
        seed: u64::MAX,
        routing: None,
        tokens: Tokens {
            input: 100,
            cached_input: 40,
            output: 20,
            reasoning: 5,
            estimated: false,
            ..Tokens::default()
        },
        cost: Some(NanoUsd::new(u64::MAX)),
        duration_us: 1_000_000,
        first_byte_us: Some(200_000),
        metadata: BTreeMap::from([("team".to_owned(), "é \"a\"".to_owned())]),
        budgets: None,
        limits: None,
    }
}

fn refused() -> UsageRecord {
    UsageRecord {
        epoch: None,
        position: 0,
        endpoint: Endpoint::Embeddings,
        streamed: false,
        key: None,
        owner: None,
        requested_model: String::new(),
        resolved: None,
        answered_by: None,
        target: None,
        attempts: Vec::new(),
        outcome: Outcome::Unauthenticated,
        status: 401,
        error_code: Some("invalid_api_key".to_owned()),
        rules: Vec::new(),
        tokens: Tokens::default(),
        cost: None,
        first_byte_us: None,
        metadata: BTreeMap::new(),
        ..answered()
    }
}

/// With everything that records say since attempts tell what they used.
fn accounted() -> UsageRecord {
    let tokens = Tokens {
        input: 130,
        cached_input: 40,
        output: 20,
        reasoning: 5,
        estimated: false,
        cache_write_input: Some(30),
        audio_input: Some(7),
        audio_output: Some(0),
    };
    let [failed, answering] = [None, Some(200)].map(|status| Attempt {
        model: Id::from_bytes([2; 16]),
        target: "anthropic/claude".to_owned(),
        status,
        error: None,
        began_us: 10,
        first_byte_us: status.map(|_| 20),
        duration_us: 30,
        sent: Some(true),
        tokens: status.map(|_| tokens),
        first_token_us: status.map(|_| 25),
        per_output_token_us: status.map(|_| 1_300),
    });
    UsageRecord {
        endpoint: Endpoint::Messages,
        attempts: vec![failed, answering],
        tokens,
        ..answered()
    }
}

/// One that a budget refused, and that was let through by a limit before.
fn limited() -> UsageRecord {
    let budget = Id::from_bytes([7; 16]);
    let of_team = Uuid::from_bytes([4; 16]);
    let shared = LimitSeen {
        of: LimitOf::RateLimitPolicy(Id::from_bytes([9; 16])),
        segment: Uuid::nil(),
        measure: LimitMeasure::Requests,
        period: LimitPeriod::Minute,
        most: 600,
        cost: 1,
        counter: CounterSeen::Shared {
            own: 3,
            known: 200,
            share: 1 << 31,
            cut_off: None,
            free: None,
        },
        exceeded: false,
        mode: None,
        instead: None,
    };
    let leased = LimitSeen {
        of: LimitOf::BudgetPolicy(budget),
        segment: of_team,
        measure: LimitMeasure::Cost,
        period: LimitPeriod::Quarter,
        most: u64::MAX,
        cost: 7_500_000,
        counter: CounterSeen::Leased {
            ceiling: 90_000_000,
            taken: 89_000_000,
            committed: Some(u64::MAX),
            cut_off: false,
            included: None,
        },
        exceeded: true,
        mode: None,
        instead: None,
    };
    UsageRecord {
        outcome: Outcome::LimitExceeded,
        status: 429,
        budgets: Some(vec![BudgetCharge {
            policy: budget,
            segment: of_team,
        }]),
        limits: Some(vec![shared, leased]),
        ..answered()
    }
}

fn batch(first_number: u64, records: Vec<UsageRecord>) -> UsageBatch {
    UsageBatch {
        gateway: Uuid::from_bytes([1; 16]),
        incarnation: Uuid::from_bytes([2; 16]),
        region: "eu-1".to_owned(),
        first_number,
        records,
    }
}

#[test]
fn request_records_are_written_as_they_always_were() {
    check("usage_batch", &batch(7, vec![answered(), refused()]));
    check("usage_batch_lost_tail", &batch(9, Vec::new()));
    let routed = UsageRecord {
        routing: Some(RoutingGrounds {
            health: vec![TargetHealth {
                model: Id::from_bytes([8; 16]),
                health: Health {
                    circuit: Circuit::Open,
                    calls: 100,
                    per_token_us: Some(20_000),
                    recent_first_token_us: None,
                    recent_per_token_us: Some(25_000),
                },
            }],
            bound: Some(Id::from_bytes([9; 16])),
            retry: Some(RetryWish {
                attempts: 2,
                on_status_codes: vec![429, 503],
            }),
        }),
        ..answered()
    };
    check("usage_batch_routed", &batch(10, vec![routed]));
    check("usage_batch_accounted", &batch(7, vec![accounted()]));
    check("usage_batch_limited", &batch(8, vec![limited()]));
    let mut at_a_time = limited();
    for seen in at_a_time.limits.iter_mut().flatten().take(1) {
        seen.period = LimitPeriod::AtATime;
    }
    check("usage_batch_at_a_time", &batch(8, vec![at_a_time]));
    let mut audited = limited();
    let modes = [LimitMode::Audit, LimitMode::Enforce];
    for (seen, mode) in audited.limits.iter_mut().flatten().zip(modes) {
        seen.mode = Some(mode);
    }
    check("usage_batch_with_modes", &batch(8, vec![audited.clone()]));
    // Of those that were let through as well, and with what decided where the numbers did not.
    let mut told = audited;
    for seen in told.limits.iter_mut().flatten() {
        match &mut seen.counter {
            CounterSeen::Shared { free, .. } => *free = Some(2),
            CounterSeen::Leased { included, .. } => *included = Some(1_000_000),
        }
    }
    let all = [
        Instead::Open,
        Instead::Closed,
        Instead::Unanswered,
        Instead::Ended,
        Instead::Full,
        Instead::Left,
    ];
    let one = told.limits.iter().flatten().next().copied();
    let each = all.iter().filter_map(|it| {
        Some(LimitSeen {
            instead: Some(*it),
            ..one?
        })
    });
    told.limits.get_or_insert_default().extend(each);
    check("usage_batch_with_all_limits", &batch(8, vec![told]));
    let mut cut_off = limited();
    for seen in cut_off.limits.iter_mut().flatten().take(1) {
        seen.counter = CounterSeen::Shared {
            own: 3,
            known: 200,
            share: 1 << 31,
            cut_off: Some(LimitWhenCutOff::Closed),
            free: None,
        };
    }
    check("usage_batch_cut_off", &batch(8, vec![cut_off]));
}

#[test]
fn a_heartbeat_is_written_as_it_always_was() {
    let heartbeat = Heartbeat {
        position: 42,
        log_hash: [1; 32],
        entries: 3,
        entries_digest: [2; 32],
        digest_key: "k1".to_owned(),
        published_at_us: a_time().micros(),
        lacks_from: None,
    };
    check("heartbeat", &heartbeat);
}

#[test]
fn a_gateways_report_is_written_as_it_always_was() {
    let report = GatewayReport {
        gateway: Uuid::from_bytes([1; 16]),
        incarnation: Uuid::from_bytes([2; 16]),
        region: "eu-1".to_owned(),
        version: "0.1.0".to_owned(),
        at: a_time(),
        started_at: a_time(),
        epoch: Some(EPOCH),
        position: 42,
        lacks_from: None,
        entries: 3,
        entries_digest: "02".repeat(32),
        unproven: false,
        from_disk: false,
        stream_silent_ms: 12,
        refused_entries: 0,
        requests: 1_000,
        in_flight: 3,
        records_in_ring: 2,
        spool_bytes: 0,
        records_dropped: 0,
        targets: None,
    };
    check("gateway_report", &report);
    let told = ReportedTarget {
        model: Id::from_bytes([8; 16]),
        name: "openai/gpt-5".to_owned(),
        health: Health {
            circuit: Circuit::Probe,
            calls: 7,
            per_token_us: Some(20_000),
            ..Health::default()
        },
    };
    let report = GatewayReport {
        targets: Some(vec![told]),
        ..report
    };
    check("gateway_report_with_targets", &report);
}

#[test]
fn how_limits_and_budgets_stand_is_written_as_it_always_was() {
    let total = LimitTotal {
        rule: Uuid::from_bytes([1; 16]),
        segment: Uuid::from_bytes([2; 16]),
        measure: LimitMeasure::Cost,
        period: LimitPeriod::Month,
        began_at: a_time(),
        ends_at: a_time().plus_micros(86_400_000_000),
        most: u64::MAX,
        used: 80,
        held: 5,
        refused: 1,
        is_lower_bound: false,
    };
    let totals = LimitTotals {
        at: a_time(),
        counters: 1,
        totals: vec![total],
    };
    check("limit_totals", &totals);
}

#[test]
fn every_endpoint_has_one_name_everywhere() {
    for endpoint in Endpoint::ALL {
        let json = serde_json::to_string(&endpoint).expect("JSON");
        assert_eq!(json, format!("\"{}\"", endpoint.as_str()));
    }
}

#[test]
fn every_outcome_has_one_name_everywhere() {
    for outcome in Outcome::ALL {
        let json = serde_json::to_string(&outcome).expect("JSON");
        assert_eq!(json, format!("\"{}\"", outcome.as_str()));
    }
}

//! What each function costs that runs for every request, or for every piece of an answer: `cargo ops bench micro`.
//!
//! `cargo bench` measures; in `cargo test` each runs a few times, to see that it still does. Figures are nanoseconds a
//! call, the fastest of several rounds: what a machine does beside only ever makes one slower.

#[path = "../../policy/tests/allocation/counting.rs"]
mod counting;
#[path = "../../policy/tests/it/memory.rs"]
#[expect(dead_code, reason = "the tests of the policy need more of it")]
mod memory;
mod stopwatch;
#[path = "../../policy/tests/it/strangers.rs"]
mod strangers;
#[path = "../../policy/tests/it/twenty.rs"]
mod twenty;

use std::{collections::BTreeMap, hint::black_box, num::NonZeroU64, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use events_schema::{
    events::{ModelRef, Owner},
    id::{Id, ModelId},
    money::NanoUsd,
    snapshot::{
        budgets::{
            ArchivedBudgetPolicyEntry, BudgetLimitEntry, BudgetPolicyEntry, BudgetUnitEntry,
            BudgetWindowEntry,
        },
        entries::{Entry, KeyEntry, ModelRefEntry, OwnerEntry, SubjectEntry},
    },
    usage::{Attempt, Endpoint, Health, LimitSeen, Outcome as Ended, Tokens, UsageRecord},
};
use gateway::{
    clock,
    count::kept::Allowance,
    endpoint::{Description, Dialect, describe},
    health::{AllHealth, AnswerLatency, ThreadHealth, circuit::Tolerance},
    limits::{Asked, Limits, Outcome, Settled},
    record::ring::Written,
    request::{rewrite, scan},
    trace::context::{Context, Sampler, SpanId},
    upstream::{
        account::Reach,
        addresses::Scope,
        events::Events,
        headers::{FromCaller, Outgoing},
        usage::usage_of,
        wire::take_head,
    },
};
use gateway_policy::{
    Asking, Caller, Configuration as _, Facts, Progress, Rules, authenticate, authorize,
    limits::{
        Estimate, Spend, Take,
        admission::{Turn, admit},
        message::Incarnation,
    },
    plan, resolve,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use rkyv::rancor::Failure;
use uuid::Uuid;

use self::{
    counting::taken,
    memory::{BIG, BOB, KEY, Memory},
    stopwatch::Stopwatch,
};

const CHAT: Endpoint = Endpoint::ChatCompletions;

fn main() {
    let mut stopwatch = Stopwatch::from_arguments(std::env::args());
    requests(&mut stopwatch);
    decisions(&mut stopwatch);
    answers(&mut stopwatch);
    stopwatch.say();
}

// === what comes from a caller ===

fn requests(stopwatch: &mut Stopwatch) {
    for (name, words) in [("small", 40), ("large", 8_000)] {
        let body = question(words);
        stopwatch.time(&format!("scan_{name}_body"), || {
            scan(black_box(&body)).map(|scan| scan.stream)
        });
        let scanned = scan(&body).expect("a good body");
        stopwatch.time(&format!("rewrite_{name}_body"), || {
            let wish = Some(&scanned.usage_wish);
            rewrite(&body, &scanned.model_at, "gpt-4o-mini", wish).length()
        });
    }
    let (headers, reach, mut head) = (callers_headers(), reach(), Vec::new());
    let outgoing = Outgoing {
        endpoint: chat(),
        from_caller: FromCaller {
            headers: &headers,
            query: None,
        },
        routed: None,
        told: None,
        body_bytes: 600,
    };
    stopwatch.time("write_head", || {
        head.clear();
        black_box(&outgoing).write(&mut head, &reach);
        head.len()
    });
    let sampler = Sampler::of_ratio(1.0);
    stopwatch.time("trace_and_write_head", || {
        head.clear();
        let context = Context::of(&headers, sampler, clock::draw);
        let told = Some(context.told_as(SpanId::drawn(clock::draw)));
        Outgoing { told, ..outgoing }.write(&mut head, &reach);
        head.len()
    });
    stopwatch.time("http2_head", || {
        let request = black_box(&outgoing).request(&reach);
        request.map(|request| request.headers().len())
    });
}

fn question(words: usize) -> Bytes {
    let text = "Where is the Aurelia now? ".repeat(words / 5);
    let body = serde_json::json!({
        "model": "chat",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0.2,
        "stream": true,
    });
    body.to_string().into()
}

/// What OpenAI's Python SDK sends.
fn callers_headers() -> HeaderMap {
    let lines = [
        ("host", "127.0.0.1:7800"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("authorization", "Bearer sk-sluice"),
        ("connection", "keep-alive"),
        ("content-type", "application/json"),
        ("content-length", "600"),
        ("user-agent", "OpenAI/Python 2.8.0"),
        ("x-stainless-arch", "x64"),
        ("x-stainless-async", "false"),
        ("x-stainless-lang", "python"),
        ("x-stainless-os", "Linux"),
        ("x-stainless-package-version", "2.8.0"),
        ("x-stainless-read-timeout", "600"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-runtime", "CPython"),
        ("x-stainless-runtime-version", "3.13.0"),
    ];
    let named = lines.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    named.into_iter().collect()
}

fn reach() -> Reach {
    Reach {
        origin: Uri::from_static("http://127.0.0.1:9000"),
        scope: Scope::Anywhere,
        host: HeaderValue::from_static("127.0.0.1:9000"),
        credential: None,
        prefix: "/v1".to_owned(),
    }
}

fn chat() -> Description {
    describe(CHAT)
}

// === what is decided ===

fn decisions(stopwatch: &mut Stopwatch) {
    let config = organisation();
    let (now, metadata) = (memory::now(), BTreeMap::new());
    stopwatch.time("authenticate", || {
        authenticate(&config, black_box(&[9; 32]), now).is_ok()
    });
    let caller = authenticate(&config, &[9; 32], now).expect("a good key");
    let resolved = resolve(&config, "chat").expect("it is there");
    stopwatch.time("authorize", || authorize(&config, caller, resolved).is_ok());
    let mut seed = 0_u64;
    stopwatch.time("plan_two_targets", || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let asking = Asking {
            endpoint: CHAT,
            metadata: &metadata,
            seed,
            bound: None,
        };
        let plan = plan(&config, resolved, &asking, |_| Health::default());
        plan.map(|plan| plan.step(&config, Progress::default()).is_some())
    });

    limits_and_budgets(stopwatch, &config);
    of_many(stopwatch, &config);

    let health = ThreadHealth::new(Arc::new(AllHealth::new(Tolerance {
        failures: 5,
        open: std::time::Duration::from_secs(30),
    })));
    let now_us = health.now_us();
    stopwatch.time("look_at_health", || health.of(&BIG).take(now_us).calls);
    let model = health.of(&BIG);
    stopwatch.time("note_an_answer", || {
        let latency = AnswerLatency {
            duration_us: 640_000,
            output_tokens: 64,
            open_answers: NonZeroU64::new(1),
            first_token_us: Some(200_000),
        };
        health.answered(&model, Some(latency), Instant::now());
    });
}

/// As requests meet them that nobody refuses: they are asked for, decided on and settled.
fn limits_and_budgets(stopwatch: &mut Stopwatch, config: &Memory) {
    let limits = Limits::new(Incarnation([7; 16]), true);
    let (now, metadata) = (memory::now(), BTreeMap::new());
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let resolved = resolve(config, "chat").expect("it is there");
    let estimate = Estimate {
        input: 100,
        output: 600,
        most_output: 600,
        is_open: false,
    };
    let used = Settled {
        tokens: 650,
        cost: 900,
    };
    let settle = |asked: &Asked<'_>| {
        match limits.decide(asked, now, Turn::First).outcome {
            Outcome::Admitted(it) => it.reservation.settle(&limits, used),
            other => panic!("nobody refuses: {other:?}"),
        };
    };
    stopwatch.time("charge_and_settle_two_limits", || {
        let mut asked = Asked::new(estimate);
        asked.of_key(black_box(caller.key));
        settle(&asked);
    });
    let archives = [budget(81), budget(82)].map(|it| Entry::BudgetPolicy(it).archive());
    let budgets = Rules::compile_budgets(archives.iter().map(|archive| {
        rkyv::access::<ArchivedBudgetPolicyEntry, Failure>(archive).expect("made here")
    }));
    stopwatch.time("charge_and_settle_two_limits_and_two_budgets", || {
        let mut asked = Asked::new(estimate);
        asked.of_key(black_box(caller.key));
        let facts = Facts::of(config, caller, resolved, &metadata);
        let spend = Spend {
            bounded: Take {
                tokens: 700,
                cost: 3_000,
            },
            ..Spend::default()
        };
        asked.of_budgets(&budgets.all(&facts), spend, &facts);
        settle(&asked);
    });
    let mut asked = Asked::new(estimate);
    asked.of_key(caller.key);
    let facts = Facts::of(config, caller, resolved, &metadata);
    asked.of_budgets(&budgets.all(&facts), Spend::default(), &facts);
    let mut seen = limits.decide(&asked, now, Turn::First).seen;
    seen.truncate(3);
    records(stopwatch, seen);
}

/// As the thread of a request writes its record behind its answer: without limits, and with three that were asked.
fn records(stopwatch: &mut Stopwatch, seen: Vec<LimitSeen>) {
    let mut written = Written::default();
    let mut write = |name: &str, limits: Option<Vec<LimitSeen>>| {
        let record = UsageRecord {
            limits,
            ..answered()
        };
        stopwatch.time(name, || {
            written.clear();
            written.add(black_box(&record));
        });
    };
    write("write_a_record", None);
    write("write_a_record_of_three_limits", Some(seen));
}

/// One that a model of a virtual model has answered.
fn answered() -> UsageRecord {
    let tokens = Tokens {
        input: 1_200,
        output: 650,
        ..Tokens::default()
    };
    let (model, target) = (ModelId::from_bytes(BIG), "openai/gpt-4o-mini".to_owned());
    UsageRecord {
        request: Uuid::from_u128(7),
        received_at: memory::now(),
        epoch: None,
        position: 70_000,
        endpoint: CHAT,
        streamed: true,
        key: Some(Id::from_bytes(KEY)),
        owner: Some(Owner::User(Id::from_bytes(BOB))),
        requested_model: "chat".to_owned(),
        resolved: Some(ModelRef::Model(model)),
        answered_by: Some(model),
        target: Some(target.clone()),
        attempts: vec![Attempt {
            model,
            target,
            status: Some(200),
            error: None,
            began_us: 40,
            first_byte_us: Some(312_000),
            duration_us: 9_700_000,
            sent: Some(true),
            tokens: Some(tokens),
            first_token_us: Some(313_000),
            per_output_token_us: Some(14_000),
        }],
        outcome: Ended::Success,
        status: 200,
        error_code: None,
        rules: vec!["grant:3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d".to_owned()],
        seed: u64::MAX / 3,
        routing: None,
        tokens,
        cost: Some(NanoUsd::new(4_000_000)),
        duration_us: 9_700_050,
        first_byte_us: Some(312_040),
        metadata: BTreeMap::new(),
        budgets: None,
        limits: None,
    }
}

/// A budget for everybody that nobody reaches.
fn budget(id: u8) -> BudgetPolicyEntry {
    BudgetPolicyEntry {
        id: [id; 16],
        name: "everybody".to_owned(),
        order: 1,
        created_at_us: 0,
        subjects_in: Vec::new(),
        subjects_not_in: Vec::new(),
        models_in: Vec::new(),
        models_not_in: Vec::new(),
        metadata: Vec::new(),
        applies_per: Vec::new(),
        limits: vec![BudgetLimitEntry {
            amount: BudgetUnitEntry::Cost,
            window: BudgetWindowEntry::Month,
            most: u64::MAX,
        }],
        overrides: Vec::new(),
        audits: false,
        closed_when_cut_off: false,
        alerts: Vec::new(),
        disabled: false,
    }
}

/// How the time to find the rule that applies depends on how many others there are, and what a decision over many counters
/// takes; and that neither takes memory.
fn of_many(stopwatch: &mut Stopwatch, config: &Memory) {
    let caller = Caller {
        key: config.key(&KEY).expect("it is there"),
    };
    let resolved = resolve(config, "chat").expect("it is there");
    let metadata = [("project", "mine"), ("environment", "production")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let metadata = BTreeMap::from(metadata);
    let facts = Facts::of(config, caller, resolved, &metadata);
    let find = |rules: &Rules| {
        let rule = black_box(rules).first(black_box(&facts));
        rule.map(|rule| rule.segments(&facts)[0])
    };
    for strangers in [10, 1_000, 100_000] {
        let rules = strangers::among(strangers);
        stopwatch.time(&format!("match_among_{strangers}_rules"), || find(&rules));
    }
    let (few, many) = (strangers::among(10), strangers::among(100_000));
    stopwatch.ratio("match_ratio_100k", || find(&many), || find(&few));
    let allocations = taken(|| {
        black_box(find(&many));
    });
    stopwatch.note("match_allocations", allocations as f64);

    let (mut counters, mut charges) = twenty::counters(u64::MAX);
    let mut micros = 0;
    let mut decide = || {
        micros += 1_000;
        let now = twenty::at(micros);
        admit(&mut counters[..], &mut charges, twenty::TOGETHER, now).is_ok()
    };
    stopwatch.time("admit_at_20_counters", &mut decide);
    let allocations = taken(|| {
        for _ in 0..1_000 {
            black_box(decide());
        }
    });
    stopwatch.note("admit_allocations", allocations as f64);
}

/// A key of Bob's with two limits that nobody reaches, and a grant of everything.
fn organisation() -> Memory {
    let mut entries = memory::organisation();
    entries.retain(|entry| !matches!(entry, Entry::Key(_)));
    entries.push(Entry::Key(KeyEntry {
        requests_per_minute: Some(u32::MAX.into()),
        tokens_per_minute: Some(u64::from(u32::MAX) << 8),
        ..memory::key(OwnerEntry::User(BOB))
    }));
    entries.push(memory::grant(
        61,
        SubjectEntry::User(BOB),
        vec![ModelRefEntry::All],
    ));
    Memory::with(entries)
}

// === what comes from a provider ===

fn answers(stopwatch: &mut Stopwatch) {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 700\r\ndate: Mon, 30 Nov 2026 \
        10:00:00 GMT\r\nopenai-processing-ms: 312\r\nopenai-version: 2020-10-01\r\nx-request-id: req_1\r\n\r\n";
    let mut read = BytesMut::new();
    stopwatch.time("take_head", || {
        read.clear();
        read.extend_from_slice(head);
        take_head(&mut read).map(|head| head.is_some())
    });
    let answer = br#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":
        {"role":"assistant","content":"She is between Lisbon and Dakar."},"finish_reason":"stop"}],"usage":
        {"prompt_tokens":120,"completion_tokens":9,"total_tokens":129}}"#;
    stopwatch.time("usage_of_an_answer", || {
        usage_of(Dialect::OpenAi, black_box(answer))
    });
    let event = Bytes::from_static(
        br#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":" Dakar"},"finish_reason":null}]}

"#,
    );
    let mut events = Events::new(Dialect::OpenAi, true);
    stopwatch.time("pass_an_event", || events.push(&event).len());
    let burst: Bytes = std::iter::repeat_n(&event[..], 64)
        .flatten()
        .copied()
        .collect();
    stopwatch.time("pass_64_events_at_once", || events.push(&burst).len());
    // As all streams are: their text is kept in case that it has to be counted.
    let allowance = Allowance::default();
    stopwatch.time("pass_and_hear_64_events_at_once", || {
        let events = Events::new(Dialect::OpenAi, true);
        let mut events = events.heard_with(allowance.open());
        events.push(&burst).len()
    });
}

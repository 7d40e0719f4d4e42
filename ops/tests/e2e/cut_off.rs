//! What gateways do with limits that hear nothing of each other any more: what each policy says.

use std::time::{Duration, Instant};

use events_schema::api::analytics::{RefusalEffect, RefusalItem, RequestDetail, RequestItem};
use events_schema::events::LimitWhenCutOff;
use events_schema::usage::{CounterSeen, LimitOf, LimitSeen, Outcome};
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::{self, Answer};
use crate::limits::Scene;
use crate::refusals::{make, refusals};
use crate::stack::{Info, block_on, wait_until};

/// No gateway takes itself for cut off sooner after the last word that it has heard, less a second in which that was said.
const NOT_BEFORE: Duration = Duration::from_secs(9);

/// How many requests a day each of the policies lets through.
const MOST: u64 = 3;

/// Those that add up what gateways admit.
const WORKERS: [&str; 2] = ["projections", "projections-2"];

/// A policy for a project that is called like its choice.
fn policy(then: &str, most: u64) -> Value {
    json!({
        "type": "create_rate_limit_policy", "name": then, "order": 1,
        "rule": {
            "when": {
                "subjects": { "in": [], "not_in": [] },
                "models": { "in": [], "not_in": [] },
                "metadata": { "project": { "in": [then], "not_in": [] } },
            },
            "applies_per": [],
            "limits": [{ "unit": "requests", "window": "day", "limit": most }],
            "overrides": [], "mode": "enforce", "when_cut_off": then,
        },
    })
}

/// A request of a project.
async fn ask(gateway: &Info, project: &str) -> Answer {
    let value = |text: String| HeaderValue::from_str(&text).expect("it is ASCII");
    let metadata = HeaderName::from_static("x-sluice-metadata");
    let headers = [
        (AUTHORIZATION, value(format!("Bearer {}", gateway.api_key))),
        (metadata, value(json!({ "project": project }).to_string())),
    ];
    let body = json!({
        "model": "mock/fast", "max_tokens": 8,
        "messages": [{ "role": "user", "content": "again" }],
    });
    let url = format!("{}/v1/chat/completions", gateway.gateway);
    let answer = client::call(Method::POST, &url, &headers, Some(&body)).await;
    answer.expect("the gateway answers")
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.headers.get(name);
    let value = value.unwrap_or_else(|| panic!("{name} is lacking: {answer:?}"));
    value.to_str().expect("it is ASCII")
}

/// How many of ten requests of a project are let through; the others are told that the limit is reached.
async fn admitted_of_ten(gateway: &Info, project: &str) -> u64 {
    let mut admitted = 0;
    for _ in 0..10 {
        let answer = ask(gateway, project).await;
        match answer.status.as_u16() {
            200 => admitted += 1,
            429 => {}
            other => panic!("{project}: {other}: {}", answer.text()),
        }
    }
    admitted
}

/// Waits until a request of a project is answered with this status; returns that answer.
async fn until_answered(gateway: &Info, project: &str, status: u16) -> Answer {
    wait_until("requests are answered otherwise", || async {
        let answer = ask(gateway, project).await;
        if answer.status == status {
            Ok(answer)
        } else {
            Err(format!("{}: {}", answer.status, answer.text()))
        }
    })
    .await
}

#[test]
fn a_gateway_that_is_cut_off_does_what_each_policy_says() {
    block_on(async {
        let scene = Scene::set().await;
        let [first, second] = &scene.gateways;
        let session = &scene.session;
        let (closed, _) = make(session, 1, policy("closed", 1_000_000)).await;
        make(session, 2, policy("alone", MOST)).await;
        let (_, position) = make(session, 3, policy("open", MOST)).await;
        scene.both_serve(position).await;
        assert_eq!(ask(first, "closed").await.status, 200);

        for worker in WORKERS {
            scene.stack.signal(worker, Signal::SIGSTOP);
        }
        let cut_off = Instant::now();
        let refused = until_answered(first, "closed", 503).await;
        assert!(cut_off.elapsed() > NOT_BEFORE, "{:?}", cut_off.elapsed());
        let text = refused.text();
        assert!(text.contains("rate_limit_unavailable"), "{text}");
        assert!(
            text.contains("policy 'closed' (1000000 requests per day) cannot be checked"),
            "{text}"
        );
        assert_eq!(header(&refused, "retry-after"), "1");
        until_answered(second, "closed", 503).await;
        // Each keeps the limit by itself.
        for gateway in [first, second] {
            assert_eq!(admitted_of_ten(gateway, "alone").await, MOST);
        }
        assert_eq!(admitted_of_ten(first, "open").await, 10);

        for worker in WORKERS {
            scene.stack.signal(worker, Signal::SIGCONT);
        }
        for gateway in [first, second] {
            until_answered(gateway, "closed", 200).await;
            // What was let through has been counted.
            until_answered(gateway, "open", 429).await;
        }

        let path = format!("/analytics/requests/{}", header(&refused, "x-request-id"));
        let detail: RequestDetail = wait_until("the ledger has it", || async {
            let answer = session.try_get(&path).await?;
            answer.json().map_err(|failure| failure.to_string())
        })
        .await;
        let RequestItem {
            outcome,
            status,
            error_code,
            ..
        } = &detail.request;
        assert_eq!((*outcome, *status), (Outcome::LimitExceeded, 503));
        assert_eq!(error_code.as_deref(), Some("rate_limit_unavailable"));
        // A budget that only audits comes with the example.
        let mut limits = detail.limits.iter();
        let is_limit = |it: &&LimitSeen| matches!(it.of, LimitOf::RateLimitPolicy(_));
        let seen = limits.find(is_limit).expect("one refused");
        let CounterSeen::Shared { cut_off, .. } = seen.counter else {
            panic!("of a rate limit: {seen:?}")
        };
        assert!(seen.exceeded);
        assert_eq!(cut_off, Some(LimitWhenCutOff::Closed));
        let by = format!("rate_limit_policy:{closed}");
        let all = refusals(session, "").await.items;
        let is_it = |it: &RefusalItem| it.by == by && it.effect == RefusalEffect::Refused;
        assert!(all.iter().any(is_it), "{by}: {all:?}");
    });
}

//! Traces: what a collector is told, what providers are, and that nobody waits for either.

use std::{fs, os::unix::fs::PermissionsExt as _};

use gateway::trace::otlp::SpanKind;
use http::Method;
use http_body_util::BodyExt as _;

use crate::support::{
    client::Answer,
    collector::{Collector, Seen, Takes, attribute},
    eventually, free_address,
    gateway::{Gateway, Scene},
    nats::Nats,
    provider::{End, Provider, Reply, Request, answer, error, word},
    snapshots::{KEY, Snapshots},
};

const QUESTION: &str =
    r#"{"model":"both","messages":[{"role":"user","content":"a secret question"}]}"#;
const STREAM: &str = r#"{"model":"both","stream":true,"messages":[]}"#;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS: &str = "00f067aa0ba902b7";

async fn scene(collector: &Collector, flags: &[&str]) -> Scene {
    let url = collector.url();
    Scene::set(&[&["--otlp-endpoint", &url], flags].concat()).await
}

/// A chat of a caller that has a span of its own.
async fn ask(gateway: &Gateway, body: &str, sampled: bool) -> Answer {
    ask_with(gateway, body, sampled, &[]).await
}

/// The same, with more headers.
async fn ask_with(gateway: &Gateway, body: &str, sampled: bool, more: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let parent = format!("00-{TRACE}-{CALLERS}-0{}", u8::from(sampled));
    let headers = [
        ("authorization", bearer.as_str()),
        ("traceparent", parent.as_str()),
        ("tracestate", "congo=t61rcWkgMzE"),
    ];
    let headers = [&headers[..], more].concat();
    let mut client = gateway.client().await;
    client
        .send(Method::POST, "/v1/chat/completions", &headers, body)
        .await
}

/// The value of a header in a head; it stands there once at most.
fn header(request: &Request, name: &str) -> Option<String> {
    let mut found = request.head.lines().filter_map(|line| {
        let (key, value) = line.split_once(": ")?;
        (key.eq_ignore_ascii_case(name)).then(|| value.to_owned())
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{name} twice in {}", request.head);
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_attempt_are_spans_of_the_callers_trace() {
    let collector = Collector::start().await;
    let scene = scene(&collector, &[]).await;
    let body = r#"{"id":"x","model":"upstream-first-2026","choices":[{"message":{"content":"a secret answer"}}],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    scene
        .one
        .replies(Reply::Whole(200, "application/json", body.into()));
    let answer = ask(&scene.gateway, QUESTION, true).await;
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id");
    let (own, attempts) = collector.spans_of(id).await;
    let [attempt] = &attempts[..] else {
        panic!("one attempt: {attempts:?}");
    };

    assert!(own.is(SpanKind::Server) && attempt.is(SpanKind::Client));
    assert_eq!((own.trace(), own.parent()), (TRACE.into(), CALLERS.into()));
    assert_eq!(attempt.trace(), TRACE);
    assert_eq!((own.0.flags, attempt.0.flags), (0x301, 0x101));
    assert_eq!(own.0.trace_state, "congo=t61rcWkgMzE");
    assert_eq!(own.0.name, "POST /v1/chat/completions");
    assert_eq!(attempt.0.name, "chat upstream-first");
    assert!(!own.has_failed() && !attempt.has_failed());
    let (begin, end) = (own.0.start_time_unix_nano, own.0.end_time_unix_nano);
    assert!(begin <= attempt.0.start_time_unix_nano, "{own:?}");
    assert!(attempt.0.start_time_unix_nano < attempt.0.end_time_unix_nano);
    assert!(attempt.0.end_time_unix_nano <= end, "{own:?}");

    let check = |span: &Seen, expected: &[(&str, &str)]| {
        for (key, value) in expected {
            assert_eq!(&span.attribute(key), value, "{key} of {span:?}");
        }
    };
    let record = scene.record_of(&answer).await;
    let key = record.key.expect("it is known").to_string();
    check(
        &own,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/v1/chat/completions"),
            ("http.response.status_code", "200"),
            ("sluice.outcome", "success"),
            ("sluice.requested_model", "both"),
            ("sluice.target", "one/first"),
            ("sluice.position", "11"),
            ("sluice.attempts", "1"),
            ("sluice.key.id", &key),
            // 6 tokens at 2,000 nano-dollars, 4 from the cache at 1,000, 5 at 4,000.
            ("sluice.cost_nano_usd", "36000"),
            ("error.type", ""),
            ("gen_ai.usage.input_tokens", ""),
        ],
    );
    assert_ne!(own.attribute("sluice.virtual_model.id"), "");
    let host = scene.one.base_url();
    let port = host.rsplit([':', '/']).nth(1).expect("a port");
    check(
        attempt,
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "upstream-first"),
            ("gen_ai.response.model", "upstream-first-2026"),
            ("gen_ai.usage.input_tokens", "10"),
            ("gen_ai.usage.output_tokens", "5"),
            ("gen_ai.usage.cache_read.input_tokens", "4"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", port),
            ("sluice.attempt", "0"),
            ("sluice.target", "one/first"),
            ("sluice.tokens.estimated", "false"),
            ("error.type", ""),
        ],
    );

    let told = scene.one.requests().pop().expect("it was asked");
    let expected = format!("00-{TRACE}-{}-01", attempt.id());
    assert_eq!(header(&told, "traceparent"), Some(expected));
    let state = Some("congo=t61rcWkgMzE".to_owned());
    assert_eq!(header(&told, "tracestate"), state);

    let batch = collector.batches().pop().expect("there is one");
    assert_eq!(batch.path, "/v1/traces");
    assert_eq!(batch.headers["content-type"], "application/x-protobuf");
    let resource = batch.request.resource_spans[0].resource.clone();
    let resource = resource.expect("it says who it is").attributes;
    assert_eq!(attribute(&resource, "service.name"), "sluice-gateway");
    let text = String::from_utf8_lossy(&batch.bytes).into_owned();
    for kept_back in ["secret", KEY] {
        assert!(!text.contains(kept_back), "{kept_back} is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_is_a_span_of_its_own() {
    let collector = Collector::start().await;
    let scene = scene(&collector, &[]).await;
    scene.one.replies(error(503));
    // The first target is tried twice, and then the other one.
    let again = r#"{"attempts":1,"onStatusCodes":[503]}"#;
    let more = [("x-sluice-retry-config", again)];
    let answer = ask_with(&scene.gateway, QUESTION, true, &more).await;
    assert_eq!(answer.header("x-sluice-target"), "two/second");
    let (own, attempts) = collector.spans_of(answer.header("x-request-id")).await;
    let [first, again, answered] = &attempts[..] else {
        panic!("three attempts: {attempts:?}");
    };
    assert!(!own.has_failed());
    for failed in [first, again] {
        assert!(failed.has_failed() && failed.says("error.type", "503"));
        assert!(failed.says("http.response.status_code", "503"));
        assert!(failed.says("gen_ai.usage.input_tokens", ""), "{failed:?}");
        assert!(failed.0.end_time_unix_nano <= answered.0.start_time_unix_nano);
    }
    assert!(!answered.has_failed() && answered.says("sluice.attempt", "2"));
    let asked = [scene.one.requests(), scene.two.requests()].concat();
    let told: Vec<_> = asked.iter().map(|it| header(it, "traceparent")).collect();
    let parent = |attempt: &Seen| Some(format!("00-{TRACE}-{}-01", attempt.id()));
    assert_eq!(told, [parent(first), parent(again), parent(answered)]);

    // When nobody answers, the request has failed as well.
    scene.one.replies(Reply::Break);
    scene.two.replies(Reply::Break);
    let answer = ask(&scene.gateway, QUESTION, true).await;
    let (own, attempts) = collector.spans_of(answer.header("x-request-id")).await;
    assert!(own.has_failed() && own.says("sluice.outcome", "provider_unreachable"));
    assert_eq!(attempts.len(), 2);
    for attempt in attempts {
        assert!(attempt.has_failed() && attempt.says("error.type", "broken"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_a_span_up_to_its_end() {
    let collector = Collector::start().await;
    let scene = scene(&collector, &[]).await;
    let first =
        "data: {\"model\":\"m-1\",\"choices\":[{\"delta\":{\"content\":\"Hello, world!\"}}]}\n\n";
    let pieces = vec![
        first.to_owned(),
        word(" Hello"),
        "data: [DONE]\n\n".to_owned(),
    ];
    scene.one.replies(Reply::Stream(pieces.clone(), End::Well));
    let answer = ask(&scene.gateway, STREAM, true).await;
    let (own, attempts) = collector.spans_of(answer.header("x-request-id")).await;
    let attempt = &attempts[0];
    assert!(own.says("sluice.stream", "true") && !own.has_failed());
    assert!(attempt.says("gen_ai.request.stream", "true"));
    assert!(attempt.says("gen_ai.response.model", "m-1"));
    let first_chunk = attempt.attribute("gen_ai.response.time_to_first_chunk");
    let seconds: f64 = first_chunk.parse().expect("seconds");
    assert!((0.0..30.0).contains(&seconds), "{seconds}");
    // The provider said nothing of usage: it was counted before the spans were told.
    assert!(attempt.says("sluice.tokens.estimated", "true"));
    assert!(
        attempt.says("gen_ai.usage.input_tokens", "3"),
        "{attempt:?}"
    );
    assert!(
        attempt.says("gen_ai.usage.output_tokens", "5"),
        "{attempt:?}"
    );

    scene
        .one
        .replies(Reply::Stream(pieces[..1].to_vec(), End::Cut));
    let answer = ask(&scene.gateway, STREAM, true).await;
    let (own, attempts) = collector.spans_of(answer.header("x-request-id")).await;
    assert!(own.has_failed() && own.says("sluice.outcome", "stream_cut"));
    assert!(attempts[0].has_failed() && attempts[0].says("error.type", "broken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_and_who_went_away_are_told_without_a_failure() {
    let collector = Collector::start().await;
    let scene = scene(&collector, &[]).await;
    let answer = ask(&scene.gateway, r#"{"model":"no/such"}"#, true).await;
    let (own, attempts) = collector.spans_of(answer.header("x-request-id")).await;
    assert_eq!(attempts.len(), 0);
    assert!(own.says("http.response.status_code", "404"));
    assert!(own.says("error.type", "model_not_found"), "{own:?}");
    assert!(!own.has_failed(), "it is the caller's mistake");

    scene
        .one
        .replies(Reply::Stream(vec![word("Hello")], End::Never));
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let mut client = scene.gateway.client().await;
    let response = client
        .begin(Method::POST, "/v1/chat/completions", &headers, STREAM)
        .await;
    let id = response.headers()["x-request-id"].clone();
    let frame = response.into_body().frame().await.expect("a frame");
    frame.expect("data");
    client.vanish();
    let id = id.to_str().expect("text");
    let (own, attempts) = collector.spans_of(id).await;
    assert!(own.says("sluice.outcome", "client_gone") && !own.has_failed());
    assert_eq!(own.parent(), "", "the trace begins here");
    assert_eq!(attempts.len(), 1);
    assert!(attempts[0].says("gen_ai.usage.output_tokens", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_record_is_not_told_of_and_the_trace_goes_on() {
    let collector = Collector::start().await;
    let scene = scene(&collector, &["--otlp-sample-ratio", "0"]).await;
    let answer = ask(&scene.gateway, QUESTION, false).await;
    assert_eq!(answer.status, 200);
    let told = scene.one.requests().pop().expect("it was asked");
    let parent = header(&told, "traceparent").expect("it is told");
    let span = parent
        .strip_prefix(&format!("00-{TRACE}-"))
        .and_then(|rest| rest.strip_suffix("-00"))
        .expect("the caller's trace, not recorded");
    assert_ne!(span, CALLERS, "the gateway's own span");
    assert!(header(&told, "tracestate").is_some());

    // No trace of its own, and a broken one: one begins, which this ratio does not record.
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("traceparent", "00-broken-01"),
        ("tracestate", "of=nothing"),
    ];
    let mut client = scene.gateway.client().await;
    let answer = client
        .send(Method::POST, "/v1/chat/completions", &headers, QUESTION)
        .await;
    assert_eq!(answer.status, 200);
    let told = scene.one.requests().pop().expect("it was asked");
    let parent = header(&told, "traceparent").expect("it is told");
    assert!(parent.ends_with("-00") && parent.len() == 55, "{parent}");
    assert_eq!(header(&told, "tracestate"), None, "the state of no trace");

    // The next one is recorded, and comes alone.
    let answer = ask(&scene.gateway, QUESTION, true).await;
    collector.spans_of(answer.header("x-request-id")).await;
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_callers_context_passes_as_it_is() {
    let scene = Scene::set(&[]).await;
    ask(&scene.gateway, QUESTION, true).await;
    let told = scene.one.requests().pop().expect("it was asked");
    let expected = format!("00-{TRACE}-{CALLERS}-01");
    assert_eq!(header(&told, "traceparent"), Some(expected));
    assert!(header(&told, "tracestate").is_some());
    scene.gateway.chat(QUESTION).await;
    let told = scene.one.requests().pop().expect("it was asked");
    assert_eq!(header(&told, "traceparent"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_silent_costs_nobody_anything() {
    let collector = Collector::start().await;
    collector.takes(Takes::Nothing);
    let bound = 40;
    let flags = ["--otlp-max-waiting-spans", "40"];
    let scene = scene(&collector, &flags).await;
    // The collector has a batch, and says nothing for as long as this test takes: whoever waited for it would show.
    ask(&scene.gateway, QUESTION, true).await;
    collector.refused(1).await;
    let requests = 200;
    for _ in 0..requests {
        let answer = ask(&scene.gateway, QUESTION, true).await;
        assert_eq!(answer.status, 200);
    }
    let dropped = r#"sluice_gateway_spans_dropped_total{place="queue"}"#;
    eventually("what has no room is counted", async || {
        let dropped = scene.gateway.metric(dropped).await;
        (dropped >= 2 * requests - bound).then_some(())
    })
    .await;
    let exported = "sluice_gateway_spans_exported_total";
    assert_eq!(scene.gateway.metric(exported).await, 0);
    // Records do not wait either.
    eventually("all records arrive", async || {
        let batches = scene.nats.batches().await;
        let records: usize = batches.iter().map(|batch| batch.records.len()).sum();
        (records == 201).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_counted_and_holds_up_no_end() {
    let url = format!("http://{}", free_address());
    let flags = ["--otlp-endpoint", &url, "--otlp-max-waiting-spans", "10"];
    let mut scene = Scene::set(&flags).await;
    for _ in 0..20 {
        assert_eq!(ask(&scene.gateway, QUESTION, true).await.status, 200);
    }
    let dropped = r#"sluice_gateway_spans_dropped_total{place="queue"}"#;
    eventually("what has no room is counted", async || {
        (scene.gateway.metric(dropped).await >= 30).then_some(())
    })
    .await;
    scene.gateway.terminate();
    assert!(scene.gateway.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_cannot_take_now_is_sent_again_and_what_it_refuses_is_not() {
    let collector = Collector::start().await;
    let scene = scene(&collector, &[]).await;
    collector.takes(Takes::Not(503));
    let answer = ask(&scene.gateway, QUESTION, true).await;
    collector.refused(1).await;
    collector.takes(Takes::All);
    collector.spans_of(answer.header("x-request-id")).await;

    collector.takes(Takes::Not(400));
    ask(&scene.gateway, QUESTION, true).await;
    let dropped = r#"sluice_gateway_spans_dropped_total{place="collector"}"#;
    eventually("what was refused is counted", async || {
        (scene.gateway.metric(dropped).await == 2).then_some(())
    })
    .await;
    let exported = "sluice_gateway_spans_exported_total";
    assert_eq!(scene.gateway.metric(exported).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_over_tls_is_told_its_secret_and_what_was_left_at_the_end() {
    let (collector, certificate) = Collector::start_with_tls().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("headers");
    fs::write(
        &file,
        "# for the collector\nauthorization: Bearer s3cret\n\nx-tenant: a\n",
    )
    .expect("writable");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let nats = Nats::start().await;
    let one = Provider::start(answer()).await;
    let two = Provider::start(answer()).await;
    Snapshots::of(&one, &two)
        .publish(&nats.jetstream().await)
        .await;
    let (url, file) = (collector.url(), file.to_str().expect("text"));
    let flags = ["--otlp-endpoint", &url, "--otlp-headers-file", file];
    let mut gateway = Gateway::prepare(&nats, &flags);
    gateway.trust(&certificate);
    gateway.run();
    gateway.ready().await;
    let answer = ask(&gateway, QUESTION, true).await;
    // Its end does not wait until the batch has gathered for long enough.
    gateway.terminate();
    assert!(gateway.ended().await);
    collector.spans_of(answer.header("x-request-id")).await;
    let batch = collector.batches().pop().expect("there is one");
    assert_eq!(batch.headers["authorization"], "Bearer s3cret");
    assert_eq!(batch.headers["x-tenant"], "a");
}

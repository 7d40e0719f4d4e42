//! The mock over a real socket, asked by a raw hyper client.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::server::Mock;

/// A running mock and one connection to it.
struct Bench {
    address: std::net::SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Bench {
    async fn start(key: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(Mock::new(key.map(HeaderValue::from_static), 8).serve(listener));
        Self {
            address,
            sender: connect(address).await,
        }
    }

    async fn send(
        &mut self,
        path: &str,
        script: &str,
        body: &Value,
    ) -> hyper::Result<Response<Incoming>> {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        let request = Request::builder()
            .method(if body.is_empty() { "GET" } else { "POST" })
            .uri(path)
            .header("x-mock-script", script)
            .body(Full::new(body))
            .expect("is a request");
        if self.sender.ready().await.is_err() {
            self.sender = connect(self.address).await;
        }
        self.sender.send_request(request).await
    }

    async fn document(&mut self, path: &str, script: &str, body: &Value) -> (StatusCode, Value) {
        let response = self.send(path, script, body).await.expect("answers");
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("has a body")
            .to_bytes();
        (status, serde_json::from_slice(&bytes).expect("is JSON"))
    }

    /// The data of each event of a chat that arrived, and whether the stream ended well.
    async fn events(&mut self, script: &str, body: &Value) -> (Vec<String>, bool) {
        let (text, ended_well) = self.stream(CHAT, script, body).await;
        let data = text.split_terminator("\n\n").map(|event| {
            event
                .strip_prefix("data: ")
                .expect("each event is one data line")
                .to_owned()
        });
        (data.collect(), ended_well)
    }

    /// All of a stream that arrived, and whether it ended well.
    async fn stream(&mut self, path: &str, script: &str, body: &Value) -> (String, bool) {
        let response = self.send(path, script, body).await.expect("answers");
        let mut body = response.into_body();
        let mut text = Vec::new();
        let ended_well = loop {
            match body.frame().await {
                None => break true,
                Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().expect("is data")),
                Some(Err(_)) => break false,
            }
        };
        let text = String::from_utf8(text).expect("is UTF-8");
        (text, ended_well)
    }
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

async fn connect(address: std::net::SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("shakes hands");
    tokio::spawn(connection);
    sender
}

fn ask(model: &str) -> Value {
    json!({ "model": model, "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "How far is the sea?" }] },
    ]})
}

fn streamed(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    body
}

#[tokio::test]
async fn usage_follows_the_documented_rule() {
    let mut bench = Bench::start(None).await;
    let (status, answer) = bench.document(CHAT, "", &ask("mock-tokens-5")).await;
    assert_eq!(status, StatusCode::OK);
    let text = answer["choices"][0]["message"]["content"]
        .as_str()
        .expect("has a text");
    assert_eq!(text.len(), 5 * 4 - 1);
    assert_eq!(answer["usage"]["prompt_tokens"], 3 + 5, "9 and 19 bytes");
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    assert_eq!(answer["usage"]["total_tokens"], 13);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn the_same_request_and_seed_give_the_same_bytes() {
    let mut bench = Bench::start(None).await;
    let first = bench.document(CHAT, "seed=7", &ask("fast")).await;
    assert_eq!(first, bench.document(CHAT, "seed=7", &ask("fast")).await);
    assert_eq!(
        first,
        Bench::start(None)
            .await
            .document(CHAT, "seed=7", &ask("fast"))
            .await
    );
    let other = bench.document(CHAT, "seed=8", &ask("fast")).await;
    assert_ne!(first.1["id"], other.1["id"]);
    assert_ne!(first.1["choices"], other.1["choices"]);
}

#[tokio::test]
async fn a_stream_carries_the_same_text_and_usage_as_the_whole_answer() {
    let mut bench = Bench::start(None).await;
    let (_, whole) = bench.document(CHAT, "", &ask("mock-tokens-6")).await;
    let (events, ended_well) = bench.events("", &streamed("mock-tokens-6")).await;
    assert!(ended_well);
    assert_eq!(
        events.len(),
        1 + 6 + 1 + 1 + 1,
        "role, tokens, end, usage, [DONE]"
    );
    assert_eq!(events[9], "[DONE]");
    let chunks: Vec<Value> = events[..9]
        .iter()
        .map(|data| serde_json::from_str(data).expect("is JSON"))
        .collect();
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"]);
    assert_eq!(chunks[8]["usage"], whole["usage"]);
    assert_eq!(chunks[0]["id"], whole["id"]);
    assert_eq!(chunks[0]["usage"], Value::Null);
}

#[tokio::test]
async fn max_tokens_shortens_the_answer() {
    let mut bench = Bench::start(None).await;
    let mut body = ask("mock-tokens-9");
    body["max_completion_tokens"] = json!(4);
    let (_, answer) = bench.document(CHAT, "", &body).await;
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn scripted_errors_have_openais_shape() {
    let mut bench = Bench::start(None).await;
    let response = bench
        .send(CHAT, "error=429,retry_after=2", &ask("fast"))
        .await
        .expect("answers");
    assert_eq!(response.headers()["retry-after"], "2");
    let (status, answer) = bench.document(CHAT, "", &ask("mock-error-503")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["error"]["type"], "server_error");
    assert_eq!(answer["error"]["code"], Value::Null);
    let (status, answer) = bench.document(CHAT, "pace=3", &ask("fast")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        answer["error"]["message"]
            .as_str()
            .expect("is a text")
            .contains(r#"no key "pace""#)
    );
}

#[tokio::test]
async fn streams_break_where_the_script_says() {
    let mut bench = Bench::start(None).await;
    let (events, ended_well) = bench.events("cut_after=3", &streamed("fast")).await;
    assert_eq!((events.len(), ended_well), (3, false));
    let (events, ended_well) = bench.events("", &streamed("mock-malformed-2")).await;
    let broken: Vec<usize> = (0..events.len() - 1)
        .filter(|index| serde_json::from_str::<Value>(&events[*index]).is_err())
        .collect();
    assert_eq!((broken, ended_well), (vec![1], true));
    let (events, ended_well) = bench.events("fail_after=2", &streamed("fast")).await;
    assert_eq!((events.len(), ended_well), (3, true));
    assert!(events[2].starts_with(r#"{"error":"#));
}

#[tokio::test]
async fn whole_answers_break_too() {
    let mut bench = Bench::start(None).await;
    assert!(bench.send(CHAT, "cut_after=0", &ask("fast")).await.is_err());
    let cut = bench
        .send(CHAT, "cut_after=1", &ask("fast"))
        .await
        .expect("begins");
    assert!(cut.into_body().collect().await.is_err());
    let malformed = bench
        .send(CHAT, "malformed=1", &ask("fast"))
        .await
        .expect("answers");
    let bytes = malformed
        .into_body()
        .collect()
        .await
        .expect("is whole")
        .to_bytes();
    assert!(serde_json::from_slice::<Value>(&bytes).is_err());
}

#[tokio::test]
async fn latency_and_pace_are_kept() {
    let mut bench = Bench::start(None).await;
    let begun = Instant::now();
    bench.document(CHAT, "latency=60ms", &ask("fast")).await;
    assert!(begun.elapsed() >= Duration::from_millis(60));
    let begun = Instant::now();
    // Role, three words, the end, the usage and [DONE]: six gaps of 10 ms.
    bench.events("tps=100,length=3", &streamed("fast")).await;
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn embeddings_are_the_same_in_both_encodings() {
    let mut bench = Bench::start(None).await;
    let mut body = json!({ "model": "embed", "input": ["a sea", "a fog"], "dimensions": 8 });
    let (_, floats) = bench.document("/v1/embeddings", "", &body).await;
    body["encoding_format"] = json!("base64");
    let (_, packed) = bench.document("/v1/embeddings", "", &body).await;
    assert_eq!(floats["usage"]["prompt_tokens"], 4);
    assert_ne!(
        floats["data"][0]["embedding"],
        floats["data"][1]["embedding"]
    );
    for index in 0..2 {
        let packed = packed["data"][index]["embedding"]
            .as_str()
            .expect("is base64");
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, packed);
        let unpacked: Vec<f32> = bytes
            .expect("is base64")
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().expect("has four bytes")))
            .collect();
        let plain: Vec<f32> = serde_json::from_value(floats["data"][index]["embedding"].clone())
            .expect("is a list of numbers");
        assert_eq!(unpacked, plain);
    }
}

/// The names and the data of events in Anthropic's form.
fn named(text: &str) -> Vec<(String, Value)> {
    let named = |event: &str| {
        let (name, data) = event.split_once('\n').expect("has two lines");
        let name = name.strip_prefix("event: ").expect("is named");
        let data = data.strip_prefix("data: ").expect("has data");
        let data: Value = serde_json::from_str(data).expect("is JSON");
        assert_eq!(data["type"], name);
        (name.to_owned(), data)
    };
    text.split_terminator("\n\n").map(named).collect()
}

#[tokio::test]
async fn messages_are_told_whole_and_in_all_of_anthropics_events() {
    let mut bench = Bench::start(None).await;
    let mut body = json!({
        "model": "mock-tokens-3-cached-200-cache-write-30", "max_tokens": 64,
        "system": "Be brief.",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "How far is the sea?" }] }],
    });
    let (status, whole) = bench.document(MESSAGES, "", &body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(whole["usage"]["input_tokens"], 3 + 5);
    assert_eq!(whole["usage"]["cache_read_input_tokens"], 200);
    assert_eq!(whole["usage"]["cache_creation_input_tokens"], 30);
    assert_eq!(whole["usage"]["output_tokens"], 3);
    assert_eq!(whole["stop_reason"], "end_turn");

    let (_, counted) = bench.document("/v1/messages/count_tokens", "", &body).await;
    assert_eq!(counted, json!({ "input_tokens": 8 }));

    body["stream"] = json!(true);
    let (text, ended_well) = bench.stream(MESSAGES, "", &body).await;
    assert!(ended_well);
    let events = named(&text);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let delta = "content_block_delta";
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        delta,
        delta,
        delta,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    let texts = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["text"].as_str());
    assert_eq!(
        texts.collect::<String>(),
        whole["content"][0]["text"].as_str().expect("is text")
    );
    assert_eq!(
        events[0].1["message"]["usage"]["cache_read_input_tokens"],
        200
    );
    assert_eq!(events[7].1["usage"], json!({ "output_tokens": 3 }));

    body["max_tokens"] = json!(2);
    body["stream"] = json!(false);
    let (_, shorter) = bench.document(MESSAGES, "", &body).await;
    assert_eq!(shorter["stop_reason"], "max_tokens");
    assert_eq!(shorter["usage"]["output_tokens"], 2);
}

#[tokio::test]
async fn scripted_errors_of_messages_have_anthropics_shape() {
    let mut bench = Bench::start(None).await;
    let mut body = json!({
        "model": "claude", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }],
    });
    for (script, code, kind) in [
        ("error=400", 400, "invalid_request_error"),
        ("error=429", 429, "rate_limit_error"),
        ("error=529", 529, "overloaded_error"),
        ("error=500", 500, "api_error"),
    ] {
        let (status, answer) = bench.document(MESSAGES, script, &body).await;
        assert_eq!(status.as_u16(), code);
        assert_eq!(answer["type"], "error");
        assert_eq!(answer["error"]["type"], kind);
    }
    body["stream"] = json!(true);
    let (text, ended_well) = bench.stream(MESSAGES, "fail_after=2", &body).await;
    let events = named(&text);
    assert_eq!((events.len(), ended_well), (3, true));
    assert_eq!(events[2].0, "error");
    body["max_tokens"] = Value::Null;
    let (status, _) = bench.document(MESSAGES, "", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_completion_is_the_same_whole_and_streamed() {
    let mut bench = Bench::start(None).await;
    let path = "/v1/completions";
    let mut body = json!({ "model": "mock-tokens-4-cached-2", "prompt": "How far is the sea?" });
    let (_, whole) = bench.document(path, "", &body).await;
    assert_eq!(whole["object"], "text_completion");
    assert_eq!(whole["usage"]["prompt_tokens"], 5);
    assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
    assert_eq!(whole["usage"]["completion_tokens"], 4);
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let (text, ended_well) = bench.stream(path, "", &body).await;
    assert!(ended_well);
    let events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 4 + 1 + 1 + 1, "tokens, end, usage, [DONE]");
    let data = |event: &&str| -> Option<Value> {
        serde_json::from_str(event.strip_prefix("data: ")?).ok()
    };
    let chunks: Vec<Value> = events.iter().filter_map(data).collect();
    let texts = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str());
    assert_eq!(
        texts.collect::<String>(),
        whole["choices"][0]["text"].as_str().expect("is text")
    );
    assert_eq!(chunks[5]["usage"], whole["usage"]);
}

#[tokio::test]
async fn it_speaks_http2_to_whoever_begins_with_it() {
    let bench = Bench::start(None).await;
    let stream = TcpStream::connect(bench.address).await.expect("connects");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("shakes hands");
    tokio::spawn(connection);
    let mut send = |script: &str| {
        let request = Request::post(format!("http://mock{CHAT}"))
            .header("x-mock-script", script)
            .body(Full::new(Bytes::from(streamed("fast").to_string())))
            .expect("is a request");
        sender.send_request(request)
    };
    // Both at once, on one connection.
    let (whole, cut) = (send("length=4"), send("cut_after=2"));
    let whole = whole.await.expect("answers");
    assert_eq!(whole.version(), http::Version::HTTP_2);
    let whole = whole.into_body().collect().await.expect("is whole");
    assert!(whole.to_bytes().ends_with(b"data: [DONE]\n\n"));
    let cut = cut.await.expect("begins");
    assert!(cut.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_required_key_is_required() {
    let mut bench = Bench::start(Some("Bearer sk-upstream")).await;
    let (status, answer) = bench.document(CHAT, "", &ask("fast")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer["error"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn tests_can_see_what_arrived() {
    let mut bench = Bench::start(None).await;
    bench.document(CHAT, "seed=3", &ask("fast")).await;
    bench.document("/v1/models", "", &Value::Null).await;
    let (_, requests) = bench.document("/mock/requests", "", &Value::Null).await;
    assert_eq!(requests[0]["path"], CHAT);
    assert_eq!(requests[0]["body"], ask("fast").to_string());
    assert!(
        requests[0]["headers"]
            .to_string()
            .contains(r#"["x-mock-script","seed=3"]"#)
    );
    let (_, stats) = bench.document("/mock/stats", "", &Value::Null).await;
    assert_eq!(stats["requests"], 2);
    assert_eq!(stats["statuses"]["200"], 2);
    assert_eq!(stats["open"], 0);
}

#[tokio::test]
async fn what_it_would_charge_for_is_counted_as_it_is_said() {
    let mut bench = Bench::start(None).await;
    let tokens = async |bench: &mut Bench| {
        let (_, stats) = bench.document("/mock/stats", "", &Value::Null).await;
        let number = |name: &str| stats[name].as_u64().expect("a number");
        (number("input_tokens"), number("output_tokens"))
    };
    bench.document(CHAT, "length=40", &ask("fast")).await;
    let (input, output) = tokens(&mut bench).await;
    assert_eq!(output, 40);
    assert!(input > 0);
    // Of a stream that ends early, what came before its end: the first chunk carries no token.
    for (script, said) in [("cut_after=5", 4), ("fail_after=5", 4), ("length=9", 9)] {
        let before = tokens(&mut bench).await;
        bench.stream(CHAT, script, &streamed("fast")).await;
        let after = tokens(&mut bench).await;
        assert_eq!((after.0 - before.0, after.1 - before.1), (input, said));
    }
    bench.document(CHAT, "error=503", &ask("fast")).await;
    assert_eq!(tokens(&mut bench).await.0, 4 * input, "errors are free");
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let mut bench = Bench::start(None).await;
    let response = bench
        .send(CHAT, "stall_after=2", &streamed("fast"))
        .await
        .expect("answers");
    drop(response);
    bench.sender = connect(bench.address).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (_, stats) = bench.document("/mock/stats", "", &Value::Null).await;
        if stats["abandoned"] == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the mock never noticed: {stats}");
        tokio::task::yield_now().await;
    }
}

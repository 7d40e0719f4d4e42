//! The fault matrix, over sockets: providers and callers that break off at every place, say what is not HTTP, or say it slowly.
//!
//! A row says who does what, what the caller sees, and how the request is recorded; [`check`] plays all rows and looks at what
//! came of them: what was seen, exactly one record for each request that was understood and none for any other, the key's
//! limit settled by what was used, as far as it was known at the end, and nothing left under way.
//!
//! - [`provider_cuts`]: the provider breaks off behind each byte of its answer;
//! - [`provider`]: what else providers do;
//! - [`caller_cuts`]: the caller goes away;
//! - [`caller`]: what else callers do.

mod caller;
mod caller_cuts;
mod provider;
mod provider_cuts;
mod wire;

use std::collections::BTreeMap;

use events_schema::usage::{Outcome, UsageRecord};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use self::wire::{Act, Answer, answers, play};
use crate::support::{
    eventually,
    gateway::Scene,
    provider::{Provider, Reply},
    snapshots::{ROW_TOKENS, Snapshots, open_to_everyone, row_key, row_secret, two_is_anthropics},
};

/// How many rows are played at once.
const AT_ONCE: usize = 16;
/// After how many rows their limits are looked at: a key's window is a minute, and moves on.
const BATCH: usize = 128;

/// What is asked, and in whose dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Chat,
    ChatStream,
    Message,
    MessageStream,
}

impl Ask {
    const fn is_openais(self) -> bool {
        matches!(self, Self::Chat | Self::ChatStream)
    }

    const fn path(self) -> &'static str {
        if self.is_openais() {
            "/v1/chat/completions"
        } else {
            "/v1/messages"
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Self::Chat => r#"{"model":"one/first","messages":[]}"#,
            Self::ChatStream => r#"{"model":"one/first","messages":[],"stream":true}"#,
            Self::Message => r#"{"model":"two/second","messages":[],"max_tokens":64}"#,
            Self::MessageStream => {
                r#"{"model":"two/second","messages":[],"max_tokens":64,"stream":true}"#
            }
        }
    }

    /// Its tokens by its length, where nobody states them; by these the key's limit is settled.
    const fn length(self) -> u64 {
        self.body().len().div_ceil(4) as u64
    }

    /// The whole request, as the template that [`wire`] fills in; its connection ends with it.
    fn request(self) -> String {
        let (path, body) = (self.path(), self.body());
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\n{{fields}}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    }
}

/// What a caller sees of an answer.
#[derive(Debug, Clone)]
enum Sees {
    /// This status with this body, to its end; of a stream: these events, and nothing else.
    Whole(u16, String),
    /// This status, whatever it says.
    Status(u16),
    /// An error of the gateway in the API's shape: its status, and `code` (OpenAI's) or `type` (Anthropic's).
    Error(u16, &'static str),
    /// A stream that began well: these events, and an error event with this `code` or `type`.
    Cut(String, &'static str),
    /// An answer that began well, and does not come to its end.
    Broken,
    /// This status, no body, and the end of the connection: what was asked could not be understood.
    Bare(u16),
}

/// The tokens of a question without messages, as they are counted for its record: what stands before an answer.
const COUNTED: u64 = 3;

/// What a request used.
#[derive(Debug, Clone, Copy)]
enum Used {
    Nothing,
    /// Input and output, as they were counted for the record after the request; and by how many tokens the key's limit was
    /// settled at its end.
    About(u64, u64, u64),
    /// Input and output, as the provider said; so the limit was settled.
    Exactly(u64, u64),
}

impl Used {
    /// The question, and of the answer so many tokens as they were counted, or by a quick estimate.
    const fn asking(ask: Ask, counted: u64, quickly: u64) -> Self {
        Self::About(COUNTED, counted, ask.length() + quickly)
    }

    /// What a stream stated, and what of its answer came behind that.
    const fn so_far(input: u64, output: u64) -> Self {
        Self::About(input, output, input + output)
    }

    /// Input and output, and whether they are estimates: as the record has it.
    const fn recorded(self) -> (u64, u64, bool) {
        match self {
            Self::Nothing => (0, 0, false),
            Self::About(input, output, _) => (input, output, true),
            Self::Exactly(input, output) => (input, output, false),
        }
    }

    /// How many tokens of the key's limit it took.
    const fn settled(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::About(_, _, settled) => settled,
            Self::Exactly(input, output) => input + output,
        }
    }
}

/// How a request is recorded.
#[derive(Debug, Clone)]
struct Recorded {
    outcome: Outcome,
    error_code: Option<&'static str>,
    used: Used,
    /// How its last attempt failed; `None`: it has not, or there was none.
    attempt: Option<&'static str>,
}

/// A request that ended well.
fn success(used: Used) -> Recorded {
    Recorded {
        outcome: Outcome::Success,
        error_code: None,
        used,
        attempt: None,
    }
}

/// A request that no attempt was made for.
fn refused(outcome: Outcome, code: &'static str) -> Recorded {
    Recorded {
        outcome,
        error_code: Some(code),
        used: Used::Nothing,
        attempt: None,
    }
}

/// A row of the matrix.
#[derive(Clone)]
struct Row {
    name: String,
    ask: Ask,
    /// `None`: it answers well.
    provider: Option<Reply>,
    caller: Vec<Act>,
    sees: Vec<Sees>,
    recorded: Vec<Recorded>,
}

impl Row {
    /// A caller that asks once and reads to the end.
    fn new(name: impl Into<String>, ask: Ask) -> Self {
        Self {
            name: name.into(),
            ask,
            provider: None,
            caller: vec![Act::Send(ask.request())],
            sees: Vec::new(),
            recorded: Vec::new(),
        }
    }

    fn provider(self, reply: Reply) -> Self {
        Self {
            provider: Some(reply),
            ..self
        }
    }

    fn caller(self, caller: impl IntoIterator<Item = Act>) -> Self {
        Self {
            caller: caller.into_iter().collect(),
            ..self
        }
    }

    fn sees(mut self, sees: Sees) -> Self {
        self.sees.push(sees);
        self
    }

    fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded.push(recorded);
        self
    }
}

/// A gateway before OpenAI's account `one` and Anthropic's account `two`, with keys for so many rows.
async fn scene(flags: &[&str], rows: usize) -> Scene {
    Scene::set_as(flags, |snapshots, _, two| keys(snapshots, two, rows)).await
}

fn keys(snapshots: Snapshots, two: &Provider, rows: usize) -> Snapshots {
    let rows = u16::try_from(rows).expect("not so many rows");
    let snapshots = snapshots
        .with(&two_is_anthropics(two))
        .with(&open_to_everyone());
    // One more for the request that nothing came before.
    (0..=rows).fold(snapshots, |snapshots, row| snapshots.with(&row_key(row)))
}

/// A row that was played.
struct Played<'r> {
    row: &'r Row,
    key: String,
    seen: Vec<Answer>,
}

/// Plays all rows.
async fn check(scene: &Scene, rows: &[Row]) {
    let numbered: Vec<(u16, &Row)> = (0..).zip(rows).collect();
    for (_, row) in &numbered {
        if let Some(reply) = &row.provider {
            let provider = if row.ask.is_openais() {
                &scene.one
            } else {
                &scene.two
            };
            provider.replies_to(&row.name, reply.clone());
        }
    }
    let last = u16::try_from(rows.len()).expect("not so many rows");
    // What the question itself takes of a key's tokens.
    let fresh = remaining(scene, &row_secret(last)).await;
    let mut others = 1;
    for batch in numbered.chunks(BATCH) {
        let playing = batch.iter().map(|&(number, row)| async move {
            let key = row_secret(number);
            let text = play(scene, &row.name, &key, &row.caller).await;
            let seen = answers(&text);
            Played { row, key, seen }
        });
        let played: Vec<Played<'_>> = stream::iter(playing)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let records = records(scene, &played).await;
        for it in &played {
            saw(it.row, &it.seen);
            let recorded = records.get(&it.row.name);
            let used = was_recorded(it.row, recorded.map_or(&[][..], Vec::as_slice));
            let left = remaining(scene, &it.key).await;
            assert_eq!(left, fresh - used, "{}: its limit is settled", it.row.name);
            others += 1;
        }
    }
    nothing_is_left(scene, rows, others).await;
}

/// How many tokens a key has left after one question, which bounds its answer: else as much is reserved as answers were long before.
async fn remaining(scene: &Scene, key: &str) -> u64 {
    let question = Ask::Chat.body().replacen('{', r#"{"max_tokens": 1, "#, 1);
    let answer = scene.gateway.chat_as(key, &question).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let left = answer.header("x-ratelimit-remaining-tokens");
    let left = left.parse().expect("a number");
    assert!(left < ROW_TOKENS, "the question itself takes some");
    left
}

/// The records of these rows by their names, once as many have arrived as there should be.
async fn records(scene: &Scene, played: &[Played<'_>]) -> BTreeMap<String, Vec<UsageRecord>> {
    eventually("the rows' records arrive", async || {
        let batches = scene.nats.batches().await;
        let mut by_row = BTreeMap::<String, Vec<UsageRecord>>::new();
        for record in batches.into_iter().flat_map(|batch| batch.records) {
            if let Some(row) = record.metadata.get("row") {
                by_row.entry(row.clone()).or_default().push(record);
            }
        }
        let count = |row: &Row| by_row.get(&row.name).map_or(0, Vec::len);
        let complete = |it: &Played<'_>| count(it.row) >= it.row.recorded.len();
        played.iter().all(complete).then_some(by_row)
    })
    .await
}

/// The caller saw what the row says.
fn saw(row: &Row, seen: &[Answer]) {
    let Row {
        name, ask, sees, ..
    } = row;
    assert_eq!(seen.len(), sees.len(), "{name}: {seen:?}");
    for (answer, sees) in seen.iter().zip(sees) {
        let shows = || format!("{name}: {answer:?}");
        let expect = |status: u16, whole: bool| {
            assert_eq!(
                (answer.status, answer.whole),
                (status, whole),
                "{}",
                shows()
            );
        };
        match sees {
            Sees::Whole(status, body) => {
                expect(*status, true);
                assert_eq!(&answer.body, body, "{name}");
            }
            Sees::Status(status) => expect(*status, true),
            Sees::Error(status, code) => {
                expect(*status, true);
                let error: Value = serde_json::from_str(&answer.body).expect("JSON");
                is_error(*ask, &error, code, &shows());
                let id = answer.header("x-request-id").expect("it has an id");
                let told = [&error["request_id"], &error["error"]["request_id"]];
                assert!(told.contains(&&Value::from(id)), "{}", shows());
            }
            Sees::Cut(events, code) => {
                expect(200, true);
                let last = answer.body.strip_prefix(events.as_str());
                let last = last.unwrap_or_else(|| panic!("{} begins with {events}", shows()));
                let last = if ask.is_openais() {
                    last.strip_prefix("data: ")
                } else {
                    last.strip_prefix("event: error\ndata: ")
                };
                let last = last.and_then(|it| it.strip_suffix("\n\n"));
                let error: Option<Value> = last.and_then(|it| serde_json::from_str(it).ok());
                let error = error.unwrap_or_else(|| panic!("{} ends with an event", shows()));
                is_error(*ask, &error, code, &shows());
            }
            Sees::Broken => expect(200, false),
            Sees::Bare(status) => {
                expect(*status, true);
                assert_eq!(answer.body, "", "{name}");
            }
        }
    }
}

/// An error in the shape of the API that was called.
fn is_error(ask: Ask, told: &Value, code: &str, shows: &str) {
    let error = &told["error"];
    let told = if ask.is_openais() {
        &error["code"]
    } else {
        assert_eq!(told["type"], "error", "{shows}");
        &error["type"]
    };
    assert_eq!(told, code, "{shows}");
    let says = error["message"].as_str().is_some_and(|it| it.len() > 10);
    assert!(says, "{shows}");
}

/// The row's requests were recorded as it says; gives how many tokens of the key's limit they took.
fn was_recorded(row: &Row, records: &[UsageRecord]) -> u64 {
    let got: Vec<Told<'_>> = records.iter().map(|it| told(&row.name, it)).collect();
    let expected: Vec<Told<'_>> = row.recorded.iter().map(Recorded::told).collect();
    assert_eq!(got, expected, "{}: {records:?}", row.name);
    row.recorded.iter().map(|it| it.used.settled()).sum()
}

/// Of a record: outcome, error code, tokens, and how the last attempt failed.
type Told<'r> = (Outcome, Option<&'r str>, (u64, u64, bool), Option<&'r str>);

impl Recorded {
    const fn told(&self) -> Told<'_> {
        let Self {
            outcome,
            error_code,
            used,
            attempt,
        } = self;
        (*outcome, *error_code, used.recorded(), *attempt)
    }
}

fn told<'r>(name: &str, record: &'r UsageRecord) -> Told<'r> {
    let tokens = record.tokens;
    assert_eq!(
        record.cost.is_some(),
        tokens.input + tokens.output > 0,
        "{name}: what was used costs something"
    );
    (
        record.outcome,
        record.error_code.as_deref(),
        (tokens.input, tokens.output, tokens.estimated),
        record.attempts.last().and_then(|it| it.error.as_deref()),
    )
}

/// Nothing is under way, and every request was recorded once: those of the rows, and `others`.
async fn nothing_is_left(scene: &Scene, rows: &[Row], others: usize) {
    eventually("nothing is under way", async || {
        let left = scene.gateway.metric("sluice_gateway_in_flight").await;
        (left == 0).then_some(())
    })
    .await;
    let expected = rows.iter().map(|it| it.recorded.len()).sum::<usize>() + others;
    let counted = scene.gateway.sum("sluice_gateway_requests_total").await;
    assert_eq!(counted, expected as u64, "each request was counted once");
    let count = eventually("all records arrive", async || {
        let batches = scene.nats.batches().await;
        let count: usize = batches.iter().map(|it| it.records.len()).sum();
        (count >= expected).then_some(count)
    })
    .await;
    assert_eq!(count, expected, "each request was recorded once");
}

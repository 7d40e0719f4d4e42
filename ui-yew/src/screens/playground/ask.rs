//! Sends a question to the gateway, and hands on the answer piece by piece.

use serde::{Deserialize, Serialize};
use web_sys::AbortSignal;
use yew::UseReducerDispatcher;

use super::conversation::{Conversation, Message, Step};
use crate::api::{Client, LineReader, read_chunks};
use crate::browser;

/// Through the control plane, so that the browser needs no key and no other origin.
const PATH: &str = "/playground/chat/completions";

/// What ends a stream in OpenAI's wire format.
const DONE: &str = "[DONE]";

/// A request in OpenAI's wire format.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Request {
    /// The model, as applications name it.
    pub(super) model: String,
    /// The conversation.
    pub(super) messages: Vec<Message>,
    /// Always a stream.
    pub(super) stream: bool,
    /// With the tokens at its end.
    pub(super) stream_options: StreamOptions,
    /// How much chance there is; `None`: the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    /// At most so many tokens; `None`: the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u64>,
}

/// What a stream brings beside the text.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StreamOptions {
    /// The tokens.
    pub(super) include_usage: bool,
}

/// A refusal: the gateway's, in OpenAI's shape, or the control plane's own, a problem document.
#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    OpenAi { error: OpenAiError },
    Problem { detail: String },
}

#[derive(Deserialize)]
struct OpenAiError {
    message: String,
}

/// Asks, and dispatches what comes back, to the end.
pub(super) async fn ask(
    client: Client,
    request: Request,
    signal: AbortSignal,
    to: UseReducerDispatcher<Conversation>,
) {
    let broken = stream(&client, &request, &signal, &to).await.err();
    let broken = if signal.aborted() {
        Some("You cancelled it.".to_owned())
    } else {
        broken
    };
    to.dispatch(Step::Ended(broken, micros()));
}

/// The answer's pieces; an error says why it is not whole.
async fn stream(
    client: &Client,
    request: &Request,
    signal: &AbortSignal,
    to: &UseReducerDispatcher<Conversation>,
) -> Result<(), String> {
    let response = client
        .open(PATH, request, signal)
        .await
        .map_err(|failure| failure.to_string())?;
    let header = |name: &str| response.headers().get(name);
    to.dispatch(Step::Began(
        header("x-sluice-target"),
        header("x-sluice-position"),
        header("x-request-id"),
    ));
    if !response.ok() {
        let status = response.status();
        let refusal = response.json::<Refusal>().await.ok();
        return Err(refusal.map_or_else(
            || format!("the gateway answered with HTTP {status}"),
            Refusal::into_text,
        ));
    }
    let body = response
        .body()
        .ok_or_else(|| "the answer has no body".to_owned())?;
    let mut lines = LineReader::default();
    let mut is_whole = false;
    let read = read_chunks(body, |piece| {
        for data in lines.data(piece) {
            is_whole |= data == DONE;
            if let Ok(chunk) = serde_json::from_str(&data) {
                to.dispatch(Step::Piece(chunk, micros()));
            }
        }
    });
    match read.await {
        Ok(()) if is_whole => Ok(()),
        Ok(()) | Err(_) => Err("The answer broke off.".to_owned()),
    }
}

/// The time in microseconds.
pub(super) fn micros() -> u64 {
    browser::now().timestamp_micros().max(0).unsigned_abs()
}

// === impl Refusal ===

impl Refusal {
    fn into_text(self) -> String {
        match self {
            Self::OpenAi { error } => error.message,
            Self::Problem { detail } => detail,
        }
    }
}

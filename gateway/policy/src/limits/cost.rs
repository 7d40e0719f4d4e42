//! What a request costs under a limit: estimated before, settled after.

use serde::{Deserialize, Serialize};

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// Requests.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// What requests cost, in nano-dollars.
    Cost,
}

/// How a limit stands, for a caller to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much fits into a window.
    pub most: u64,
    /// How much of it is left.
    pub remaining: u64,
    /// In how many microseconds all of it is free again if nothing more is used.
    pub reset_us: u64,
}

/// How many bytes of a request's body count as a token: about right for English prose in JSON.
const BYTES_PER_TOKEN: u64 = 4;

/// How many tokens of an answer are reserved at most: more than nine in ten chat answers have fewer.
const ANSWER_TOKENS: u64 = 1_024;

/// What a chat request will use, as estimated before it is sent: its body's length stands for the prompt, and the answer
/// is what the caller allows, up to a bound that most answers keep.
#[must_use]
pub fn estimate_tokens(body_bytes: u64, max_tokens: Option<u64>) -> u64 {
    let answer = max_tokens.map_or(ANSWER_TOKENS, |most| most.min(ANSWER_TOKENS));
    estimate_input_tokens(body_bytes).saturating_add(answer)
}

/// How many tokens a request's body stands for.
#[must_use]
pub const fn estimate_input_tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BYTES_PER_TOKEN)
}

//! What a request costs under a limit: estimated before, settled after.

use events_schema::money::Price;
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

/// What a request will use, as estimated before it is sent, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Input.
    pub input: u64,
    /// Output.
    pub output: u64,
}

impl Estimate {
    /// Of a request that is answered in text: its body's length stands for the prompt, and the answer is what the caller
    /// allows, up to a bound that most answers keep.
    #[must_use]
    pub fn of_text(body_bytes: u64, max_tokens: Option<u64>) -> Self {
        Self {
            input: estimate_input_tokens(body_bytes),
            output: max_tokens.map_or(ANSWER_TOKENS, |most| most.min(ANSWER_TOKENS)),
        }
    }

    /// Of a request whose answer is no text.
    #[must_use]
    pub const fn of_input(body_bytes: u64) -> Self {
        Self {
            input: estimate_input_tokens(body_bytes),
            output: 0,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// What they cost, in nano-dollars; nothing where there is no price.
    #[must_use]
    pub fn cost(self, price: Option<Price>) -> u64 {
        price.map_or(0, |price| price.cost(self.input, 0, self.output).nanos())
    }
}

/// How many tokens a request's body stands for.
#[must_use]
pub const fn estimate_input_tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BYTES_PER_TOKEN)
}

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

/// How many tokens an answer has of a model of which nothing is known yet: more than nine in ten chat answers have fewer.
pub const USUAL_ANSWER_TOKENS: u64 = 1_024;

/// What a request will use, as estimated before it is sent, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Input.
    pub input: u64,
    /// Output, as most answers have it: what limits reserve, and settle.
    pub output: u64,
    /// The most output that the request allows, where it says so, else as `output`: what budgets reserve, so that with answers that are
    /// bounded nothing is spent above them.
    pub most_output: u64,
    /// Whether nothing bounds the output, so that `most_output` is a guess.
    pub is_open: bool,
}

/// What a request says of how long its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerBound {
    /// How many tokens it may have, or each of them; `None`: that is not bounded.
    pub most: Option<u64>,
    /// How many answers are made.
    pub choices: u64,
}

impl Estimate {
    /// Of a request that is answered in text: its body's length stands for the prompt, and the answer is what the caller
    /// allows, for limits no more than `usual`: what nearly all of the model's answers keep to.
    #[must_use]
    pub fn of_text(body_bytes: u64, answer: AnswerBound, usual: u64) -> Self {
        let AnswerBound { most, choices } = answer;
        let is_open = most.is_none();
        let most = most.unwrap_or(usual);
        Self {
            input: estimate_input_tokens(body_bytes),
            output: most.min(usual).saturating_mul(choices),
            most_output: most.saturating_mul(choices),
            is_open,
        }
    }

    /// Of a request whose answer is no text.
    #[must_use]
    pub const fn of_input(body_bytes: u64) -> Self {
        Self {
            input: estimate_input_tokens(body_bytes),
            output: 0,
            most_output: 0,
            is_open: false,
        }
    }

    /// All of it, as limits reserve it.
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// What budgets reserve: the most tokens, and what they cost. Nothing where there is no price.
    #[must_use]
    pub fn spend(self, price: Option<Price>) -> Spend {
        let price = price.map(|price| price.cost(self.input, 0, self.most_output).nanos());
        let take = Take {
            tokens: self.input.saturating_add(self.most_output),
            cost: price.unwrap_or(0),
        };
        if self.is_open {
            Spend {
                guessed: take,
                ..Spend::default()
            }
        } else {
            Spend {
                bounded: take,
                ..Spend::default()
            }
        }
    }
}

/// What may be taken of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Take {
    /// Tokens.
    pub tokens: u64,
    /// Nano-dollars.
    pub cost: u64,
}

/// What a request may take of budgets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    /// Where its answer is bounded.
    pub bounded: Take,
    /// Where nothing bounds its answer: about so much.
    pub guessed: Take,
}

impl Take {
    fn or(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            cost: self.cost.max(other.cost),
        }
    }

    const fn of(self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests => 1,
            Measure::Tokens => self.tokens,
            Measure::Cost => self.cost,
        }
    }
}

impl Spend {
    /// What either may take: of several targets, as much as any.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            bounded: self.bounded.or(other.bounded),
            guessed: self.guessed.or(other.guessed),
        }
    }

    /// What is reserved of a budget of `most`. A guess reserves all of it at most, so that a budget from which nothing is spent
    /// yet lets each such request through. What the caller allows is no guess: what is more than the budget never fits, by
    /// however much.
    #[must_use]
    pub fn of(self, measure: Measure, most: u64) -> u64 {
        let bounded = self.bounded.of(measure).min(most.saturating_add(1));
        bounded.max(self.guessed.of(measure).min(most))
    }
}

/// How many tokens a request's body stands for.
#[must_use]
pub const fn estimate_input_tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BYTES_PER_TOKEN)
}

//! Money as whole nano-dollars: 1 USD = 1,000,000,000. No floating point anywhere.
//!
//! In JSON an amount is a string of digits, because it can pass 2^53.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of US dollars, in whole nano-dollars, never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(u64);

/// Text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a whole number of nano-dollars, as a string of digits")]
pub struct InvalidAmount;

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// This many nano-dollars.
    #[must_use]
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nano-dollars.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The sum, or `None` past what fits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The sum, or the largest amount past what fits.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Decimals of a dollar that an amount can have.
const DECIMALS: usize = 9;

/// Text that is no amount of dollars.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount of dollars is a decimal number with at most 9 decimals, as 2.50")]
pub struct InvalidDollars;

impl NanoUsd {
    /// Reads dollars exactly: `2.5` (or `$2.5`) is 2,500,000,000 nano-dollars.
    ///
    /// # Errors
    /// When the text is no decimal number, or too precise, or too large.
    pub fn from_dollars(text: &str) -> Result<Self, InvalidDollars> {
        let text = text.trim().trim_start_matches('$');
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > DECIMALS || (whole.is_empty() && fraction.is_empty()) {
            return Err(InvalidDollars);
        }
        format!("{whole}{fraction:0<DECIMALS$}")
            .parse()
            .map_err(|_: InvalidAmount| InvalidDollars)
    }

    /// Writes dollars exactly, with at least two decimals.
    #[must_use]
    pub fn to_dollars(self) -> String {
        let digits = format!("{:0>10}", self.0);
        let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
        let kept = fraction.trim_end_matches('0').len().max(2);
        format!("{whole}.{}", &fraction[..kept])
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NanoUsd {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidAmount);
        }
        text.parse().map(Self).map_err(|_| InvalidAmount)
    }
}

impl Serialize for NanoUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NanoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What a model costs, in nano-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Nano-dollars per million input (prompt) tokens.
    pub input: NanoUsd,
    /// Nano-dollars per million output (completion) tokens.
    pub output: NanoUsd,
    /// Nano-dollars per million input tokens that the provider read from its cache; `None`: as `input`.
    pub cached_input: Option<NanoUsd>,
}

impl Price {
    /// The cost of one request: exact in units of 10^-6 nano-dollars, then rounded up to a whole
    /// nano-dollar; the largest amount where it does not fit.
    ///
    /// `cached_input` of the `input` tokens are charged at the cached price; more than `input` count as `input`.
    #[must_use]
    pub fn cost(&self, input: u64, cached_input: u64, output: u64) -> NanoUsd {
        let cached = cached_input.min(input);
        let part = |tokens: u64, price: NanoUsd| u128::from(tokens) * u128::from(price.0);
        let millionths = part(input - cached, self.input)
            .saturating_add(part(cached, self.cached_input.unwrap_or(self.input)))
            .saturating_add(part(output, self.output));
        NanoUsd(u64::try_from(millionths.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPT_4O: Price = Price {
        input: NanoUsd::new(2_500_000_000),
        output: NanoUsd::new(10_000_000_000),
        cached_input: Some(NanoUsd::new(1_250_000_000)),
    };

    fn check(price: Price, (input, cached, output): (u64, u64, u64), nanos: u64) {
        assert_eq!(price.cost(input, cached, output), NanoUsd::new(nanos));
    }

    #[test]
    fn dollars_are_read_exactly_and_written_back() {
        for (text, amount) in [
            ("2.50", 2_500_000_000),
            ("0.075", 75_000_000),
            ("10.00", 10_000_000_000),
        ] {
            assert_eq!(NanoUsd::from_dollars(text), Ok(NanoUsd::new(amount)));
            assert_eq!(NanoUsd::new(amount).to_dollars(), text);
        }
        assert_eq!(NanoUsd::from_dollars("$3"), Ok(NanoUsd::new(3_000_000_000)));
        for text in ["", ".", "-1", "1,50", "1.0000000001", "free"] {
            assert_eq!(NanoUsd::from_dollars(text), Err(InvalidDollars), "{text}");
        }
    }

    #[test]
    fn a_cost_is_the_exact_sum_of_its_parts() {
        check(GPT_4O, (1_000, 0, 0), 2_500_000);
        check(
            GPT_4O,
            (1_000, 400, 10),
            600 * 2_500 + 400 * 1_250 + 10 * 10_000,
        );
    }

    #[test]
    fn a_cost_is_rounded_up_once() {
        let price = Price {
            input: NanoUsd::new(1),
            output: NanoUsd::new(1),
            cached_input: None,
        };
        check(price, (1, 0, 1), 1);
        check(price, (0, 0, 0), 0);
    }

    #[test]
    fn a_cost_that_does_not_fit_is_the_largest_amount() {
        let price = Price {
            input: NanoUsd::new(u64::MAX),
            output: NanoUsd::new(u64::MAX),
            cached_input: None,
        };
        check(price, (u64::MAX, 7, u64::MAX), u64::MAX);
    }

    #[test]
    fn an_amount_is_a_string_of_digits() {
        assert_eq!(
            serde_json::to_string(&NanoUsd::new(u64::MAX)).expect("JSON"),
            "\"18446744073709551615\""
        );
        assert_eq!("+5".parse::<NanoUsd>(), Err(InvalidAmount));
    }
}

//! What of a record was estimated by length and can be counted, and counting it.

use bytes::Bytes;
use events_schema::{
    money::{NanoUsd, Price},
    usage::{Tokens, UsageRecord},
};

use super::{answer, heard::Heard, kept::Kept, question, vocabulary::Vocabulary};
use crate::{
    limits::{Settled, Unsettled},
    pace::Pace,
};

/// A request's body, held until it is known that nobody has to count it.
#[derive(Debug)]
pub struct Question {
    /// The body.
    pub body: Bytes,
    /// What it takes of the worker thread's allowance.
    pub kept: Kept,
}

/// What a provider answered.
#[derive(Debug, Default)]
pub enum Said {
    /// Nothing whose text is known.
    #[default]
    Nothing,
    /// A whole answer.
    Whole(Bytes, Kept),
    /// A stream, as far as it came.
    Heard(Heard),
}

/// Which numbers of an attempt are estimates by length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whether its input is one.
    pub input: bool,
    /// Whether its output is one; then, how much was stated of it before the stream broke off.
    pub output: Option<u64>,
}

impl Gap {
    /// Of an attempt that nothing was heard of since the question left for it.
    pub const UNANSWERED: Self = Self {
        input: true,
        output: None,
    };
}

/// What of a record's tokens can be counted, and from what.
#[derive(Debug)]
pub struct Lacking {
    /// The request's body; `None`: there was no room to hold it, so its estimate stays.
    pub question: Option<Question>,
    /// What the answering attempt's provider answered.
    pub said: Said,
    /// The attempts that have gaps: their number in the record, and their model's vocabulary.
    pub gaps: Vec<(usize, Vocabulary, Gap)>,
    /// The attempt whose numbers are the record's.
    pub charged: Option<usize>,
    /// What that one costs.
    pub price: Option<Price>,
    /// How fast the answer came.
    pub pace: Pace,
    /// What was taken of budgets for it: settled by what is counted, or by the estimates where nothing is.
    pub unsettled: Vec<Unsettled>,
}

impl Lacking {
    /// Counts, and puts the numbers in the place of the estimates. They stay marked as estimated.
    pub fn fill(&mut self, record: &mut UsageRecord) {
        // Attempts differ in their vocabulary, but seldom.
        let mut inputs = Vec::new();
        for (at, vocabulary, gap) in &self.gaps {
            let Some(attempt) = record.attempts.get_mut(*at) else {
                continue;
            };
            let Some(tokens) = &mut attempt.tokens else {
                continue;
            };
            if gap.input {
                let counted = self.input(*vocabulary, &mut inputs);
                tokens.input = counted.unwrap_or(tokens.input);
            }
            if let Some(stated) = gap.output {
                let counted = self.output(*vocabulary);
                tokens.output = counted.map_or(tokens.output, |counted| counted.max(stated));
                attempt.per_output_token_us = self.pace.per_output_token_us(tokens.output);
            }
        }
        let of_it = self.charged.and_then(|at| record.attempts.get(at)?.tokens);
        if let Some(tokens) = of_it {
            record.tokens = tokens;
            record.cost = cost(self.price, tokens);
            for unsettled in &mut self.unsettled {
                unsettled.is(Settled {
                    tokens: tokens.input.saturating_add(tokens.output),
                    cost: record.cost.unwrap_or_default().nanos(),
                });
            }
        }
    }

    /// The question's tokens; `counted` has them by the vocabularies they were counted with before.
    fn input(
        &self,
        vocabulary: Vocabulary,
        counted: &mut Vec<(Vocabulary, Option<u64>)>,
    ) -> Option<u64> {
        if let Some((_, tokens)) = counted.iter().find(|(with, _)| *with == vocabulary) {
            return *tokens;
        }
        let question = self.question.as_ref()?;
        let tokens = question::tokens(&question.body, vocabulary);
        counted.push((vocabulary, tokens));
        tokens
    }

    fn output(&self, vocabulary: Vocabulary) -> Option<u64> {
        match &self.said {
            Said::Nothing => None,
            Said::Whole(answer, _) => answer::tokens(answer, vocabulary),
            Said::Heard(heard) => heard.tokens(vocabulary),
        }
    }
}

/// What tokens cost; `None`: there is no price, or nothing was used.
#[must_use]
pub fn cost(price: Option<Price>, tokens: Tokens) -> Option<NanoUsd> {
    let price = price.filter(|_| tokens != Tokens::default())?;
    Some(price.cost(tokens.input, tokens.cached_input, tokens.output))
}

#[cfg(test)]
mod tests {
    use events_schema::{id::ModelId, usage::Attempt};

    use super::{super::kept::Allowance, *};
    use crate::record::batch::tests::record;

    fn tokens(input: u64, output: u64) -> Tokens {
        Tokens {
            input,
            output,
            estimated: true,
            ..Tokens::default()
        }
    }

    fn attempt(tokens: Option<Tokens>) -> Attempt {
        Attempt {
            model: ModelId::from_bytes([1; 16]),
            target: "one/first".into(),
            status: None,
            error: None,
            began_us: 0,
            first_byte_us: None,
            duration_us: 0,
            sent: Some(true),
            tokens,
            first_token_us: None,
            per_output_token_us: None,
        }
    }

    fn kept() -> Kept {
        Allowance::default().open()
    }

    /// Of two attempts, the first was never answered.
    fn check(question: Option<&'static str>, said: Said, gap: Gap, expected: [Tokens; 2]) {
        let mut of_it = record(1);
        of_it.attempts = [tokens(99, 0), tokens(99, 98)]
            .map(|it| attempt(Some(it)))
            .into();
        of_it.tokens = tokens(99, 98);
        let mut lacking = Lacking {
            question: question.map(|body| Question {
                body: Bytes::from_static(body.as_bytes()),
                kept: kept(),
            }),
            said,
            gaps: vec![
                (0, Vocabulary::Cl100k, Gap::UNANSWERED),
                (1, Vocabulary::O200k, gap),
            ],
            charged: Some(1),
            price: None,
            pace: Pace::default(),
            unsettled: Vec::new(),
        };
        lacking.fill(&mut of_it);
        let found: Vec<_> = of_it.attempts.iter().filter_map(|it| it.tokens).collect();
        assert_eq!(found, expected);
        assert_eq!(of_it.tokens, expected[1], "the record's are the answer's");
    }

    /// 8 tokens of `o200k_base`, 9 of `cl100k_base`.
    const QUESTION: &str = r#"{"prompt":"お誕生日おめでとう"}"#;
    const ANSWER: &[u8] = br#"{"choices":[{"text":"Hello, world!"}]}"#;

    fn whole() -> Said {
        Said::Whole(Bytes::from_static(ANSWER), kept())
    }

    #[test]
    fn only_what_was_estimated_is_counted() {
        let all = Gap {
            input: true,
            output: Some(0),
        };
        check(Some(QUESTION), whole(), all, [tokens(9, 0), tokens(8, 4)]);
        // The provider stated the input, and some of the output, before it broke off.
        let output = |stated| Gap {
            input: false,
            output: Some(stated),
        };
        check(
            Some(QUESTION),
            whole(),
            output(1),
            [tokens(9, 0), tokens(99, 4)],
        );
        check(
            Some(QUESTION),
            whole(),
            output(7),
            [tokens(9, 0), tokens(99, 7)],
        );
    }

    #[test]
    fn what_cannot_be_counted_stays_as_it_was_estimated() {
        let all = Gap {
            input: true,
            output: Some(0),
        };
        check(None, whole(), all, [tokens(99, 0), tokens(99, 4)]);
        check(
            Some(QUESTION),
            Said::Nothing,
            all,
            [tokens(9, 0), tokens(8, 98)],
        );
    }
}

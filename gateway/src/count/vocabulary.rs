//! OpenAI's tokenizers, and which model has which.
//!
//! A vocabulary is made ready when something is counted with it for the first time: 0.1 s, and 70 MiB of memory for
//! `o200k_base`, 35 MiB for `cl100k_base`. It counts some 20 MB of text a second, whatever the text (the crate's algorithm
//! takes linear time; that of `tiktoken` takes quadratic time for a text without blanks).

/// A tokenizer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vocabulary {
    /// `o200k_base`: GPT-4o and all later models. It also stands for all models whose tokenizer is not published, as those
    /// of Anthropic, or is not here.
    #[default]
    O200k,
    /// `cl100k_base`: GPT-4, GPT-3.5, and the embedding models.
    Cl100k,
}

/// How the names of models begin that have `cl100k_base`; those that begin with one of the second list have not.
const CL100K: [&str; 6] = [
    "gpt-4",
    "gpt-3.5",
    "gpt-35",
    "text-embedding-",
    "davinci-002",
    "babbage-002",
];
/// See [`CL100K`].
const NOT_CL100K: [&str; 3] = ["gpt-4o", "gpt-4.1", "gpt-4.5"];

impl Vocabulary {
    /// That of a model, by the provider's name for it: `gpt-4-0613`, `openai/gpt-4`, `ft:gpt-3.5-turbo:…`.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        let begins = |with: &&str| name.starts_with(*with);
        if CL100K.iter().any(begins) && !NOT_CL100K.iter().any(begins) {
            Self::Cl100k
        } else {
            Self::O200k
        }
    }

    /// How many tokens a text has.
    #[must_use]
    pub fn count(self, text: &str) -> u64 {
        let tokenizer = match self {
            Self::O200k => bpe_openai::o200k_base(),
            Self::Cl100k => bpe_openai::cl100k_base(),
        };
        tokenizer.count(text) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_the_vocabularies_that_openai_says() {
        let check = |model, expected| assert_eq!(Vocabulary::of(model), expected, "{model}");
        for model in [
            "gpt-4",
            "gpt-4-0613",
            "gpt-4-turbo",
            "gpt-3.5-turbo",
            "ft:gpt-3.5-turbo-0613:acme::x",
            "openai/gpt-4-turbo",
            "gpt-35-turbo",
            "text-embedding-3-small",
            "text-embedding-ada-002",
        ] {
            check(model, Vocabulary::Cl100k);
        }
        for model in [
            "gpt-4o",
            "gpt-4o-mini-2024-07-18",
            "gpt-4.1-nano",
            "gpt-5",
            "o3-mini",
            "ft:gpt-4o-mini:acme::x",
            "claude-sonnet-4-5",
            "llama-3.3-70b",
            "",
        ] {
            check(model, Vocabulary::O200k);
        }
    }

    #[test]
    fn known_texts_have_their_known_counts() {
        let check = |text: &str, o200k, cl100k| {
            let counts = (
                Vocabulary::O200k.count(text),
                Vocabulary::Cl100k.count(text),
            );
            assert_eq!(counts, (o200k, cl100k), "{text}");
        };
        check("", 0, 0);
        check("Hello, world!", 4, 4);
        // From OpenAI's cookbook, "How to count tokens with tiktoken".
        check("tiktoken is great!", 6, 6);
        check("antidisestablishmentarianism", 6, 6);
        check("2 + 2 = 4", 7, 7);
        check("お誕生日おめでとう", 8, 9);
        check(&" ".repeat(100_000), 782, 782);
    }
}

//! The mock's tokenizer and its words: simple enough that a test can compute every usage number.

use crate::dice::Dice;

/// Bytes of UTF-8 a token.
pub(super) const TOKEN_BYTES: usize = 4;

/// Words of three letters: with the space behind it each is exactly one token.
const WORDS: [&str; 64] = [
    "the", "old", "sea", "was", "and", "all", "its", "fog", "had", "run", "off", "far", "sun",
    "set", "low", "red", "sky", "met", "dry", "oak", "ash", "elm", "ivy", "dew", "hay", "cat",
    "dog", "owl", "fox", "hen", "bee", "ant", "cow", "pig", "ram", "saw", "ate", "hid", "sat",
    "ran", "dug", "fed", "led", "lit", "won", "one", "two", "six", "ten", "few", "any", "our",
    "her", "his", "who", "why", "how", "but", "yet", "now", "too", "not", "did", "may",
];

/// How many tokens a text has.
pub(super) fn count(text: &str) -> u64 {
    text.len().div_ceil(TOKEN_BYTES) as u64
}

/// `length` words, each with its space in front except the first: the pieces of an answer.
pub(super) fn words(length: u64, dice: &mut Dice) -> Vec<String> {
    (0..length)
        .map(|index| {
            // The upper six bits choose one of 64.
            let word = WORDS[usize::from((dice.roll() >> 58) as u8)];
            if index == 0 {
                word.to_owned()
            } else {
                format!(" {word}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_n_words_counts_n_tokens() {
        assert!(
            WORDS.iter().all(|word| word.len() == 3),
            "each word and its space are one token"
        );
        for length in [0, 1, 2, 7, 100] {
            assert_eq!(count(&words(length, &mut Dice::new(1)).concat()), length);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_words() {
        assert_eq!(words(9, &mut Dice::new(3)), words(9, &mut Dice::new(3)));
        assert_ne!(words(9, &mut Dice::new(3)), words(9, &mut Dice::new(4)));
    }

    #[test]
    fn tokens_are_counted_in_bytes_and_rounded_up() {
        let cases = [
            ("", 0),
            ("a", 1),
            ("four", 1),
            ("five5", 2),
            ("ä", 1),
            ("äöü", 2),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text), expected, "{text:?}");
        }
    }
}

//! Numbers as text, many times for each request: without the ways that `format!` goes, and without taking memory.

/// As long as the longest number.
const MOST: usize = u64::MAX.ilog10() as usize + 1;

/// All numbers of two digits, one behind the other.
const PAIRS: [u8; 200] = {
    let mut pairs = [b'0'; 200];
    let mut at = 0;
    while at < 100 {
        let digits = [at / 10, at % 10];
        pairs[2 * at] += DIGITS[digits[0]];
        pairs[2 * at + 1] += DIGITS[digits[1]];
        at += 1;
    }
    pairs
};

const DIGITS: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// A number in decimal digits.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; MOST],
    begin: usize,
}

impl Decimal {
    /// Of this number.
    #[must_use]
    pub fn of(mut number: u64) -> Self {
        let (mut digits, mut begin) = ([b'0'; MOST], MOST);
        while number >= 10 {
            let pair = usize::try_from(number % 100).unwrap_or(0);
            number /= 100;
            begin -= 2;
            digits[begin..begin + 2].copy_from_slice(&PAIRS[2 * pair..2 * pair + 2]);
        }
        // An odd number of digits, or none yet.
        if number > 0 || begin == MOST {
            begin -= 1;
            digits[begin] += DIGITS[usize::try_from(number).unwrap_or(0)];
        }
        Self { digits, begin }
    }

    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.begin..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everywhere() {
        let few = 0..=1_001;
        let others = [9_999, 10_000, 65_535, 1_000_000_007, u64::MAX - 1, u64::MAX];
        for number in few.chain(others) {
            let written = Decimal::of(number);
            assert_eq!(written.as_bytes(), number.to_string().as_bytes());
        }
    }
}

//! Numbers as text, many times for each request: without the ways that `format!` goes, and without taking memory.

use arrayvec::ArrayString;

/// As long as the longest number.
const MOST: usize = u64::MAX.ilog10() as usize + 1;

/// A number in decimal digits.
#[must_use]
pub fn decimal(mut number: u64) -> ArrayString<MOST> {
    let mut digits = [b'0'; MOST];
    let mut begin = MOST;
    loop {
        begin -= 1;
        digits[begin] += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let text = std::str::from_utf8(&digits[begin..]).unwrap_or_default();
    ArrayString::from(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everywhere() {
        for number in [0, 1, 9, 10, 19, 100, 65_535, 1_000_000_007, u64::MAX] {
            assert_eq!(decimal(number).as_str(), number.to_string());
        }
    }
}

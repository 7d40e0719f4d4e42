//! Numbers, money and times as people read them. Pure: what time it is comes from outside.

use chrono::{DateTime, Utc};

/// What stands where there is nothing to show.
pub(crate) const NOTHING: &str = "–";

/// A count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in little room: `950`, `12.3 k`, `4.56 M`.
pub(crate) fn short_count(number: u64) -> String {
    const STEPS: [(u64, &str); 4] = [
        (1_000_000_000_000, " T"),
        (1_000_000_000, " G"),
        (1_000_000, " M"),
        (1_000, " k"),
    ];
    for (step, unit) in STEPS {
        if number >= step {
            return format!("{}{unit}", three_digits(number, step));
        }
    }
    number.to_string()
}

/// `number / step` with three significant digits, cut rather than rounded so that 999,999 is not 1000 k.
fn three_digits(number: u64, step: u64) -> String {
    let whole = number / step;
    let hundredths = u128::from(number % step) * 100 / u128::from(step);
    match whole {
        100.. => whole.to_string(),
        10..100 => format!("{whole}.{}", hundredths / 10),
        _ => format!("{whole}.{hundredths:02}"),
    }
}

/// Nano-dollars as dollars: two decimals from a dollar up, more for small amounts, never rounded to nothing.
pub(crate) fn usd(nanos: u64) -> String {
    const DOLLAR: u64 = 1_000_000_000;
    let (dollars, rest) = (nanos / DOLLAR, nanos % DOLLAR);
    let decimals = match nanos {
        0 => return "$0.00".to_owned(),
        DOLLAR.. => 2,
        10_000_000.. => 4,
        10_000.. => 6,
        _ => 9,
    };
    let fraction = format!("{rest:09}");
    let shown = &fraction[..decimals];
    // Zeros past the cents say nothing.
    let kept = shown.trim_end_matches('0').len().max(2);
    format!("${}.{}", count(dollars), &shown[..kept])
}

/// Microseconds as milliseconds or seconds: `0.42 ms`, `87 ms`, `1.23 s`.
pub(crate) fn latency(micros: u64) -> String {
    match micros {
        10_000_000.. => format!("{} s", micros / 1_000_000),
        1_000_000.. => format!(
            "{}.{:02} s",
            micros / 1_000_000,
            micros % 1_000_000 / 10_000
        ),
        10_000.. => format!("{} ms", micros / 1_000),
        _ => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
    }
}

/// Bytes in binary units: `512 B`, `1.50 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB")];
    for (step, unit) in STEPS {
        if number >= step {
            return format!("{}{unit}", three_digits(number, step));
        }
    }
    format!("{number} B")
}

/// A share in percent with one decimal: `3.1 %`; nothing of nothing is nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return NOTHING.to_owned();
    }
    let tenths = u128::from(part) * 1_000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// How long ago `then` was, in the largest unit that fits: `just now`, `5 min ago`, `3 d ago`.
pub(crate) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - then).num_seconds();
    match seconds {
        ..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A time in UTC, to the second: `2026-11-22 12:00:05 UTC`.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `snake_case` as words: `Key issued`.
pub(crate) fn words(snake: &str) -> String {
    let text = snake.replace('_', " ");
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// The first eight digits of an id: enough to tell two of them apart by eye.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn large_counts_are_shortened_and_never_rounded_up() {
        let shown = [950, 1_000, 12_345, 999_999, 4_567_890].map(short_count);
        assert_eq!(shown, ["950", "1.00 k", "12.3 k", "999 k", "4.56 M"]);
    }

    #[test]
    fn small_amounts_of_money_do_not_vanish() {
        let shown = [0, 1, 12_500, 1_500_000, 25_000_000, 1_234_560_000_000].map(usd);
        assert_eq!(
            shown,
            [
                "$0.00",
                "$0.000000001",
                "$0.000012",
                "$0.0015",
                "$0.025",
                "$1,234.56"
            ]
        );
    }

    #[test]
    fn latencies_take_the_unit_that_fits() {
        let shown = [420, 9_990, 87_400, 1_234_000, 12_000_000].map(latency);
        assert_eq!(shown, ["0.42 ms", "9.99 ms", "87 ms", "1.23 s", "12 s"]);
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(
            [share(0, 0), share(0, 5), share(1, 3)],
            ["–", "0.0 %", "33.3 %"]
        );
    }

    #[test]
    fn a_time_ago_takes_the_largest_unit() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let shown = [1, 30, 90, 7_200, 200_000]
            .map(|seconds| ago(now - chrono::Duration::seconds(seconds), now));
        assert_eq!(
            shown,
            ["just now", "30 s ago", "1 min ago", "2 h ago", "2 d ago"]
        );
    }

    #[test]
    fn names_of_kinds_become_words() {
        assert_eq!(words("key_issued"), "Key issued");
        assert_eq!(words(""), "");
    }
}

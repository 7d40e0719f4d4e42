//! Times functions, and says what they took.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one round of one function takes, where it is measured.
const ROUND: Duration = Duration::from_millis(40);
/// How many rounds there are; the fastest counts.
const ROUNDS: u32 = 7;

/// What was measured so far.
pub(crate) struct Stopwatch {
    /// Whether it is a test only: a few calls of each.
    tries: bool,
    json: bool,
    figures: Vec<(String, f64)>,
}

impl Stopwatch {
    /// `cargo bench` passes `--bench`; `--json` asks for one line of JSON.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Self {
        let given: Vec<_> = arguments.collect();
        let has = |flag: &str| given.iter().any(|it| it == flag);
        Self {
            tries: !has("--bench"),
            json: has("--json"),
            figures: Vec::new(),
        }
    }

    /// Times a function.
    pub(crate) fn time<T>(&mut self, name: &str, mut function: impl FnMut() -> T) {
        if self.tries {
            (0..3).for_each(|_| drop(black_box(function())));
            return self.figures.push((name.to_owned(), 0.0));
        }
        let mut calls = 1_u32;
        while round(calls, &mut function) < ROUND / 8 {
            calls = calls.saturating_mul(2);
        }
        let calls = calls.saturating_mul(8);
        let fastest = (0..ROUNDS).map(|_| round(calls, &mut function)).min();
        let nanoseconds = fastest.unwrap_or_default().as_secs_f64() * 1e9 / f64::from(calls);
        self.figures.push((name.to_owned(), nanoseconds));
    }

    /// Says what was measured; of a test, as Rust's own test programs do.
    #[expect(clippy::print_stdout, reason = "what a bench prints is its result")]
    pub(crate) fn say(&self) {
        if self.tries {
            let passed = self.figures.len();
            println!(
                "test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
            );
        } else if self.json {
            let rounded = |it: f64| (it * 10.0).round() / 10.0;
            let figures = self.figures.iter();
            let named = figures.map(|(name, it)| (format!("{name}_ns"), rounded(*it).into()));
            println!("{}", serde_json::Value::Object(named.collect()));
        } else {
            for (name, nanoseconds) in &self.figures {
                println!("{name:32} {nanoseconds:10.1} ns");
            }
        }
    }
}

fn round<T>(calls: u32, function: &mut impl FnMut() -> T) -> Duration {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(function());
    }
    begun.elapsed()
}

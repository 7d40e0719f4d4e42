//! Times functions, and says what they took.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one round of one function takes, where it is measured.
const ROUND: Duration = Duration::from_millis(40);
/// How many rounds there are; the fastest counts.
const ROUNDS: u32 = 7;
/// How many rounds of each there are where two functions are compared.
const TURNS: u32 = 15;

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

    /// Notes something that is no time.
    pub(crate) fn note(&mut self, name: &str, figure: f64) {
        self.figures.push((name.to_owned(), figure));
    }

    /// Times a function.
    pub(crate) fn time<T>(&mut self, name: &str, mut function: impl FnMut() -> T) {
        if self.tries {
            (0..3).for_each(|_| drop(black_box(function())));
            return self.note(name, 0.0);
        }
        let calls = calls_in_a_round(&mut function);
        let fastest = (0..ROUNDS).map(|_| round(calls, &mut function)).min();
        let nanoseconds = fastest.unwrap_or_default().as_secs_f64() * 1e9 / f64::from(calls);
        self.note(&format!("{name}_ns"), nanoseconds);
    }

    /// Notes how many times as long one function takes as another: round by round in turns, and the median of these, so that what
    /// slowed both of a round down stands on both sides.
    pub(crate) fn ratio<T>(
        &mut self,
        name: &str,
        mut one: impl FnMut() -> T,
        mut other: impl FnMut() -> T,
    ) {
        if self.tries {
            (0..3).for_each(|_| drop(black_box((one(), other()))));
            return self.note(name, 0.0);
        }
        let calls = calls_in_a_round(&mut other);
        let turns = (0..TURNS).map(|_| {
            let taken = round(calls, &mut one).as_secs_f64();
            taken / round(calls, &mut other).as_secs_f64()
        });
        let mut ratios: Vec<f64> = turns.collect();
        ratios.sort_by(f64::total_cmp);
        self.note(name, ratios[ratios.len() / 2]);
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
            let rounded = |it: f64| (it * 1_000.0).round() / 1_000.0;
            let figures = self.figures.iter();
            let named = figures.map(|(name, it)| (name.clone(), rounded(*it).into()));
            println!("{}", serde_json::Value::Object(named.collect()));
        } else {
            for (name, figure) in &self.figures {
                println!("{name:36} {figure:12.2}");
            }
        }
    }
}

/// How many calls take about as long as a round is to.
fn calls_in_a_round<T>(function: &mut impl FnMut() -> T) -> u32 {
    let mut calls = 1_u32;
    while round(calls, function) < ROUND / 8 {
        calls = calls.saturating_mul(2);
    }
    calls.saturating_mul(8)
}

fn round<T>(calls: u32, function: &mut impl FnMut() -> T) -> Duration {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(function());
    }
    begun.elapsed()
}

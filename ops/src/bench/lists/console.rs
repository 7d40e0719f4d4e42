//! The same lists in the console, in a real browser: from the click to the frame that shows the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::wd::TimeoutConfiguration;
use hdrhistogram::Histogram;
use serde_json::json;

use super::super::stack::Operator;
use super::super::{Figures, histogram, milliseconds, rounded, say};
use super::crowd::Person;
use crate::dice::Dice;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::webdriver::Chromium;

/// Every list, by the name that the navigation gives it.
const SCREENS: [&str; 12] = [
    "Provider accounts",
    "Models",
    "Virtual models",
    "Teams",
    "Virtual accounts",
    "Rate-limit policies",
    "Budgets",
    "Operators",
    "History",
    "Users",
    "API keys",
    "Access grants",
];

/// Those among them that are large: they are also paged and searched.
const LARGE: [&str; 3] = ["Users", "API keys", "Access grants"];

/// How long the page may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Draws what is searched for.
const SEED: u64 = 5;

const MEASURE: &str = include_str!("measure.js");

/// The console's page, and how long each deed took with each list, in nanoseconds.
struct Visit {
    chromium: Chromium,
    times: BTreeMap<(String, &'static str), Histogram<u64>>,
}

/// Goes through every list so often.
pub(super) async fn visit(
    url: &str,
    operator: &Operator,
    people: u64,
    rounds: u32,
    figures: &mut Figures,
) -> Outcome {
    say("looking at every list in a browser");
    let chromium = Chromium::start(url)
        .await
        .doing(|| "starting Chromium".to_owned())?;
    let mut visit = Visit {
        chromium,
        times: BTreeMap::new(),
    };
    visit.sign_in(operator).await?;
    let mut dice = Dice::new(SEED);
    for _ in 0..rounds {
        visit.round(&mut dice, people).await?;
    }
    visit.report(figures);
    visit
        .chromium
        .stop()
        .await
        .doing(|| "ending Chromium".to_owned())
}

// === impl Visit ===

impl Visit {
    async fn sign_in(&self, operator: &Operator) -> Outcome {
        let page = &self.chromium.page;
        let fill = async |name: &str, text: &str| {
            let css = format!("input[name='{name}']");
            let field = page.wait().at_most(PATIENCE);
            field
                .for_element(Locator::Css(&css))
                .await?
                .send_keys(text)
                .await
        };
        let sign_in = async {
            fill("email", &operator.email).await?;
            fill("password", &operator.password).await?;
            page.find(Locator::Css("button[type='submit']"))
                .await?
                .click()
                .await?;
            let nav = page.wait().at_most(PATIENCE);
            nav.for_element(Locator::Css("nav a")).await?;
            let patience = TimeoutConfiguration::new(Some(PATIENCE), None, None);
            page.update_timeouts(patience).await
        };
        sign_in.await.doing(|| "signing in".to_owned())
    }

    async fn round(&mut self, dice: &mut Dice, people: u64) -> Outcome {
        for screen in SCREENS {
            self.time(screen, "open", screen).await?;
            if LARGE.contains(&screen) {
                let person = Person::numbered(dice.between(0, people));
                let much = person.name.split(' ').next().unwrap_or_default();
                let one = if screen == "API keys" {
                    &person.label
                } else {
                    &person.email
                };
                self.time(screen, "page", "").await?;
                self.time(screen, "back", "").await?;
                self.time(screen, "search_much", much).await?;
                self.time(screen, "search_one", one).await?;
                self.time(screen, "search_nothing", "nobody is called so")
                    .await?;
                self.time(screen, "search_all", "").await?;
            }
        }
        Ok(())
    }

    async fn time(&mut self, screen: &str, deed: &'static str, text: &str) -> Outcome {
        let taken = self
            .chromium
            .page
            .execute_async(MEASURE, vec![json!(deed), json!(text)])
            .await
            .doing(|| format!("{deed} on {screen}"))?;
        let taken = taken
            .as_f64()
            .ok_or_else(|| Failure::new(format!("{deed} on {screen} took {taken}")))?;
        let taken = Duration::from_secs_f64(taken / 1_000.0);
        self.times
            .entry((screen.to_owned(), deed))
            .or_insert_with(histogram)
            .saturating_record(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The p95 of the slowest deed with the slowest list.
    fn report(&self, figures: &mut Figures) {
        let mut most = 0.0;
        for ((screen, deed), times) in &self.times {
            let p95 = milliseconds(times, 0.95);
            if p95 > most {
                most = p95;
                say(&format!(
                    "slowest up to here: {deed} on {screen}, p95 {p95:.0} ms"
                ));
            }
        }
        figures.insert("console_p95_ms".to_owned(), rounded(most));
    }
}

//! What is limited: how it is asked for, which policy limits it, and how the provider counts it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_schema::api::commands::NewCommand;
use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, Choice, LimitMode, LimitUnit,
    LimitWhenCutOff, LimitWindow, LimitedSubject, RateLimit, RateLimitRule, When, WhenCutOff,
};
use events_schema::id::{BudgetPolicyId, RateLimitPolicyId, VirtualAccountId};
use events_schema::money::{NanoUsd, Price};
#[cfg(test)]
use gateway_policy::limits::USUAL_ANSWER_TOKENS;

use super::super::super::api::Api;
use super::super::super::cpu::ratio;
use super::super::super::provider::{self, Provider, Stats};
use super::super::super::scene::Scene;
use super::bus::Rule;
use super::load::{Lane, Plan, Question};
use crate::dice::Dice;
use crate::failure::{Failure, Outcome};

/// How many times the limit a load asks for.
pub(super) const OVERLOAD: u32 = 10;

/// Different questions about tokens.
const VARIANTS: u64 = 64;

/// How long an ordinary answer is, in tokens, and how late it begins, in milliseconds.
const LENGTHS: std::ops::Range<u64> = 20..450;
const LATENCIES_MS: std::ops::Range<u64> = 2..40;

/// One in sixteen answers is so long: longer than what is reserved for it.
const LONGEST: u64 = 1_400;

/// What is reserved for an answer of unknown length at most, in tokens: what nearly all have had, and a quarter that is not known
/// more exactly.
const RESERVED: u64 = LONGEST + LONGEST / 4;

/// One in eight is a stream of so many tokens, at so many a second; half of these callers go away after so many bytes, in
/// about the middle of it.
const STREAM: &str = "length=48,tps=480";
const STREAM_LENGTH: u64 = 48;
const CUT_AFTER_BYTES: usize = 5_000;

/// How long a caller waits from one question to the next: the more are asked for, the more callers there are.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the provider is asked whether anything is under way, and how long something may be.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// What a token costs, in nano-dollars, of a question and of an answer: whole, so that sums are exact.
const INPUT_NANOUSD: u64 = 1_000;
const OUTPUT_NANOUSD: u64 = 3_000;

/// A price is of a million tokens.
const MILLION: u64 = 1_000_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    /// Requests.
    Requests,
    /// Tokens: what an answer has is known when it has ended.
    Tokens,
    /// Money: no answer is longer than its caller allows, so the most that a request can cost is known when it comes.
    Money,
}

/// One limit on one account, whose requests have a provider of their own. Each limit is on another account: a budget counts
/// what its account has used before.
pub(super) struct Meter {
    /// What is limited.
    pub(super) measured: Measured,
    /// To how much.
    pub(super) limit: u64,
    /// Whose requests, and for which model.
    scene: Scene,
    model: String,
    questions: Arc<[Question]>,
    /// What one of them uses on average, about.
    mean: f64,
    provider: Provider,
    policy: Option<Policy>,
    before: Stats,
}

/// What limits them.
#[derive(Debug, Clone, Copy)]
enum Policy {
    RateLimit(RateLimitPolicyId),
    Budget(BudgetPolicyId),
}

/// How an answer is to be.
struct Answer {
    /// The mock provider's script.
    script: String,
    /// How many tokens it has, if nobody goes away.
    length: u64,
    kind: provider::Question,
    /// How many its caller allows.
    most: Option<u64>,
    /// After how many bytes its caller goes away.
    cut_after: Option<usize>,
}

// === impl Measured ===

impl Measured {
    /// All that is limited.
    pub(super) const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Money];

    /// Its name in figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Money => "money",
        }
    }

    /// The largest single cost: what is reserved for a request at most.
    pub(super) fn largest(self) -> u64 {
        match self {
            Self::Requests => 1,
            Self::Tokens => provider::tokens_of(provider::Question::Short) + RESERVED,
            // What is lent is there before it is spent.
            Self::Money => 0,
        }
    }

    /// By how much a request may use more than was reserved for it: where most answers are short, nearly all of a long one.
    pub(super) fn debt(self) -> u64 {
        match self {
            Self::Requests | Self::Money => 0,
            Self::Tokens => LONGEST,
        }
    }

    /// What so many tokens of a question and of its answer are.
    const fn of(self, requests: u64, input: u64, output: u64) -> u64 {
        match self {
            Self::Requests => requests,
            Self::Tokens => input + output,
            Self::Money => input * INPUT_NANOUSD + output * OUTPUT_NANOUSD,
        }
    }

    fn answer(self, number: u64, dice: &mut Dice) -> Answer {
        let latency_ms = dice.between(LATENCIES_MS.start, LATENCIES_MS.end);
        let whole = |length| Answer {
            script: format!("length={length},latency={latency_ms}ms"),
            length,
            kind: provider::Question::Short,
            most: None,
            cut_after: None,
        };
        let streamed = |cut_after| Answer {
            script: STREAM.to_owned(),
            length: STREAM_LENGTH,
            kind: provider::Question::Streamed,
            most: None,
            cut_after,
        };
        match (self, number % 16) {
            (Self::Requests, _) => whole(LENGTHS.start),
            (Self::Tokens, 0) => streamed(Some(CUT_AFTER_BYTES)),
            (Self::Tokens, 5) => whole(LONGEST),
            (Self::Tokens, 8) => streamed(None),
            (Self::Tokens, _) => whole(dice.between(LENGTHS.start, LENGTHS.end)),
            (Self::Money, at) => {
                let any = if at == 8 {
                    streamed(None)
                } else {
                    whole(dice.between(LENGTHS.start, LENGTHS.end))
                };
                Answer {
                    most: Some(LENGTHS.end),
                    ..any
                }
            }
        }
    }

    /// All that its callers ask for in turns.
    fn answers(self) -> impl Iterator<Item = Answer> {
        let mut dice = Dice::new(7);
        (0..VARIANTS).map(move |number| self.answer(number, &mut dice))
    }

    /// The command that limits an account to so much a day.
    fn limiting(self, account: VirtualAccountId, limit: u64, name: String) -> NewCommand {
        let when = When {
            subjects: Choice::only([LimitedSubject::VirtualAccount(account)]),
            ..When::default()
        };
        let unit = match self {
            Self::Requests => LimitUnit::Requests,
            Self::Tokens => LimitUnit::Tokens,
            Self::Money => {
                return NewCommand::CreateBudgetPolicy {
                    name,
                    order: 1,
                    rule: Box::new(budget(when, limit)),
                };
            }
        };
        NewCommand::CreateRateLimitPolicy {
            name,
            order: 1,
            rule: Box::new(rate_limit(when, unit, limit)),
        }
    }

    fn policy(self, id: &str) -> Option<Policy> {
        match self {
            Self::Requests | Self::Tokens => id.parse().ok().map(Policy::RateLimit),
            Self::Money => id.parse().ok().map(Policy::Budget),
        }
    }
}

fn rate_limit(when: When, unit: LimitUnit, limit: u64) -> RateLimitRule {
    let window = LimitWindow::Day;
    RateLimitRule {
        when,
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([RateLimit {
            unit,
            window,
            limit,
        }]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    }
}

/// Nothing is spent of it that was not lent: a gateway that nobody lends to refuses.
fn budget(when: When, limit: u64) -> BudgetRule {
    BudgetRule {
        when,
        applies_per: BTreeSet::new(),
        limits: BTreeSet::from([BudgetLimit {
            amount: BudgetAmount::Cost(NanoUsd::new(limit)),
            window: BudgetWindow::Day,
        }]),
        overrides: BTreeSet::new(),
        mode: LimitMode::Enforce,
        when_cut_off: WhenCutOff::Closed,
        alerts: BTreeSet::new(),
    }
}

// === impl Meter ===

impl Meter {
    /// The provider, and its models.
    pub(super) async fn set(measured: Measured, limit: u64, api: &mut Api) -> Outcome<Self> {
        let provider = Provider::start()?;
        let name = format!("limited-{}", measured.name());
        let scene = Scene::set_as(&name, api, provider.address).await?;
        for model in scene.models {
            let price = Price {
                input: NanoUsd::new(INPUT_NANOUSD * MILLION),
                output: NanoUsd::new(OUTPUT_NANOUSD * MILLION),
                cached_input: None,
            };
            let effective_at = None;
            let command = NewCommand::SetModelPrice {
                model,
                price,
                effective_at,
            };
            api.command(command).await?;
        }
        let used = measured
            .answers()
            .map(|it| measured.of(1, provider::tokens_of(it.kind), it.length));
        Ok(Self {
            measured,
            limit,
            scene,
            model: name,
            questions: Arc::default(),
            mean: ratio(used.sum(), VARIANTS),
            before: provider.stats().await?,
            provider,
            policy: None,
        })
    }

    /// Limits another account's requests in this day; returns the position from which on gateways do so.
    pub(super) async fn begin(&mut self, api: &mut Api, name: &str) -> Outcome<u64> {
        let name = format!("{}-{name}", self.measured.name());
        self.scene.change_owner(api, name.clone()).await?;
        let key = self.scene.issue_key(api, name.clone()).await?;
        let questions = self.measured.answers().map(|answer| Question {
            request: answer.asked(&self.model, &key.secret),
            cut_after: answer.cut_after,
        });
        self.questions = questions.collect();
        let command = self.measured.limiting(self.scene.account, self.limit, name);
        let answer = api.command(command).await?;
        self.policy = answer.id.and_then(|id| self.measured.policy(&id));
        self.before = self.provider.stats().await?;
        Ok(answer.position)
    }

    /// The rule whose shares are dealt out for it; `None`: it is a budget, of which gateways are lent something.
    pub(super) fn rule(&self) -> Option<Rule> {
        match self.policy {
            Some(Policy::RateLimit(policy)) => Some(policy.bytes()),
            Some(Policy::Budget(_)) | None => None,
        }
    }

    /// A load that asks for ten times the limit in this time: of these gateways, each for its part of it.
    pub(super) fn load(&self, gateways: &[(SocketAddr, f64)], time: Duration) -> Plan {
        let wanted = f64::from(OVERLOAD) * ratio(self.limit, 1) / self.mean;
        let at_once = wanted * PAUSE.as_secs_f64() / time.as_secs_f64();
        let lanes = gateways.iter().map(|(address, part)| {
            let (callers, pause) = callers(at_once * part);
            Lane {
                address: *address,
                callers,
                pause,
            }
        });
        Plan {
            lanes: lanes.collect(),
            questions: Arc::clone(&self.questions),
            time,
        }
    }

    /// How many times the limit so many questions ask for.
    pub(super) fn overload(&self, asked: u64) -> f64 {
        ratio(asked, self.limit) * self.mean
    }

    /// What the provider has counted since the limit began, once nothing is under way any more.
    pub(super) async fn counted(&self) -> Outcome<u64> {
        let begun = Instant::now();
        loop {
            let stats = self.provider.stats().await?;
            if stats.open == 0 {
                let before = self.before;
                return Ok(self.measured.of(
                    stats.requests - before.requests,
                    stats.input_tokens - before.input_tokens,
                    stats.output_tokens - before.output_tokens,
                ));
            }
            if begun.elapsed() > ENDS_WITHIN {
                let (open, seconds) = (stats.open, ENDS_WITHIN.as_secs());
                let what = format!("after {seconds} s the provider has {open} requests under way");
                return Err(Failure::new(what));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the limit.
    pub(super) async fn end(&mut self, api: &mut Api) -> Outcome {
        let command = match self.policy.take() {
            Some(Policy::RateLimit(policy)) => NewCommand::DeleteRateLimitPolicy { policy },
            Some(Policy::Budget(policy)) => NewCommand::DeleteBudgetPolicy { policy },
            None => return Ok(()),
        };
        api.command(command).await.map(drop)
    }
}

// === impl Answer ===

impl Answer {
    /// The request for it.
    fn asked(&self, model: &str, key: &str) -> Arc<[u8]> {
        let headers = [("x-mock-script", self.script.as_str())];
        match self.most {
            Some(most) => provider::ask_for_at_most(most, model, key, self.kind, &headers),
            None => provider::request(model, key, self.kind, &headers),
        }
    }
}

/// How many callers ask as often as this many would that wait for [`PAUSE`] between two questions, and how long each waits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a load has a few hundred callers"
)]
fn callers(at_once: f64) -> (u32, Duration) {
    let callers = at_once.ceil().max(1.0) as u32;
    let pause = PAUSE.as_secs_f64() * f64::from(callers) / at_once;
    (callers, Duration::from_secs_f64(pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_ask_as_often_as_is_wanted() {
        for wanted in [0.3, 1.0, 2.5, 90.0] {
            let (callers, pause) = callers(wanted);
            let rate = f64::from(callers) / pause.as_secs_f64();
            let expected = wanted / PAUSE.as_secs_f64();
            assert!((rate - expected).abs() < 0.001, "{rate} and not {expected}");
        }
    }

    #[test]
    fn answers_are_of_any_length_and_some_longer_than_reserved() {
        let mut dice = Dice::new(7);
        let lengths: BTreeSet<u64> = (0..VARIANTS)
            .map(|number| Measured::Tokens.answer(number, &mut dice).length)
            .collect();
        assert!(lengths.len() > 40, "{lengths:?}");
        const { assert!(LONGEST > USUAL_ANSWER_TOKENS && RESERVED > USUAL_ANSWER_TOKENS) };
    }
}

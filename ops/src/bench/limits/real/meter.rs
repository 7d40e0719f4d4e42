//! What is limited: how it is asked for, which policy limits it, and how the provider counts it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events_schema::api::commands::NewCommand;
use events_schema::events::{
    Choice, LimitMode, LimitUnit, LimitWindow, LimitedSubject, RateLimit, RateLimitRule, When,
};
use events_schema::id::{RateLimitPolicyId, VirtualAccountId};
use gateway_policy::limits::estimate_tokens;

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

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    /// Requests.
    Requests,
    /// Tokens: what an answer has is known when it has ended.
    Tokens,
}

/// One limit on one account, whose requests have a provider of their own.
pub(super) struct Meter {
    /// What is limited.
    pub(super) measured: Measured,
    /// To how much.
    pub(super) limit: u64,
    /// Whose requests.
    account: VirtualAccountId,
    questions: Arc<[Question]>,
    /// What one of them uses on average, about.
    mean: f64,
    provider: Provider,
    policy: Option<RateLimitPolicyId>,
    before: Stats,
}

// === impl Measured ===

impl Measured {
    /// All that is limited.
    pub(super) const ALL: [Self; 2] = [Self::Requests, Self::Tokens];

    /// Its name in figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }

    const fn unit(self) -> LimitUnit {
        match self {
            Self::Requests => LimitUnit::Requests,
            Self::Tokens => LimitUnit::Tokens,
        }
    }

    /// The largest single cost: what is reserved for a request at most.
    pub(super) fn largest(self) -> u64 {
        match self {
            Self::Requests => 1,
            Self::Tokens => provider::tokens_of(provider::Question::Short) + reserved(),
        }
    }

    /// By how much a request may use more than was reserved for it.
    pub(super) fn debt(self) -> u64 {
        match self {
            Self::Requests => 0,
            Self::Tokens => LONGEST.saturating_sub(reserved()),
        }
    }

    /// What a provider has counted of it.
    const fn of(self, stats: Stats) -> u64 {
        match self {
            Self::Requests => stats.requests,
            Self::Tokens => stats.input_tokens + stats.output_tokens,
        }
    }

    /// How the answer to a question is to be: the mock provider's script, and after how many bytes its caller goes away.
    fn script(self, number: u64, dice: &mut Dice) -> Answer {
        let latency_ms = dice.between(LATENCIES_MS.start, LATENCIES_MS.end);
        let whole = |length| Answer {
            script: format!("length={length},latency={latency_ms}ms"),
            length,
            kind: provider::Question::Short,
            cut_after: None,
        };
        match (self, number % 16) {
            (Self::Requests, _) => whole(LENGTHS.start),
            (Self::Tokens, at @ (0 | 8)) => Answer {
                script: STREAM.to_owned(),
                length: STREAM_LENGTH,
                kind: provider::Question::Streamed,
                cut_after: (at == 0).then_some(CUT_AFTER_BYTES),
            },
            (Self::Tokens, 5) => whole(LONGEST),
            (Self::Tokens, _) => whole(dice.between(LENGTHS.start, LENGTHS.end)),
        }
    }
}

/// What is reserved for an answer of unknown length, in tokens.
fn reserved() -> u64 {
    estimate_tokens(0, None)
}

/// How an answer is to be.
struct Answer {
    script: String,
    length: u64,
    kind: provider::Question,
    cut_after: Option<usize>,
}

// === impl Meter ===

impl Meter {
    /// An account, its key, and its provider.
    pub(super) async fn set(measured: Measured, limit: u64, api: &mut Api) -> Outcome<Self> {
        let provider = Provider::start()?;
        let name = format!("limited-{}", measured.name());
        let scene = Scene::set_as(&name, api, provider.address).await?;
        let key = scene.issue_key(api, name.clone()).await?;
        let mut dice = Dice::new(7);
        let (mut questions, mut tokens) = (Vec::new(), 0);
        for number in 0..VARIANTS {
            let answer = measured.script(number, &mut dice);
            tokens += provider::tokens_of(answer.kind) + answer.length;
            let headers = [("x-mock-script", answer.script.as_str())];
            // The address stands in no part of the request.
            let nowhere = provider.address;
            let asked = provider::ask_with(nowhere, &name, &key.secret, answer.kind, &headers);
            questions.push(Question {
                request: asked.request,
                cut_after: answer.cut_after,
            });
        }
        let mean = match measured {
            Measured::Requests => 1.0,
            Measured::Tokens => ratio(tokens, VARIANTS),
        };
        Ok(Self {
            measured,
            limit,
            account: scene.account,
            questions: questions.into(),
            mean,
            before: provider.stats().await?,
            provider,
            policy: None,
        })
    }

    /// Limits the account's requests in this day from now on; returns the position from which on gateways do so.
    pub(super) async fn begin(&mut self, api: &mut Api, name: &str) -> Outcome<u64> {
        let limit = RateLimit {
            unit: self.measured.unit(),
            window: LimitWindow::Day,
            limit: self.limit,
        };
        let rule = RateLimitRule {
            when: When {
                subjects: Choice::only([LimitedSubject::VirtualAccount(self.account)]),
                ..When::default()
            },
            applies_per: BTreeSet::new(),
            limits: BTreeSet::from([limit]),
            overrides: BTreeSet::new(),
            mode: LimitMode::Enforce,
        };
        let command = NewCommand::CreateRateLimitPolicy {
            name: format!("{}{name}", self.measured.name()),
            order: 1,
            rule: Box::new(rule),
        };
        let answer = api.command(command).await?;
        self.policy = answer.id.and_then(|id| id.parse().ok());
        self.before = self.provider.stats().await?;
        Ok(answer.position)
    }

    /// The rule that limits them.
    pub(super) fn rule(&self) -> Outcome<Rule> {
        let policy = self.policy.map(RateLimitPolicyId::bytes);
        policy.ok_or_else(|| Failure::new("a policy was made without an id"))
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
                return Ok(self.measured.of(stats) - self.measured.of(self.before));
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
        if let Some(policy) = self.policy.take() {
            api.command(NewCommand::DeleteRateLimitPolicy { policy })
                .await?;
        }
        Ok(())
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
            .map(|number| Measured::Tokens.script(number, &mut dice).length)
            .collect();
        assert!(lengths.len() > 40, "{lengths:?}");
        assert!(LONGEST > reserved() && Measured::Tokens.debt() < LONGEST);
    }
}

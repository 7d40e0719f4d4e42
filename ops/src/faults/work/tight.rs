//! A budget and a limit of each round that are so small that they refuse, and callers who ask for more than both allow.
//!
//! They are made before anything goes wrong, raised in the middle of it, and gone after the round. Which requests count is
//! said by the requests' metadata, another text each round, so that nothing of the rounds before counts.

use std::sync::Arc;

use events_schema::api::commands::NewCommand;
use events_schema::api::status::Served;
use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, Choice, LimitMode, LimitWindow,
    RateLimitRule, When, WhenCutOff,
};
use events_schema::money::{NanoUsd, Price};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::callers::{call_about, gateway_port};
use super::{PAUSE, Place, Worker, command_id};
use crate::client::Answer;
use crate::dice::Dice;
use crate::failure::{Failure, Outcome};
use crate::faults::draw::{Excuses, GATEWAYS};
use crate::faults::facts::Tight;
use crate::faults::orders::policies::{budget_rule, limit_rule};
use crate::faults::orders::{BUDGETS, Effect, LIMITS, Order, Plot, fields};
use crate::stack::services::url;

/// What the budget is, and by how much it is raised, in requests; the limit likewise.
const REQUESTS: std::ops::Range<u64> = 10..30;

/// After how long they are raised, in milliseconds.
const RAISED_AFTER_MS: std::ops::Range<u64> = 500..4_000;

/// How long gateways may take to serve a policy.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// The key of the metadata that says for what a request is.
const PURPOSE: &str = "fault-run";

/// The pause between two requests of one caller.
const BETWEEN: Duration = Duration::from_millis(60);

/// Who spends.
#[derive(Clone, Debug)]
pub(in crate::faults) struct Purse {
    /// Nobody draws what is done to these policies.
    pub(in crate::faults) plot: Plot,
    pub(in crate::faults) key: Arc<str>,
    pub(in crate::faults) price: Price,
    /// What one request costs, in nano-dollars; all of them cost the same.
    pub(in crate::faults) one: u64,
}

/// What a request is for: to use up the budget, or the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) enum Purpose {
    Budget,
    Limit,
}

// === impl Purpose ===

impl Purpose {
    pub(in crate::faults) const BOTH: [Self; 2] = [Self::Budget, Self::Limit];

    /// The codes with which such a request may be refused.
    fn is_refused_by(self, code: &str) -> bool {
        match self {
            Self::Budget => matches!(
                code,
                "insufficient_quota" | "request_exceeds_budget" | "budget_lease_pending"
            ),
            Self::Limit => code == "rate_limit_exceeded",
        }
    }
}

// === impl Worker ===

impl Worker {
    /// Somebody who works when nothing is wrong.
    pub(in crate::faults) fn alone(place: &Place) -> Self {
        Self {
            place: place.clone(),
            excuses: Arc::new(Excuses::default()),
            over: Arc::default(),
            done: Arc::default(),
        }
    }

    /// Makes both policies of a round, and waits until gateways follow them.
    pub(in crate::faults) async fn open(&self, dice: &mut Dice) -> Outcome {
        let round = format!("{:016x}", dice.roll());
        let most = self.place.purse.one * dice.between(REQUESTS.start, REQUESTS.end);
        let limit_requests = dice.between(REQUESTS.start, REQUESTS.end);
        let tight = Tight {
            round,
            budget_nanos: most,
            limit_requests,
            ..Tight::default()
        };
        let (budget, limit) = (tight.budget_rule(most), tight.limit_rule(limit_requests));
        self.place.notebook.facts().tight = tight;
        let name = "tight".to_owned();
        let made = |rule: Value| {
            fields([
                ("name", "tight".into()),
                ("order", 1.into()),
                ("rule", rule),
                ("disabled", Value::Bool(false)),
            ])
        };
        let told = |rule| serde_json::to_value(rule).unwrap_or_default();
        let effect = Effect::Made(BUDGETS, made(told(&budget)));
        let create = NewCommand::CreateBudgetPolicy {
            name: name.clone(),
            order: 1,
            rule: Box::new(budget),
        };
        let budget = self.do_now(create, effect, dice).await?;
        let told = |rule| serde_json::to_value(rule).unwrap_or_default();
        let effect = Effect::Made(LIMITS, made(told(&limit)));
        let create = NewCommand::CreateRateLimitPolicy {
            name,
            order: 1,
            rule: Box::new(limit),
        };
        let limit = self.do_now(create, effect, dice).await?;
        {
            let mut facts = self.place.notebook.facts();
            facts.tight.budget = budget;
            facts.tight.limit = limit;
        }
        self.is_served().await
    }

    /// Raises both while things go wrong.
    pub(super) async fn raise(self, mut dice: Dice) {
        let after = dice.between(RAISED_AFTER_MS.start, RAISED_AFTER_MS.end);
        let at = Instant::now() + Duration::from_millis(after);
        while self.goes_on() && Instant::now() < at {
            sleep(PAUSE).await;
        }
        let more = dice.between(REQUESTS.start, REQUESTS.end);
        // What fails is a finding already.
        let _ = self.raise_by(more, &mut dice).await;
    }

    /// Raises both, and by how much is noted first: from when on it holds, nobody knows.
    pub(in crate::faults) async fn raise_by(&self, requests: u64, dice: &mut Dice) -> Outcome {
        let tight = {
            let mut facts = self.place.notebook.facts();
            facts.tight.budget_nanos += requests * self.place.purse.one;
            facts.tight.limit_requests += requests;
            facts.tight.clone()
        };
        let unknown = |_| Failure::new("a policy of the round has an id that is none");
        let budget = tight.budget_rule(tight.budget_nanos);
        let effect = changed(&tight.budget, &budget);
        let command = NewCommand::ChangeBudgetRule {
            policy: tight.budget.parse().map_err(unknown)?,
            rule: Box::new(budget),
        };
        self.do_now(command, effect, dice).await?;
        let limit = tight.limit_rule(tight.limit_requests);
        let effect = changed(&tight.limit, &limit);
        let command = NewCommand::ChangeRateLimitRule {
            policy: tight.limit.parse().map_err(unknown)?,
            rule: Box::new(limit),
        };
        self.do_now(command, effect, dice).await.map(|_| ())
    }

    /// Takes both away.
    pub(in crate::faults) async fn close(&self, dice: &mut Dice) -> Outcome {
        let Tight { budget, limit, .. } = self.place.notebook.facts().tight.clone();
        let unknown = |_| Failure::new("a policy of the round has an id that is none");
        let policy = budget.parse().map_err(unknown)?;
        let command = NewCommand::DeleteBudgetPolicy { policy };
        self.do_now(command, Effect::Gone(budget), dice).await?;
        let policy = limit.parse().map_err(unknown)?;
        let command = NewCommand::DeleteRateLimitPolicy { policy };
        self.do_now(command, Effect::Gone(limit), dice).await?;
        self.is_served().await
    }

    /// Gives one command, and returns the id of what it made.
    async fn do_now(
        &self,
        command: NewCommand,
        effect: Effect,
        dice: &mut Dice,
    ) -> Outcome<String> {
        let order = Order::new(command, effect);
        let plot = &self.place.purse.plot;
        let made = self.carry_out(0, command_id(dice), plot, &order).await;
        made.ok_or_else(|| Failure::new("a command for the round's policies was not done"))
    }

    /// Waits until all gateways serve what is confirmed by now.
    pub(in crate::faults) async fn is_served(&self) -> Outcome {
        let position = {
            let facts = self.place.notebook.facts();
            let positions = facts.commands.values().map(|it| it.position);
            positions.max().unwrap_or_default()
        };
        let deadline = Instant::now() + SERVED_WITHIN;
        while Instant::now() < deadline {
            let path = format!("/served?position={position}");
            let served: Served = self.place.apis[0].get(&path).await?;
            if served.served && served.gateways == GATEWAYS.len() as u64 {
                return Ok(());
            }
        }
        Err(Failure::new(format!(
            "position {position} is not served after {} s",
            SERVED_WITHIN.as_secs()
        )))
    }

    /// Asks for more than both allow.
    pub(super) async fn overspend(self, gateway: &'static str) {
        while self.goes_on() {
            for purpose in Purpose::BOTH {
                self.use_up(gateway, purpose).await;
            }
            sleep(BETWEEN).await;
        }
    }

    /// One request, noted. Whether it was answered.
    pub(in crate::faults) async fn use_up(&self, gateway: &'static str, purpose: Purpose) -> bool {
        let purse = &self.place.purse;
        let about = {
            let facts = self.place.notebook.facts();
            json!({ PURPOSE: facts.tight.value(purpose) })
        };
        let address = url(gateway_port(self.place.ports, gateway));
        let body = short_question();
        let path = "/v1/chat/completions";
        let answer = call_about(&address, path, &purse.key, Some(&body), Some(&about)).await;
        match answer {
            Ok(answer) => self.count(gateway, purpose, &body, &answer),
            Err(failure) => {
                *self.place.notebook.facts().tight.unknown(purpose) += 1;
                self.judge_silence(gateway, &failure.to_string());
                false
            }
        }
    }

    fn count(
        &self,
        gateway: &'static str,
        purpose: Purpose,
        body: &Value,
        answer: &Answer,
    ) -> bool {
        let code = code_of(answer);
        let refused =
            answer.status == StatusCode::TOO_MANY_REQUESTS && purpose.is_refused_by(&code);
        let cut_off = code == "budget_unavailable"
            && purpose == Purpose::Budget
            && self.excuses.gateways_may_be_cut_off();
        if refused || cut_off {
            self.note_request(gateway, answer);
            return false;
        }
        let admitted = answer.status.is_success();
        {
            let mut facts = self.place.notebook.facts();
            let tight = &mut facts.tight;
            match (admitted, purpose) {
                (true, Purpose::Budget) => {
                    tight.spent_nanos += cost_of(answer, self.place.purse.price);
                }
                (true, Purpose::Limit) => tight.admitted += 1,
                (false, _) => *tight.unknown(purpose) += 1,
            }
        }
        self.judge(gateway, body, answer);
        admitted
    }
}

// === impl Tight ===

impl Tight {
    /// What the metadata of such requests says.
    fn value(&self, purpose: Purpose) -> String {
        match purpose {
            Purpose::Budget => format!("budget-{}", self.round),
            Purpose::Limit => format!("limit-{}", self.round),
        }
    }

    /// Requests of which nobody knows what became.
    pub(in crate::faults) fn unknown(&mut self, purpose: Purpose) -> &mut u64 {
        match purpose {
            Purpose::Budget => &mut self.unknown_spends,
            Purpose::Limit => &mut self.unknown_asks,
        }
    }

    fn when(&self, purpose: Purpose) -> When {
        let value = Choice::only([self.value(purpose)]);
        let key = PURPOSE.parse().ok();
        When {
            metadata: key.into_iter().map(|key| (key, value.clone())).collect(),
            ..When::default()
        }
    }

    fn budget_rule(&self, nanos: u64) -> BudgetRule {
        let limit = BudgetLimit {
            amount: BudgetAmount::Cost(NanoUsd::new(nanos)),
            window: BudgetWindow::Month,
        };
        let when = self.when(Purpose::Budget);
        budget_rule(when, limit, LimitMode::Enforce, WhenCutOff::Closed)
    }

    fn limit_rule(&self, requests: u64) -> RateLimitRule {
        let when = self.when(Purpose::Limit);
        limit_rule(when, LimitWindow::Day, requests, LimitMode::Enforce)
    }
}

fn changed(id: &str, rule: &impl serde::Serialize) -> Effect {
    let rule = serde_json::to_value(rule).unwrap_or_default();
    Effect::Set(id.to_owned(), fields([("rule", rule)]))
}

/// A question whose answer is short, and known to be before it is sent.
pub(in crate::faults) fn short_question() -> Value {
    json!({
        "model": "mock/fast",
        "max_tokens": 8,
        "messages": [{ "role": "user", "content": "again" }],
    })
}

/// What an answer cost, by what it says that it used.
pub(in crate::faults) fn cost_of(answer: &Answer, price: Price) -> u64 {
    let body: Value = answer.json().unwrap_or_default();
    let tokens = |what: &str| body["usage"][what].as_u64().unwrap_or_default();
    let cost = price.cost(tokens("prompt_tokens"), 0, tokens("completion_tokens"));
    cost.nanos()
}

fn code_of(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

//! One request from its arrival to its record. Whatever becomes of it, it is settled, counted and recorded exactly once:
//! when it says how it ended, or else, when it is dropped, as a caller that went away.

mod limited;
mod usage;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    num::NonZeroU64,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use events_schema::{
    events::{ModelRef, Owner},
    id::{GrantId, Id, KeyId, ModelId},
    money::{NanoUsd, Price},
    time::Timestamp,
    usage::{
        Attempt, BudgetCharge, Endpoint, LimitSeen, Outcome, RoutingGrounds, Tokens, UsageRecord,
    },
};
use gateway_policy::{Caller, Resolved, Served};
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

pub use self::usage::Used;
use crate::{
    clock,
    count::{
        lacking::{Gap, Lacking, Question, Said, cost},
        vocabulary::Vocabulary,
    },
    endpoint::{Description, Output, describe},
    failure::{Failure, UpstreamFailure},
    health::{AnswerLatency, ModelHealth, Verdict},
    limits::{Reservation, Settled},
    pace::Pace,
    places::{Bound, Crowded, Place},
    record::ring::Left,
    server::worker::{Stage, Worker},
    trace::{context::Told, traced::Tracing},
};

/// How many bytes of the model's name are recorded.
const MAX_MODEL_BYTES: usize = 200;

/// A longer body is no text that a model could read, but files: it is not held to be counted. Some 1,000,000 tokens.
const MAX_QUESTION_BYTES: usize = 4 * 1024 * 1024;

/// A target that has not begun to answer in this time is failing, however little time a caller gave it.
const EXPECTED: Duration = Duration::from_secs(10);

/// A request under way.
pub struct Exchange {
    worker: Rc<Worker>,
    begin: Instant,
    /// The request.
    pub id: Uuid,
    received_at: Timestamp,
    served: Served,
    endpoint: Endpoint,
    spoken: Description,
    streamed: bool,
    key: Option<KeyId>,
    owner: Option<Owner>,
    requested_model: String,
    resolved: Option<ModelRef>,
    answering: Option<Answering>,
    /// Whether some of the request has left for the provider that is being asked, and nothing is known of what it did
    /// with it: of the two attempts that may be under way at once, by whether their numbers are even.
    sent: [Cell<bool>; 2],
    /// In the order of their beginnings; two may be under way at once.
    attempts: RefCell<Vec<Tried>>,
    routing: Option<RoutingGrounds>,
    rules: RefCell<Vec<String>>,
    /// Limits and budgets that were asked, as they were seen.
    limits: RefCell<Vec<LimitSeen>>,
    seed: u64,
    weight: u64,
    /// What it used; `None`: nothing is known yet.
    tokens: Option<Tokens>,
    pace: Pace,
    /// What was asked, in case that somebody has to count it; `None`: nobody will, or there was no room.
    question: Option<Question>,
    /// What was answered, where the provider has not said what that used.
    said: Said,
    /// `None`: there is no collector of traces.
    tracing: Option<Tracing>,
    reservation: Option<Reservation>,
    /// Its place among the requests under way; given back when it has ended.
    place: Option<Place>,
    metadata: BTreeMap<String, String>,
    status: StatusCode,
    first_byte_us: Option<u64>,
    has_ended: bool,
    /// How it has ended, until that is told.
    ended: Option<Ended>,
}

/// The attempt that brings the answer.
struct Answering {
    at: usize,
    model: ModelId,
    target: String,
}

/// How a request has ended.
struct Ended {
    outcome: Outcome,
    error_code: Option<&'static str>,
    duration_us: u64,
    answering: Option<Answering>,
    attempts: Vec<Tried>,
    tokens: Tokens,
    cost: Option<NanoUsd>,
    lacking: Option<Lacking>,
    budgets: Vec<BudgetCharge>,
}

/// An attempt, and what is needed of its model at its end.
struct Tried {
    attempt: Attempt,
    price: Option<Price>,
    health: Arc<ModelHealth>,
    open_answers: Option<NonZeroU64>,
    vocabulary: Vocabulary,
    /// Which of its numbers are estimates by length.
    gap: Option<Gap>,
    /// What the limits and budgets of its target hold for it.
    reservation: Option<Reservation>,
}

/// Why an attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// It is the first.
    First,
    /// The target is tried again.
    Again,
    /// Another target failed.
    Instead,
    /// Another target has not answered yet.
    Beside,
}

/// What is tried, for the record.
pub struct Trying {
    /// The model.
    pub model: ModelId,
    /// Its full name.
    pub target: String,
    /// What it costs.
    pub price: Option<Price>,
    /// How it fares.
    pub health: Arc<ModelHealth>,
    /// How many answers it is to make, where nobody bounds their length.
    pub open_answers: Option<NonZeroU64>,
    /// With which tokenizer its tokens can be counted.
    pub vocabulary: Vocabulary,
}

impl Exchange {
    /// A request with these headers has arrived.
    #[must_use]
    pub fn begin(
        worker: &Rc<Worker>,
        endpoint: Endpoint,
        served: Served,
        headers: &HeaderMap,
    ) -> Box<Self> {
        worker.metrics.in_flight.up();
        let sampler = worker.shared.sampler;
        let received_at = clock::now();
        // Its place in memory does not change: it is large, and goes from hand to hand.
        Box::new(Self {
            worker: Rc::clone(worker),
            begin: Instant::now(),
            id: clock::uuid_v7(received_at),
            received_at,
            served,
            endpoint,
            spoken: describe(endpoint),
            streamed: false,
            key: None,
            owner: None,
            requested_model: String::new(),
            resolved: None,
            answering: None,
            sent: Default::default(),
            attempts: RefCell::default(),
            routing: None,
            rules: RefCell::default(),
            limits: RefCell::default(),
            seed: clock::draw(),
            weight: 0,
            tokens: None,
            pace: Pace::default(),
            question: None,
            said: Said::Nothing,
            tracing: sampler.map(|sampler| Tracing::begin(headers, sampler)),
            reservation: None,
            place: None,
            metadata: BTreeMap::new(),
            status: StatusCode::from_u16(499).unwrap_or_default(),
            first_byte_us: None,
            has_ended: false,
            ended: None,
        })
    }

    /// The description of its endpoint.
    #[must_use]
    pub const fn spoken(&self) -> Description {
        self.spoken
    }

    /// When it arrived.
    #[must_use]
    pub const fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// The seed of the choice among targets.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Which configuration decides.
    #[must_use]
    pub const fn served(&self) -> Served {
        self.served
    }

    /// The model as it was asked for.
    #[must_use]
    pub fn requested_model(&self) -> &str {
        &self.requested_model
    }

    /// The full name of the model that answers.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.answering.as_ref().map(|it| it.target.as_str())
    }

    /// Its key works.
    pub fn called_by(&mut self, caller: Caller<'_>) {
        self.key = Some(caller.key_id());
        self.owner = Some(caller.owner());
    }

    /// What the caller says about it.
    pub fn described_as(&mut self, metadata: BTreeMap<String, String>) {
        self.metadata = metadata;
    }

    /// What the caller says about it.
    #[must_use]
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Its body was read.
    ///
    /// `weight`: how many bytes of text it counts as where tokens have to be estimated.
    pub fn asks_for(&mut self, model: &str, streamed: bool, weight: u64, body: &Bytes) {
        let end = model.floor_char_boundary(MAX_MODEL_BYTES);
        model[..end].clone_into(&mut self.requested_model);
        (self.streamed, self.weight) = (streamed, weight);
        if self.spoken.output != Output::Free && body.len() <= MAX_QUESTION_BYTES {
            let kept = self.worker.allowance.hold(body.len());
            self.question = kept.map(|kept| Question {
                body: body.clone(),
                kept,
            });
        }
    }

    /// The model's name stands for something.
    pub fn resolved_to(&mut self, resolved: Resolved<'_>) {
        self.resolved = Some(resolved.model_ref());
    }

    /// A grant opens the model.
    pub fn granted_by(&mut self, grant: GrantId) {
        self.rules.get_mut().push(named("grant:", grant));
    }

    /// It is one of those that may be under way.
    pub fn placed(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// As many are under way as may be.
    pub fn crowded_out(&mut self, crowded: Crowded) {
        let metrics = &self.worker.metrics;
        let (rule, counter) = match crowded.bound {
            Bound::Key => ("key:requests_under_way", &metrics.crowded_out_of_key),
            Bound::Gateway => (
                "gateway:requests_under_way",
                &metrics.crowded_out_of_gateway,
            ),
        };
        counter.add(1);
        self.rules.get_mut().push(rule.to_owned());
    }

    /// Whether this gateway cannot wait for its end any longer.
    #[must_use]
    pub fn must_end(&self) -> bool {
        self.worker.stage.get() == Stage::Ending
    }

    /// To be set once some of the request has left for the provider of this attempt.
    #[must_use]
    pub const fn sent(&self, at: usize) -> &Cell<bool> {
        &self.sent[at % 2]
    }

    /// The choice among targets is made with this seed, as the request belongs to a session.
    pub fn seeded(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// What else the choice among targets depends on.
    pub fn grounded_on(&mut self, grounds: RoutingGrounds) {
        self.routing = (grounds != RoutingGrounds::default()).then_some(grounds);
    }

    /// How long ago it arrived.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// An attempt begins; gives its number.
    pub fn attempt_begins(&self, trying: Trying, why: Begins) -> usize {
        let Trying {
            model,
            target,
            price,
            health,
            open_answers,
            vocabulary,
        } = trying;
        let at = self.attempts.borrow().len();
        self.sent(at).set(false);
        let began_us = clock::micros_since(self.begin);
        let metrics = &self.worker.metrics;
        match why {
            Begins::First => metrics.before_upstream.observe(began_us),
            Begins::Again => metrics.retries.add(1),
            Begins::Instead => metrics.fallbacks.add(1),
            Begins::Beside => metrics.hedges.add(1),
        }
        let attempt = Attempt {
            model,
            target,
            status: None,
            error: None,
            began_us,
            first_byte_us: None,
            duration_us: 0,
            sent: None,
            tokens: None,
            first_token_us: None,
            per_output_token_us: None,
        };
        let mut attempts = self.attempts.borrow_mut();
        attempts.push(Tried {
            attempt,
            price,
            health,
            open_answers,
            vocabulary,
            gap: None,
            reservation: None,
        });
        attempts.len() - 1
    }

    /// How the request is part of a trace; `None`: there is no collector.
    #[must_use]
    pub const fn tracing(&self) -> Option<&Tracing> {
        self.tracing.as_ref()
    }

    /// What the provider of an attempt is told of the trace.
    #[must_use]
    pub fn told(&self, at: usize) -> Option<Told> {
        self.tracing.as_ref()?.told(at)
    }

    /// An attempt has ended without an answer for the caller.
    pub fn attempt_failed(&self, at: usize, status: Option<StatusCode>, error: Option<&str>) {
        // Providers do not charge for errors.
        let lost = self.unanswered(at).filter(|_| status.is_none());
        let sent = status.is_some() || self.sent(at).get();
        let verdict = status.map_or(Verdict::Failing, Verdict::of);
        self.attempt_ended(at, (sent, lost), (status, error), Some(verdict));
    }

    /// An attempt was not made: what is in the way stands in the configuration. That says nothing of the model, which is
    /// asked at once when it is put right.
    pub fn attempt_refused(&self, at: usize, error: &str) {
        self.attempt_ended(at, (false, None), (None, Some(error)), None);
    }

    /// An attempt has taken longer than the caller or the routing lets it. That says nothing of the model, unless it had
    /// all the time that one may expect an answer to begin in.
    pub fn attempt_out_of_time(&self, at: usize, had: Duration) {
        let verdict = (had >= EXPECTED).then_some(Verdict::Failing);
        let used = (self.sent(at).get(), self.unanswered(at));
        let error = Some(UpstreamFailure::Timeout.as_str());
        self.attempt_ended(at, used, (None, error), verdict);
    }

    /// An attempt was given up: another one, beside it, was quicker. `failing`: it was to find out whether its model works
    /// again.
    pub fn attempt_given_up(&self, at: usize, failing: bool) {
        let used = (self.sent(at).get(), self.unanswered(at));
        let verdict = failing.then_some(Verdict::Failing);
        self.attempt_ended(at, used, (None, Some("superseded")), verdict);
    }

    fn attempt_ended(
        &self,
        at: usize,
        (sent, lost): (bool, Option<Tokens>),
        (status, error): (Option<StatusCode>, Option<&str>),
        verdict: Option<Verdict>,
    ) {
        self.sent(at).set(false);
        let now = clock::micros_since(self.begin);
        if let Some(Tried {
            attempt,
            health,
            gap,
            ..
        }) = self.attempts.borrow_mut().get_mut(at)
        {
            (attempt.sent, attempt.tokens) = (Some(sent), lost);
            *gap = lost.map(|_| Gap::UNANSWERED);
            attempt.status = status.map(|it| it.as_u16());
            attempt.error = error.map(ToOwned::to_owned);
            attempt.duration_us = now.saturating_sub(attempt.began_us);
            if let Some(verdict) = verdict {
                self.worker.health.judge(health, verdict);
            }
        }
        self.attempt_is_over(at);
    }

    /// An attempt brings the answer.
    pub fn answered(&mut self, at: usize, status: StatusCode) {
        self.status = status;
        if let Some(Tried {
            attempt, health, ..
        }) = self.attempts.get_mut().get_mut(at)
        {
            attempt.status = Some(status.as_u16());
            attempt.sent = Some(true);
            // How well a good answer ends is known at its end.
            if Verdict::of(status) == Verdict::Failing {
                self.worker.health.judge(health, Verdict::Failing);
            }
            self.answering = Some(Answering {
                at,
                model: attempt.model,
                target: attempt.target.clone(),
            });
        }
    }

    /// A piece of the answer goes to the caller.
    pub fn sends(&mut self) {
        if self.first_byte_us.is_none() {
            self.sends_at(Instant::now());
        }
    }

    fn sends_at(&mut self, now: Instant) {
        let now = micros_between(self.begin, now);
        self.first_byte_us = Some(now);
        if let Some(attempt) = self.answering_attempt() {
            attempt.first_byte_us = Some(now.saturating_sub(attempt.began_us));
        }
    }

    fn answering_attempt(&mut self) -> Option<&mut Attempt> {
        let at = self.answering.as_ref()?.at;
        let tried = self.attempts.get_mut().get_mut(at)?;
        Some(&mut tried.attempt)
    }

    /// Some of a stream's answer came at this time.
    pub fn carries(&mut self, at: Instant) {
        self.pace.note(at);
    }

    /// It has ended well, or with an error of the provider that was passed on.
    pub fn end(&mut self, outcome: Outcome) {
        self.record(outcome, None);
    }

    /// It has ended, and the last that the provider said in its stream was an error.
    pub fn end_with_error_event(&mut self) {
        if let Some(attempt) = self.answering_attempt() {
            attempt.error = Some(UpstreamFailure::ErrorEvent.as_str().to_owned());
        }
        self.record(Outcome::ProviderError, Some("provider_error"));
    }

    /// The answer has broken off after it had begun, as `failure` says; `why` is for the attempt.
    pub fn cut(&mut self, why: &str, failure: &Failure) {
        if let Some(attempt) = self.answering_attempt() {
            attempt.error = Some(why.to_owned());
        }
        self.fail(failure);
    }

    /// It has failed.
    pub fn fail(&mut self, failure: &Failure) {
        let row = failure.row();
        // Once a head has gone to the caller, its status is what the caller saw.
        if self.answering.is_none() {
            self.status = self.spoken.dialect.status(failure);
        }
        self.record(row.outcome, Some(row.code));
    }

    /// It has ended with all of its answer: what it held is settled, and counted. Its record is made when this is dropped.
    pub fn closes(&mut self, outcome: Outcome) {
        let now = Instant::now();
        self.sends_at(now);
        self.close(outcome, None, now);
    }

    fn record(&mut self, outcome: Outcome, error_code: Option<&'static str>) {
        if !self.has_ended {
            self.close(outcome, error_code, Instant::now());
        }
        self.tell();
    }

    /// It ends now, and nothing more is to be heard of it. Whoever sees its answer finds that it has ended.
    fn close(&mut self, outcome: Outcome, error_code: Option<&'static str>, now: Instant) {
        self.has_ended = true;
        self.place = None;
        let duration_us = micros_between(self.begin, now);
        let charged = self.account(outcome);
        let tokens = charged.and_then(|at| self.attempts.get_mut().get(at)?.attempt.tokens);
        let tokens = tokens.unwrap_or_default();
        if let Some(attempt) = self.answering_attempt() {
            attempt.duration_us = duration_us.saturating_sub(attempt.began_us);
        }
        let answering = self.answering.take();
        let mut attempts = std::mem::take(self.attempts.get_mut());
        if let Some(tried) = answering.as_ref().and_then(|it| attempts.get(it.at)) {
            self.judge_answer(tried, outcome, tokens.output, now);
        }
        let price = charged.and_then(|at| attempts.get(at)?.price);
        let cost = cost(price, tokens);
        let mut lacking = self.lacking(&attempts, charged, price);
        let used = Settled {
            tokens: tokens.input.saturating_add(tokens.output),
            cost: cost.unwrap_or_default().nanos(),
        };
        let budgets = self.settle(&mut attempts, charged, used, lacking.as_mut());
        let metrics = &self.worker.metrics;
        metrics.in_flight.down();
        metrics.ended(self.endpoint, outcome, duration_us);
        metrics.input_tokens.add(tokens.input);
        metrics.output_tokens.add(tokens.output);
        if outcome == Outcome::Unauthenticated && !self.worker.strangers.take(self.received_at) {
            // Whoever has no key could otherwise fill the ledger.
            metrics.unrecorded.add(1);
            return;
        }
        self.worker.ring.announce();
        self.ended = Some(Ended {
            outcome,
            error_code,
            duration_us,
            answering,
            attempts,
            tokens,
            cost,
            lacking,
            budgets,
        });
    }

    /// Makes the record of what has ended, once.
    fn tell(&mut self) {
        let Some(ended) = self.ended.take() else {
            return;
        };
        let Ended {
            outcome,
            error_code,
            duration_us,
            answering,
            attempts,
            tokens,
            cost,
            lacking,
            budgets,
        } = ended;
        let record = UsageRecord {
            request: self.id,
            received_at: self.received_at,
            epoch: self.served.epoch,
            position: self.served.position,
            endpoint: self.endpoint,
            streamed: self.streamed,
            key: self.key,
            owner: self.owner,
            requested_model: std::mem::take(&mut self.requested_model),
            resolved: self.resolved,
            answered_by: answering.as_ref().map(|it| it.model),
            target: answering.map(|it| it.target),
            attempts: attempts.into_iter().map(|tried| tried.attempt).collect(),
            outcome,
            status: self.status.as_u16(),
            error_code: error_code.map(ToOwned::to_owned),
            rules: self.rules.take(),
            seed: self.seed,
            routing: self.routing.take(),
            tokens,
            cost,
            duration_us,
            first_byte_us: self.first_byte_us,
            metadata: std::mem::take(&mut self.metadata),
            budgets: (!budgets.is_empty()).then_some(budgets),
            limits: Some(self.limits.take()).filter(|limits| !limits.is_empty()),
        };
        self.worker.ring.put(Left {
            record,
            lacking: lacking.map(Box::new),
            traced: self.tracing.take().and_then(Tracing::end).map(Box::new),
        });
    }

    /// What an answer that has begun says of its model at its end.
    fn judge_answer(&self, tried: &Tried, outcome: Outcome, output: u64, now: Instant) {
        let health = &self.worker.health;
        match outcome {
            Outcome::Success => {
                // What has no output, as a count of tokens, cannot be compared by the time for each of it.
                let can_be_compared = self.spoken.output == Output::Text && output > 0;
                let latency = can_be_compared.then(|| AnswerLatency {
                    duration_us: tried.attempt.duration_us,
                    output_tokens: output,
                    open_answers: tried.open_answers,
                    first_token_us: tried.attempt.first_token_us.filter(|_| self.streamed),
                });
                health.answered(&tried.health, latency, now);
            }
            Outcome::ClientGone if tried.attempt.first_byte_us.is_some() => {
                health.judge(&tried.health, Verdict::Well);
            }
            Outcome::StreamCut => health.judge(&tried.health, Verdict::Failing),
            Outcome::ProviderError if self.status.is_success() => {
                health.judge(&tried.health, Verdict::Failing);
            }
            // That it was failing was told when its status came.
            Outcome::ProviderError if Verdict::of(self.status) == Verdict::Well => {
                health.judge(&tried.health, Verdict::Well);
            }
            Outcome::ProviderError
            | Outcome::BadRequest
            | Outcome::Unauthenticated
            | Outcome::Forbidden
            | Outcome::UnknownModel
            | Outcome::LimitExceeded
            | Outcome::ProviderUnreachable
            | Outcome::ClientGone => {}
        }
    }
}

fn micros_between(begin: Instant, end: Instant) -> u64 {
    u64::try_from(end.duration_since(begin).as_micros()).unwrap_or(u64::MAX)
}

/// What a rule is called in records: its kind, and its id.
fn named<T>(kind: &str, id: Id<T>) -> String {
    let mut digits = [0; uuid::fmt::Simple::LENGTH];
    [kind, id.uuid().as_simple().encode_lower(&mut digits)].concat()
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.record(Outcome::ClientGone, Some("client_gone"));
    }
}

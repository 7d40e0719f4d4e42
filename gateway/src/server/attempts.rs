//! From a virtual model to an answer: the plan, and one attempt after another until one brings an answer for the caller.
//!
//! What is tried and in which order is `gateway-policy`'s to say; here it is done, within the time that there is.

use std::{cell::RefCell, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use events_schema::{
    id::ModelId,
    snapshot::routing::StrategyEntry,
    usage::{Circuit, Health, Outcome, RetryWish, RoutingGrounds, TargetHealth},
};
use gateway_policy::{
    Asking, Denial, Ended, Facts, Next, Plan, Progress, Resolved, Routed, RoutedTarget, Step,
    health::relevant, limits::admission::Turn, plan, price_at,
};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use tokio::time::{sleep, timeout};

use super::{
    complete::{Call, answer_at},
    passing::Content,
};
use crate::{
    count::vocabulary::Vocabulary,
    endpoint::Dialect,
    exchange::{Begins, Trying},
    failure::{Failure, UpstreamFailure},
    health::ModelHealth,
    limits::{
        Asked as OfLimits, Outcome as Limited,
        leases::{Since, Waiting},
    },
    request::{self, Scan, UsageWish, replace::replaced, rewrite, scan, wish::Wish},
    sessions::Session,
    upstream::{
        Patience,
        addresses::Scope,
        answer::{Answer, Collected},
        events::{Events, begins_with_error},
        headers::{FromCaller, Outgoing},
        usage::UsageScan,
    },
    view::View,
};

/// Answers that are no streams are read up to this size before they are passed on, so that one that breaks off can still
/// be followed by another attempt; larger ones pass as they come.
const MAX_COLLECTED_BYTES: usize = 1024 * 1024;
/// How much is read of an error that is not passed on, and for how long.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// See [`MAX_ERROR_BYTES`].
const ERROR_WAIT: Duration = Duration::from_millis(250);

/// What the caller sent, once it is understood.
pub(super) struct Asked<'b> {
    pub(super) from_caller: FromCaller<'b>,
    pub(super) body: &'b Bytes,
    pub(super) scan: &'b Scan<'b>,
}

/// A provider's answer that goes to the caller.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Arrived,
}

/// What has arrived of the answer.
pub(super) enum Arrived {
    /// All of it.
    Whole(Bytes),
    /// The beginning.
    Begun(Box<Begun>),
}

impl Arrived {
    /// What there is of it.
    fn beginning(&self) -> &[u8] {
        match self {
            Self::Whole(whole) => whole,
            Self::Begun(begun) => &begun.first,
        }
    }
}

/// The beginning of an answer, and whence the rest comes.
pub(super) struct Begun {
    pub(super) first: Bytes,
    pub(super) rest: Answer,
    pub(super) content: Content,
}

/// Why an attempt brings no answer for the caller.
enum Missed {
    /// There was none.
    Upstream(UpstreamFailure),
    /// There was none in the time that it had.
    OutOfTime(Duration),
    /// A limit or a budget of the target refuses: it was not asked.
    Limited(Box<Failure>),
    /// The provider said so; what that means for the plan.
    Status(StatusCode, Ended),
}

impl From<UpstreamFailure> for Missed {
    fn from(failure: UpstreamFailure) -> Self {
        Self::Upstream(failure)
    }
}

impl Missed {
    const fn ended(&self) -> Ended {
        match self {
            Self::Upstream(UpstreamFailure::Address) | Self::Limited(_) => Ended::NotMade,
            Self::Upstream(_) | Self::OutOfTime(_) => Ended::Unanswered,
            Self::Status(_, ended) => *ended,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Upstream(upstream) => Failure::Upstream(*upstream),
            Self::OutOfTime(_) => Failure::Upstream(UpstreamFailure::Timeout),
            Self::Limited(refused) => (**refused).clone(),
            Self::Status(status, _) => Failure::of_status(*status),
        }
    }
}

/// That a request finds out whether a target works again; nobody else does, until it is dropped.
struct Probe(Arc<ModelHealth>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The way to an answer.
pub(super) struct Route<'v> {
    plan: Plan<'v>,
    retry: Option<RetryWish>,
    /// How long one attempt may take until an answer begins.
    each: Option<Duration>,
    /// How long all may take together, from the request's arrival.
    all: Option<Duration>,
    /// After how long another target is asked as well.
    hedge_after: Option<Duration>,
    /// The session, and for how many seconds it stays with who answers.
    session: Option<(Session, u32)>,
    /// The first target's, where this request finds out whether it works again. Given back at the end, however that comes.
    probe: Option<Probe>,
}

impl<'v> Route<'v> {
    /// What is tried there; `None`: nothing.
    pub(super) fn step(&self, view: &'v View, progress: Progress) -> Option<Step<'v>> {
        self.plan.step(view, progress)
    }

    /// All that may be tried.
    pub(super) fn targets(&self, view: &'v View) -> impl Iterator<Item = Step<'v>> {
        self.plan.targets(view)
    }

    /// What follows an attempt, if there is time for it.
    fn next(&self, progress: Progress, ended: Ended, elapsed: Duration) -> Option<Next> {
        let next = self.plan.next(progress, ended, self.retry.as_ref())?;
        let begins = elapsed + Duration::from_millis(u64::from(next.delay_ms));
        self.all.is_none_or(|all| begins < all).then_some(next)
    }

    /// How long an attempt that begins now may take.
    fn limit(&self, elapsed: impl Fn() -> Duration) -> Option<Duration> {
        let left = self.all.map(|all| all.saturating_sub(elapsed()));
        match (self.each, left) {
            (Some(each), Some(left)) => Some(each.min(left)),
            (each, left) => each.or(left),
        }
    }
}

/// An attempt under way: its number in the record, its place in the plan, and what is tried.
#[derive(Clone, Copy)]
struct Attempting<'v> {
    at: usize,
    progress: Progress,
    step: Step<'v>,
}

impl<'v> Call<'v> {
    /// Plans the attempts for what was asked for.
    pub(super) fn route(
        &mut self,
        resolved: Resolved<'v>,
        headers: &HeaderMap,
        wish: Wish,
    ) -> Result<Route<'v>, Failure> {
        let routed = match resolved {
            Resolved::Virtual(it) => Some((it.id, Routed::of(self.view, it))),
            Resolved::Direct(_) => None,
        };
        let session = routed.and_then(|(id, routed)| {
            let sticky = routed.sticky()?;
            let session = Session::of(&id, sticky, headers, self.exchange.metadata())?;
            Some((session, sticky.ttl_seconds.to_native()))
        });
        let mut bound = None;
        if let Some((session, _)) = session {
            self.exchange.seeded(session.seed());
            bound = self.worker.shared.sessions.bound(session);
        }
        let asking = Asking {
            endpoint: self.endpoint,
            metadata: self.exchange.metadata(),
            seed: self.exchange.seed(),
            bound,
        };
        let strategy = routed.map(|(_, routed)| routed.strategy());
        let (plan, health, probe) = self.choose(resolved, strategy, &asking)?;
        self.exchange.grounded_on(RoutingGrounds {
            health,
            bound: bound.map(ModelId::from_bytes),
            retry: wish.retry.clone(),
        });
        let millis = |millis: Option<u32>| millis.map(|it| Duration::from_millis(u64::from(it)));
        Ok(Route {
            plan,
            retry: wish.retry,
            each: wish.timeout,
            all: millis(routed.and_then(|(_, it)| it.deadline_ms())),
            hedge_after: millis(routed.and_then(|(_, it)| it.hedge_after_ms())),
            session,
            probe,
        })
    }

    /// The plan, and what it depended on of the targets' health. `strategy` is a virtual model's.
    fn choose(
        &self,
        resolved: Resolved<'v>,
        strategy: Option<StrategyEntry>,
        asking: &Asking<'_>,
    ) -> Result<(Plan<'v>, Vec<TargetHealth>, Option<Probe>), Failure> {
        let now_us = self.worker.health.now_us();
        let seen = RefCell::new(Vec::new());
        let probes = RefCell::new(Vec::new());
        let look = |target: RoutedTarget<'_>| {
            let model = self.worker.health.of(target.model());
            let full = model.take(now_us);
            if full.circuit == Circuit::Probe {
                probes.borrow_mut().push((*target.model(), Probe(model)));
            }
            let health = strategy.map_or(full, |strategy| relevant(strategy, target, full));
            if health != Health::default() {
                seen.borrow_mut().push(TargetHealth {
                    model: ModelId::from_bytes(*target.model()),
                    health,
                });
            }
            health
        };
        let planned = plan(self.view, resolved, asking, look);
        let seen = seen.into_inner();
        let first = || {
            let step = planned.ok()?.step(self.view, Progress::default())?;
            Some(step.target.model.id)
        };
        // Where another one was chosen, somebody else may find out.
        let mut probes = probes.into_inner().into_iter();
        let probe = probes.find(|(model, _)| Some(*model) == first());
        let probe = probe.map(|(_, probe)| probe);
        planned
            .map(|plan| (plan, seen, probe))
            .map_err(Failure::Denied)
    }

    /// Tries one target after another until one answers.
    pub(super) async fn attempt_all(
        &mut self,
        route: &Route<'v>,
        asked: &Asked<'_>,
    ) -> Result<Answered, Failure> {
        let mut progress = Progress::default();
        let mut why = Begins::First;
        loop {
            let Some(attempt) = self.begin(route, progress, why, asked) else {
                return Err(Failure::Denied(Denial::NoTarget));
            };
            let (attempt, outcome) = match route.hedge_after.filter(|_| why == Begins::First) {
                Some(after) => self.hedged(route, attempt, after, asked).await,
                None => (attempt, self.bounded(route, attempt, asked).await),
            };
            let missed = match outcome {
                Ok(answered) => {
                    self.exchange.answered(attempt.at, answered.status);
                    if let Some(tracing) = self.exchange.tracing() {
                        tracing.answered(attempt.at, answered.content.beginning());
                    }
                    self.bind(route, attempt, answered.status);
                    return Ok(answered);
                }
                Err(missed) => missed,
            };
            self.missed(attempt, &missed);
            let elapsed = self.exchange.elapsed();
            let Some(next) = route.next(attempt.progress, missed.ended(), elapsed) else {
                return Err(missed.failure());
            };
            why = if route.plan.is_other_target(attempt.progress, next.progress) {
                Begins::Instead
            } else {
                Begins::Again
            };
            if next.delay_ms > 0 {
                sleep(Duration::from_millis(u64::from(next.delay_ms))).await;
            }
            progress = next.progress;
        }
    }

    fn begin(
        &self,
        route: &Route<'v>,
        progress: Progress,
        why: Begins,
        asked: &Asked<'_>,
    ) -> Option<Attempting<'v>> {
        let step = route.step(self.view, progress)?;
        let (account, model) = (step.target.account, step.target.model);
        let target = [account.name.as_str(), "/", model.name.as_str()].concat();
        let health = self.worker.health.of(&model.id);
        health.asked_as(&target);
        let trying = Trying {
            model: ModelId::from_bytes(model.id),
            target,
            price: price_at(model, self.exchange.received_at()),
            health,
            open_answers: answer_at(step, asked.scan.answer).open(),
            vocabulary: Vocabulary::of(&model.upstream_name),
        };
        let at = self.exchange.attempt_begins(trying, why);
        if let Some(tracing) = self.exchange.tracing() {
            tracing.attempt_begins(account, &model.upstream_name);
        }
        Some(Attempting { at, progress, step })
    }

    fn missed(&self, attempt: Attempting<'_>, missed: &Missed) {
        let at = attempt.at;
        match missed {
            Missed::Upstream(address @ UpstreamFailure::Address) => {
                self.exchange.attempt_refused(at, address.as_str());
            }
            Missed::Upstream(upstream) => {
                self.exchange
                    .attempt_failed(at, None, Some(upstream.as_str()));
            }
            Missed::OutOfTime(had) => self.exchange.attempt_out_of_time(at, *had),
            Missed::Limited(_) => self.exchange.attempt_refused(at, "limited"),
            Missed::Status(status, _) => self.exchange.attempt_failed(at, Some(*status), None),
        }
    }

    /// The session stays with who answered it.
    fn bind(&self, route: &Route<'_>, attempt: Attempting<'_>, status: StatusCode) {
        if let Some((session, seconds)) = route.session.filter(|_| status.is_success()) {
            let model = attempt.step.target.model.id;
            self.worker.shared.sessions.bind(session, model, seconds);
        }
    }

    /// An attempt, and after a while, when it has not answered, another one beside it. The first good answer is taken, and
    /// the other attempt given up; where there is none, the plan goes on behind the second.
    async fn hedged(
        &self,
        route: &Route<'v>,
        first: Attempting<'v>,
        after: Duration,
        asked: &Asked<'_>,
    ) -> (Attempting<'v>, Result<Answered, Missed>) {
        let mut one = pin!(self.bounded(route, first, asked));
        tokio::select! {
            biased;
            outcome = &mut one => return (first, outcome),
            () = sleep(after) => {}
        }
        let other = route.plan.other_target(first.progress);
        let Some(second) = other.and_then(|other| self.begin(route, other, Begins::Beside, asked))
        else {
            return (first, one.await);
        };
        let mut two = pin!(self.bounded(route, second, asked));
        let (early, late, outcome) = tokio::select! {
            outcome = &mut one => (first, second, outcome),
            outcome = &mut two => (second, first, outcome),
        };
        if is_good(&outcome) {
            let found_out = late.at == first.at && route.probe.is_some();
            self.exchange.attempt_given_up(late.at, found_out);
            return (early, outcome);
        }
        // What has come to nothing is over while the other goes on.
        let outcome = outcome.map_err(|missed| self.missed(early, &missed));
        let other = if late.at == first.at {
            one.await
        } else {
            two.await
        };
        // An error that could be passed on is better than nothing, and anything good better than that.
        let (taken, answer) = match outcome {
            Err(()) => (late, other),
            Ok(answered) if is_good(&other) => {
                let status = Some(answered.status);
                self.exchange.attempt_failed(early.at, status, None);
                (late, other)
            }
            Ok(answered) => {
                match other {
                    Ok(other) => {
                        let status = Some(other.status);
                        self.exchange.attempt_failed(late.at, status, None);
                    }
                    Err(missed) => self.missed(late, &missed),
                }
                (early, Ok(answered))
            }
        };
        let taken = Attempting {
            progress: second.progress,
            ..taken
        };
        (taken, answer)
    }

    /// An attempt that takes no longer than it may.
    async fn bounded(
        &self,
        route: &Route<'_>,
        attempt: Attempting<'_>,
        asked: &Asked<'_>,
    ) -> Result<Answered, Missed> {
        let attempting = pin!(self.attempt(route, attempt, asked));
        match route.limit(|| self.exchange.elapsed()) {
            None => attempting.await,
            Some(limit) => match timeout(limit, attempting).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Missed::OutOfTime(limit)),
            },
        }
    }

    /// Asks the limits of the policy that names the target, and the budgets that name it; those that have admitted the request
    /// are not asked again. Where it is to wait for a lease and to ask again: since when.
    fn admit_attempt(
        &self,
        at: usize,
        step: Step<'v>,
        turn: Turn,
    ) -> Result<Option<Since>, Missed> {
        let Some(admitted) = &self.admitted else {
            return Ok(None);
        };
        let received_at = self.exchange.received_at();
        let request = Facts::of(
            self.view,
            admitted.caller,
            admitted.resolved,
            self.exchange.metadata(),
        );
        let facts = request.at(step.target);
        let mut asked = OfLimits::new(self.estimate(admitted.asks, step));
        let rule = self.view.rules().first_naming(&facts);
        if let Some(rule) = rule.filter(|rule| admitted.by != Some(rule.id)) {
            asked.of_rule(rule, &facts);
            asked.count_once(|counter| self.exchange.counts_at(counter));
        }
        let budgets = self.view.budget_rules().all_naming(&facts, &request);
        if !budgets.is_empty() {
            asked.of_budgets(&budgets, self.spend(admitted.asks, step), &facts);
        }
        if asked.is_empty() {
            return Ok(None);
        }
        let limits = &self.worker.shared.limits;
        let mut decided = limits.decide(&asked, received_at, turn);
        self.exchange.decided_by(&asked, &mut decided);
        let failure = match decided.outcome {
            Limited::Admitted(admitted) => {
                self.exchange.attempt_reserved(at, admitted.reservation);
                return Ok(None);
            }
            Limited::Waits(since) => return Ok(Some(since)),
            Limited::Refused(refused) => Failure::Limited(refused),
            Limited::Overspent(overspent) => Failure::Overspent(overspent),
        };
        Err(Missed::Limited(Box::new(failure)))
    }

    /// One attempt. Its answer is the caller's when it is a good one, or when nothing better can be had.
    async fn attempt(
        &self,
        route: &Route<'_>,
        attempt: Attempting<'_>,
        asked: &Asked<'_>,
    ) -> Result<Answered, Missed> {
        let Attempting { at, progress, step } = attempt;
        if step.routed.is_some() {
            let mut waiting = Waiting::default();
            while let Some(since) = self.admit_attempt(at, step, waiting.turn())? {
                self.wait(&mut waiting, since).await;
            }
        }
        let worker = self.worker;
        let (entry, sealing) = (step.target.account, &worker.shared.secrets.sealing);
        let scope = if self.view.allows_private_addresses(&entry.id) {
            Scope::Anywhere
        } else {
            Scope::Public
        };
        let account = worker.accounts.of(entry, scope, sealing);
        let body = self.upstream_body(step, asked);
        let routed = step.routed.and_then(RoutedTarget::full);
        let outgoing = Outgoing {
            endpoint: self.exchange.spoken(),
            from_caller: asked.from_caller,
            routed,
            told: self.exchange.told(attempt.at),
            body_bytes: body.length(),
        };
        let sent = self.exchange.sent(attempt.at);
        let (status, headers, answer) = worker
            .sender
            .send(&account, &worker.metrics, outgoing, &body, sent)
            .await?;
        // What is no answer of the API is as good as none.
        let says_nothing = status.is_redirection() || !speaks_api(status, &headers);
        let ended = if says_nothing {
            Ended::Unanswered
        } else {
            Ended::Status(status.as_u16())
        };
        let goes_on = |ended| {
            let elapsed = self.exchange.elapsed();
            route.next(progress, ended, elapsed).is_some()
        };
        let is_error = says_nothing || !status.is_success();
        if says_nothing || is_about_credential(status) || (is_error && goes_on(ended)) {
            // Small as errors are, reading one to its end keeps the connection; the next attempt does not wait for more.
            let _unread = timeout(ERROR_WAIT, answer.collect(MAX_ERROR_BYTES)).await;
            return Err(Missed::Status(status, ended));
        }
        let content = if is_events(&headers) {
            let begun = self.begin_events(answer, asked).await?;
            if begins_with_error(self.exchange.spoken().dialect, &begun.first)
                && goes_on(Ended::Unanswered)
            {
                return Err(Missed::Upstream(UpstreamFailure::ErrorEvent));
            }
            Arrived::Begun(Box::new(begun))
        } else {
            begin_other(answer, status, self.exchange.spoken().dialect).await?
        };
        Ok(Answered {
            status,
            headers,
            content,
        })
    }

    /// Waits for the first piece, as long as for a head: until then another target can still be tried.
    async fn begin_events(
        &self,
        mut answer: Answer,
        asked: &Asked<'_>,
    ) -> Result<Begun, UpstreamFailure> {
        let Patience { response, idle, .. } = self.worker.sender.patience;
        answer.may_pause(response);
        let first = answer.piece().await.transpose()?.unwrap_or_default();
        answer.may_pause(idle);
        let strip_usage =
            self.wishes_usage(asked) && !matches!(asked.scan.usage_wish, UsageWish::Asked);
        let events = Events::new(self.exchange.spoken().dialect, strip_usage);
        Ok(Begun {
            first,
            rest: answer,
            content: Content::Events(events.heard_with(self.worker.allowance.open())),
        })
    }

    /// Whether the provider is asked for usage at the end of a stream.
    fn wishes_usage(&self, asked: &Asked<'_>) -> bool {
        asked.scan.stream && self.exchange.spoken().must_be_asked_for_usage()
    }

    fn upstream_body(&self, step: Step<'_>, asked: &Asked<'_>) -> request::Body {
        let wishes = self.wishes_usage(asked);
        let model = step.target.model.upstream_name.as_str();
        let routed = step.routed.and_then(RoutedTarget::full);
        let params = routed.map(|it| it.override_params.as_slice());
        if let Some(params) = params.filter(|params| !params.is_empty()) {
            let params = params.iter().map(|it| (it.0.as_str(), it.1.as_str()));
            let body = replaced(asked.body, &params.collect::<Vec<_>>());
            // Neither the model nor the wish for usage can be among them, but they stand elsewhere now.
            if let Ok(scan) = scan(&body) {
                let wish = wishes.then_some(&scan.usage_wish);
                return rewrite(&body, &scan.model_at, model, wish);
            }
        }
        let wish = wishes.then_some(&asked.scan.usage_wish);
        rewrite(asked.body, &asked.scan.model_at, model, wish)
    }
}

fn is_good(outcome: &Result<Answered, Missed>) -> bool {
    matches!(outcome, Ok(answered) if answered.status.is_success())
}

/// Reads an answer that is no stream, or, when it is large, its beginning.
async fn begin_other(
    answer: Answer,
    status: StatusCode,
    dialect: Dialect,
) -> Result<Arrived, UpstreamFailure> {
    Ok(match answer.collect(MAX_COLLECTED_BYTES).await? {
        Collected::Whole(whole) => Arrived::Whole(whole),
        Collected::Large(first, rest) => {
            let content = Content::Other {
                scan: UsageScan::of(dialect),
                bytes: 0,
                outcome: outcome_of(status),
            };
            Arrived::Begun(Box::new(Begun {
                first,
                rest,
                content,
            }))
        }
    })
}

/// How a request counts whose answer has this status.
pub(super) fn outcome_of(status: StatusCode) -> Outcome {
    if status.is_success() {
        Outcome::Success
    } else {
        Outcome::ProviderError
    }
}

/// Passed on, these would make the caller look for a mistake in a key that is good.
fn is_about_credential(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// An error that is no JSON comes from something before the provider's API; callers' clients could not read it.
fn speaks_api(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_success() || content_type_begins(headers, b"application/json")
}

fn is_events(headers: &HeaderMap) -> bool {
    content_type_begins(headers, b"text/event-stream")
}

fn content_type_begins(headers: &HeaderMap, with: &[u8]) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    value
        .and_then(|value| value.get(..with.len()))
        .is_some_and(|begin| begin.eq_ignore_ascii_case(with))
}

//! A request for a model, from its arrival to its answer:
//! `authenticate → take a place → read → authorize → plan → admit → attempts → answer`.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use events_schema::usage::{Endpoint, Outcome};
use gateway_policy::{
    Caller, Configuration as _, EntryId, Facts, Progress, Resolved, RoutedTarget, Step, authorize,
    limits::{Estimate, Spend, admission::Turn},
    price_at, resolve,
};
use http::{Request, header::CONTENT_LENGTH};

use super::{
    attempts::{Answered, Arrived, Asked, Begun, Route, outcome_of},
    body::{read_body, read_for_nothing},
    incoming::Incoming,
    passing::{Content, Passing},
    response::{Answer, Body, OwnHeaders, failed},
    worker::{Stage, Worker},
};
use crate::{
    count::lacking::Said,
    endpoint::Output,
    exchange::{Exchange, Used},
    failure::Failure,
    limits::{
        Asked as OfLimits, Decided, Outcome as Limited, Stoods,
        leases::{Since, Waiting},
    },
    places::UnderWay,
    request::{AnswerSize, metadata, scan, weight, wish},
    upstream::{
        headers::{self, FromCaller},
        usage::usage_of,
    },
    view::View,
};

/// Serves a request for a model.
pub async fn complete(
    worker: &Rc<Worker>,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Answer {
    let view = worker.shared.view.load_full();
    let exchange = Exchange::begin(worker, endpoint, view.served(), request.headers());
    let mut call = Call {
        worker,
        view: &view,
        endpoint,
        exchange,
        admitted: None,
        stood: Stoods::default(),
        budget: Stoods::default(),
    };
    let (head, mut incoming) = request.into_parts();
    let from_caller = FromCaller {
        headers: &head.headers,
        query: head.uri.query(),
    };
    let ran = {
        let run = pin!(call.run(from_caller, &mut incoming));
        unless_ending(worker, run).await
    };
    match ran {
        Ok(answered) => call.respond(answered),
        Err(failure) => {
            if may_send_more(&failure) {
                read_for_nothing(&mut incoming, &head.headers, &worker.shared.bodies).await;
            }
            call.refuse(&failure)
        }
    }
}

/// Whether the rest of a body is worth waiting for after such a failure: not when nothing good comes, or when there is no time.
const fn may_send_more(failure: &Failure) -> bool {
    !matches!(
        failure,
        Failure::Stopping | Failure::SlowBody | Failure::Framing | Failure::ClientGone
    )
}

/// Gives up when this gateway cannot wait any longer. The connection's task is woken then, and polls this.
async fn unless_ending<T>(
    worker: &Worker,
    mut run: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Result<T, Failure> {
    poll_fn(|cx| match worker.stage.get() {
        Stage::Ending => Poll::Ready(Err(Failure::Stopping)),
        Stage::Serving | Stage::Draining => run.as_mut().poll(cx),
    })
    .await
}

/// A request under way.
pub(super) struct Call<'v> {
    pub(super) worker: &'v Rc<Worker>,
    pub(super) view: &'v View,
    pub(super) endpoint: Endpoint,
    pub(super) exchange: Box<Exchange>,
    /// What limits and budgets admitted, for those of the targets; `None`: there are none.
    pub(super) admitted: Option<Admitted<'v>>,
    /// How limits stand, once they were asked.
    stood: Stoods,
    /// How the budget stands that decides.
    budget: Stoods,
}

/// A request as limits see it.
pub(super) struct Admitted<'v> {
    pub(super) caller: Caller<'v>,
    pub(super) resolved: Resolved<'v>,
    /// The rate-limit policy that applies to the request as a whole.
    pub(super) by: Option<EntryId>,
    /// What its body says of what it will use.
    pub(super) asks: Asks,
}

/// What a request's body says of what it will use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    weight: u64,
    answer: AnswerSize,
}

/// What is said of the answer's length where this is tried, with what the target's routing replaces in the body.
pub(super) fn answer_at(step: Step<'_>, answer: AnswerSize) -> AnswerSize {
    let routed = step.routed.and_then(RoutedTarget::full);
    let params = routed.map_or(&[][..], |it| it.override_params.as_slice());
    params.iter().fold(answer, |answer, it| {
        answer.with(it.0.as_str(), it.1.as_str())
    })
}

impl<'v> Call<'v> {
    async fn run(
        &mut self,
        from_caller: FromCaller<'_>,
        incoming: &mut Incoming,
    ) -> Result<Answered, Failure> {
        let headers = from_caller.headers;
        if self.view.epoch.is_none() {
            return Err(Failure::NotReady);
        }
        let now = self.exchange.received_at();
        let caller = self.worker.keys.caller(self.view, headers, now)?;
        self.exchange.called_by(caller);
        self.take_place(&self.worker.under_way.of(&caller.key.id))?;
        let metadata = metadata::read(headers).map_err(Failure::Metadata)?;
        self.exchange.described_as(metadata);
        let wish = wish::read(headers).map_err(Failure::Wish)?;
        let bodies = &self.worker.shared.bodies;
        let (body, _held) = read_body(incoming, headers, bodies).await?;
        let scan = scan(&body).map_err(Failure::Malformed)?;
        let weight = weight(&body);
        self.exchange
            .asks_for(&scan.model, scan.stream, weight, &body);

        let resolved = resolve(self.view, &scan.model).map_err(Failure::Denied)?;
        self.exchange.resolved_to(resolved);
        let grant = authorize(self.view, caller, resolved).map_err(Failure::Denied)?;
        self.exchange.granted_by(grant);
        let route = self.route(resolved, headers, wish)?;
        let asks = Asks {
            weight,
            answer: scan.answer,
        };
        let mut waiting = Waiting::default();
        while let Some(since) = self.admit(caller, resolved, asks, &route, waiting.turn())? {
            self.wait(&mut waiting, since).await;
        }
        let asked = Asked {
            from_caller,
            body: &body,
            scan: &scan,
        };
        self.attempt_all(&route, &asked).await
    }

    /// Before the body is read: what is refused costs next to nothing.
    fn take_place(&mut self, key: &Arc<UnderWay>) -> Result<(), Failure> {
        match self.worker.shared.places.take(key) {
            Ok(place) => {
                self.exchange.placed(place);
                Ok(())
            }
            Err(crowded) => {
                self.exchange.crowded_out(crowded);
                Err(Failure::Crowded(crowded))
            }
        }
    }

    /// What it will use where this is tried, with what the target's routing replaces in the body.
    pub(super) fn estimate(&self, asks: Asks, step: Step<'_>) -> Estimate {
        let Asks { weight, answer } = asks;
        match self.exchange.spoken().output {
            Output::Text => {
                let answer = answer_at(step, answer);
                let usual = self.worker.health.of(&step.target.model.id).usual_answer();
                Estimate::of_text(weight, answer.bound(), usual)
            }
            Output::None => Estimate::of_input(weight),
            Output::Free => Estimate::default(),
        }
    }

    /// What it may take of budgets where this is tried.
    pub(super) fn spend(&self, asks: Asks, step: Step<'_>) -> Spend {
        let price = price_at(step.target.model, self.exchange.received_at());
        self.estimate(asks, step).spend(price)
    }

    /// Asks the limits of the key, those of the policy that applies, and budgets. Where it is to wait for a lease and to ask
    /// again: since when.
    fn admit(
        &mut self,
        caller: Caller<'v>,
        resolved: Resolved<'v>,
        asks: Asks,
        route: &Route<'v>,
        turn: Turn,
    ) -> Result<Option<Since>, Failure> {
        let (rules, budgets) = (self.view.rules(), self.view.budget_rules());
        let key = caller.key;
        let is_limited = key.requests_per_minute.is_some() || key.tokens_per_minute.is_some();
        if !is_limited && rules.is_empty() && budgets.is_empty() {
            return Ok(None);
        }
        let first = route.step(self.view, Progress::default());
        let first = first.map(|step| self.estimate(asks, step));
        let mut asked = OfLimits::new(first.unwrap_or_default());
        asked.of_key(key);
        if !rules.is_empty() || !budgets.is_empty() {
            let facts = Facts::of(self.view, caller, resolved, self.exchange.metadata());
            if let Some(rule) = rules.first(&facts) {
                asked.of_rule(rule, &facts);
            }
            if !budgets.is_empty() {
                let matching = budgets.all(&facts);
                if !matching.is_empty() {
                    // Whichever of the targets answers in the end.
                    let all = route.targets(self.view).map(|step| self.spend(asks, step));
                    let spend = all.fold(Spend::default(), Spend::or);
                    asked.of_budgets(&matching, spend, &facts);
                }
            }
        }
        if rules.name_targets() || budgets.name_targets() {
            self.admitted = Some(Admitted {
                caller,
                resolved,
                by: asked.rule().map(|rule| rule.id),
                asks,
            });
        }
        if asked.is_empty() {
            return Ok(None);
        }
        let limits = &self.worker.shared.limits;
        let mut decided = limits.decide(&asked, self.exchange.received_at(), turn);
        self.exchange.decided_by(&asked, &mut decided);
        let Decided {
            stood,
            budget,
            outcome,
            seen: _,
        } = decided;
        (self.stood, self.budget) = (stood, budget);
        match outcome {
            Limited::Admitted(admitted) => {
                self.exchange.reserved(admitted);
                Ok(None)
            }
            Limited::Refused(refused) => Err(Failure::Limited(refused)),
            Limited::Overspent(overspent) => Err(Failure::Overspent(overspent)),
            Limited::Waits(since) => Ok(Some(since)),
        }
    }

    /// Waits for an answer about leases, or as long as the request may.
    pub(super) async fn wait(&self, waiting: &mut Waiting, since: Since) {
        if waiting.turn() == Turn::First {
            self.exchange.waits_for_lease();
        }
        let limits = &self.worker.shared.limits;
        waiting.answered(limits, since).await;
    }

    fn refuse(mut self, failure: &Failure) -> Answer {
        let dialect = self.exchange.spoken().dialect;
        let (model, id) = (self.exchange.requested_model(), self.exchange.id);
        let mut answer = failed(failure, dialect, model, id);
        // It says some of that already.
        self.own().tell(&mut answer.headers);
        self.exchange.fail(failure);
        answer
    }

    fn respond(mut self, answered: Answered) -> Answer {
        let Answered {
            status,
            mut headers,
            content,
        } = answered;
        let own = self.own();
        headers::keep_for_caller(&mut headers, own.dialect);
        let (body, told_behind) = match content {
            Arrived::Whole(whole) => {
                headers.insert(CONTENT_LENGTH, whole.len().into());
                let outcome = outcome_of(status);
                if outcome == Outcome::Success {
                    let stated = usage_of(own.dialect, &whole);
                    let said = match stated {
                        Some(_) => Said::Nothing,
                        None => self.exchange.said(&whole),
                    };
                    self.exchange.used(Used {
                        stated,
                        stated_output: 0,
                        output: self.exchange.estimated_output(whole.len() as u64),
                        said,
                    });
                }
                self.exchange.closes(outcome);
                (Body::Whole(whole), Some(self.exchange))
            }
            Arrived::Begun(begun) => {
                let Begun {
                    first,
                    rest,
                    content,
                } = *begun;
                if matches!(content, Content::Events(_)) {
                    // An error event may be added, and usage taken out.
                    headers.remove(CONTENT_LENGTH);
                }
                let passing = Passing::new(first, rest, self.exchange, content);
                (Body::Passing(Box::new(passing)), None)
            }
        };
        Answer {
            status,
            headers,
            own: Some(own),
            body,
            told_behind,
        }
    }

    fn own(&self) -> OwnHeaders {
        OwnHeaders {
            dialect: self.exchange.spoken().dialect,
            id: self.exchange.id,
            position: self.exchange.served().position,
            target: self.exchange.target().map(ToOwned::to_owned),
            stood: self.stood,
            budget: self.budget,
        }
    }
}

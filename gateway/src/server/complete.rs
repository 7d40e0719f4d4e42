//! A request for a model, from its arrival to its answer:
//! `authenticate → read → authorize → plan → admit → attempts → answer`.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use events_schema::{
    id::ModelId,
    usage::{Endpoint, Outcome},
};
use gateway_policy::{
    Ask, Configuration as _, Plan, Step, authorize,
    limits::{estimate_input_tokens, estimate_tokens},
    plan, price_at, resolve,
};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    body::{read_body, read_for_nothing},
    passing::{Content, Passing},
    response::{Body, OwnHeaders, failed},
    worker::{Stage, Worker},
};
use crate::{
    counters::KeyLimits,
    endpoint::{Dialect, Output},
    exchange::Exchange,
    failure::{Failure, UpstreamFailure},
    request::{self, Scan, UsageWish, metadata, rewrite, scan, weight},
    upstream::{
        Patience,
        account::Reach,
        answer::{Answer, Collected},
        events::{Events, begins_with_error},
        headers::{self, FromCaller},
        usage::{UsageScan, usage_of},
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

/// Serves a request for a model.
pub async fn complete(
    worker: &Rc<Worker>,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Response<Body> {
    let view = worker.shared.view.load_full();
    let exchange = Exchange::begin(worker, endpoint, view.served());
    let mut call = Call {
        worker,
        view: &view,
        endpoint,
        exchange,
        own: OwnHeaders::default(),
    };
    let (head, mut incoming) = request.into_parts();
    let from_caller = FromCaller {
        headers: &head.headers,
        query: head.uri.query(),
    };
    let ran = unless_ending(worker, call.run(from_caller, &mut incoming)).await;
    match ran {
        Ok(answered) => call.respond(answered),
        Err(failure) => {
            if failure != Failure::Stopping {
                read_for_nothing(&mut incoming, &head.headers).await;
            }
            call.refuse(&failure)
        }
    }
}

/// Gives up when this gateway cannot wait any longer. The connection's task is woken then, and polls this.
async fn unless_ending<T>(
    worker: &Worker,
    run: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut run = pin!(run);
    poll_fn(|cx| match worker.stage.get() {
        Stage::Ending => Poll::Ready(Err(Failure::Stopping)),
        Stage::Serving | Stage::Draining => run.as_mut().poll(cx),
    })
    .await
}

/// A request under way.
struct Call<'v> {
    worker: &'v Rc<Worker>,
    view: &'v View,
    endpoint: Endpoint,
    exchange: Exchange,
    own: OwnHeaders,
}

/// What the caller sent, once it is understood.
struct Asked<'b> {
    from_caller: FromCaller<'b>,
    body: &'b Bytes,
    scan: &'b Scan<'b>,
}

/// A provider's answer that goes to the caller.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    content: Arrived,
}

/// What has arrived of the answer.
enum Arrived {
    /// All of it.
    Whole(Bytes),
    /// The beginning.
    Begun(Box<Begun>),
}

/// The beginning of an answer, and whence the rest comes.
struct Begun {
    first: Bytes,
    rest: Answer,
    content: Content,
}

/// Why an attempt brings no answer for the caller.
enum Missed {
    /// There was none.
    Upstream(UpstreamFailure),
    /// The provider said so.
    Status(StatusCode),
}

impl From<UpstreamFailure> for Missed {
    fn from(failure: UpstreamFailure) -> Self {
        Self::Upstream(failure)
    }
}

impl Call<'_> {
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
        let metadata = metadata::read(headers).map_err(Failure::Metadata)?;
        self.exchange.described_as(metadata);
        let bodies = &self.worker.shared.bodies;
        let (body, _held) = read_body(incoming, headers, bodies).await?;
        let scan = scan(&body).map_err(Failure::Malformed)?;
        let weight = weight(&body);
        self.exchange.asks_for(&scan.model, scan.stream, weight);

        let resolved = resolve(self.view, &scan.model).map_err(Failure::Denied)?;
        self.exchange.resolved_to(resolved);
        let grant = authorize(self.view, caller, resolved).map_err(Failure::Denied)?;
        self.exchange.granted_by(grant);
        let plan = plan(self.view, resolved, self.endpoint, self.exchange.seed())
            .map_err(Failure::Denied)?;
        if let Some(limits) = KeyLimits::of(caller.key) {
            self.admit(&limits, &caller.key.id, &scan, weight)?;
        }
        let asked = Asked {
            from_caller,
            body: &body,
            scan: &scan,
        };
        self.attempt_all(plan, &asked).await
    }

    fn admit(
        &mut self,
        limits: &KeyLimits,
        key: &gateway_policy::EntryId,
        scan: &Scan<'_>,
        weight: u64,
    ) -> Result<(), Failure> {
        let tokens = match self.exchange.spoken().output {
            Output::Text => estimate_tokens(weight, scan.max_tokens),
            Output::None => estimate_input_tokens(weight),
            Output::Free => 0,
        };
        let counters = self.worker.counters.of(key);
        let charged = counters.charge(limits, Ask { tokens }, self.exchange.received_at());
        self.own.stood = charged.stood;
        match charged.outcome {
            Ok(reservation) => {
                self.exchange.reserved(reservation);
                Ok(())
            }
            Err(refused) => {
                self.exchange.limited_by(refused);
                Err(Failure::Limited(refused))
            }
        }
    }

    /// Tries one target after another until one answers.
    async fn attempt_all(
        &mut self,
        plan: Plan<'_>,
        asked: &Asked<'_>,
    ) -> Result<Answered, Failure> {
        let view = self.view;
        let mut steps = plan.steps(view).peekable();
        let mut failure = Failure::Denied(gateway_policy::Denial::NoTarget);
        while let Some(step) = steps.next() {
            let is_last = steps.peek().is_none();
            let (account, model) = (step.target.account, step.target.model);
            let target = [account.name.as_str(), "/", model.name.as_str()].concat();
            let price = price_at(model, self.exchange.received_at());
            self.exchange
                .attempts_begin(ModelId::from_bytes(model.id), target, price);
            match self.attempt(step, is_last, asked).await {
                Ok(answered) => {
                    self.exchange.answered(answered.status);
                    return Ok(answered);
                }
                Err(Missed::Status(status)) => {
                    self.exchange.attempt_failed(Some(status), None);
                    failure = Failure::of_status(status);
                }
                Err(Missed::Upstream(upstream)) => {
                    self.exchange.attempt_failed(None, Some(upstream.as_str()));
                    failure = Failure::Upstream(upstream);
                }
            }
        }
        Err(failure)
    }

    /// One attempt. Its answer is the caller's when it is a good one, or when nothing better can be had.
    async fn attempt(
        &self,
        step: Step<'_>,
        is_last: bool,
        asked: &Asked<'_>,
    ) -> Result<Answered, Missed> {
        let worker = self.worker;
        let account = worker
            .accounts
            .of(step.target.account, &worker.shared.secrets.sealing);
        let body = self.upstream_body(step, asked);
        let write_head = |out: &mut Vec<u8>, reach: &Reach| {
            let spoken = self.exchange.spoken();
            headers::write_head(out, spoken, asked.from_caller, reach, body.length());
        };
        let sent = self.exchange.sent();
        let (head, connection) = worker
            .sender
            .send(&account, &worker.metrics, write_head, &body, sent)
            .await?;
        let idle = worker.sender.patience.idle;
        let answer = Answer::new(head.framing, connection, account, idle);
        let falls_back =
            head.status.is_redirection() || (!is_last && step.falls_back_on(head.status.as_u16()));
        if falls_back || is_about_credential(head.status) || !speaks_api(head.status, &head.headers)
        {
            // Small as errors are, reading one to its end keeps the connection; the next attempt does not wait for more.
            let _unread = timeout(ERROR_WAIT, answer.collect(MAX_ERROR_BYTES)).await;
            return Err(Missed::Status(head.status));
        }
        let content = if is_events(&head.headers) {
            let begun = self.begin_events(answer, asked).await?;
            if !is_last && begins_with_error(self.exchange.spoken().dialect, &begun.first) {
                return Err(Missed::Upstream(UpstreamFailure::ErrorEvent));
            }
            Arrived::Begun(Box::new(begun))
        } else {
            begin_other(answer, head.status, self.exchange.spoken().dialect).await?
        };
        Ok(Answered {
            status: head.status,
            headers: head.headers,
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
        Ok(Begun {
            first,
            rest: answer,
            content: Content::Events(Events::new(self.exchange.spoken().dialect, strip_usage)),
        })
    }

    /// Whether the provider is asked for usage at the end of a stream.
    fn wishes_usage(&self, asked: &Asked<'_>) -> bool {
        asked.scan.stream && self.exchange.spoken().must_be_asked_for_usage()
    }

    fn upstream_body(&self, step: Step<'_>, asked: &Asked<'_>) -> request::Body {
        let wish = self.wishes_usage(asked).then_some(&asked.scan.usage_wish);
        let model = step.target.model.upstream_name.as_str();
        rewrite(asked.body, &asked.scan.model_at, model, wish)
    }

    fn refuse(mut self, failure: &Failure) -> Response<Body> {
        let dialect = self.exchange.spoken().dialect;
        let (model, id) = (self.exchange.requested_model(), self.exchange.id);
        let mut response = failed(failure, dialect, model, id);
        self.add_own_headers(response.headers_mut());
        self.exchange.fail(failure);
        response
    }

    fn respond(mut self, answered: Answered) -> Response<Body> {
        let Answered {
            status,
            mut headers,
            content,
        } = answered;
        headers::keep_for_caller(&mut headers);
        self.add_own_headers(&mut headers);
        let body = match content {
            Arrived::Whole(whole) => {
                headers.insert(CONTENT_LENGTH, whole.len().into());
                let outcome = outcome_of(status);
                if outcome == Outcome::Success {
                    let output = self.exchange.estimated_output(whole.len() as u64);
                    let dialect = self.exchange.spoken().dialect;
                    self.exchange.used(usage_of(dialect, &whole), output);
                }
                self.exchange.sends();
                self.exchange.end(outcome);
                Body::Whole(whole)
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
                Body::Passing(Box::new(passing))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn add_own_headers(&self, headers: &mut HeaderMap) {
        let (id, position) = (self.exchange.id, self.exchange.served().position);
        let dialect = self.exchange.spoken().dialect;
        let target = self.exchange.target();
        self.own.add_to(headers, dialect, id, position, target);
    }
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

fn outcome_of(status: StatusCode) -> Outcome {
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

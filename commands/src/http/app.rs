//! What handlers share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::response::Response;
use bytes::Bytes;
use events_schema::{
    id::OperatorId,
    state::{Organisation, StateDigest},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{metrics::Metrics, past::Past, problem::ApiError};
use crate::{
    alerts::Alerts,
    analytics::Analytics,
    auth::{attempts::Attempts, passwords::Passwords, recent::Recent},
    control::Control,
    counters::Counters,
    gateways::Gateways,
    playground::Playground,
    secrets::Secrets,
    totals::Totals,
};

/// What an [`App`] is made of.
pub struct AppParts {
    /// The key rings.
    pub secrets: Secrets,
    /// The gateways seen.
    pub gateways: Gateways,
    /// How limits and budgets stand.
    pub totals: Totals,
    /// What counters of limits and budgets are of.
    pub counters: Counters,
    /// How raising alerts of budgets goes.
    pub alerts: Alerts,
    /// The way to the gateway for the console's playground.
    pub playground: Playground,
    /// The ledger.
    pub analytics: Analytics,
    /// The gateway's base URL, as callers use it.
    pub gateway_url: String,
    /// Whether `x-forwarded-for` and `x-forwarded-proto` come from a proxy that is ours.
    pub trust_forwarded: bool,
    /// Whether this service itself speaks TLS.
    pub speaks_tls: bool,
    /// Ends what would otherwise last: live streams.
    pub stopping: CancellationToken,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    parts: AppParts,
    control: OnceLock<Control>,
    /// Why there is no `control` yet.
    not_ready: Mutex<String>,
    passwords: Passwords,
    attempts: Attempts,
    recent: Recent,
    metrics: Metrics,
    document: OnceLock<Bytes>,
    /// The digest of the state is worth keeping: it takes time in proportion to the state.
    digest: Mutex<Option<(u64, StateDigest)>>,
    /// Past states that were asked for.
    past: Past,
    /// One verification at a time.
    verifying: Semaphore,
}

impl App {
    /// An application that is not ready until [`App::set_control`].
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        Self(Arc::new(Inner {
            parts,
            control: OnceLock::new(),
            not_ready: Mutex::new("the service is starting".into()),
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            recent: Recent::default(),
            metrics: Metrics::default(),
            document: OnceLock::new(),
            digest: Mutex::new(None),
            past: Past::default(),
            verifying: Semaphore::new(1),
        }))
    }

    /// The log is there.
    pub fn set_control(&self, control: Control) {
        let _was_set = self.0.control.set(control);
    }

    /// Says why the log is not there yet.
    pub fn set_not_ready(&self, why: String) {
        *self
            .0
            .not_ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// The log.
    ///
    /// # Errors
    /// While the service is starting.
    pub fn control(&self) -> Result<&Control, ApiError> {
        self.0.control.get().ok_or_else(|| {
            let why = self
                .0
                .not_ready
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            ApiError::LogUnavailable(format!("The log cannot be reached yet: {why}."))
        })
    }

    /// What it was made of.
    #[must_use]
    pub fn parts(&self) -> &AppParts {
        &self.0.parts
    }

    /// The key rings.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.0.parts.secrets
    }

    /// Hashes and checks passwords.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// Counts failed sign-ins.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// Remembers callers for a moment.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// Counts requests.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Past states.
    pub(super) fn past(&self) -> &Past {
        &self.0.past
    }

    /// The turn to verify the log.
    #[must_use]
    pub fn verifying(&self) -> &Semaphore {
        &self.0.verifying
    }

    /// Keeps the OpenAPI document.
    pub(super) fn set_document(&self, document: &utoipa::openapi::OpenApi) {
        let json = document
            .to_pretty_json()
            .expect("an OpenAPI document is JSON");
        let _was_set = self.0.document.set(json.into());
    }

    /// The OpenAPI document as JSON.
    #[must_use]
    pub fn document(&self) -> Bytes {
        self.0.document.get().cloned().unwrap_or_default()
    }

    /// The digest of this state, computed on a thread of its own unless it is known.
    pub async fn digest(&self, state: Organisation) -> StateDigest {
        let position = state.position();
        let known = *self.0.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = known.filter(|(of, _)| *of == position) {
            return digest;
        }
        let digest = digest_of(state).await;
        *self.0.digest.lock().unwrap_or_else(PoisonError::into_inner) = Some((position, digest));
        digest
    }
}

/// The digest of a state, computed on a thread of its own.
pub(super) async fn digest_of(state: Organisation) -> StateDigest {
    tokio::task::spawn_blocking(move || state.state_digest())
        .await
        .expect("a digest does not panic")
}

/// A database that does not answer, as a problem; the log line has the details.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn database(error: sqlx::Error) -> ApiError {
    tracing::warn!(%error, "the database did not answer a request");
    ApiError::LogUnavailable("The database does not answer; try again in a moment.".into())
}

/// What a handler answers.
pub(super) type Answer<T> = Result<T, ApiError>;

/// Who did what, for one log line: an extension of responses.
#[derive(Debug, Clone, Copy)]
pub(super) struct CalledBy(pub(super) OperatorId);

/// Notes in a response who called.
pub(super) fn called_by(mut response: Response, operator: OperatorId) -> Response {
    response.extensions_mut().insert(CalledBy(operator));
    response
}

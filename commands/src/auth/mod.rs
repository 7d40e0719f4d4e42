//! Who calls: sessions of the console, tokens for automation, passwords; and what each role may do.

pub mod attempts;
pub mod csrf;
mod email;
pub mod passwords;
pub mod recent;
pub mod roles;
pub mod sessions;
pub mod tokens;

use events_schema::{
    actor::Actor,
    events::Role,
    id::{OperatorId, TokenId},
    state::Organisation,
    time::Timestamp,
};
use http::{HeaderMap, header};
use sqlx::PgPool;

pub use self::email::{Email, InvalidEmail};
use self::sessions::Session;
use crate::secrets::SecretText;

/// Who calls, and how that is known.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The operator.
    pub operator: OperatorId,
    /// What the operator may do.
    pub role: Role,
    /// How it is known.
    pub via: Via,
}

/// How a caller is known.
#[derive(Debug, Clone)]
pub enum Via {
    /// By the cookie of a session.
    Session(Session),
    /// By a bearer token.
    Token {
        /// The token.
        id: TokenId,
        /// When it ceases to work.
        expires_at: Option<Timestamp>,
    },
}

impl Caller {
    /// The caller as the log names it.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        match &self.via {
            Via::Session(_) => Actor::Operator(self.operator),
            Via::Token { id, .. } => Actor::Token(self.operator, *id),
        }
    }

    /// The session, when there is one.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        match &self.via {
            Via::Session(session) => Some(session),
            Via::Token { .. } => None,
        }
    }
}

/// What a request shows to prove who sent it.
#[derive(Debug)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// A session's cookie.
    Cookie(SecretText),
    /// A bearer token.
    Token(SecretText),
}

impl Shown {
    /// What the headers show; a bearer token goes before a cookie.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let authorization = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        if let Some((scheme, token)) = authorization.and_then(|value| value.split_once(' '))
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return Self::Token(SecretText::shown(token.trim()));
        }
        sessions::cookie(headers).map_or(Self::Nothing, Self::Cookie)
    }

    /// What it is remembered by: a hash, and whether it was shown as a token.
    #[must_use]
    pub fn remembered_by(&self) -> Option<(bool, [u8; 32])> {
        match self {
            Self::Nothing => None,
            Self::Cookie(secret) => Some((false, secret.hash())),
            Self::Token(secret) => Some((true, secret.hash())),
        }
    }

    /// The caller that it proves: one who may still use the console.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn caller(
        &self,
        pool: &PgPool,
        state: &Organisation,
        now: Timestamp,
    ) -> Result<Option<Caller>, sqlx::Error> {
        match self {
            Self::Nothing => Ok(None),
            Self::Cookie(secret) => {
                let bounds = state.settings().sessions;
                let session = sessions::find(pool, secret, now, bounds).await?;
                Ok(session.and_then(|session| by_session(state, session)))
            }
            Self::Token(secret) => {
                let known = tokens::find(pool, secret, now).await?;
                Ok(known.and_then(|(operator, token)| by_token(state, operator, token, now)))
            }
        }
    }
}

fn by_session(state: &Organisation, session: Session) -> Option<Caller> {
    let operator = state
        .operators()
        .get(&session.operator)
        .filter(|operator| !operator.disabled)?;
    Some(Caller {
        operator: operator.id,
        role: operator.role,
        via: Via::Session(session),
    })
}

/// The log says whether the token still stands; the table beside it only what its hash is.
fn by_token(
    state: &Organisation,
    operator: OperatorId,
    token: TokenId,
    now: Timestamp,
) -> Option<Caller> {
    let operator = state
        .operators()
        .get(&operator)
        .filter(|operator| !operator.disabled)?;
    let token = operator.tokens.iter().find(|known| known.id == token)?;
    if token.expires_at.is_some_and(|end| end <= now) {
        return None;
    }
    let via = Via::Token {
        id: token.id,
        expires_at: token.expires_at,
    };
    Some(Caller {
        operator: operator.id,
        role: operator.role,
        via,
    })
}

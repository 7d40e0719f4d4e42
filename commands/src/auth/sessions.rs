//! Sessions of the console: 256 random bits in a cookie, stored as a hash. They end after a while without use and some time
//! after sign-in, as the settings say at the moment (also for sessions that began before), or when the operator, the password or somebody with the right says so.

use events_schema::{id::OperatorId, state::SessionBounds, time::Timestamp};
use http::{HeaderMap, header};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{fresh, secrets::SecretText};

/// The cookie's name.
pub const COOKIE: &str = "sluice_session";
/// The last use is written down when the one written down is this old: one minute.
const TOUCH_US: i64 = 60 * 1_000_000;
/// An operator has at most this many sessions; one more ends the oldest.
const AT_MOST: i64 = 50;
/// A browser's name is cut to this many characters.
const USER_AGENT_CHARS: usize = 200;

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id: not the secret in the cookie.
    pub id: Uuid,
    /// Whose.
    pub operator: OperatorId,
    /// To be shown with every request that changes something.
    pub csrf_token: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The browser, as it names itself.
    pub user_agent: String,
}

type Row = (Uuid, Uuid, String, i64, i64, String);

impl Session {
    fn of(
        (id, operator, csrf_token, created, used, user_agent): Row,
        bounds: SessionBounds,
    ) -> Self {
        let time = |micros| Timestamp::from_micros(micros).unwrap_or(Timestamp::MIN);
        Self {
            id,
            operator: OperatorId::from_uuid(operator),
            csrf_token,
            created_at: time(created),
            last_used_at: time(used),
            expires_at: time(created).plus_micros(bounds.longest_us()),
            user_agent,
        }
    }
}

/// The secret in the request's cookie.
#[must_use]
pub fn cookie(headers: &HeaderMap) -> Option<SecretText> {
    let cookies = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| SecretText::shown(secret))
}

/// Begins a session and ends the operator's oldest past the limit.
///
/// # Errors
/// When the database does not take it.
pub async fn begin(
    pool: &PgPool,
    operator: OperatorId,
    user_agent: &str,
    address: &str,
    (now, bounds): (Timestamp, SessionBounds),
) -> Result<(SecretText, Session), sqlx::Error> {
    let secret = SecretText::new_session();
    let session = Session {
        id: fresh::uuid(),
        operator,
        csrf_token: hex::encode(fresh::bytes::<32>()),
        created_at: now,
        last_used_at: now,
        expires_at: now.plus_micros(bounds.longest_us()),
        user_agent: user_agent
            .chars()
            .filter(|c| !c.is_control())
            .take(USER_AGENT_CHARS)
            .collect(),
    };
    sqlx::query(
        "INSERT INTO sessions (id, token_hash, operator_id, csrf_token, created_us, last_used_us, user_agent, address)
         VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
    )
    .bind(session.id)
    .bind(secret.hash().as_slice())
    .bind(operator.uuid())
    .bind(&session.csrf_token)
    .bind(now.micros())
    .bind(&session.user_agent)
    .bind(address)
    .execute(pool)
    .await?;
    sweep(pool, operator, now, bounds).await?;
    Ok((secret, session))
}

/// Deletes sessions that have ended, and the operator's oldest past the limit.
async fn sweep(
    pool: &PgPool,
    operator: OperatorId,
    now: Timestamp,
    bounds: SessionBounds,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sessions WHERE created_us <= $1 OR last_used_us <= $2")
        .bind(now.micros() - bounds.longest_us())
        .bind(now.micros() - bounds.idle_us())
        .execute(pool)
        .await?;
    sqlx::query(
        "DELETE FROM sessions WHERE id IN
         (SELECT id FROM sessions WHERE operator_id = $1 ORDER BY created_us DESC, id DESC OFFSET $2)",
    )
    .bind(operator.uuid())
    .bind(AT_MOST)
    .execute(pool)
    .await?;
    Ok(())
}

/// The session of this secret, unless it has ended; and notes that it is used.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find(
    pool: &PgPool,
    secret: &SecretText,
    now: Timestamp,
    bounds: SessionBounds,
) -> Result<Option<Session>, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, operator_id, csrf_token, created_us, last_used_us, user_agent FROM sessions
         WHERE token_hash = $1 AND created_us > $2 AND last_used_us > $3",
    )
    .bind(secret.hash().as_slice())
    .bind(now.micros() - bounds.longest_us())
    .bind(now.micros() - bounds.idle_us())
    .fetch_optional(pool)
    .await?;
    let Some(session) = row.map(|row| Session::of(row, bounds)) else {
        return Ok(None);
    };
    if now.micros() - session.last_used_at.micros() >= TOUCH_US {
        sqlx::query("UPDATE sessions SET last_used_us = $2 WHERE id = $1")
            .bind(session.id)
            .bind(now.micros())
            .execute(pool)
            .await?;
    }
    Ok(Some(session))
}

/// The operator's sessions, the newest first.
///
/// # Errors
/// When the database cannot be asked.
pub async fn list(
    pool: &PgPool,
    operator: OperatorId,
    now: Timestamp,
    bounds: SessionBounds,
) -> Result<Vec<Session>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, operator_id, csrf_token, created_us, last_used_us, user_agent FROM sessions
         WHERE operator_id = $1 AND created_us > $2 AND last_used_us > $3 ORDER BY created_us DESC, id DESC",
    )
    .bind(operator.uuid())
    .bind(now.micros() - bounds.longest_us())
    .bind(now.micros() - bounds.idle_us())
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Session::of(row, bounds))
        .collect())
}

/// Ends one session of the operator; whether there was one.
///
/// # Errors
/// When the database does not take it.
pub async fn end(pool: &PgPool, operator: OperatorId, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("DELETE FROM sessions WHERE id = $1 AND operator_id = $2")
        .bind(id)
        .bind(operator.uuid())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Ends all sessions of the operator but one.
///
/// # Errors
/// When the database does not take it.
pub async fn end_others(pool: &PgPool, operator: OperatorId, but: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sessions WHERE operator_id = $1 AND id <> $2")
        .bind(operator.uuid())
        .bind(but)
        .execute(pool)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            "a=b; sluice_sessionx=c".parse().expect("a value"),
        );
        assert!(cookie(&headers).is_none());
        headers.append(
            header::COOKIE,
            "x=y; sluice_session=secret".parse().expect("a value"),
        );
        assert_eq!(cookie(&headers).expect("there").reveal(), "secret");
    }
}

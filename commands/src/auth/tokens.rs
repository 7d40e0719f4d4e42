//! Tokens for automation: the log says which stand, the table `operator_tokens` what their hashes are.

use events_schema::{
    id::{OperatorId, TokenId},
    time::Timestamp,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::secrets::{SecretText, TOKEN_PREFIX};

/// The last use is written down when the one written down is this old: one minute.
const TOUCH_US: i64 = 60 * 1_000_000;

/// The operator and the token of this text; and notes that it is used.
///
/// # Errors
/// When the database cannot be asked.
pub async fn find(
    pool: &PgPool,
    secret: &SecretText,
    now: Timestamp,
) -> Result<Option<(OperatorId, TokenId)>, sqlx::Error> {
    if !secret.reveal().starts_with(TOKEN_PREFIX) {
        return Ok(None);
    }
    let row: Option<(Uuid, Uuid, Option<i64>)> = sqlx::query_as(
        "SELECT operator_id, token_id, last_used_us FROM operator_tokens WHERE hash = $1",
    )
    .bind(secret.hash().as_slice())
    .fetch_optional(pool)
    .await?;
    let Some((operator, token, used)) = row else {
        return Ok(None);
    };
    if used.is_none_or(|used| now.micros() - used >= TOUCH_US) {
        sqlx::query("UPDATE operator_tokens SET last_used_us = $2 WHERE token_id = $1")
            .bind(token)
            .bind(now.micros())
            .execute(pool)
            .await?;
    }
    Ok(Some((
        OperatorId::from_uuid(operator),
        TokenId::from_uuid(token),
    )))
}

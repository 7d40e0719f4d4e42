//! Rows beside the log, written in the transaction of the command that they belong to.

use sqlx::{PgConnection, Postgres, query::Query};

use crate::{
    clock,
    control::{PasswordChange, Person, PersonChange, SealedSecret, SideEffects, TokenHash},
};

/// Writes what belongs to one command.
pub(super) async fn write(
    connection: &mut PgConnection,
    side: &SideEffects,
) -> Result<(), sqlx::Error> {
    let SideEffects {
        person,
        shred,
        secret,
        password,
        token,
        forget_operator,
        end_sessions,
    } = side;
    if let Some(change) = person {
        write_person(change).execute(&mut *connection).await?;
    }
    if let Some(account) = shred {
        sqlx::query("DELETE FROM sealed_secrets WHERE account = $1")
            .bind(account.uuid())
            .execute(&mut *connection)
            .await?;
    }
    if let Some(secret) = secret {
        write_secret(secret).execute(&mut *connection).await?;
    }
    if let Some(token) = token {
        write_token(token).execute(&mut *connection).await?;
    }
    if let Some(change) = password {
        write_password(connection, change).await?;
    }
    if let Some(operator) = forget_operator {
        for sql in [
            "DELETE FROM operator_passwords WHERE operator_id = $1",
            "DELETE FROM operator_tokens WHERE operator_id = $1",
            "DELETE FROM sessions WHERE operator_id = $1",
        ] {
            sqlx::query(sql)
                .bind(operator.uuid())
                .execute(&mut *connection)
                .await?;
        }
    }
    if let Some(operator) = end_sessions {
        let sql = "DELETE FROM sessions WHERE operator_id = $1";
        sqlx::query(sql)
            .bind(operator.uuid())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

type Statement<'q> = Query<'q, Postgres, sqlx::postgres::PgArguments>;

fn write_person(change: &PersonChange) -> Statement<'_> {
    match change {
        PersonChange::Put(Person { id, email, name }) => sqlx::query(
            "INSERT INTO people (id, email, name) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = excluded.name",
        )
        .bind(id)
        .bind(email)
        .bind(name),
        PersonChange::Name { id, name } => sqlx::query("UPDATE people SET name = $2 WHERE id = $1")
            .bind(id)
            .bind(name),
        PersonChange::Email { id, email } => {
            sqlx::query("UPDATE people SET email = $2 WHERE id = $1")
                .bind(id)
                .bind(email)
        }
        PersonChange::Erase(id) => sqlx::query("DELETE FROM people WHERE id = $1").bind(id),
    }
}

fn write_secret(secret: &SealedSecret) -> Statement<'_> {
    let SealedSecret {
        reference,
        sealing_key,
        account,
        origin,
        sealed,
    } = secret;
    sqlx::query(
        "INSERT INTO sealed_secrets (id, version, sealing_key, account, origin, sealed) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(reference.id.uuid())
    .bind(i32::try_from(reference.version).unwrap_or(i32::MAX))
    .bind(sealing_key)
    .bind(account.uuid())
    .bind(origin)
    .bind(sealed)
}

fn write_token(token: &TokenHash) -> Statement<'_> {
    let TokenHash {
        token,
        operator,
        hash,
    } = token;
    sqlx::query("INSERT INTO operator_tokens (token_id, operator_id, hash) VALUES ($1, $2, $3)")
        .bind(token.uuid())
        .bind(operator.uuid())
        .bind(hash.to_vec())
}

async fn write_password(
    connection: &mut PgConnection,
    change: &PasswordChange,
) -> Result<(), sqlx::Error> {
    let PasswordChange {
        operator,
        hash,
        keep_session,
    } = change;
    sqlx::query(
        "INSERT INTO operator_passwords (operator_id, hash, changed_us) VALUES ($1, $2, $3)
         ON CONFLICT (operator_id) DO UPDATE SET hash = excluded.hash, changed_us = excluded.changed_us",
    )
    .bind(operator.uuid())
    .bind(hash)
    .bind(clock::now().micros())
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM sessions WHERE operator_id = $1 AND id IS DISTINCT FROM $2")
        .bind(operator.uuid())
        .bind(keep_session)
        .execute(connection)
        .await
        .map(|_| ())
}

//! The history: what was acknowledged is in it exactly once, and it is the same everywhere.

use std::collections::BTreeSet;

use events_schema::api::status::Status;
use events_schema::envelope::{EventRow, GENESIS};
use events_schema::id::CommandId;
use events_schema::state::Organisation;
use events_schema::subjects;
use sqlx::Row as _;

use super::{Checker, SHOWN};
use crate::failure::{Doing as _, Outcome};
use crate::faults::facts::Notebook;

/// A fold of our own.
#[derive(Default)]
pub(in crate::faults) struct Folded {
    pub(super) organisation: Organisation,
    hashes: Vec<[u8; 32]>,
}

// === impl Checker ===

impl Checker {
    /// Reads what is new on `EVENTS`, checks the chain, compares each row with Postgres', and the state with `commands`'.
    /// `false`: the log has grown meanwhile.
    pub(super) async fn fold_to(&mut self, position: u64, notebook: &Notebook) -> Outcome<bool> {
        let stream = self.stream(subjects::EVENTS).await?;
        let from = self.folded.organisation.position();
        for sequence in from + 1..=position {
            let message = stream
                .get_raw_message(sequence)
                .await
                .doing(|| format!("reading event {sequence}"))?;
            let (_, envelope) =
                EventRow::parse(&message.payload).doing(|| format!("reading event {sequence}"))?;
            let before = *self.folded.hashes.last().unwrap_or(&GENESIS);
            envelope
                .check_follows(sequence - 1, &before)
                .doing(|| format!("the chain at {sequence}"))?;
            self.folded
                .organisation
                .apply(&envelope)
                .doing(|| format!("folding event {sequence}"))?;
            self.folded.hashes.push(envelope.hash);
        }
        let query = "SELECT position, hash FROM events WHERE position <= $1 ORDER BY position";
        let rows = sqlx::query(query)
            .bind(i64::try_from(position).unwrap_or(i64::MAX))
            .fetch_all(&self.postgres)
            .await
            .doing(|| "reading the log".into())?;
        let theirs: Vec<Vec<u8>> = rows.iter().map(|row| row.get("hash")).collect();
        let gapless = rows
            .iter()
            .zip(1_i64..)
            .all(|(row, at)| row.get::<i64, _>("position") == at);
        let same = theirs.len() == self.folded.hashes.len()
            && theirs
                .iter()
                .zip(&self.folded.hashes)
                .all(|(one, other)| one == other);
        if !gapless || !same {
            notebook.found(format!(
                "the log has {} rows (gapless: {gapless}), EVENTS {}; the same: {same}",
                theirs.len(),
                self.folded.hashes.len()
            ));
        }
        let status: Status = self.api().get("/status").await?;
        if status.position != position {
            return Ok(false);
        }
        let ours = self.folded.organisation.state_digest().to_string();
        if status.state_digest != ours {
            notebook.found(format!(
                "the state's digest is {} at commands, {ours} as folded from EVENTS",
                status.state_digest
            ));
        }
        Ok(true)
    }

    /// A threshold of a budget is told of once in each window, whoever was killed when it was reached.
    pub(super) async fn alerts_are_told_once(&self, notebook: &Notebook) -> Outcome {
        let query = "SELECT count(*) AS told, stream FROM \
             (SELECT stream, payload::jsonb - 'used' AS payload FROM events WHERE kind = 'budget_alert_raised') AS raised \
             GROUP BY stream, payload HAVING count(*) > 1";
        let rows = sqlx::query(query)
            .fetch_all(&self.postgres)
            .await
            .doing(|| "reading the log's alerts".into())?;
        for row in rows {
            let (told, stream): (i64, String) = (row.get("told"), row.get("stream"));
            notebook.found(format!("{stream} was told {told} times of one threshold"));
        }
        Ok(())
    }

    /// Each acknowledged command is in the log once, where it was said to be; and nothing else is.
    pub(super) async fn commands_are_in_the_log(&self, notebook: &Notebook) -> Outcome {
        let rows = sqlx::query(
            "SELECT cause, max(position) AS last, array_agg(position ORDER BY position) AS positions, \
             array_agg(kind ORDER BY position) AS kinds, array_agg(stream ORDER BY position) AS streams, \
             bool_or(actor LIKE 'operator:%') AS ours FROM events WHERE position > $1 GROUP BY cause",
        )
        .bind(i64::try_from(self.base).unwrap_or(i64::MAX))
        .fetch_all(&self.postgres)
        .await
        .doing(|| "reading the log's commands".into())?;
        let facts = notebook.facts();
        let mut seen = BTreeSet::new();
        for row in rows {
            let cause = CommandId::from_uuid(row.get("cause"));
            let last: i64 = row.get("last");
            let positions: Vec<i64> = row.get("positions");
            let kinds: Vec<String> = row.get("kinds");
            let streams: Vec<String> = row.get("streams");
            let events: Vec<_> = positions
                .into_iter()
                .map(i64::unsigned_abs)
                .zip(kinds.into_iter().zip(streams))
                .map(|(position, (kind, stream))| (position, kind, stream))
                .collect();
            match facts.commands.get(&cause) {
                Some(promised) => {
                    seen.insert(cause);
                    let kept =
                        i64::try_from(promised.position) == Ok(last) && promised.events == events;
                    if !kept {
                        notebook.found(format!(
                            "command {cause} was answered {promised:?}, and the log has {events:?}"
                        ));
                    }
                }
                None if row.get("ours") => {
                    notebook.found(format!("the log has command {cause}, which nobody gave"));
                }
                None => {}
            }
        }
        let lost: Vec<_> = facts
            .commands
            .iter()
            .filter(|(id, promised)| !promised.events.is_empty() && !seen.contains(id))
            .collect();
        if !lost.is_empty() {
            notebook.found(format!(
                "{} acknowledged commands are not in the log: {:?}",
                lost.len(),
                &lost[..lost.len().min(SHOWN)]
            ));
        }
        Ok(())
    }
}

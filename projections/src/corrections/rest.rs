//! For whoever exchanges the tables of corrections.

use uuid::Uuid;

use super::LookError;
use super::decided::Told;
use super::passes::{self, Claim, Pass};
use crate::warehouse::Warehouse;

/// Takes the next pass's place for an empty one, while the ledger rests: a pass that is under way is in vain, none begins before the
/// ledger goes on, and the next one compares all requests of all corrections anew: of those that are decided, and of those
/// that held until now. So one that is not decided any more, since the log was restored meanwhile, is taken back.
pub(crate) async fn begin_anew(warehouse: &Warehouse) -> Result<(), LookError> {
    loop {
        let newest = passes::newest(warehouse).await?;
        let empty = Pass {
            ordinal: newest.as_ref().map_or(0, |it| it.ordinal) + 1,
            id: Uuid::nil(),
            through_batch: 0,
            holds: newest.map_or_else(Vec::new, |it| it.holds.into_iter().map(unlike).collect()),
        };
        if passes::claim(warehouse, &empty).await? == Claim::Taken {
            return Ok(());
        }
    }
}

/// The same correction with a hash that none has: it held, and it is as none that is decided.
fn unlike(mut told: Told) -> Told {
    told.hash.clear();
    told
}

//! For whoever exchanges the tables of corrections.

use uuid::Uuid;

use super::LookError;
use super::passes::{self, Claim, Pass};
use crate::warehouse::Warehouse;

/// Takes the next pass's place for an empty one, while the ledger rests: a pass that is under way is in vain, none begins before the
/// ledger goes on, and the next one compares all requests of all corrections anew.
pub(crate) async fn begin_anew(warehouse: &Warehouse) -> Result<(), LookError> {
    loop {
        let newest = passes::newest(warehouse).await?;
        let empty = Pass {
            ordinal: newest.map_or(0, |it| it.ordinal) + 1,
            id: Uuid::nil(),
            through_batch: 0,
            holds: Vec::new(),
        };
        if passes::claim(warehouse, &empty).await? == Claim::Taken {
            return Ok(());
        }
    }
}

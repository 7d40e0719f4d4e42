//! `migrate`: brings the tables up to date, for deployments in which the service does not know the owner's password.

use super::Failure;
use crate::{config::Migrate, log, postgres, trust::Trust};

pub(super) async fn run(options: Migrate, trust: &Trust) -> Result<(), Failure> {
    let url = postgres::secured(&options.postgres_owner_url, trust)?;
    Ok(log::migrate(&url).await?)
}

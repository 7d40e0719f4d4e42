//! `migrate`: brings the tables up to date, for deployments in which the service does not know the owner's password.

use super::Failure;
use crate::{config::Migrate, log};

pub(super) async fn run(options: Migrate) -> Result<(), Failure> {
    Ok(log::migrate(&options.postgres_owner_url).await?)
}

//! Tables that are built beside live ones, and exchanged with them. Names of tables are ours, never a user's.

use super::{
    Warehouse, WarehouseError,
    migrations::{BY_MINUTE, CORRECTION_SUMS, CORRECTIONS_BY_MINUTE, SUMS},
    within,
};

impl Warehouse {
    /// Makes an empty table like `live`, in place of one that was left over.
    pub(crate) async fn make_beside(&self, live: &str, beside: &str) -> Result<(), WarehouseError> {
        self.drop_table(beside).await?;
        let make = format!("CREATE TABLE {beside} AS {live}");
        within("making a table", self.client().query(&make).execute()).await
    }

    /// Drops a table if it is there.
    pub(crate) async fn drop_table(&self, table: &str) -> Result<(), WarehouseError> {
        let drop = format!("DROP TABLE IF EXISTS {table} SYNC");
        within("dropping a table", self.client().query(&drop).execute()).await
    }

    /// Exchanges two tables in one step. A view that writes into one of them by name writes into the other from then on.
    pub(crate) async fn exchange(&self, live: &str, beside: &str) -> Result<(), WarehouseError> {
        let exchange = format!("EXCHANGE TABLES {live} AND {beside}");
        within(
            "exchanging tables",
            self.client().query(&exchange).execute(),
        )
        .await
    }

    /// Adds up the requests of a day, as `YYYYMMDD`, from the second `since` on, into a table like `usage_1m`.
    pub(crate) async fn roll_up_day(
        &self,
        into: &str,
        day: u32,
        since: u32,
    ) -> Result<(), WarehouseError> {
        let add = format!(
            "INSERT INTO {into} {SUMS} FROM requests WHERE toYYYYMMDD(received_at) = {{day:UInt32}} \
             AND received_at >= toDateTime({{since:UInt32}}, 'UTC') {BY_MINUTE} SETTINGS insert_deduplicate = 0"
        );
        let query = self.client().query(&add).param("day", day);
        within("adding up a day", query.param("since", since).execute()).await
    }

    /// Adds up what corrections of prices have changed in a day, as `YYYYMMDD`, from the second `since` on, into a table like
    /// `cost_corrections_1m`.
    pub(crate) async fn roll_up_corrections(
        &self,
        into: &str,
        day: u32,
        since: u32,
    ) -> Result<(), WarehouseError> {
        let add = format!(
            "INSERT INTO {into} {CORRECTION_SUMS} FROM cost_corrections \
             WHERE toYYYYMMDD(received_at) = {{day:UInt32}} AND received_at >= toDateTime({{since:UInt32}}, 'UTC') \
             AND pass IN (SELECT pass FROM correction_passes) {CORRECTIONS_BY_MINUTE} SETTINGS insert_deduplicate = 0"
        );
        let query = self.client().query(&add).param("day", day);
        within(
            "adding up a day's corrections",
            query.param("since", since).execute(),
        )
        .await
    }

    /// Copies the minutes of the live rollup `live` before the second `since`.
    pub(crate) async fn take_over_before(
        &self,
        live: &str,
        into: &str,
        since: u32,
    ) -> Result<(), WarehouseError> {
        let copy = format!(
            "INSERT INTO {into} SELECT * FROM {live} WHERE minute < toDateTime({{since:UInt32}}, 'UTC') \
             SETTINGS insert_deduplicate = 0"
        );
        let query = self.client().query(&copy).param("since", since);
        within("taking over what is older", query.execute()).await
    }
}

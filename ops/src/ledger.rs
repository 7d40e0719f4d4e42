//! ClickHouse as this tool asks it: at a URL that names the user.

use std::path::Path;

use events_schema::address::Address;
use hyper_util::rt::TokioExecutor;

use crate::failure::{Doing, Outcome};
use crate::trust;

/// A client for `http[s]://user:password@host:port`.
pub(crate) fn client(url: &str, ca_file: Option<&Path>) -> Outcome<clickhouse::Client> {
    let address: Address = url.parse().doing(|| "reading ClickHouse's URL".into())?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .build(trust::connector(url, ca_file)?);
    let client = clickhouse::Client::with_http_client(http).with_url(address.to_string());
    Ok(match address.credentials() {
        Some(who) => client.with_user(&who.user).with_password(&who.password),
        None => client,
    })
}

//! How this service connects to Postgres: verified, unless its URL says otherwise.

use events_schema::address::{self, InvalidPostgresUrl, Protection};

use crate::trust::Trust;

/// The URL to connect with. To another machine the connection is verified (`sslmode=verify-full`) unless the URL names
/// another mode, which is said in the log; the file of authorities is named unless the URL names its own.
///
/// # Errors
/// When the URL names no host, or has a `#`.
pub fn secured(url: &str, trust: &Trust) -> Result<String, InvalidPostgresUrl> {
    let ca_file = trust.ca_file().map(|file| file.display().to_string());
    let (url, protection) = address::postgres(url, ca_file.as_deref())?;
    match protection {
        Protection::ThisMachine | Protection::Verified => {}
        Protection::Unverified => tracing::warn!(
            "whoever answers in Postgres' place is taken for it: its URL does not say sslmode=verify-full"
        ),
        Protection::None => tracing::warn!(
            "what is sent to Postgres can be read on the way: its URL does not say sslmode=verify-full"
        ),
    }
    Ok(url)
}

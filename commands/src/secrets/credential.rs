//! A provider's credential on its way to the table `sealed_secrets`.

use events_schema::{id::ProviderAccountId, names::BaseUrl, secrets::SealedRef};

use super::Secrets;
use crate::{control::SealedSecret, domain::SealedCredential, fresh};

/// The longest credential of a provider, in bytes.
const MOST_BYTES: usize = 4096;

/// Why a credential cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCredential {
    /// It is none.
    #[error("A credential has 1 to 4,096 visible ASCII characters, no blanks.")]
    Text,
    /// The key that it would be sealed to is none; the log says more.
    #[error("Credentials cannot be sealed here: the service's log says why.")]
    Sealing,
}

/// Seals a credential for the account at this URL: what the order names, and the row beside the log.
///
/// # Errors
/// See [`BadCredential`].
pub fn seal_credential(
    secrets: &Secrets,
    account: ProviderAccountId,
    base_url: &BaseUrl,
    credential: &str,
) -> Result<(SealedCredential, SealedSecret), BadCredential> {
    let is_good = !credential.is_empty()
        && credential.len() <= MOST_BYTES
        && credential.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_good {
        return Err(BadCredential::Text);
    }
    let sealed = secrets
        .seal_credential(account, base_url, credential)
        .map_err(|error| {
            tracing::error!(%error, "a credential could not be sealed");
            BadCredential::Sealing
        })?;
    // Each sealing has an id of its own: two at the same time cannot be taken for versions of each other.
    let reference = SealedRef {
        id: fresh::id(),
        version: 1,
    };
    let origin = base_url.origin();
    let row = SealedSecret {
        reference: reference.clone(),
        sealing_key: sealed.key_id,
        account,
        origin: origin.clone(),
        sealed: sealed.bytes,
    };
    let sealed = SealedCredential {
        sealed: reference,
        origin,
    };
    Ok((sealed, row))
}

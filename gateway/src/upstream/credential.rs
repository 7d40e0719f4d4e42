//! Opens a provider account's credential, once for each change of its entry. What is opened is never logged.

use events_schema::{
    id::ProviderAccountId,
    keyring::KeyRing,
    names::BaseUrl,
    secrets::{CREDENTIAL_INFO, credential_aad},
    snapshot::entries::{
        ArchivedProviderAccountEntry, ArchivedProviderDialect, ArchivedSealedCredential,
    },
};
use hpke::{
    Deserializable, OpModeR, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256,
};
use http::HeaderValue;

/// The length of the encapsulated key before the ciphertext.
const ENCAPSULATED: usize = 32;

/// Why a credential is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The entry has none, and the provider asks for one.
    #[error("the account has no credential")]
    Missing,
    /// It was shredded, or is lost.
    #[error("the account's credential was shredded or is lost: give it another")]
    Gone,
    /// The key to which it was sealed is not in the ring.
    #[error("the sealing key '{0}' is not in the ring")]
    UnknownKey(String),
    /// It was sealed to another key, account or origin, or was changed since.
    #[error("the credential cannot be opened: it was sealed for another account or address")]
    Sealed,
    /// It holds what no HTTP header can.
    #[error("the credential holds characters that cannot stand in a header")]
    NotAHeader,
}

/// The header `authorization` for an account; `None`: it needs none.
///
/// # Errors
/// See [`CredentialError`].
pub fn authorization(
    ring: &KeyRing,
    account: &ArchivedProviderAccountEntry,
    base_url: &BaseUrl,
) -> Result<Option<HeaderValue>, CredentialError> {
    let Some(sealed) = account.credential.as_ref() else {
        return match account.provider {
            ArchivedProviderDialect::OpenaiCompatible => Ok(None),
            ArchivedProviderDialect::Openai | ArchivedProviderDialect::Anthropic => {
                Err(CredentialError::Missing)
            }
        };
    };
    if sealed.sealed.is_empty() {
        return Err(CredentialError::Gone);
    }
    let aad = credential_aad(
        ProviderAccountId::from_bytes(account.id),
        &base_url.origin(),
    );
    let mut opened = b"Bearer ".to_vec();
    opened.extend(open(ring, sealed, &aad)?);
    let mut header = HeaderValue::from_maybe_shared(bytes::Bytes::from(opened))
        .map_err(|_| CredentialError::NotAHeader)?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn open(
    ring: &KeyRing,
    sealed: &ArchivedSealedCredential,
    aad: &[u8],
) -> Result<Vec<u8>, CredentialError> {
    let private = ring
        .get(&sealed.key)
        .ok_or_else(|| CredentialError::UnknownKey(sealed.key.to_string()))?;
    let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(private)
        .map_err(|_| CredentialError::Sealed)?;
    let (encapsulated, ciphertext) = sealed
        .sealed
        .split_at_checked(ENCAPSULATED)
        .ok_or(CredentialError::Sealed)?;
    let encapsulated = <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(encapsulated)
        .map_err(|_| CredentialError::Sealed)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        CREDENTIAL_INFO,
        ciphertext,
        aad,
    )
    .map_err(|_| CredentialError::Sealed)
}

//! Opens a provider account's credential, once for each change of its entry. What is opened is never logged.

use bytes::Bytes;
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

/// What stands before the credential in `authorization`.
const BEARER: &[u8] = b"Bearer ";

/// A credential as each API wants it.
pub struct Credential {
    /// OpenAI's: the value of `authorization`.
    pub bearer: HeaderValue,
    /// Anthropic's: the value of `x-api-key`.
    pub api_key: HeaderValue,
}

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

/// What an account's provider asks for; `None`: nothing.
///
/// # Errors
/// See [`CredentialError`].
pub fn of_account(
    ring: &KeyRing,
    account: &ArchivedProviderAccountEntry,
    base_url: &BaseUrl,
) -> Result<Option<Credential>, CredentialError> {
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
    let mut opened = BEARER.to_vec();
    opened.extend(open(ring, sealed, &aad)?);
    let opened = Bytes::from(opened);
    Ok(Some(Credential {
        api_key: header(opened.slice(BEARER.len()..))?,
        bearer: header(opened)?,
    }))
}

fn header(value: Bytes) -> Result<HeaderValue, CredentialError> {
    let mut header =
        HeaderValue::from_maybe_shared(value).map_err(|_| CredentialError::NotAHeader)?;
    header.set_sensitive(true);
    Ok(header)
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

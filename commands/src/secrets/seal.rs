//! HPKE (RFC 9180, base mode) for providers' credentials.

use events_schema::{
    id::ProviderAccountId,
    secrets::{CREDENTIAL_INFO, credential_aad},
};
use hpke::{
    Deserializable as _, Kem, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_seal,
};

/// A sealed credential: only a gateway with the private key of this id can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The id of the key in the sealing rings.
    pub key_id: String,
    /// The encapsulated key (32 bytes), then the ciphertext with its tag.
    pub bytes: Vec<u8>,
}

/// Why nothing could be sealed.
#[derive(Debug, thiserror::Error)]
#[error("the sealing key '{key_id}' is not an X25519 public key")]
pub struct SealError {
    key_id: String,
    #[source]
    source: hpke::HpkeError,
}

/// Seals `credential` to the X25519 key `public`, bound to the account and the origin.
pub(super) fn seal(
    key_id: &str,
    public: &[u8; 32],
    account: ProviderAccountId,
    origin: &str,
    credential: &str,
) -> Result<Sealed, SealError> {
    let failed = |source| SealError {
        key_id: key_id.to_owned(),
        source,
    };
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public).map_err(failed)?;
    let (encapsulated, ciphertext) =
        single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            CREDENTIAL_INFO,
            credential.as_bytes(),
            &credential_aad(account, origin),
        )
        .map_err(failed)?;
    let mut bytes = encapsulated.to_bytes().to_vec();
    bytes.extend_from_slice(&ciphertext);
    Ok(Sealed {
        key_id: key_id.to_owned(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use hpke::{OpModeR, single_shot_open};

    use super::*;

    const ACCOUNT: ProviderAccountId = ProviderAccountId::from_bytes([7; 16]);

    #[test]
    fn only_the_same_account_at_the_same_origin_opens_a_sealed_credential() {
        let (private, public) = X25519HkdfSha256::gen_keypair();
        let public: [u8; 32] = public.to_bytes().into();
        let sealed =
            seal("k1", &public, ACCOUNT, "https://api.example", "sk-upstream").expect("a good key");
        assert!(!sealed.bytes.windows(11).any(|part| part == b"sk-upstream"));

        let open = |account, origin: &str| {
            let (encapsulated, ciphertext) = sealed.bytes.split_at(32);
            single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &private,
                &<X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
                    .expect("32 bytes"),
                CREDENTIAL_INFO,
                ciphertext,
                &credential_aad(account, origin),
            )
        };
        assert_eq!(
            open(ACCOUNT, "https://api.example").expect("opens"),
            b"sk-upstream"
        );
        assert!(open(ACCOUNT, "https://evil.example").is_err());
        assert!(
            open(
                ProviderAccountId::from_bytes([8; 16]),
                "https://api.example"
            )
            .is_err()
        );
    }
}

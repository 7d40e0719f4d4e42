//! Events of provider accounts. That one was registered is in schema version 2; version 1 did not say whether it may lead
//! to private addresses.

use serde::{Deserialize, Serialize};

use super::codec::Upcaster;
use crate::{
    names::{BaseUrl, Slug},
    secrets::SealedRef,
};

/// The dialect that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// OpenAI itself.
    Openai,
    /// Anthropic itself.
    Anthropic,
    /// Any other that speaks OpenAI's wire format.
    OpenaiCompatible,
}

/// What happens to a provider account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProviderAccountEvent {
    /// An account at a provider was made known.
    ProviderAccountRegistered {
        /// Its name: the first part of its models' full names.
        name: Slug,
        /// The dialect.
        provider: Provider,
        /// Where it is.
        base_url: BaseUrl,
        /// The sealed credential; `None` for a provider that wants none.
        credential: Option<SealedRef>,
        /// Whether its host may have private and local addresses.
        allows_private_addresses: bool,
    },
    /// It was given another name; its models' full names change with it.
    ProviderAccountRenamed {
        /// The new name.
        name: Slug,
    },
    /// Its base URL changed. The credential is bound to the URL's origin and so was given again, or taken away.
    ProviderAccountMoved {
        /// The new base URL.
        base_url: BaseUrl,
        /// The credential sealed for it.
        credential: Option<SealedRef>,
    },
    /// Its credential was replaced.
    ProviderCredentialReplaced {
        /// The new one; `None`: the provider wants none.
        credential: Option<SealedRef>,
    },
    /// Its credential's ciphertext was destroyed: nothing goes to it until it is given another.
    ProviderCredentialShredded {},
    /// Its host may have private and local addresses: those of this machine, of a private network, of a link.
    ProviderPrivateAddressesAllowed {},
    /// Its host may have public addresses only.
    ProviderPrivateAddressesForbidden {},
    /// No requests go to it any more.
    ProviderAccountDisabled {},
    /// Requests go to it again.
    ProviderAccountEnabled {},
    /// It is gone.
    ProviderAccountDeleted {},
}

// === from schema version 1 ===

/// Of `provider_account_registered`. Whatever was registered before there was a choice could lead anywhere, and goes on.
pub(super) const REGISTERED_V1: Upcaster = Upcaster {
    kind: "provider_account_registered",
    from: 1,
    apply: |text| {
        let RegisteredV1 {
            name,
            provider,
            base_url,
            credential,
        } = serde_json::from_str(text)?;
        serde_json::to_string(&Registered {
            name,
            provider,
            base_url,
            credential,
            allows_private_addresses: true,
        })
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredV1 {
    name: String,
    provider: Provider,
    base_url: String,
    credential: Option<SealedRef>,
}

#[derive(Serialize)]
struct Registered {
    name: String,
    provider: Provider,
    base_url: String,
    credential: Option<SealedRef>,
    allows_private_addresses: bool,
}

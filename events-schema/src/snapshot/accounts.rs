//! How the entry of a provider account follows from the state.

use super::entries::{ProviderAccountEntry, ProviderDialect, SealedCredential};
use crate::{events::Provider, state::ProviderAccount};

pub(super) fn provider_account(
    it: &ProviderAccount,
    credential: Option<SealedCredential>,
) -> ProviderAccountEntry {
    let ProviderAccount {
        id,
        life: _,
        name,
        provider,
        base_url,
        credential: _,
        credential_shredded: _,
        allows_private_addresses: _,
        disabled,
    } = it;
    ProviderAccountEntry {
        id: id.bytes(),
        name: name.to_string(),
        provider: match provider {
            Provider::Openai => ProviderDialect::Openai,
            Provider::Anthropic => ProviderDialect::Anthropic,
            Provider::OpenaiCompatible => ProviderDialect::OpenaiCompatible,
        },
        base_url: base_url.to_string(),
        credential,
        disabled: *disabled,
    }
}

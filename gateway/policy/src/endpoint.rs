//! Which model can be asked over which endpoint: what it can do, and what its provider speaks.

use events_schema::{snapshot::entries::ArchivedProviderDialect, usage::Endpoint};

use crate::{Configuration, Denial, Routed, Target};

/// Whether the model can be asked over this endpoint, were everything enabled.
///
/// Anthropic's own API goes to Anthropic's accounts alone: nothing is translated. OpenAI's goes to all, since Anthropic
/// serves chat in that form, too.
///
/// # Errors
/// [`Denial::WrongKind`], [`Denial::NotAnthropic`].
pub(crate) fn can_take(
    config: &impl Configuration,
    target: Target<'_>,
    endpoint: Endpoint,
) -> Result<(), Denial> {
    let can = match endpoint {
        Endpoint::ChatCompletions | Endpoint::Messages | Endpoint::CountTokens => target.model.chat,
        Endpoint::Embeddings => target.model.embedding,
        Endpoint::Completions => config.takes_completions(&target.model.id),
    };
    let speaks = match endpoint {
        Endpoint::ChatCompletions | Endpoint::Embeddings | Endpoint::Completions => true,
        Endpoint::Messages | Endpoint::CountTokens => match target.account.provider {
            ArchivedProviderDialect::Anthropic => true,
            ArchivedProviderDialect::Openai | ArchivedProviderDialect::OpenaiCompatible => false,
        },
    };
    match (can, speaks) {
        (false, _) => Err(Denial::WrongKind),
        (true, false) => Err(Denial::NotAnthropic),
        (true, true) => Ok(()),
    }
}

/// Why none of a virtual model's targets can be asked: that its providers speak another API is worth saying, for then
/// waiting helps nobody.
pub(crate) fn no_target(config: &impl Configuration, of: Routed<'_>, endpoint: Endpoint) -> Denial {
    let targets = of.targets().filter_map(|it| {
        let model = config.model(it.model())?;
        let account = config.account(&model.account)?;
        Some(Target { account, model })
    });
    let mut denials = targets.filter_map(|target| can_take(config, target, endpoint).err());
    if denials.any(|denial| denial == Denial::NotAnthropic) {
        Denial::NotAnthropic
    } else {
        Denial::NoTarget
    }
}

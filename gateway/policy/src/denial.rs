//! Why a request may not go on: every reason that the rules can give, but for limits.

use events_schema::time::Timestamp;

/// Why a request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No key has this hash.
    UnknownKey,
    /// The key was rotated, and the secret from before it ceased to work.
    SecretReplaced {
        /// When.
        at: Timestamp,
    },
    /// The key is disabled.
    KeyDisabled,
    /// The key ceased to work.
    KeyExpired {
        /// When.
        at: Timestamp,
    },
    /// The key's owner is disabled.
    OwnerDisabled,
    /// The key's owner does not exist: an entry is missing or was refused, and without it the key is not trusted.
    OwnerMissing,
    /// No model or virtual model has this name.
    UnknownModel,
    /// No grant opens the model to this key.
    NotGranted,
    /// The virtual model is disabled.
    VirtualModelDisabled,
    /// The model is disabled.
    ModelDisabled,
    /// The model's provider account is disabled.
    AccountDisabled,
    /// The model cannot be asked for this.
    WrongKind,
    /// The model's provider, or that of every target, does not speak Anthropic's API.
    NotAnthropic,
    /// The virtual model has no target that is there, enabled, and can be asked for this.
    NoTarget,
}

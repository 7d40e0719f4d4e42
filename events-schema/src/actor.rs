//! Who did it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::{OperatorId, TokenId};

/// Who issued a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// An operator in the console: `operator:<id>`.
    Operator(OperatorId),
    /// Automation, with a token that the operator made: `operator:<id>/token:<id>`.
    Token(OperatorId, TokenId),
    /// Sluice itself: `system:<part>`.
    System(System),
}

/// The parts of Sluice that issue commands by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// The initialisation of a log.
    Init,
    /// The command line on the machine of `commands`.
    CommandLine,
    /// The service `commands` itself.
    Commands,
}

impl Actor {
    /// The operator behind it, if it is one.
    #[must_use]
    pub const fn operator(self) -> Option<OperatorId> {
        match self {
            Self::Operator(operator) | Self::Token(operator, _) => Some(operator),
            Self::System(System::Init | System::CommandLine | System::Commands) => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(operator) => write!(f, "operator:{operator}"),
            Self::Token(operator, token) => write!(f, "operator:{operator}/token:{token}"),
            Self::System(System::Init) => f.write_str("system:init"),
            Self::System(System::CommandLine) => f.write_str("system:command-line"),
            Self::System(System::Commands) => f.write_str("system:commands"),
        }
    }
}

/// Text that names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an actor is operator:<id>, operator:<id>/token:<id> or system:<part>")]
pub struct InvalidActor;

impl FromStr for Actor {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, InvalidActor> {
        match text {
            "system:init" => return Ok(Self::System(System::Init)),
            "system:command-line" => return Ok(Self::System(System::CommandLine)),
            "system:commands" => return Ok(Self::System(System::Commands)),
            _ => {}
        }
        let id = |text: &str| text.parse().map_err(|_| InvalidActor);
        let rest = text.strip_prefix("operator:").ok_or(InvalidActor)?;
        match rest.split_once("/token:") {
            None => Ok(Self::Operator(id(rest)?)),
            Some((operator, token)) => Ok(Self::Token(
                id(operator)?,
                token.parse().map_err(|_| InvalidActor)?,
            )),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_is_written_and_read_back() {
        let operator = OperatorId::from_bytes([1; 16]);
        let actors = [
            Actor::Operator(operator),
            Actor::Token(operator, TokenId::from_bytes([2; 16])),
            Actor::System(System::Init),
            Actor::System(System::CommandLine),
            Actor::System(System::Commands),
        ];
        for actor in actors {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        assert_eq!("operator:bob".parse::<Actor>(), Err(InvalidActor));
    }
}

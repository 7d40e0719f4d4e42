//! How events are written down and read again: `kind`, `schema_version` and a JSON payload.
//!
//! The payload is canonical: serde's output, fields in the order of their declaration. Reading brings an
//! old payload up to the newest schema version first, one version at a time, by pure functions
//! ([`Upcaster`]); a version that this code does not know is an error, never a guess.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{Event, Stream, provider_account, rate_limit_policy, routing};

/// An event as the log stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// What happened: the event's name in snake case, for example `key_issued`.
    pub kind: String,
    /// The version of the payload's shape, from 1.
    pub schema_version: u16,
    /// The payload: one JSON object.
    pub payload: String,
}

/// Why a stored event cannot be read. Whoever folds must stop at it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// This code is older than the event.
    #[error("'{kind}' has schema version {found}, and this version of Sluice reads up to {newest}")]
    UnknownVersion {
        /// The event's kind.
        kind: String,
        /// The version found.
        found: u16,
        /// The newest known.
        newest: u16,
    },
    /// No such kind, or a payload of another shape.
    #[error("'{kind}' cannot be read as an event of {stream}")]
    Malformed {
        /// The event's kind.
        kind: String,
        /// The stream that it stands in.
        stream: Stream,
        /// What the JSON reader said.
        #[source]
        source: serde_json::Error,
    },
}

/// Brings the payload of one kind from one schema version to the next. Pure, and never changed once released.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    /// The event's kind.
    pub kind: &'static str,
    /// The version that it reads; it writes the next.
    pub from: u16,
    /// Rewrites the payload.
    pub apply: fn(&str) -> Result<String, serde_json::Error>,
}

/// All upcasters there are, in any order.
pub const UPCASTERS: &[Upcaster] = &[
    provider_account::REGISTERED_V1,
    rate_limit_policy::CREATED_V1,
    rate_limit_policy::CHANGED_V1,
    rate_limit_policy::CREATED_V2,
    rate_limit_policy::CHANGED_V2,
    routing::CREATED_V1,
    routing::CHANGED_V1,
];

/// Writes an event down, in the newest schema version.
#[must_use]
pub fn encode(event: &Event) -> Encoded {
    let tagged = match event {
        Event::Log(event) => to_json(event),
        Event::ProviderAccount(_, event) => to_json(event),
        Event::Model(_, event) => to_json(event),
        Event::VirtualModel(_, event) => to_json(event),
        Event::User(_, event) => to_json(event),
        Event::VirtualAccount(_, event) => to_json(event),
        Event::Key(_, event) => to_json(event),
        Event::Grant(_, event) => to_json(event),
        Event::Operator(_, event) => to_json(event),
        Event::Team(_, event) => to_json(event),
        Event::RateLimitPolicy(_, event) => to_json(event),
        Event::BudgetPolicy(_, event) => to_json(event),
        Event::BudgetAlert(_, event) => to_json(event),
        Event::Settings(event) => to_json(event),
    };
    let (kind, payload) = untag(&tagged).expect("serde writes an enum as {\"kind\":{…}}");
    Encoded {
        kind: kind.to_owned(),
        schema_version: newest_version(kind, UPCASTERS),
        payload: payload.to_owned(),
    }
}

/// Reads an event of `stream` back.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(
    stream: Stream,
    kind: &str,
    schema_version: u16,
    payload: &str,
) -> Result<Event, DecodeError> {
    let malformed = |source| DecodeError::Malformed {
        kind: kind.to_owned(),
        stream,
        source,
    };
    let payload = upcast(stream, kind, schema_version, payload, UPCASTERS)?;
    Ok(match stream {
        Stream::Log => Event::Log(from_json(kind, &payload).map_err(malformed)?),
        Stream::ProviderAccount(id) => {
            Event::ProviderAccount(id, from_json(kind, &payload).map_err(malformed)?)
        }
        Stream::Model(id) => Event::Model(id, from_json(kind, &payload).map_err(malformed)?),
        Stream::VirtualModel(id) => {
            Event::VirtualModel(id, from_json(kind, &payload).map_err(malformed)?)
        }
        Stream::User(id) => Event::User(id, from_json(kind, &payload).map_err(malformed)?),
        Stream::VirtualAccount(id) => {
            Event::VirtualAccount(id, from_json(kind, &payload).map_err(malformed)?)
        }
        Stream::Key(id) => Event::Key(id, from_json(kind, &payload).map_err(malformed)?),
        Stream::Grant(id) => Event::Grant(id, from_json(kind, &payload).map_err(malformed)?),
        Stream::Operator(id) => Event::Operator(id, from_json(kind, &payload).map_err(malformed)?),
        Stream::Team(id) => Event::Team(id, from_json(kind, &payload).map_err(malformed)?),
        Stream::RateLimitPolicy(id) => {
            Event::RateLimitPolicy(id, from_json(kind, &payload).map_err(malformed)?)
        }
        Stream::BudgetPolicy(id) => {
            Event::BudgetPolicy(id, from_json(kind, &payload).map_err(malformed)?)
        }
        Stream::BudgetAlert(id) => {
            Event::BudgetAlert(id, from_json(kind, &payload).map_err(malformed)?)
        }
        Stream::Settings => Event::Settings(from_json(kind, &payload).map_err(malformed)?),
    })
}

/// The version that this code writes for `kind`: one more than the last upcaster reads.
fn newest_version(kind: &str, upcasters: &[Upcaster]) -> u16 {
    upcasters
        .iter()
        .filter(|upcaster| upcaster.kind == kind)
        .map(|upcaster| upcaster.from + 1)
        .max()
        .unwrap_or(1)
}

/// Brings `payload` to the newest version of `kind`.
fn upcast(
    stream: Stream,
    kind: &str,
    version: u16,
    payload: &str,
    upcasters: &[Upcaster],
) -> Result<String, DecodeError> {
    let newest = newest_version(kind, upcasters);
    let unknown = || DecodeError::UnknownVersion {
        kind: kind.to_owned(),
        found: version,
        newest,
    };
    if version == 0 || version > newest {
        return Err(unknown());
    }
    let mut payload = payload.to_owned();
    for from in version..newest {
        let step = upcasters
            .iter()
            .find(|step| step.kind == kind && step.from == from)
            .ok_or_else(unknown)?;
        payload = (step.apply)(&payload).map_err(|source| DecodeError::Malformed {
            kind: kind.to_owned(),
            stream,
            source,
        })?;
    }
    Ok(payload)
}

fn to_json<E: Serialize>(event: &E) -> String {
    serde_json::to_string(event).expect("stored types hold nothing that JSON cannot")
}

/// Splits `{"kind":{…}}` into `kind` and `{…}`.
fn untag(tagged: &str) -> Option<(&str, &str)> {
    tagged
        .strip_prefix("{\"")?
        .strip_suffix('}')?
        .split_once("\":")
}

fn from_json<E: DeserializeOwned>(kind: &str, payload: &str) -> Result<E, serde_json::Error> {
    let payload: &RawValue = serde_json::from_str(payload)?;
    let kind = serde_json::to_string(kind)?;
    serde_json::from_str(&format!("{{{kind}:{payload}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{events::KeyEvent, id::KeyId};

    const KEY: Stream = Stream::Key(KeyId::from_bytes([1; 16]));

    const STEPS: &[Upcaster] = &[
        Upcaster {
            kind: "key_moved",
            from: 2,
            apply: |text| Ok(text.replace("\"b\"", "\"c\"")),
        },
        Upcaster {
            kind: "key_moved",
            from: 1,
            apply: |text| Ok(text.replace("\"a\"", "\"b\"")),
        },
    ];

    #[test]
    fn an_old_payload_is_brought_up_one_version_at_a_time() {
        let check = |version, payload: &str| {
            upcast(KEY, "key_moved", version, payload, STEPS).expect("known")
        };
        assert_eq!(check(1, r#"{"a":1}"#), r#"{"c":1}"#);
        assert_eq!(check(2, r#"{"b":1}"#), r#"{"c":1}"#);
        assert_eq!(check(3, r#"{"a":1}"#), r#"{"a":1}"#);
    }

    #[test]
    fn a_version_from_the_future_is_refused() {
        for version in [0, 4] {
            let error = upcast(KEY, "key_moved", version, "{}", STEPS).expect_err("unknown");
            assert!(
                matches!(error, DecodeError::UnknownVersion { newest: 3, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn an_event_without_fields_is_an_empty_object() {
        let encoded = encode(&Event::Key(
            KeyId::from_bytes([1; 16]),
            KeyEvent::KeyRevoked {},
        ));
        assert_eq!(
            (encoded.kind.as_str(), encoded.payload.as_str()),
            ("key_revoked", "{}")
        );
    }

    #[test]
    fn an_unknown_kind_or_field_is_refused() {
        for (kind, payload) in [
            ("key_lost", "{}"),
            ("key_revoked", r#"{"why":"x"}"#),
            ("key_revoked", "{}}"),
            ("k\"", "{}"),
        ] {
            let error = decode(KEY, kind, 1, payload).expect_err("malformed");
            assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
        }
    }
}

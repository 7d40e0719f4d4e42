//! How the types that are written as strings appear in the OpenAPI document.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

use crate::{
    envelope::Epoch,
    id::Id,
    money::NanoUsd,
    names::{HeaderName, HeaderText, MetadataKey},
    time::Timestamp,
};

fn text(description: &str, pattern: Option<&str>, format: Option<KnownFormat>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(pattern)
        .format(format.map(SchemaFormat::KnownFormat))
        .into()
}

impl<T> PartialSchema for Id<T> {
    fn schema() -> RefOr<Schema> {
        text(
            "An id: a UUID, written as 32 hexadecimal digits.",
            Some("^[0-9a-f]{32}$"),
            None,
        )
    }
}

impl<T> ToSchema for Id<T> {
    fn name() -> Cow<'static, str> {
        "Id".into()
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        text(
            "A point in time (RFC 3339, UTC, microseconds).",
            None,
            Some(KnownFormat::DateTime),
        )
    }
}

impl ToSchema for Timestamp {}

impl PartialSchema for NanoUsd {
    fn schema() -> RefOr<Schema> {
        text(
            "Whole nano-dollars (1 USD = 1,000,000,000) as a string of digits.",
            Some("^[0-9]{1,20}$"),
            None,
        )
    }
}

impl ToSchema for NanoUsd {}

impl PartialSchema for MetadataKey {
    fn schema() -> RefOr<Schema> {
        text(
            "A key of requests' metadata: 1 to 64 characters.",
            None,
            None,
        )
    }
}

impl ToSchema for MetadataKey {}

impl PartialSchema for Epoch {
    fn schema() -> RefOr<Schema> {
        text(
            "One life of the log: seconds since 1970 and an id.",
            Some("^[0-9]+-[0-9a-f]{32}$"),
            None,
        )
    }
}

impl ToSchema for Epoch {}

impl PartialSchema for HeaderName {
    fn schema() -> RefOr<Schema> {
        text(
            "A header's name, in lower case; none that belongs to the connection, the body's form or the credential.",
            Some("^[A-Za-z0-9._-]{1,64}$"),
            None,
        )
    }
}

impl ToSchema for HeaderName {}

impl PartialSchema for HeaderText {
    fn schema() -> RefOr<Schema> {
        text(
            "A header's value: 1 to 1,024 printable ASCII characters.",
            Some("^[!-~]([ -~]{0,1022}[!-~])?$"),
            None,
        )
    }
}

impl ToSchema for HeaderText {}

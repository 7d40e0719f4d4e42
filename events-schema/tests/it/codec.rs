//! Events are written down and read again without a difference.

use events_schema::{
    envelope::EventRow,
    events::{Event, codec},
};
use proptest::prelude::*;

use crate::{
    kinds::kinds_of,
    log::{EPOCH, log_of},
    samples::history,
    strategies,
};

fn read_back(event: &Event) -> Event {
    let encoded = codec::encode(event);
    codec::decode(
        event.stream(),
        &encoded.kind,
        encoded.schema_version,
        &encoded.payload,
    )
    .expect("what was written is read")
}

proptest! {
    #[test]
    fn every_event_is_read_back_as_it_was_written(event in strategies::event()) {
        prop_assert_eq!(read_back(&event), event);
    }

    #[test]
    fn a_row_is_read_back_as_it_was_published(
        events in strategies::events(1..4),
        why in proptest::option::of(any::<String>()),
    ) {
        for mut row in log_of(&events) {
            row.why.clone_from(&why);
            row.hash = row.computed_hash();
            let json = EventRow::new(EPOCH, row.clone()).expect("a payload is JSON").to_json();
            let (epoch, again) = EventRow::parse(&json).expect("a row");
            prop_assert_eq!((epoch, again), (EPOCH, row));
        }
    }

    #[test]
    fn text_that_is_no_payload_is_an_error_and_no_panic(event in strategies::event(), payload in any::<String>()) {
        let encoded = codec::encode(&event);
        let read = codec::decode(event.stream(), &encoded.kind, encoded.schema_version, &payload);
        prop_assert!(read.is_err() || serde_json::from_str::<serde_json::Value>(&payload).is_ok());
    }
}

#[test]
fn an_event_stands_in_its_own_streams_only() {
    for event in history() {
        let encoded = codec::encode(&event);
        for other in history() {
            let stream = other.stream();
            let read = codec::decode(
                stream,
                &encoded.kind,
                encoded.schema_version,
                &encoded.payload,
            );
            let belongs = kinds_of(stream.aggregate()).contains(&encoded.kind.as_str());
            assert_eq!(read.is_ok(), belongs, "{} in {stream}", encoded.kind);
        }
    }
}

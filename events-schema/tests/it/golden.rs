//! What was ever written is read for ever: files that are added to, and never changed.
//!
//! A file that should be there and is not is proposed in cargo's folder for temporary files: look at it, and
//! add it under `tests/golden` when it is right.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use events_schema::{
    envelope::{Envelope, EventRow, GENESIS},
    events::{Event, Stream, codec},
    snapshot::{DigestKey, EntriesDigest, entries::SealedCredential},
    state::{Checkpoint, FOLD_VERSION, Organisation},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    kinds::{all_kinds, newest_version},
    log::{EPOCH, log_of},
    samples::{histories, history},
};

/// Compares with a golden file; a missing one is proposed, and fails the test.
pub(crate) fn check(path: &str, now: &str) {
    match fs::read_to_string(folder().join(path)) {
        Ok(golden) => assert_eq!(
            golden.trim_end(),
            now.trim_end(),
            "tests/golden/{path} (left) is written otherwise now (right), and whoever stored it would read it no more"
        ),
        Err(_) => panic!("{}", missing(path, now)),
    }
}

/// A sentence about a missing file, which is proposed.
fn missing(path: &str, now: &str) -> String {
    let proposal = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("golden")
        .join(path);
    fs::create_dir_all(proposal.parent().expect("it lies in a folder")).expect("a folder");
    fs::write(&proposal, format!("{}\n", now.trim_end())).expect("a file");
    format!(
        "tests/golden/{path} is missing: look at {} and add it when it is right",
        proposal.display()
    )
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The golden files in a folder that end so, by their paths under `tests/golden`.
fn files(within: &str, ending: &str) -> Vec<String> {
    let listed = fs::read_dir(folder().join(within)).into_iter().flatten();
    let mut files: Vec<String> = listed
        .map(|entry| entry.expect("readable").file_name())
        .map(|name| name.into_string().expect("ASCII"))
        .filter(|name| name.ends_with(ending))
        .map(|name| format!("{within}/{name}"))
        .collect();
    files.sort();
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).expect(path)
}

// === events ===

/// An event as some version of Sluice wrote it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenEvent {
    stream: String,
    kind: String,
    schema_version: u16,
    payload: Box<RawValue>,
    /// What upcasting makes of the payload; absent where `schema_version` is the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    becomes: Option<Box<RawValue>>,
}

impl GoldenEvent {
    fn path(kind: &str, version: u16) -> String {
        format!("events/{kind}.v{version}.json")
    }

    fn now(event: &Event) -> String {
        let encoded = codec::encode(event);
        let golden = Self {
            stream: event.stream().to_string(),
            kind: encoded.kind,
            schema_version: encoded.schema_version,
            payload: RawValue::from_string(encoded.payload).expect("JSON"),
            becomes: None,
        };
        serde_json::to_string_pretty(&golden).expect("JSON")
    }
}

#[test]
fn every_kind_and_version_ever_written_has_a_golden_file() {
    let samples: BTreeMap<String, Event> = histories()
        .into_iter()
        .flat_map(|(_, events)| events)
        .rev()
        .map(|event| (codec::encode(&event).kind, event))
        .collect();
    let mut findings = Vec::new();
    for kind in all_kinds() {
        let newest = newest_version(kind);
        for version in 1..=newest {
            let path = GoldenEvent::path(kind, version);
            if folder().join(&path).exists() {
                continue;
            }
            findings.push(match samples.get(kind) {
                Some(sample) if version == newest => format!(
                    "the kind '{kind}' has no golden file for its schema version {version}: {}",
                    missing(&path, &GoldenEvent::now(sample))
                ),
                Some(_) => {
                    format!("tests/golden/{path} was removed: what is stored is stored for ever")
                }
                None => {
                    format!("the kind '{kind}' is new: give samples.rs one, and it a golden file")
                }
            });
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_golden_event_is_read_and_written_again_as_it_was() {
    let paths = files("events", ".json");
    assert!(!paths.is_empty(), "tests/golden/events is empty");
    for path in paths {
        let golden: GoldenEvent = serde_json::from_str(&read(&path)).expect(&path);
        let GoldenEvent {
            stream,
            kind,
            schema_version,
            payload,
            becomes,
        } = golden;
        assert_eq!(path, GoldenEvent::path(&kind, schema_version));
        let stream: Stream = stream.parse().expect(&path);
        let event = codec::decode(stream, &kind, schema_version, payload.get()).expect(&path);
        let again = codec::encode(&event);
        assert_eq!(again.kind, kind, "{path}");
        assert_eq!(again.schema_version, newest_version(&kind), "{path}");
        assert_eq!(
            becomes.is_none(),
            schema_version == again.schema_version,
            "{path}: 'becomes' says what an old payload becomes, and only that"
        );
        let expected = becomes.unwrap_or(payload);
        assert_eq!(
            again.payload,
            expected.get(),
            "tests/golden/{path} (right) is written otherwise now (left): what is stored is stored for ever"
        );
    }
}

// === rows and logs ===

#[test]
fn a_row_has_the_hash_that_it_always_had() {
    let mut rows = log_of(&history()[..2]).into_iter();
    for path in ["rows/without_reason.json", "rows/with_reason.json"] {
        let row = EventRow::new(EPOCH, rows.next().expect("two rows")).expect("a payload is JSON");
        check(path, std::str::from_utf8(&row.to_json()).expect("JSON"));
    }
    for path in files("rows", ".json") {
        let (epoch, row) = EventRow::parse(read(&path).trim_end().as_bytes()).expect(&path);
        assert_eq!(
            hex::encode(row.computed_hash()),
            hex::encode(row.hash),
            "the hash of {path} is computed otherwise now: every chain ever written would be broken"
        );
        let again = EventRow::new(epoch, row).expect(&path).to_json();
        assert_eq!(again, read(&path).trim_end().as_bytes(), "{path}");
    }
}

/// The rows of a golden log.
fn golden_log(path: &str) -> Vec<Envelope> {
    let parse = |line: &str| EventRow::parse(line.as_bytes()).expect(path).1;
    read(path).lines().map(parse).collect()
}

/// The state that a golden log adds up to; its chain is checked.
fn folded(path: &str) -> Organisation {
    let mut state = Organisation::default();
    let mut hash = GENESIS;
    for row in golden_log(path) {
        row.check_follows(state.position(), &hash).expect(path);
        state.apply(&row).expect(path);
        hash = row.hash;
    }
    state
}

#[test]
fn every_golden_log_adds_up_to_the_state_that_it_always_did() {
    for (name, events) in histories() {
        let path = format!("logs/{name}.jsonl");
        assert!(
            folder().join(&path).exists(),
            "{}",
            missing(&path, &lines_of(&events))
        );
    }
    for path in files("logs", ".jsonl") {
        let state = folded(&path);
        let stem = path.trim_end_matches(".jsonl");
        check(
            &format!("{stem}.fold{FOLD_VERSION}.digest"),
            &state.state_digest().to_string(),
        );
        let checkpoint = serde_json::to_string(&state).expect("JSON");
        check(
            &format!("{stem}.fold{FOLD_VERSION}.checkpoint"),
            &checkpoint,
        );
        let read_back: Checkpoint = serde_json::from_str(&checkpoint).expect(&path);
        let read_back = Organisation::from_checkpoint(read_back).expect(&path);
        assert_eq!(read_back, state, "{path}");
        check(
            &format!("{stem}.fold{FOLD_VERSION}.entries"),
            &entries_of(&state),
        );
    }
}

/// The rows of a log that holds these events, one a line.
fn lines_of(events: &[Event]) -> String {
    let row = |row| {
        EventRow::new(EPOCH, row)
            .expect("a payload is JSON")
            .to_json()
    };
    let lines = log_of(events).into_iter().map(row);
    let lines: Vec<String> = lines
        .map(|json| String::from_utf8(json).expect("JSON"))
        .collect();
    lines.join("\n")
}

#[test]
fn every_kind_occurs_in_a_golden_log() {
    let logs = files("logs", ".jsonl");
    let told: Vec<String> = logs
        .iter()
        .flat_map(|path| golden_log(path))
        .map(|row| row.kind)
        .collect();
    for kind in all_kinds() {
        assert!(
            told.iter().any(|known| known == kind),
            "no log in tests/golden/logs has an event of the kind '{kind}': add a log with one, beside the others"
        );
    }
}

/// The entries that a state gives, one a line, and their digest.
fn entries_of(state: &Organisation) -> String {
    let key = DigestKey::derive(&[7; 32]);
    let mut digest = EntriesDigest::default();
    let mut lines = Vec::new();
    for subject in state.entry_subjects() {
        let sealed = |reference: &events_schema::secrets::SealedRef| {
            Some(SealedCredential {
                key: "g1".to_owned(),
                sealed: vec![0x5e; 48 + reference.version as usize],
            })
        };
        let (position, entry) = state.entry(subject, sealed).expect("it is there");
        let archive = entry.archive();
        let subject = subject.to_string();
        digest.add(key.hash(&subject, position, &archive));
        lines.push(format!("{subject} {position} {}", hex::encode(archive)));
    }
    lines.push(format!("digest {digest}"));
    lines.join("\n")
}

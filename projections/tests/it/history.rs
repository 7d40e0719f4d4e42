//! A history with a good chain, and a relay that publishes it to `EVENTS`.

use std::collections::HashMap;

use async_nats::jetstream::{self, context::ContextBuilder, stream};
use events_schema::{
    actor::{Actor, System},
    envelope::{Envelope, Epoch, EventRow, GENESIS},
    events::{
        Event, GrantEvent, GrantedModels, KeyEvent, KeyLimits, LogEvent, Owner, Provider,
        ProviderAccountEvent, Stream, Subject, VirtualAccountEvent, codec,
    },
    id::{CommandId, EventId, GrantId, KeyId, ProviderAccountId, SecretId, VirtualAccountId},
    secrets::{KeyedHash, SealedRef},
    subjects,
    time::Timestamp,
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use uuid::Uuid;

/// The epoch that begins at these seconds.
pub(crate) fn epoch(seconds: u64) -> Epoch {
    Epoch {
        seconds,
        id: Uuid::from_u128(u128::from(seconds)),
    }
}

/// The owner of all keys here.
pub(crate) const OWNER: VirtualAccountId = VirtualAccountId::from_bytes([9; 16]);

/// The id of the nth key.
pub(crate) fn key_id(nth: u64) -> KeyId {
    KeyId::from_uuid(Uuid::from_u128(0x0a00_0000 + u128::from(nth)))
}

/// The hash of the nth key.
pub(crate) fn key_hash(nth: u64) -> [u8; 32] {
    *blake3::hash(&nth.to_le_bytes()).as_bytes()
}

/// An account whose credential is to be found in Postgres.
pub(crate) const ACCOUNT: ProviderAccountId = ProviderAccountId::from_bytes([5; 16]);
pub(crate) const SECRET: SecretId = SecretId::from_bytes([6; 16]);

struct Row {
    subject: String,
    json: Vec<u8>,
    ends_command: bool,
}

/// A log in memory.
pub(crate) struct History {
    pub(crate) epoch: Epoch,
    hash: [u8; 32],
    rows: Vec<Row>,
    versions: HashMap<String, u64>,
    commands: u128,
    /// Whether the relay marks the last event of a command.
    pub(crate) marks: bool,
}

impl History {
    /// A log that was initialised, with one virtual account in it.
    pub(crate) fn new() -> Self {
        let epoch = epoch(1_000);
        let mut history = Self {
            epoch,
            hash: GENESIS,
            rows: vec![],
            versions: HashMap::new(),
            commands: 0,
            marks: true,
        };
        history.command(&[Event::Log(LogEvent::LogInitialised { epoch })]);
        let name = "ci".parse().expect("a slug");
        history.command(&[Event::VirtualAccount(
            OWNER,
            VirtualAccountEvent::VirtualAccountCreated { name },
        )]);
        history
    }

    /// The position of the last event.
    pub(crate) fn position(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Appends the events of one command.
    pub(crate) fn command(&mut self, events: &[Event]) {
        self.commands += 1;
        for (at, event) in events.iter().enumerate() {
            self.append(event, at + 1 == events.len());
        }
    }

    fn append(&mut self, event: &Event, ends_command: bool) {
        let stream: Stream = event.stream();
        let encoded = codec::encode(event);
        let version = self.versions.entry(stream.to_string()).or_default();
        *version += 1;
        let position = self.rows.len() as u64 + 1;
        let cause = CommandId::from_uuid(Uuid::from_u128(self.commands));
        let mut envelope = Envelope {
            position,
            event_id: EventId::from_uuid(Uuid::from_u128(u128::from(position))),
            stream,
            stream_version: *version,
            kind: encoded.kind,
            schema_version: encoded.schema_version,
            recorded_at: Timestamp::from_micros(
                1_795_348_800_000_000 + i64::try_from(position).expect("small"),
            )
            .expect("in range"),
            actor: Actor::System(System::CommandLine),
            cause,
            correlation: cause.uuid(),
            why: None,
            payload: encoded.payload,
            prev_hash: self.hash,
            hash: [0; 32],
        };
        envelope.hash = envelope.computed_hash();
        self.hash = envelope.hash;
        let row = EventRow::new(self.epoch, envelope).expect("a payload is JSON");
        self.rows.push(Row {
            subject: subjects::events(stream.aggregate()),
            json: row.to_json(),
            ends_command,
        });
    }

    pub(crate) fn issue_key(&mut self, nth: u64) {
        self.command(&[issued(nth)]);
    }

    pub(crate) fn revoke_key(&mut self, nth: u64) {
        self.command(&[Event::Key(key_id(nth), KeyEvent::KeyRevoked {})]);
    }

    pub(crate) fn disable_key(&mut self, nth: u64) {
        self.command(&[Event::Key(key_id(nth), KeyEvent::KeyDisabled {})]);
    }

    pub(crate) fn grant_everything(&mut self) {
        let grant = GrantEvent::AccessGranted {
            subject: Subject::Everyone,
            models: GrantedModels::All,
        };
        self.command(&[Event::Grant(GrantId::from_bytes([4; 16]), grant)]);
    }

    pub(crate) fn register_account(&mut self) {
        let registered = ProviderAccountEvent::ProviderAccountRegistered {
            name: "openai-main".parse().expect("a slug"),
            provider: Provider::Openai,
            base_url: "https://api.openai.com/v1".parse().expect("a URL"),
            credential: credential(1),
            allows_private_addresses: false,
        };
        self.command(&[Event::ProviderAccount(ACCOUNT, registered)]);
    }

    /// Replaces the account's credential by this version of it.
    pub(crate) fn replace_credential(&mut self, version: u32) {
        let credential = credential(version);
        let replaced = ProviderAccountEvent::ProviderCredentialReplaced { credential };
        self.command(&[Event::ProviderAccount(ACCOUNT, replaced)]);
    }

    /// Shreds the account's credential.
    pub(crate) fn shred_credential(&mut self) {
        let shredded = ProviderAccountEvent::ProviderCredentialShredded {};
        self.command(&[Event::ProviderAccount(ACCOUNT, shredded)]);
    }

    /// Begins a higher epoch.
    pub(crate) fn begin_epoch(&mut self, seconds: u64) {
        self.epoch = epoch(seconds);
        self.command(&[Event::Log(LogEvent::EpochStarted { epoch: self.epoch })]);
    }

    /// Publishes what `EVENTS` does not have yet, and waits until it has it.
    pub(crate) async fn relay(&self, context: &jetstream::Context) {
        self.relay_until(context, self.position()).await;
    }

    /// The same, to the event at `position` and no further.
    pub(crate) async fn relay_until(&self, context: &jetstream::Context, position: u64) {
        let config = stream::Config {
            name: subjects::EVENTS.into(),
            subjects: vec![subjects::EVENTS_SUBJECTS.into()],
            ..stream::Config::default()
        };
        let stream = context
            .get_or_create_stream(config)
            .await
            .expect("EVENTS is there");
        let last = stream
            .get_info()
            .await
            .expect("EVENTS answers")
            .state
            .last_sequence;
        let pipeline = ContextBuilder::new()
            .max_ack_inflight(8_192)
            .build(context.client());
        let mut acks = FuturesOrdered::new();
        for (row, before) in self
            .rows
            .iter()
            .zip(0..position)
            .skip(usize::try_from(last).expect("small"))
        {
            let mut publish = jetstream::message::PublishMessage::build()
                .payload(row.json.clone().into())
                .expected_last_sequence(before);
            if self.marks && row.ends_command {
                publish = publish.header(subjects::COMMAND_END, "1");
            }
            let ack = pipeline
                .send_publish(row.subject.clone(), publish)
                .await
                .expect("sent");
            acks.push_back(ack.into_future());
            if acks.len() > 4_000 {
                check(acks.next().await);
            }
        }
        while let Some(ack) = acks.next().await {
            check(Some(ack));
        }
    }
}

fn check(ack: Option<Result<jetstream::publish::PublishAck, jetstream::context::PublishError>>) {
    ack.expect("one is under way").expect("EVENTS takes it");
}

fn credential(version: u32) -> Option<SealedRef> {
    Some(SealedRef {
        id: SECRET,
        version,
    })
}

/// The event of the nth key's making.
pub(crate) fn issued(nth: u64) -> Event {
    let issued = KeyEvent::KeyIssued {
        owner: Owner::VirtualAccount(OWNER),
        label: format!("key {nth}").parse().expect("a label"),
        hash: KeyedHash {
            key: "k1".into(),
            hash: key_hash(nth),
        },
        hint: "abcd".into(),
        expires_at: None,
        limits: KeyLimits {
            requests_per_minute: Some(600),
            tokens_per_minute: None,
        },
    };
    Event::Key(key_id(nth), issued)
}

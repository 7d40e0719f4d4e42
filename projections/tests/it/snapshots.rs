//! The snapshot publisher on a real NATS server: what lies on `SNAPSHOTS` after each kind of trouble.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use events_schema::{
    events::{Event, KeyEvent},
    keyring::KeyRing,
    snapshot::{DigestKey, ENTRY_PREFIX, EntriesDigest, Frame, FrameHeader, Heartbeat, SCHEMA},
    subjects,
};
use futures_util::StreamExt;
use projections::{
    nats,
    snapshots::{self, PublisherConfig, PublisherStatus, Rivals, Role, Stopped},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    history::{self, History, issued, key_id},
    servers::{Nats, eventually},
};

/// A Postgres that is away: nobody listens there.
const NO_POSTGRES: &str = "postgres://nobody@127.0.0.1:1/none";

/// A publisher in this process.
pub(crate) struct Publisher {
    status: watch::Receiver<PublisherStatus>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Stopped>>,
}

fn ring() -> KeyRing {
    KeyRing::parse(&format!(
        r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#,
        "01".repeat(32)
    ))
    .expect("a good ring")
}

impl Publisher {
    pub(crate) async fn start(nats: &Nats, rivals: Rivals) -> Self {
        Self::start_with(nats, rivals, NO_POSTGRES).await
    }

    pub(crate) async fn start_with(nats: &Nats, rivals: Rivals, postgres: &str) -> Self {
        static PUBLISHERS: AtomicU64 = AtomicU64::new(1);
        let config = PublisherConfig {
            id: Uuid::from_u64_pair(0, PUBLISHERS.fetch_add(1, Ordering::Relaxed)),
            ring: ring(),
            postgres: postgres.parse().expect("a URL"),
            replicas: 1,
            rivals,
        };
        let link = nats::connect(&nats.server(), "a test's publisher")
            .await
            .expect("a good URL");
        let (sender, status) = watch::channel(PublisherStatus::new());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(snapshots::run(config, link, sender, shutdown.clone()));
        Self {
            status,
            shutdown,
            task,
        }
    }

    async fn leads(nats: &Nats) -> Self {
        let mut publisher = Self::start(nats, Rivals::StandBy).await;
        publisher
            .until("it leads", |status| status.role == Role::Leader)
            .await;
        publisher
    }

    pub(crate) fn status(&self) -> PublisherStatus {
        self.status.borrow().clone()
    }

    pub(crate) async fn until(
        &mut self,
        what: &str,
        there: impl Fn(&PublisherStatus) -> bool,
    ) -> PublisherStatus {
        let waiting = async {
            self.status
                .wait_for(|status| there(status))
                .await
                .map(|status| status.clone())
        };
        match timeout(Duration::from_secs(30), waiting).await {
            Ok(status) => status.expect("the publisher runs"),
            Err(_) => panic!("waited too long until {what}: {:?}", self.status.borrow()),
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("stopped by us");
    }
}

/// What lies on `SNAPSHOTS`.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Position and payload of each live entry.
    pub(crate) entries: BTreeMap<String, (u64, Vec<u8>)>,
    tombstones: Vec<String>,
    heartbeat: Option<(events_schema::envelope::Epoch, Heartbeat)>,
    fillers: usize,
    /// Who has published what lies there.
    generations: BTreeSet<u64>,
    last: u64,
}

impl Shelf {
    fn digest(&self) -> [u8; 32] {
        let key = DigestKey::derive(ring().active().1);
        let mut digest = EntriesDigest::default();
        for (subject, (position, payload)) in &self.entries {
            digest.add(key.hash(subject, *position, payload));
        }
        digest.bytes()
    }

    pub(crate) fn has_key(&self, nth: u64) -> bool {
        self.entries.contains_key(&key_subject(nth))
    }

    /// The position of the heartbeat.
    pub(crate) fn told_position(&self) -> Option<u64> {
        self.heartbeat.as_ref().map(|(_, said)| said.position)
    }

    fn lacks_from(&self) -> Option<u64> {
        self.heartbeat
            .as_ref()
            .and_then(|(_, said)| said.lacks_from)
    }

    /// Whether the heartbeat tells of this position, and agrees.
    fn tells(&self, position: u64) -> bool {
        self.heartbeat.as_ref().is_some_and(|(_, said)| {
            said.position == position
                && said.entries == self.entries.len() as u64
                && said.entries_digest == self.digest()
        })
    }
}

fn key_subject(nth: u64) -> String {
    format!("{ENTRY_PREFIX}key.{}", key_id(nth))
}

/// Reads all of `SNAPSHOTS`; `None` while it cannot be read.
pub(crate) async fn shelf(context: &jetstream::Context) -> Option<Shelf> {
    let stream = context.get_stream(subjects::SNAPSHOTS).await.ok()?;
    let state = stream.get_info().await.ok()?.state;
    let mut shelf = Shelf {
        entries: BTreeMap::new(),
        tombstones: vec![],
        heartbeat: None,
        fillers: 0,
        generations: BTreeSet::new(),
        last: state.last_sequence,
    };
    if state.messages == 0 {
        return Some(shelf);
    }
    let config = pull::Config {
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let mut messages = stream
        .create_consumer(config)
        .await
        .ok()?
        .messages()
        .await
        .ok()?;
    loop {
        let message = messages.next().await?.ok()?;
        let sequence = message.info().ok()?.stream_sequence;
        shelf.put(&message.subject, &message.payload);
        if sequence >= state.last_sequence {
            return Some(shelf);
        }
    }
}

impl Shelf {
    fn put(&mut self, subject: &str, message: &[u8]) {
        let ring = ring();
        let frame = Frame::open(&ring, subject, message).expect("sealed by the publisher");
        self.entries.remove(subject);
        self.generations.insert(frame.header.generation);
        match subject {
            subjects::HEARTBEAT => {
                let said = serde_json::from_slice(frame.payload).expect("a heartbeat");
                self.heartbeat = Some((frame.header.epoch, said));
            }
            subjects::FILLER => self.fillers += 1,
            _ if frame.header.tombstone => self.tombstones.push(subject.to_owned()),
            _ => {
                self.entries.insert(
                    subject.to_owned(),
                    (frame.header.position, frame.payload.to_vec()),
                );
            }
        }
    }
}

/// Also no account waits any more.
pub(crate) async fn told_whole(context: &jetstream::Context, position: u64) -> Shelf {
    eventually(&format!("nothing is lacking at {position}"), async || {
        let whole = |shelf: &Shelf| shelf.tells(position) && shelf.lacks_from().is_none();
        shelf(context).await.filter(whole)
    })
    .await
}

pub(crate) async fn told(context: &jetstream::Context, position: u64) -> Shelf {
    eventually(&format!("a heartbeat agrees at {position}"), async || {
        shelf(context).await.filter(|shelf| shelf.tells(position))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_follow_the_history_and_what_is_revoked_gets_a_tombstone() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let publisher = Publisher::start(&nats, Rivals::StandBy).await;
    let mut history = History::new();
    (1..=20).for_each(|nth| history.issue_key(nth));
    history.grant_everything();
    history.relay(&context).await;
    let shelf = told(&context, history.position()).await;
    assert_eq!(shelf.entries.len(), 22, "20 keys, their owner, the grant");
    history.revoke_key(3);
    history.disable_key(4);
    history.relay(&context).await;
    let shelf = told(&context, history.position()).await;
    assert!(!shelf.has_key(3) && shelf.has_key(4));
    assert_eq!(shelf.tombstones, [key_subject(3)]);
    let stream = context
        .get_stream(subjects::SNAPSHOTS)
        .await
        .expect("it is there");
    let lifetime = async |nth| {
        let message = stream
            .get_last_raw_message_by_subject(&key_subject(nth))
            .await;
        let headers = message.expect("it lies there").headers;
        headers.get("Nats-TTL").map(ToString::to_string)
    };
    assert_eq!(
        lifetime(3).await.as_deref(),
        Some("2592000"),
        "30 days, in seconds"
    );
    assert_eq!(lifetime(4).await, None);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sends_nothing_when_nothing_has_changed() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    (1..=50).for_each(|nth| history.issue_key(nth));
    history.relay(&context).await;
    let first = Publisher::leads(&nats).await;
    told(&context, history.position()).await;
    first.stop().await;
    let mut second = Publisher::leads(&nats).await;
    let status = second
        .until("it has told", |status| status.heartbeats > 1)
        .await;
    assert_eq!((status.sent, status.entries), (0, 51));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_no_publisher_ran_is_sent_in_its_final_state() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    (1..=10).for_each(|nth| history.issue_key(nth));
    history.relay(&context).await;
    let first = Publisher::leads(&nats).await;
    told(&context, history.position()).await;
    first.stop().await;
    history.disable_key(1);
    history.revoke_key(1);
    history.disable_key(2);
    history.issue_key(11);
    history.relay(&context).await;
    let mut second = Publisher::leads(&nats).await;
    let shelf = told(&context, history.position()).await;
    let status = second
        .until("it has told", |status| status.heartbeats > 0)
        .await;
    assert_eq!(status.sent, 3, "one tombstone, one changed, one new");
    assert_eq!(shelf.tombstones, [key_subject(1)]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_stands_by_and_takes_over_when_the_first_falls_silent() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.issue_key(1);
    history.relay(&context).await;
    let mut first = Publisher::leads(&nats).await;
    let mut second = Publisher::start(&nats, Rivals::StandBy).await;
    second
        .until("it stands by", |status| status.role == Role::Standby)
        .await;
    let generation = first
        .until("it leads", |status| status.generation > 0)
        .await
        .generation;
    first.stop().await;
    let status = second
        .until("it leads", |status| status.role == Role::Leader)
        .await;
    assert!(status.generation > generation);
    history.issue_key(2);
    history.relay(&context).await;
    assert!(told(&context, history.position()).await.has_key(2));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_started_by_hand_beside_a_live_one_stops_with_the_reason_and_changes_nothing() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.issue_key(1);
    history.relay(&context).await;
    let mut first = Publisher::leads(&nats).await;
    let by_hand = Publisher::start(&nats, Rivals::Stop).await;
    let stopped = timeout(Duration::from_secs(30), by_hand.task)
        .await
        .expect("it stops")
        .expect("no panic");
    let generation = first
        .until("it leads", |status| status.generation > 0)
        .await
        .generation;
    assert_eq!(stopped, Err(Stopped::Alive(generation)));
    let shelf = shelf(&context).await.expect("SNAPSHOTS is there");
    assert_eq!(shelf.generations, BTreeSet::from([generation]));
    assert_eq!(first.status.borrow().role, Role::Leader);
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_publisher_is_refused_by_the_stream_stops_with_the_reason_and_revives_nothing() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.issue_key(1);
    history.relay(&context).await;
    let mut stale = Publisher::start(&nats, Rivals::Stop).await;
    stale
        .until("it leads", |status| status.role == Role::Leader)
        .await;
    // Another publisher's heartbeat, with a higher generation: the stale one's next message is refused.
    let generation = stale.status.borrow().generation + 1;
    let rival = rival_heartbeat(&context, generation).await;
    assert!(rival > 0);
    let stopped = timeout(Duration::from_secs(30), stale.task)
        .await
        .expect("it stops")
        .expect("no panic");
    assert_eq!(stopped, Err(Stopped::Superseded(generation)));
}

/// Publishes the stream's last heartbeat again, as a publisher of this generation.
async fn rival_heartbeat(context: &jetstream::Context, generation: u64) -> u64 {
    use events_schema::snapshot::{FrameHeader, SCHEMA};
    let (epoch, said) = eventually("a heartbeat", async || shelf(context).await?.heartbeat).await;
    let header = FrameHeader {
        epoch,
        position: said.position,
        generation,
        schema: SCHEMA,
        tombstone: false,
    };
    let json = serde_json::to_vec(&said).expect("JSON");
    let message = header.seal(&ring(), subjects::HEARTBEAT, &json);
    let ack = context
        .publish(subjects::HEARTBEAT, message.into())
        .await
        .expect("sent");
    ack.await.expect("taken").sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_made_anew_with_the_same_digest_and_a_higher_sequence() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    (1..=30).for_each(|nth| history.issue_key(nth));
    history.revoke_key(7);
    history.relay(&context).await;
    let publisher = Publisher::leads(&nats).await;
    let before = told(&context, history.position()).await;
    context
        .delete_stream(subjects::SNAPSHOTS)
        .await
        .expect("deleted");
    let after = told(&context, history.position()).await;
    assert_eq!((after.digest(), after.entries.len()), (before.digest(), 30));
    assert!(after.last > before.last);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_tail_fillers_pass_the_highest_sequence_before_entries_are_sent_again() {
    let mut nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    (1..=5).for_each(|nth| history.issue_key(nth));
    history.relay(&context).await;
    let mut publisher = Publisher::leads(&nats).await;
    told(&context, history.position()).await;
    let kept = nats.copy_data();
    history.issue_key(6);
    history.disable_key(1);
    history.relay(&context).await;
    let before = told(&context, history.position()).await;
    let beats = publisher.status.borrow().heartbeats;
    publisher
        .until("some heartbeats more", |status| {
            status.heartbeats > beats + 4
        })
        .await;
    nats.kill();
    nats.put_back(kept);
    nats.resume().await;
    history.relay(&context).await;
    let after = told(&context, history.position()).await;
    assert_eq!(after.digest(), before.digest());
    assert!(
        publisher
            .until("fillers", |status| status.fillers > 0)
            .await
            .fillers
            > 0
    );
    assert!(after.last > before.last);
    publisher.stop().await;
}

/// Messages are pipelined: when a rival's message takes the place of one of them, the next one still finds the sequence
/// that it expects.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_rivals_message_nothing_more_of_a_publisher_is_taken() {
    const KEYS: u64 = 2_000;
    const RIVAL: u64 = 1;
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.relay(&context).await;
    let mut publisher = Publisher::leads(&nats).await;
    let generation = publisher.status().generation;
    (1..=KEYS).for_each(|nth| history.issue_key(nth));
    history.relay(&context).await;
    publisher
        .until("it is in the middle of it", |status| {
            status.position > KEYS / 2
        })
        .await;
    // Whatever the stream ends with now, until one of them is in time.
    let stolen = eventually("a rival's message is taken", async || {
        let stream = context.get_stream(subjects::SNAPSHOTS).await.ok()?;
        let last = stream.cached_info().state.last_sequence;
        let header = FrameHeader {
            epoch: history::epoch(1_000),
            position: 0,
            generation: RIVAL,
            schema: SCHEMA,
            tombstone: false,
        };
        let message = header.seal(&ring(), subjects::FILLER, &[]);
        let publish = jetstream::message::PublishMessage::build()
            .payload(message.into())
            .expected_last_sequence(last);
        let sent = context.send_publish(subjects::FILLER, publish).await.ok()?;
        Some(sent.await.ok()?.sequence)
    })
    .await;
    publisher
        .until("it has noticed", |status| {
            status.generation > generation && status.role == Role::Leader
        })
        .await;
    let late = generations_behind(&context, stolen).await;
    assert!(!late.contains(&generation), "{late:?}");
    assert!(!late.is_empty());
    assert!(told(&context, history.position()).await.has_key(KEYS));
    publisher.stop().await;
}

/// Whose messages lie just behind this sequence.
async fn generations_behind(context: &jetstream::Context, sequence: u64) -> BTreeSet<u64> {
    let stream = context.get_stream(subjects::SNAPSHOTS).await;
    let stream = stream.expect("it is there");
    let last = stream.cached_info().state.last_sequence;
    let mut generations = BTreeSet::new();
    for at in sequence + 1..=last.min(sequence + 100) {
        // A newer message of its subject may have taken its place.
        if let Ok(message) = stream.get_raw_message(at).await {
            let frame = Frame::open(&ring(), &message.subject, &message.payload);
            generations.insert(frame.expect("sealed by a publisher").header.generation);
        }
    }
    generations
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_epoch_sends_everything_again_under_it() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    (1..=5).for_each(|nth| history.issue_key(nth));
    history.relay(&context).await;
    let publisher = Publisher::leads(&nats).await;
    let before = told(&context, history.position()).await;
    history.begin_epoch(2_000);
    history.relay(&context).await;
    let after = told(&context, history.position()).await;
    assert_eq!(after.heartbeat.expect("told").0, history::epoch(2_000));
    assert_eq!(after.entries, before.entries);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_postgres_away_only_the_account_that_needs_it_waits() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.relay(&context).await;
    let mut publisher = Publisher::leads(&nats).await;
    let whole = told(&context, history.position()).await;
    assert_eq!(whole.lacks_from(), None);
    history.register_account();
    let registered = history.position();
    history.issue_key(1);
    history.relay(&context).await;
    let shelf = told(&context, history.position()).await;
    assert!(shelf.has_key(1));
    assert_eq!(shelf.lacks_from(), Some(registered));
    assert!(
        shelf
            .entries
            .keys()
            .all(|subject| !subject.contains("provider_account"))
    );
    publisher
        .until("it says so", |status| {
            status.pending == 1 && status.trouble.is_some()
        })
        .await;
    publisher.stop().await;
}

/// Gateways believe a heartbeat: one that tells of a stream without its accounts would have them give up what they serve.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_that_is_made_anew_nothing_is_told_while_accounts_wait_for_postgres() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.register_account();
    history.issue_key(1);
    history.relay(&context).await;
    let mut publisher = Publisher::start(&nats, Rivals::StandBy).await;
    publisher
        .until("the account waits", |status| {
            status.pending == 1 && status.trouble.is_some()
        })
        .await;
    let is_there = async || {
        let shelf = shelf(&context).await?;
        shelf.has_key(1).then_some(shelf)
    };
    let shelf = eventually("what needs nothing of Postgres is there", is_there).await;
    assert!(shelf.heartbeat.is_none(), "{shelf:?}");
    // What comes meanwhile is followed, and not told either.
    history.issue_key(2);
    history.relay(&context).await;
    let is_there = async || {
        let shelf = self::shelf(&context).await?;
        shelf.has_key(2).then_some(shelf)
    };
    let shelf = eventually("what came is there", is_there).await;
    assert!(shelf.heartbeat.is_none(), "{shelf:?}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_never_stands_inside_one_commands_events() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.relay(&context).await;
    let publisher = Publisher::leads(&nats).await;
    let mut heartbeats = context
        .client()
        .subscribe(subjects::HEARTBEAT)
        .await
        .expect("subscribed");
    let ends: Vec<u64> = (0..60)
        .map(|command| {
            let events: Vec<Event> = (0..7).map(|at| issued(command * 7 + at)).collect();
            history.command(&events);
            history.command(&[Event::Key(key_id(command * 7), KeyEvent::KeyDisabled {})]);
            [history.position() - 1, history.position()]
        })
        .collect::<Vec<_>>()
        .concat();
    history.relay(&context).await;
    let ring = ring();
    loop {
        let message = timeout(Duration::from_secs(30), heartbeats.next())
            .await
            .expect("heartbeats")
            .expect("open");
        let frame = Frame::open(&ring, subjects::HEARTBEAT, &message.payload).expect("sealed");
        let position = frame.header.position;
        assert!(
            position <= 2 || ends.contains(&position),
            "a heartbeat at {position}, inside a command"
        );
        if position == history.position() {
            break;
        }
    }
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_commands_last_events_are_missing_heartbeats_tell_the_state_before_it() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.issue_key(1);
    history.relay(&context).await;
    let mut publisher = Publisher::leads(&nats).await;
    let whole = history.position();
    told(&context, whole).await;
    history.command(&[issued(2), issued(3), issued(4)]);
    history.relay_until(&context, whole + 2).await;
    publisher
        .until("it has read them", |status| status.position == whole + 2)
        .await;
    let beats = publisher.status.borrow().heartbeats;
    let status = publisher
        .until("some heartbeats more", |status| {
            status.heartbeats > beats + 2
        })
        .await;
    assert_eq!(status.told, whole);
    let between = shelf(&context).await.expect("it is there");
    assert!(between.tells(whole) && !between.has_key(2));
    history.relay(&context).await;
    assert!(told(&context, history.position()).await.has_key(4));
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_does_not_mark_where_commands_end_is_followed_too() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut history = History::new();
    history.marks = false;
    history.relay(&context).await;
    let publisher = Publisher::leads(&nats).await;
    history.command(&[issued(1), issued(2)]);
    history.revoke_key(1);
    history.relay(&context).await;
    let shelf = told(&context, history.position()).await;
    assert!(shelf.has_key(2) && !shelf.has_key(1));
    publisher.stop().await;
}

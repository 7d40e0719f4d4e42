//! Passing on a piece of a stream takes no memory, from the provider's socket to the caller's: counted by the allocator itself,
//! on a worker's thread with nothing left out but the recorder behind it. Over HTTP/1.1, as most providers without a proxy are
//! spoken to; what `h2` takes for a frame of HTTP/2 is its own.

#[path = "../../policy/tests/allocation/counting.rs"]
mod counting;

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener as StdListener, TcpStream as StdStream},
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use clap::Parser as _;
use events_schema::{
    envelope::Epoch,
    keyring::KeyRing,
    snapshot::{
        EntryKind, EntrySubject, FrameHeader, SCHEMA,
        entries::{
            Entry, GrantEntry, KeyEntry, ModelEntry, ModelRefEntry, OwnerEntry,
            PrivateAddressesEntry, ProviderAccountEntry, ProviderDialect, SubjectEntry,
            VirtualAccountEntry,
        },
    },
};
use gateway::{
    config::{Config, Secrets},
    health::AllHealth,
    limits::Limits,
    metrics::Metrics,
    record::{ring::Ring, tally::Tally},
    server::{
        Bounds,
        converse::{Accepted, Signals, converse},
        worker::{Counted, Shared, Worker},
    },
    trust::Trust,
    view::{View, ViewHandle, ViewStatus},
};
use gateway_policy::limits::message::Incarnation;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{Semaphore, mpsc, watch},
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::counting::taken;

const RING: &str = r#"{"active":"k1","keys":{"k1":"0101010101010101010101010101010101010101010101010101010101010101"}}"#;
const EPOCH: Epoch = Epoch {
    seconds: 1,
    id: Uuid::from_u128(1),
};
const KEY: &str = "sk-sluice-works";
const QUESTION: &str =
    r#"{"model":"one/first","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
const EVENT: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" Dakar\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const LAST: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

const FEW: usize = 64;
const MANY: usize = 4_096;
/// With so many events all buffers are there that a stream needs: the one that the answer's head came in is held by its headers, so
/// that another one takes its place, and the first part of an event makes one for those that follow.
const SETTLED: usize = 8;
/// How much text an event holds, in bytes.
const TEXT_BYTES: usize = " Dakar".len();
/// The first room for the text of an answer, that is kept in case that nobody states what was used; it is doubled each time that
/// it is full, up to 256 KiB, and stays as it is from then on.
const FIRST_ROOM: usize = 1024;
/// Where the pieces end in which a provider sends its events.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// With an event.
    BetweenEvents,
    /// In the middle of the next.
    WithinEvents,
}

#[test]
fn the_allocator_counts() {
    assert_eq!(taken(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn a_piece_that_ends_with_an_event_is_passed_on_without_taking_memory() {
    check(Ends::BetweenEvents);
}

#[test]
fn a_piece_that_ends_within_an_event_is_passed_on_without_taking_memory() {
    check(Ends::WithinEvents);
}

/// Once a stream has settled, and up to its last event, the room for its text is doubled, and nothing else is taken.
fn check(ends: Ends) {
    let scene = Scene::set(ends);
    for events in [FEW, MANY, FEW, MANY] {
        assert_eq!(scene.taken_by(events), doublings(events), "{events} events");
    }
}

/// How often the room of a text of so many events is doubled.
fn doublings(events: usize) -> u64 {
    let room = (events * TEXT_BYTES).next_power_of_two().max(FIRST_ROOM);
    u64::from((room / FIRST_ROOM).ilog2())
}

/// A worker on this thread, and a provider and a caller on others.
struct Scene {
    runtime: Runtime,
    local: LocalSet,
    go: SyncSender<usize>,
    heard: RefCell<mpsc::Receiver<()>>,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn set(ends: Ends) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let provider = StdListener::bind("127.0.0.1:0").expect("a port");
        let base_url = format!("http://{}/v1", provider.local_addr().expect("bound"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let local = LocalSet::new();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let worker = worker(folder.path(), &base_url);
        local.spawn_local(async move {
            let (stream, _) = listener.accept().await.expect("the caller comes");
            stream.set_nodelay(true).expect("it is open");
            let places = Arc::new(Semaphore::new(1));
            let accepted = Accepted {
                stream,
                place: places.acquire_owned().await.expect("one"),
                bounds: Bounds {
                    write: Duration::from_secs(60),
                    idle: Duration::from_secs(60),
                },
                certificate: None,
            };
            let signals = Signals {
                drain: CancellationToken::new(),
                end: CancellationToken::new(),
            };
            Box::pin(converse(worker, accepted, signals)).await;
        });
        let (go, asked) = sync_channel(1);
        let (tells, told) = mpsc::channel(1);
        let (heard, hears) = sync_channel(1);
        let (many, how_many) = sync_channel(1);
        thread::spawn(move || provide(&provider, ends, &how_many, &hears));
        thread::spawn(move || {
            let caller = StdStream::connect(address).expect("the gateway listens");
            call(&caller, &asked, &many, &heard, &tells);
        });
        Self {
            runtime,
            local,
            go,
            heard: told.into(),
            _folder: folder,
        }
    }

    /// How often memory is taken while a stream of so many events passes, once it has settled.
    fn taken_by(&self, events: usize) -> u64 {
        self.goes_on(events);
        let between = taken(|| self.goes_on(events));
        self.goes_on(events);
        between
    }

    /// The caller goes on: until the stream has settled, to its last event, or to the end of the answer.
    fn goes_on(&self, events: usize) {
        let mut heard = self.heard.borrow_mut();
        self.local.block_on(&self.runtime, async {
            self.go.send(events).expect("the caller waits for it");
            heard.recv().await.expect("the answer is whole");
        });
    }
}

/// Asks as often as it is told to. The provider hears of each event that has come; the test of
/// when the stream has settled, of the last, and of the end, and says when to go on.
fn call(
    stream: &StdStream,
    asked: &Receiver<usize>,
    many: &SyncSender<usize>,
    heard: &SyncSender<()>,
    tells: &mpsc::Sender<()>,
) {
    stream.set_nodelay(true).expect("it is open");
    let (mut sends, mut lines) = (stream, BufReader::new(stream));
    while let Ok(events) = asked.recv() {
        many.send(events).expect("the provider waits");
        let length = QUESTION.len();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{QUESTION}"
        );
        sends.write_all(request.as_bytes()).expect("it is open");
        let mut line = String::new();
        lines.read_line(&mut line).expect("it is open");
        assert_eq!(line.trim_end(), "HTTP/1.1 200 OK");
        let mut nth = 0;
        while line != "0\r\n" {
            line.clear();
            lines.read_line(&mut line).expect("it is open");
            if line.starts_with("data: {\"id\"") {
                nth += 1;
                if nth == SETTLED || nth == events {
                    tells.blocking_send(()).expect("the test waits");
                    asked.recv().expect("the test goes on");
                }
                heard.send(()).expect("the provider waits");
            }
        }
        lines.read_line(&mut line).expect("the empty line");
        if tells.blocking_send(()).is_err() {
            return;
        }
    }
}

/// Answers one request after the other, each event when the caller has heard the one before.
fn provide(listener: &StdListener, ends: Ends, many: &Receiver<usize>, heard: &Receiver<()>) {
    let (stream, _) = listener.accept().expect("the gateway comes");
    stream.set_nodelay(true).expect("it is open");
    let (mut sends, mut reads) = (&stream, BufReader::new(&stream));
    while let Ok(events) = many.recv() {
        take_request(&mut reads);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        sends.write_all(head.as_bytes()).expect("it is open");
        // What follows the end of an event in its piece.
        let ahead = match ends {
            Ends::BetweenEvents => 0,
            Ends::WithinEvents => EVENT.len() / 2,
        };
        let all = EVENT.repeat(events);
        let mut from = 0;
        for nth in 1..=events {
            let to = (nth * EVENT.len() + ahead).min(all.len());
            sends
                .write_all(chunk(&all[from..to]).as_bytes())
                .expect("it is open");
            from = to;
            heard.recv().expect("the caller hears it");
        }
        let last = [&chunk(LAST), "0\r\n\r\n"].concat();
        sends.write_all(last.as_bytes()).expect("it is open");
    }
}

fn take_request(reads: &mut BufReader<&StdStream>) {
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reads.read_line(&mut line).expect("it is open");
        if let Some(stated) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = stated.trim().parse().expect("a number");
        }
    }
    reads.read_exact(&mut vec![0; length]).expect("a body");
}

fn chunk(piece: &str) -> String {
    format!("{:x}\r\n{piece}\r\n", piece.len())
}

/// A worker without threads beside it, which knows one model.
fn worker(folder: &std::path::Path, base_url: &str) -> Rc<Worker> {
    let ring = KeyRing::parse(RING).expect("a good ring");
    let path = folder.to_str().expect("text");
    let flags = ["sluice-gateway", "--data-dir", path, "--secrets-dir", path];
    let config = Config::try_parse_from(flags).expect("good flags");
    let status = ViewStatus {
        ready: true,
        following: true,
        heard_at: None,
        swaps: 1,
        refused: 0,
        readings: 1,
        trouble: None,
    };
    let counted = Counted {
        metrics: Arc::new(Metrics::new(1)),
        health: Arc::new(AllHealth::new(config.tolerance())),
        limits: Arc::new(Limits::new(Incarnation([7; 16]), true)),
    };
    let metrics = counted.metrics.worker(0);
    let secrets = Secrets {
        pepper: ring.clone(),
        snapshot_mac: ring.clone(),
        sealing: ring.clone(),
    };
    let shared = Shared::new(
        &config,
        secrets,
        Trust::default(),
        ViewHandle::of(view(&ring, base_url)),
        watch::channel(status).1,
        counted,
    );
    let tally = Tally::create(folder, Uuid::from_u128(1), 1).expect("a file");
    let ring = Arc::new(Ring::new(tally.cell(0)));
    Rc::new(Worker::new(shared, metrics, ring))
}

fn view(ring: &KeyRing, base_url: &str) -> View {
    let (account, model, owner, key) = ([1; 16], [2; 16], [3; 16], [4; 16]);
    let (pepper, bytes) = ring.active();
    let entries = [
        (
            EntryKind::ProviderAccount,
            account,
            Entry::ProviderAccount(ProviderAccountEntry {
                id: account,
                name: "one".into(),
                provider: ProviderDialect::OpenaiCompatible,
                base_url: base_url.into(),
                credential: None,
                disabled: false,
            }),
        ),
        (
            EntryKind::PrivateAddresses,
            account,
            Entry::PrivateAddresses(PrivateAddressesEntry { account }),
        ),
        (
            EntryKind::Model,
            model,
            Entry::Model(ModelEntry {
                id: model,
                account,
                name: "first".into(),
                upstream_name: "upstream-first".into(),
                chat: true,
                embedding: false,
                prices: Vec::new(),
                disabled: false,
            }),
        ),
        (
            EntryKind::VirtualAccount,
            owner,
            Entry::VirtualAccount(VirtualAccountEntry {
                id: owner,
                name: "app".into(),
                disabled: false,
            }),
        ),
        (
            EntryKind::Key,
            key,
            Entry::Key(KeyEntry {
                id: key,
                owner: OwnerEntry::VirtualAccount(owner),
                hash: *blake3::keyed_hash(bytes, KEY.as_bytes()).as_bytes(),
                pepper: pepper.into(),
                expires_at_us: None,
                requests_per_minute: None,
                tokens_per_minute: None,
                disabled: false,
            }),
        ),
        (
            EntryKind::Grant,
            [5; 16],
            Entry::Grant(GrantEntry {
                id: [5; 16],
                subject: SubjectEntry::Everyone,
                models: vec![ModelRefEntry::All],
            }),
        ),
    ];
    let messages: Vec<(String, Vec<u8>)> = (1..)
        .zip(entries)
        .map(|(position, (kind, id, entry))| {
            let subject = EntrySubject { kind, id }.to_string();
            let header = FrameHeader {
                epoch: EPOCH,
                position,
                generation: 1,
                schema: SCHEMA,
                tombstone: false,
            };
            let sealed = header.seal(ring, &subject, &entry.archive());
            (subject, sealed)
        })
        .collect();
    let messages = messages.iter().map(|(subject, it)| (&subject[..], &it[..]));
    let mut view = View::of_messages(ring, messages);
    (view.epoch, view.position) = (Some(EPOCH), 6);
    view
}

//! The configuration of the tests, published as the publisher would.

use async_nats::jetstream;
use events_schema::{
    envelope::Epoch,
    id::Id,
    keyring::KeyRing,
    names::BaseUrl,
    secrets::{CREDENTIAL_INFO, credential_aad},
    snapshot::{
        DigestKey, EntriesDigest, EntryKind, EntrySubject, FrameHeader, Heartbeat, SCHEMA,
        entries::{
            CompletionModelEntry, Entry, FormerSecretEntry, GrantEntry, KeyEntry, MembershipsEntry,
            ModelEntry, ModelRefEntry, OwnerEntry, PriceEntry, PrivateAddressesEntry,
            ProviderAccountEntry, ProviderDialect, SealedCredential, SubjectEntry, TargetEntry,
            TeamEntry, UserEntry, VirtualAccountEntry, VirtualModelEntry,
        },
    },
    subjects,
};
use hpke::{
    Deserializable as _, Kem, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use uuid::Uuid;

use super::provider::Provider;

/// A key that works, without limits.
pub(crate) const KEY: &str = "sk-sluice-works";
/// A key with two requests and 2,000 tokens a minute.
pub(crate) const LIMITED_KEY: &str = "sk-sluice-limited";
/// A key that no grant is made to.
pub(crate) const POOR_KEY: &str = "sk-sluice-poor";

/// The credential of Anthropic's account.
pub(crate) const PROVIDER_KEY: &str = "sk-ant-provider";

/// A key of a user.
pub(crate) const TEAM_KEY: &str = "sk-sluice-team";

const TEAM: [u8; 16] = [61; 16];
const USER: [u8; 16] = [32; 16];
pub(crate) const ACCOUNT: [u8; 16] = [1; 16];
pub(crate) const OTHER_ACCOUNT: [u8; 16] = [2; 16];
pub(crate) const FIRST: [u8; 16] = [11; 16];
pub(crate) const SECOND: [u8; 16] = [12; 16];
pub(crate) const VIRTUAL: [u8; 16] = [21; 16];
pub(crate) const OWNER: [u8; 16] = [31; 16];

/// One ring for everything that a gateway needs one for.
pub(crate) const RING: &str = r#"{"active":"k1","keys":{"k1":"0101010101010101010101010101010101010101010101010101010101010101"}}"#;

pub(crate) fn ring() -> KeyRing {
    KeyRing::parse(RING).expect("a good ring")
}

/// Entries with the positions of their things' last events, and how to publish them.
#[derive(Clone)]
pub(crate) struct Snapshots {
    pub(crate) entries: Vec<(EntrySubject, u64, Vec<u8>)>,
    pub(crate) position: u64,
    pub(crate) epoch: Epoch,
}

fn subject(entry: &Entry) -> EntrySubject {
    let (kind, id) = match entry {
        Entry::ProviderAccount(it) => (EntryKind::ProviderAccount, it.id),
        Entry::Model(it) => (EntryKind::Model, it.id),
        Entry::VirtualModel(it) => (EntryKind::VirtualModel, it.id),
        Entry::User(it) => (EntryKind::User, it.id),
        Entry::VirtualAccount(it) => (EntryKind::VirtualAccount, it.id),
        Entry::Key(it) => (EntryKind::Key, it.id),
        Entry::Grant(it) => (EntryKind::Grant, it.id),
        Entry::FormerSecret(it) => (EntryKind::FormerSecret, it.key),
        Entry::Team(it) => (EntryKind::Team, it.id),
        Entry::Memberships(it) => (EntryKind::Memberships, it.user),
        Entry::Routing(it) => (EntryKind::Routing, it.virtual_model),
        Entry::CompletionModel(it) => (EntryKind::CompletionModel, it.model),
        Entry::PrivateAddresses(it) => (EntryKind::PrivateAddresses, it.account),
        Entry::RateLimitPolicy(it) => (EntryKind::RateLimitPolicy, it.id),
        Entry::BudgetPolicy(it) => (EntryKind::BudgetPolicy, it.id),
    };
    EntrySubject { kind, id }
}

fn key(
    id: u8,
    text: &str,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
) -> Entry {
    let ring = ring();
    let (pepper, bytes) = ring.active();
    Entry::Key(KeyEntry {
        id: [id; 16],
        owner: OwnerEntry::VirtualAccount(OWNER),
        hash: *blake3::keyed_hash(bytes, text.as_bytes()).as_bytes(),
        pepper: pepper.into(),
        expires_at_us: None,
        requests_per_minute,
        tokens_per_minute,
        disabled: false,
    })
}

/// How many tokens a minute [`row_key`]s have.
pub(crate) const ROW_TOKENS: u64 = 1_000_000;

/// The text of one of as many keys as a test likes.
pub(crate) fn row_secret(number: u16) -> String {
    format!("sk-sluice-row-{number}")
}

/// That key, with [`ROW_TOKENS`] a minute.
pub(crate) fn row_key(number: u16) -> Entry {
    let Entry::Key(it) = key(0, &row_secret(number), None, Some(ROW_TOKENS)) else {
        unreachable!("it is a key")
    };
    let mut id = [200; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Entry::Key(KeyEntry { id, ..it })
}

/// Everybody may use everything.
pub(crate) fn open_to_everyone() -> Entry {
    Entry::Grant(GrantEntry {
        id: [54; 16],
        subject: SubjectEntry::Everyone,
        models: vec![ModelRefEntry::All],
    })
}

/// A team that may use everything, and a user with [`TEAM_KEY`].
pub(crate) fn a_team_with_a_grant_and_a_user_with_a_key() -> [Entry; 4] {
    let Entry::Key(of_the_app) = key(44, TEAM_KEY, None, None) else {
        unreachable!("it is a key")
    };
    [
        Entry::Team(TeamEntry {
            id: TEAM,
            name: "backend".into(),
            disabled: false,
        }),
        Entry::User(UserEntry {
            id: USER,
            disabled: false,
        }),
        Entry::Key(KeyEntry {
            owner: OwnerEntry::User(USER),
            ..of_the_app
        }),
        Entry::Grant(GrantEntry {
            id: [53; 16],
            subject: SubjectEntry::Team(TEAM),
            models: vec![ModelRefEntry::All],
        }),
    ]
}

/// The teams of that user: the one, or another.
pub(crate) fn memberships(in_it: bool) -> Entry {
    let team = if in_it { TEAM } else { [62; 16] };
    Entry::Memberships(MembershipsEntry {
        user: USER,
        teams: vec![team],
    })
}

/// The secret `text` as the one that the key had before it was rotated.
pub(crate) fn former_secret(key: u8, text: &str, works_until_us: i64) -> Entry {
    let ring = ring();
    let (pepper, bytes) = ring.active();
    Entry::FormerSecret(FormerSecretEntry {
        key: [key; 16],
        hash: *blake3::keyed_hash(bytes, text.as_bytes()).as_bytes(),
        pepper: pepper.into(),
        works_until_us,
    })
}

fn account(id: [u8; 16], name: &str, base_url: String) -> ProviderAccountEntry {
    ProviderAccountEntry {
        id,
        name: name.into(),
        provider: ProviderDialect::OpenaiCompatible,
        base_url,
        credential: None,
        disabled: false,
    }
}

/// The account `one` at another base URL.
pub(crate) fn one_at(base_url: String) -> Entry {
    Entry::ProviderAccount(account(ACCOUNT, "one", base_url))
}

/// That the host of the account `one` may have private and local addresses.
pub(crate) const fn one_may_be_private() -> Entry {
    may_be_private(ACCOUNT)
}

const fn may_be_private(account: [u8; 16]) -> Entry {
    Entry::PrivateAddresses(PrivateAddressesEntry { account })
}

/// The account `one` as one of Anthropic's, whose credential is [`PROVIDER_KEY`].
pub(crate) fn one_is_anthropics(provider: &Provider) -> Entry {
    of_anthropic(ACCOUNT, "one", provider)
}

/// The same of the account `two`.
pub(crate) fn two_is_anthropics(provider: &Provider) -> Entry {
    of_anthropic(OTHER_ACCOUNT, "two", provider)
}

fn of_anthropic(id: [u8; 16], name: &str, provider: &Provider) -> Entry {
    let account = account(id, name, provider.base_url());
    let base_url: BaseUrl = account.base_url.parse().expect("a base URL");
    let aad = credential_aad(Id::from_bytes(id), &base_url.origin());
    Entry::ProviderAccount(ProviderAccountEntry {
        provider: ProviderDialect::Anthropic,
        credential: Some(sealed(PROVIDER_KEY, &aad)),
        ..account
    })
}

/// Seals to the ring's key as `commands` does.
fn sealed(credential: &str, aad: &[u8]) -> SealedCredential {
    let ring = ring();
    let (key, private) = ring.active();
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private).expect("a key");
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &X25519HkdfSha256::sk_to_pk(&private),
            CREDENTIAL_INFO,
            credential.as_bytes(),
            aad,
        )
        .expect("it can be sealed");
    SealedCredential {
        key: key.into(),
        sealed: [encapsulated.to_bytes().to_vec(), ciphertext].concat(),
    }
}

/// That `one/first` completes texts.
pub(crate) const fn first_completes() -> Entry {
    Entry::CompletionModel(CompletionModelEntry { model: FIRST })
}

fn model(id: [u8; 16], account: [u8; 16], name: &str) -> Entry {
    Entry::Model(ModelEntry {
        id,
        account,
        name: name.into(),
        upstream_name: format!("upstream-{name}"),
        chat: true,
        embedding: true,
        // Two dollars a million tokens in, four out.
        prices: vec![PriceEntry {
            effective_at_us: 0,
            input: 2_000_000_000,
            output: 4_000_000_000,
            cached_input: 1_000_000_000,
        }],
        disabled: false,
    })
}

/// `two/second` with a price that is as many times as high.
pub(crate) fn dearer_second(times: u64) -> Entry {
    let Entry::Model(mut it) = model(SECOND, OTHER_ACCOUNT, "second") else {
        unreachable!("it is a model")
    };
    for price in &mut it.prices {
        price.input *= times;
        price.output *= times;
    }
    Entry::Model(it)
}

fn grant(id: u8, key: u8, models: Vec<ModelRefEntry>) -> Entry {
    Entry::Grant(GrantEntry {
        id: [id; 16],
        subject: SubjectEntry::Key([key; 16]),
        models,
    })
}

impl Snapshots {
    /// Two accounts, `one` and `two`, with the models `one/first` and `two/second`; the virtual model `both`, whose first
    /// target is always `one/first`; three keys. Both accounts may lead to private addresses: this machine has no others.
    pub(crate) fn of(one: &Provider, two: &Provider) -> Self {
        Self::at(one.base_url(), two.base_url())
    }

    /// The same with providers at these URLs.
    pub(crate) fn at(one: String, two: String) -> Self {
        let target = |model, weight| TargetEntry {
            model,
            weight,
            fallback_status_codes: vec![429, 500, 503],
            fallback_candidate: true,
        };
        let entries = [
            Entry::ProviderAccount(account(ACCOUNT, "one", one)),
            Entry::ProviderAccount(account(OTHER_ACCOUNT, "two", two)),
            model(FIRST, ACCOUNT, "first"),
            model(SECOND, OTHER_ACCOUNT, "second"),
            Entry::VirtualModel(VirtualModelEntry {
                id: VIRTUAL,
                name: "both".into(),
                targets: vec![target(FIRST, 1), target(SECOND, 0)],
                disabled: false,
            }),
            Entry::VirtualAccount(VirtualAccountEntry {
                id: OWNER,
                name: "app".into(),
                disabled: false,
            }),
            key(41, KEY, None, None),
            key(42, LIMITED_KEY, Some(2), Some(2_000)),
            key(43, POOR_KEY, None, None),
            grant(51, 41, vec![ModelRefEntry::All]),
            grant(52, 42, vec![ModelRefEntry::VirtualModel(VIRTUAL)]),
        ];
        let position = entries.len() as u64;
        let private = [may_be_private(ACCOUNT), may_be_private(OTHER_ACCOUNT)];
        // What belongs to an account is as new as the account.
        let entries = (1..).zip(entries).chain((1..).zip(private));
        let entries =
            entries.map(|(position, entry)| (subject(&entry), position, entry.archive().to_vec()));
        Self {
            position,
            entries: entries.collect(),
            epoch: Epoch {
                seconds: 1_795_000_000,
                id: Uuid::from_u128(5),
            },
        }
    }

    /// With an entry in the place of the one at its subject.
    pub(crate) fn with(mut self, entry: &Entry) -> Self {
        self.position += 1;
        let at = subject(entry);
        self.entries.retain(|(subject, ..)| *subject != at);
        self.entries
            .push((at, self.position, entry.archive().to_vec()));
        self
    }

    /// Publishes all entries and a heartbeat that agrees with them.
    pub(crate) async fn publish(&self, jetstream: &jetstream::Context) {
        for (subject, position, payload) in &self.entries {
            let subject = subject.to_string();
            self.send(jetstream, &subject, *position, false, payload)
                .await;
        }
        self.beat(jetstream).await;
    }

    /// Puts an entry in the place of the one at its subject, publishes it, and a heartbeat.
    pub(crate) async fn change(&mut self, jetstream: &jetstream::Context, entry: &Entry) {
        self.position += 1;
        let (at, payload) = (subject(entry), entry.archive().to_vec());
        self.entries.retain(|(subject, ..)| *subject != at);
        self.send(jetstream, &at.to_string(), self.position, false, &payload)
            .await;
        self.entries.push((at, self.position, payload));
        self.beat(jetstream).await;
    }

    /// With the entry at a thing's subject taken away.
    pub(crate) fn without(mut self, entry: &Entry) -> Self {
        let gone = subject(entry);
        self.entries.retain(|(subject, ..)| *subject != gone);
        self
    }

    /// Takes an entry away, publishes its tombstone, and a heartbeat.
    pub(crate) async fn remove(&mut self, jetstream: &jetstream::Context, kind: EntryKind, id: u8) {
        self.position += 1;
        let gone = EntrySubject { kind, id: [id; 16] };
        self.entries.retain(|(subject, ..)| *subject != gone);
        self.send(jetstream, &gone.to_string(), self.position, true, &[])
            .await;
        self.beat(jetstream).await;
    }

    /// One message, under the ring's MAC.
    pub(crate) async fn send(
        &self,
        jetstream: &jetstream::Context,
        subject: &str,
        position: u64,
        tombstone: bool,
        payload: &[u8],
    ) {
        let header = FrameHeader {
            epoch: self.epoch,
            position,
            generation: 1,
            schema: SCHEMA,
            tombstone,
        };
        put(jetstream, subject, header.seal(&ring(), subject, payload)).await;
    }

    pub(crate) async fn beat(&self, jetstream: &jetstream::Context) {
        let ring = ring();
        let (digest_key, key) = ring.active();
        let key = DigestKey::derive(key);
        let mut digest = EntriesDigest::default();
        for (subject, position, payload) in &self.entries {
            digest.add(key.hash(&subject.to_string(), *position, payload));
        }
        let heartbeat = Heartbeat {
            position: self.position,
            log_hash: [7; 32],
            entries: self.entries.len() as u64,
            entries_digest: digest.bytes(),
            digest_key: digest_key.into(),
            published_at_us: 0,
            lacks_from: None,
        };
        let payload = serde_json::to_vec(&heartbeat).expect("JSON");
        self.send(
            jetstream,
            subjects::HEARTBEAT,
            self.position,
            false,
            &payload,
        )
        .await;
    }
}

/// One message as it is.
pub(crate) async fn put(jetstream: &jetstream::Context, subject: &str, message: Vec<u8>) {
    let ack = jetstream
        .publish(subject.to_owned(), message.into())
        .await
        .expect("NATS is there");
    ack.await.expect("the stream takes it");
}

//! The messages of the stream of snapshots: what this deployment has not sealed is never taken, whatever it holds; and what was
//! taken can be read through, ranked and planned with, in whatever order it came.

use std::collections::BTreeMap;

use events_schema::{
    envelope::Epoch,
    keyring::KeyRing,
    snapshot::{
        EntryKind, EntrySubject, Frame, FrameHeader, SCHEMA,
        budgets::ArchivedBudgetPolicyEntry,
        entries::{
            ArchivedCompletionModelEntry, ArchivedFormerSecretEntry, ArchivedGrantEntry,
            ArchivedKeyEntry, ArchivedMembershipsEntry, ArchivedModelEntry,
            ArchivedPrivateAddressesEntry, ArchivedProviderAccountEntry, ArchivedTeamEntry,
            ArchivedUserEntry, ArchivedVirtualAccountEntry, ArchivedVirtualModelEntry,
        },
        frame::key_id,
        limits::ArchivedRateLimitPolicyEntry,
        routing::ArchivedRoutingEntry,
    },
    time::Timestamp,
    usage::{Endpoint, Health},
};
use gateway::view::View;
use gateway_policy::{
    Asking, Configuration as _, Ended, Progress, Resolved, Target, plan, price_at, takes,
};
use uuid::Uuid;

/// A ring that nobody else has.
const RING: &str = r#"{"active":"k1","keys":{"k1":"3131313131313131313131313131313131313131313131313131313131313131"}}"#;

/// How many entries are read at most.
const MOST_ENTRIES: usize = 16;

/// One entry as it stands in the data: its kind, the length of its payload in two bytes, the payload.
struct Put<'d> {
    subject: EntrySubject,
    payload: &'d [u8],
}

/// The data is a message as it comes from the stream, and, sealed by this deployment, entries one after the other.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let ring = KeyRing::parse(RING).expect("a good ring");
    // What it names as its key is said in a log.
    let _key = key_id(data);
    let subject = std::str::from_utf8(data).unwrap_or("snap.v1.user.x");
    assert!(
        Frame::open(&ring, subject, data).is_err(),
        "nobody has sealed that"
    );
    let view = View::of_messages(&ring, [(subject, data)]);
    assert_eq!(view.entries(), 0, "nobody has sealed that");
    if let Ok(parsed) = subject.parse::<EntrySubject>() {
        assert_eq!(parsed.to_string(), subject.to_ascii_lowercase());
    }

    let puts = puts(data);
    let sealed: Vec<(String, Vec<u8>)> = (1..)
        .zip(&puts)
        .map(|(position, put)| sealed(&ring, position, put))
        .collect();
    if let Some((subject, message)) = sealed.first() {
        one_bit_changed(&ring, subject, message, data);
    }
    let messages = || {
        sealed
            .iter()
            .map(|(subject, message)| (subject.as_str(), message.as_slice()))
    };
    let view = View::of_messages(&ring, messages());
    let backwards = View::of_messages(&ring, messages().rev());
    assert_eq!(
        (view.entries(), view.entries_digest()),
        (backwards.entries(), backwards.entries_digest()),
        "the newest of each stands, in whatever order they come"
    );
    read_through(&view, &puts);
    plan_with(&view);
}

fn puts(mut data: &[u8]) -> Vec<Put<'_>> {
    let mut puts = Vec::new();
    while let [kind, low, high, rest @ ..] = data
        && puts.len() < MOST_ENTRIES
    {
        let kind = EntryKind::ALL[usize::from(*kind) % EntryKind::ALL.len()];
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (payload, after) = rest.split_at(length.min(rest.len()));
        let subject = EntrySubject {
            kind,
            id: id_in(kind, payload),
        };
        puts.push(Put { subject, payload });
        data = after;
    }
    puts
}

/// The id that stands in the archive: it is its first member, and the archive's root stands at the end.
fn id_in(kind: EntryKind, payload: &[u8]) -> [u8; 16] {
    let root = match kind {
        EntryKind::ProviderAccount => size_of::<ArchivedProviderAccountEntry>(),
        EntryKind::Model => size_of::<ArchivedModelEntry>(),
        EntryKind::VirtualModel => size_of::<ArchivedVirtualModelEntry>(),
        EntryKind::User => size_of::<ArchivedUserEntry>(),
        EntryKind::VirtualAccount => size_of::<ArchivedVirtualAccountEntry>(),
        EntryKind::Key => size_of::<ArchivedKeyEntry>(),
        EntryKind::Grant => size_of::<ArchivedGrantEntry>(),
        EntryKind::FormerSecret => size_of::<ArchivedFormerSecretEntry>(),
        EntryKind::Team => size_of::<ArchivedTeamEntry>(),
        EntryKind::Memberships => size_of::<ArchivedMembershipsEntry>(),
        EntryKind::Routing => size_of::<ArchivedRoutingEntry>(),
        EntryKind::CompletionModel => size_of::<ArchivedCompletionModelEntry>(),
        EntryKind::PrivateAddresses => size_of::<ArchivedPrivateAddressesEntry>(),
        EntryKind::RateLimitPolicy => size_of::<ArchivedRateLimitPolicyEntry>(),
        EntryKind::BudgetPolicy => size_of::<ArchivedBudgetPolicyEntry>(),
    };
    let begin = payload.len().saturating_sub(root);
    let id = payload.get(begin..begin + 16);
    id.and_then(|id| id.try_into().ok()).unwrap_or_default()
}

/// An entry's subject and message. The position is that of its place.
fn sealed(ring: &KeyRing, position: u64, put: &Put<'_>) -> (String, Vec<u8>) {
    let subject = put.subject.to_string();
    let header = FrameHeader {
        epoch: Epoch {
            seconds: 1,
            id: Uuid::from_u128(1),
        },
        position,
        generation: 1,
        schema: SCHEMA,
        tombstone: false,
    };
    let message = header.seal(ring, &subject, put.payload);
    let frame = Frame::open(ring, &subject, &message).expect("this ring has sealed it");
    assert_eq!((frame.header, frame.payload), (header, put.payload));
    (subject, message)
}

/// With any bit changed it is refused; which bit follows from the data.
fn one_bit_changed(ring: &KeyRing, subject: &str, message: &[u8], data: &[u8]) {
    let sum = data.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let mut changed = message.to_vec();
    changed[sum / 8 % message.len()] ^= 1 << (sum % 8);
    assert!(Frame::open(ring, subject, &changed).is_err());
}

/// Every member of every entry that was taken can be read.
fn read_through(view: &View, puts: &[Put<'_>]) {
    for put in puts {
        let words = view.in_words(put.subject);
        assert!(words.is_none_or(|it| !it.is_empty()));
    }
}

/// Whatever entries say, the rules can be asked.
fn plan_with(view: &View) {
    let metadata = BTreeMap::new();
    let later = Timestamp::from_micros(1_800_000_000_000_000).expect("a time");
    for model in view.models() {
        let _price = price_at(model, later).map(|price| price.cost(u64::MAX, 1, u64::MAX));
        if let Some(account) = view.account(&model.account) {
            let target = Resolved::Direct(Target { account, model });
            for endpoint in Endpoint::ALL {
                let _takes = takes(view, target, endpoint);
            }
        }
    }
    for virtual_model in view.virtual_models() {
        for endpoint in Endpoint::ALL {
            let asking = Asking {
                endpoint,
                metadata: &metadata,
                seed: 7,
                bound: None,
            };
            let resolved = Resolved::Virtual(virtual_model);
            let Ok(plan) = plan(view, resolved, &asking, |_| Health::default()) else {
                continue;
            };
            let mut progress = Progress::default();
            for _ in 0..MOST_ATTEMPTS {
                assert!(
                    plan.step(view, progress).is_some(),
                    "a plan leads somewhere"
                );
                let Some(next) = plan.next(progress, Ended::Unanswered, None) else {
                    break;
                };
                progress = next.progress;
            }
        }
    }
}

/// How many attempts are followed: a retry may say 255 for each of some targets.
const MOST_ATTEMPTS: usize = 100;

//! What gateways read: archives whose bytes never change, frames that refuse every changed byte, and a digest
//! that does not depend on the order.

use events_schema::{
    events::ModelType,
    keyring::KeyRing,
    snapshot::{
        DigestKey, EntriesDigest, EntryKind, EntrySubject, Frame, FrameHeader, SCHEMA,
        budgets::{
            ArchivedBudgetPolicyEntry, BudgetLimitEntry, BudgetOverrideEntry, BudgetPolicyEntry,
            BudgetUnitEntry, BudgetWindowEntry,
        },
        entries::{
            ArchivedCompletionModelEntry, ArchivedFormerSecretEntry, ArchivedGrantEntry,
            ArchivedKeyEntry, ArchivedMembershipsEntry, ArchivedModelEntry,
            ArchivedPrivateAddressesEntry, ArchivedProviderAccountEntry, ArchivedTeamEntry,
            ArchivedUserEntry, ArchivedVirtualAccountEntry, ArchivedVirtualModelEntry,
            CompletionModelEntry, Entry, FormerSecretEntry, GrantEntry, KeyEntry, MembershipsEntry,
            ModelEntry, ModelRefEntry, OwnerEntry, PriceEntry, PrivateAddressesEntry,
            ProviderAccountEntry, ProviderDialect, SealedCredential, SubjectEntry, TargetEntry,
            TeamEntry, UserEntry, VirtualAccountEntry, VirtualModelEntry,
        },
        limits::{
            ArchivedRateLimitPolicyEntry, LimitOverrideEntry, LimitUnitEntry, LimitWindowEntry,
            LimitedSubjectEntry, MetadataConditionEntry, RateLimitEntry, RateLimitPolicyEntry,
            SegmentEntry, SegmentValueEntry, WhenCutOffEntry,
        },
        routing::{
            ArchivedRoutingEntry, IdentifierEntry, RetryEntry, RoutedTargetEntry, RoutingEntry,
            StickyEntry, StrategyEntry,
        },
    },
    state::Organisation,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use rkyv::{api::high::HighValidator, bytecheck::CheckBytes, rancor::Error, util::AlignedVec};

use crate::{
    golden,
    log::{EPOCH, log_of},
    strategies,
};

fn ring() -> KeyRing {
    let text = format!(r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#, "0a".repeat(32));
    KeyRing::parse(&text).expect("a good ring")
}

/// A fixed entry of each kind.
fn entry(kind: EntryKind) -> Entry {
    match kind {
        EntryKind::ProviderAccount => Entry::ProviderAccount(ProviderAccountEntry {
            id: [1; 16],
            name: "openai-main".to_owned(),
            provider: ProviderDialect::OpenaiCompatible,
            base_url: "https://api.openai.com/v1".to_owned(),
            credential: Some(SealedCredential {
                key: "g1".to_owned(),
                sealed: (0..80).collect(),
            }),
            disabled: false,
        }),
        EntryKind::Model => Entry::Model(ModelEntry {
            id: [2; 16],
            account: [1; 16],
            name: "gpt-4o".to_owned(),
            upstream_name: "gpt-4o-2026-08-06".to_owned(),
            chat: true,
            embedding: false,
            prices: vec![PriceEntry {
                effective_at_us: 1_795_348_800_000_000,
                input: 2_500_000_000,
                output: 10_000_000_000,
                cached_input: 1_250_000_000,
            }],
            disabled: true,
        }),
        EntryKind::VirtualModel => Entry::VirtualModel(VirtualModelEntry {
            id: [3; 16],
            name: "chat".to_owned(),
            targets: vec![TargetEntry {
                model: [2; 16],
                weight: 9,
                fallback_status_codes: vec![429, 503],
                fallback_candidate: true,
            }],
            disabled: false,
        }),
        EntryKind::User => Entry::User(UserEntry {
            id: [4; 16],
            disabled: true,
        }),
        EntryKind::VirtualAccount => Entry::VirtualAccount(VirtualAccountEntry {
            id: [5; 16],
            name: "ci".to_owned(),
            disabled: false,
        }),
        EntryKind::Key => Entry::Key(KeyEntry {
            id: [6; 16],
            owner: OwnerEntry::VirtualAccount([5; 16]),
            hash: [0xab; 32],
            pepper: "k1".to_owned(),
            expires_at_us: Some(1_795_435_200_000_000),
            requests_per_minute: Some(600),
            tokens_per_minute: None,
            disabled: false,
        }),
        EntryKind::Grant => Entry::Grant(GrantEntry {
            id: [7; 16],
            subject: SubjectEntry::Key([6; 16]),
            models: vec![
                ModelRefEntry::Model([2; 16]),
                ModelRefEntry::VirtualModel([3; 16]),
                ModelRefEntry::ProviderAccount([1; 16]),
                ModelRefEntry::All,
            ],
        }),
        EntryKind::FormerSecret => Entry::FormerSecret(FormerSecretEntry {
            key: [6; 16],
            hash: [0xcd; 32],
            pepper: "k1".to_owned(),
            works_until_us: 1_795_435_200_000_000,
        }),
        EntryKind::Team => Entry::Team(TeamEntry {
            id: [8; 16],
            name: "platform".to_owned(),
            disabled: true,
        }),
        EntryKind::Memberships => Entry::Memberships(MembershipsEntry {
            user: [4; 16],
            teams: vec![[8; 16], [9; 16]],
        }),
        EntryKind::Routing => Entry::Routing(RoutingEntry {
            virtual_model: [3; 16],
            strategy: StrategyEntry::Priority,
            targets: vec![RoutedTargetEntry {
                model: [2; 16],
                weight: 9,
                priority: 1,
                fallback_status_codes: vec![429, 503],
                fallback_candidate: true,
                retry: Some(RetryEntry {
                    attempts: 2,
                    delay_ms: 100,
                    on_status_codes: vec![500],
                }),
                cutoff_first_token_ms: Some(800),
                cutoff_per_token_ms: None,
                override_params: vec![("temperature".to_owned(), "0.5".to_owned())],
                headers_set: vec![("x-region".to_owned(), "us-east-1".to_owned())],
                headers_remove: vec!["x-debug".to_owned()],
                metadata_match: vec![("tier".to_owned(), "gold".to_owned())],
            }],
            sticky: Some(StickyEntry {
                ttl_seconds: 3_600,
                identifiers: vec![IdentifierEntry {
                    is_header: true,
                    key: "x-user-id".to_owned(),
                }],
            }),
            deadline_ms: Some(20_000),
            hedge_after_ms: None,
        }),
        EntryKind::CompletionModel => {
            Entry::CompletionModel(CompletionModelEntry { model: [2; 16] })
        }
        EntryKind::PrivateAddresses => {
            Entry::PrivateAddresses(PrivateAddressesEntry { account: [1; 16] })
        }
        EntryKind::RateLimitPolicy => Entry::RateLimitPolicy(RateLimitPolicyEntry {
            id: [10; 16],
            name: "hourly".to_owned(),
            order: 7,
            created_at_us: 1_795_435_200_000_000,
            subjects_in: vec![
                LimitedSubjectEntry::User([4; 16]),
                LimitedSubjectEntry::Team([8; 16]),
            ],
            subjects_not_in: vec![LimitedSubjectEntry::VirtualAccount([5; 16])],
            models_in: vec![ModelRefEntry::VirtualModel([3; 16])],
            models_not_in: vec![ModelRefEntry::ProviderAccount([1; 16])],
            metadata: vec![MetadataConditionEntry {
                key: "environment".to_owned(),
                within: vec!["production".to_owned()],
                not_in: vec!["staging".to_owned()],
            }],
            applies_per: vec![
                SegmentEntry::User,
                SegmentEntry::Metadata("project".to_owned()),
            ],
            limits: vec![RateLimitEntry {
                unit: LimitUnitEntry::Tokens,
                window: LimitWindowEntry::Hour,
                most: 50_000,
            }],
            overrides: vec![LimitOverrideEntry {
                of: vec![
                    SegmentValueEntry::User([4; 16]),
                    SegmentValueEntry::Metadata("project".to_owned(), "sluice".to_owned()),
                ],
                limits: vec![RateLimitEntry {
                    unit: LimitUnitEntry::Requests,
                    window: LimitWindowEntry::Minute,
                    most: 600,
                }],
            }],
            audits: true,
            disabled: true,
            when_cut_off: WhenCutOffEntry::Alone,
        }),
        EntryKind::BudgetPolicy => Entry::BudgetPolicy(BudgetPolicyEntry {
            id: [11; 16],
            name: "monthly".to_owned(),
            order: 7,
            created_at_us: 1_795_435_200_000_000,
            subjects_in: vec![LimitedSubjectEntry::Team([8; 16])],
            subjects_not_in: vec![LimitedSubjectEntry::User([4; 16])],
            models_in: vec![ModelRefEntry::Model([2; 16])],
            models_not_in: vec![ModelRefEntry::ProviderAccount([1; 16])],
            metadata: vec![MetadataConditionEntry {
                key: "environment".to_owned(),
                within: vec!["production".to_owned()],
                not_in: vec!["staging".to_owned()],
            }],
            applies_per: vec![SegmentEntry::Model, SegmentEntry::Team],
            limits: vec![
                BudgetLimitEntry {
                    amount: BudgetUnitEntry::Cost,
                    window: BudgetWindowEntry::Month,
                    most: 5_000_000_000_000,
                },
                BudgetLimitEntry {
                    amount: BudgetUnitEntry::Tokens,
                    window: BudgetWindowEntry::Day,
                    most: 1_000_000,
                },
            ],
            overrides: vec![BudgetOverrideEntry {
                of: vec![
                    SegmentValueEntry::Model(ModelRefEntry::Model([2; 16])),
                    SegmentValueEntry::Team([8; 16]),
                ],
                limits: vec![BudgetLimitEntry {
                    amount: BudgetUnitEntry::Cost,
                    window: BudgetWindowEntry::Quarter,
                    most: 1,
                }],
            }],
            audits: true,
            closed_when_cut_off: true,
            alerts: vec![75, 90, 100],
            disabled: true,
        }),
    }
}

fn is_valid<A>(archive: &[u8]) -> bool
where
    A: rkyv::Portable + for<'a> CheckBytes<HighValidator<'a, Error>>,
{
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(archive);
    rkyv::access::<A, Error>(&aligned).is_ok()
}

fn is_valid_entry(kind: EntryKind, archive: &[u8]) -> bool {
    match kind {
        EntryKind::ProviderAccount => is_valid::<ArchivedProviderAccountEntry>(archive),
        EntryKind::Model => is_valid::<ArchivedModelEntry>(archive),
        EntryKind::VirtualModel => is_valid::<ArchivedVirtualModelEntry>(archive),
        EntryKind::User => is_valid::<ArchivedUserEntry>(archive),
        EntryKind::VirtualAccount => is_valid::<ArchivedVirtualAccountEntry>(archive),
        EntryKind::Key => is_valid::<ArchivedKeyEntry>(archive),
        EntryKind::Grant => is_valid::<ArchivedGrantEntry>(archive),
        EntryKind::FormerSecret => is_valid::<ArchivedFormerSecretEntry>(archive),
        EntryKind::Team => is_valid::<ArchivedTeamEntry>(archive),
        EntryKind::Memberships => is_valid::<ArchivedMembershipsEntry>(archive),
        EntryKind::Routing => is_valid::<ArchivedRoutingEntry>(archive),
        EntryKind::CompletionModel => is_valid::<ArchivedCompletionModelEntry>(archive),
        EntryKind::PrivateAddresses => is_valid::<ArchivedPrivateAddressesEntry>(archive),
        EntryKind::RateLimitPolicy => is_valid::<ArchivedRateLimitPolicyEntry>(archive),
        EntryKind::BudgetPolicy => is_valid::<ArchivedBudgetPolicyEntry>(archive),
    }
}

#[test]
fn an_entry_of_each_kind_is_archived_as_it_always_was() {
    for kind in EntryKind::ALL {
        let archive = entry(kind).archive();
        assert!(is_valid_entry(kind, &archive), "{kind:?}");
        let path = format!("entries/{}.v{SCHEMA}.hex", kind.as_str());
        golden::check(&path, &hex::encode(archive));
    }
}

/// What came to be said of policies later stands where a zero always stood, and says by a zero what had always been so.
#[test]
fn a_policys_entry_says_in_a_byte_that_was_always_there_what_happens_at_a_gateway_that_is_cut_off()
{
    let archive = |when_cut_off| {
        let Entry::RateLimitPolicy(mut policy) = entry(EntryKind::RateLimitPolicy) else {
            unreachable!("it was asked for")
        };
        policy.when_cut_off = when_cut_off;
        Entry::RateLimitPolicy(policy).archive()
    };
    let alone = archive(WhenCutOffEntry::Alone);
    for (choice, name) in [
        (WhenCutOffEntry::Open, "open"),
        (WhenCutOffEntry::Closed, "closed"),
    ] {
        let other = archive(choice);
        assert!(is_valid::<ArchivedRateLimitPolicyEntry>(&other));
        assert_eq!(alone.len(), other.len(), "{name}");
        let differ = alone
            .iter()
            .zip(other.iter())
            .filter(|(one, other)| one != other);
        assert_eq!(differ.count(), 1, "{name}");
        let path = format!("entries/rate_limit_policy_{name}.v{SCHEMA}.hex");
        golden::check(&path, &hex::encode(other));
    }
}

#[test]
fn a_frame_is_sealed_as_it_always_was() {
    let header = FrameHeader {
        epoch: EPOCH,
        position: 42,
        generation: 7,
        schema: SCHEMA,
        tombstone: false,
    };
    let gone = FrameHeader {
        tombstone: true,
        ..header
    };
    let subject = EntrySubject {
        kind: EntryKind::User,
        id: [4; 16],
    };
    let subject = subject.to_string();
    let payload = entry(EntryKind::User).archive();
    let entry = header.seal(&ring(), &subject, &payload);
    golden::check("frames/entry.v1.hex", &hex::encode(entry));
    let tombstone = gone.seal(&ring(), &subject, &[]);
    golden::check("frames/tombstone.v1.hex", &hex::encode(tombstone));
}

fn header() -> impl Strategy<Value = FrameHeader> {
    (
        strategies::epoch(),
        any::<u64>(),
        any::<u64>(),
        any::<u16>(),
        any::<bool>(),
    )
        .prop_map(
            |(epoch, position, generation, schema, tombstone)| FrameHeader {
                epoch,
                position,
                generation,
                schema,
                tombstone,
            },
        )
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_sealed(
        header in header(),
        subject in "snap\\.v1\\.[a-z_]{1,20}\\.[0-9a-f]{32}",
        payload in vec(any::<u8>(), 0..300),
    ) {
        let message = header.seal(&ring(), &subject, &payload);
        let ring = ring();
        let frame = Frame::open(&ring, &subject, &message).expect("sealed by this ring");
        prop_assert_eq!(frame, Frame { header, payload: &payload });
    }

    #[test]
    fn a_frame_with_any_byte_changed_cut_off_or_added_is_refused(
        header in header(),
        payload in vec(any::<u8>(), 0..100),
        at in any::<Index>(),
        change in 1_u8..,
    ) {
        let message = header.seal(&ring(), "s", &payload);
        let at = at.index(message.len());
        let mut changed = message.clone();
        changed[at] ^= change;
        prop_assert!(Frame::open(&ring(), "s", &changed).is_err());
        prop_assert!(Frame::open(&ring(), "s", &message[..at]).is_err());
        let longer = [message.as_slice(), &[change]].concat();
        prop_assert!(Frame::open(&ring(), "s", &longer).is_err());
        prop_assert!(Frame::open(&ring(), "t", &message).is_err());
    }

    #[test]
    fn bytes_that_are_no_frame_are_an_error_and_no_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Frame::open(&ring(), "s", &bytes).is_err());
    }

    #[test]
    fn a_digest_is_the_same_in_any_order_and_without_what_came_and_went(
        (entries, shuffled) in vec(("[a-c]{1,3}", any::<u64>(), vec(any::<u8>(), 0..20)), 0..30)
            .prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
        passing in ("[d-f]{1,3}", any::<u64>(), vec(any::<u8>(), 0..20)),
    ) {
        let key = DigestKey::derive(&[1; 32]);
        let hash = |(subject, position, payload): &(String, u64, Vec<u8>)| key.hash(subject, *position, payload);
        let mut digest = EntriesDigest::default();
        entries.iter().for_each(|entry| digest.add(hash(entry)));
        let mut other = EntriesDigest::default();
        other.add(hash(&passing));
        shuffled.iter().for_each(|entry| other.add(hash(entry)));
        prop_assert_ne!(other, digest);
        other.remove(hash(&passing));
        prop_assert_eq!(other, digest);
    }

    #[test]
    fn every_thing_that_is_there_has_a_valid_entry_at_its_subject(events in strategies::events(0..40)) {
        let mut state = Organisation::default();
        for row in log_of(&events) {
            state.apply(&row).expect("written by this version");
        }
        let mut count = 0;
        for subject in state.entry_subjects() {
            let (position, entry) = state.entry(subject, |_| None).expect("it is there");
            prop_assert!(position <= state.position());
            prop_assert!(is_valid_entry(subject.kind, &entry.archive()));
            prop_assert_eq!(subject.to_string().parse(), Ok(subject));
            count += 1;
        }
        let things = state.provider_accounts().len() + state.models().len() + state.virtual_models().len()
            + state.users().len() + state.virtual_accounts().len() + state.keys().len() + state.grants().len();
        let rotated = state.keys().values().filter(|key| key.former.is_some()).count();
        let members = state.users().keys().filter(|id| state.teams_of(**id).next().is_some()).count();
        let routed = state.virtual_models().values().filter(|it| {
            let subject = EntrySubject { kind: EntryKind::Routing, id: it.id.bytes() };
            state.entry(subject, |_| None).is_some()
        });
        let completing = state.models().values().filter(|it| it.model_types.contains(&ModelType::Completion));
        let private = state.provider_accounts().values().filter(|it| it.allows_private_addresses);
        let beside = rotated + members + routed.count() + completing.count() + private.count();
        let policies = state.rate_limit_policies().len() + state.budget_policies().len();
        prop_assert_eq!(count, things + state.teams().len() + policies + beside);
    }
}

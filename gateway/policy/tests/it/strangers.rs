//! Rules that concern somebody else, as many as one likes, and one behind them that concerns everybody.

use events_schema::snapshot::{
    entries::{Entry, ModelRefEntry},
    limits::{
        ArchivedRateLimitPolicyEntry, LimitUnitEntry, LimitWindowEntry, LimitedSubjectEntry,
        MetadataConditionEntry, RateLimitEntry, RateLimitPolicyEntry, SegmentEntry,
        WhenCutOffEntry,
    },
};
use gateway_policy::{EntryId, Rules};
use rkyv::{rancor::Error, util::AlignedVec};

/// The rule for everybody: each user has a counter.
pub(crate) const EVERYBODYS: EntryId = [0xee; 16];

/// Rules for so many strangers: for users, for models, and for values of the metadata that nobody has who is asked about.
pub(crate) fn among(strangers: u32) -> Rules {
    let stranger = |number: u32| {
        let mut id = [0x57; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let mut policy = policy(id, number);
        match number % 3 {
            0 => policy.subjects_in = vec![LimitedSubjectEntry::User(id)],
            1 => policy.models_in = vec![ModelRefEntry::Model(id)],
            _ => {
                policy.metadata = vec![MetadataConditionEntry {
                    key: "project".to_owned(),
                    within: vec![format!("project-{number}")],
                    not_in: Vec::new(),
                }];
            }
        }
        policy
    };
    let mut everybodys = policy(EVERYBODYS, u32::MAX);
    everybodys.applies_per = vec![SegmentEntry::User];
    compiled((0..strangers).map(stranger).chain([everybodys]))
}

fn policy(id: EntryId, order: u32) -> RateLimitPolicyEntry {
    RateLimitPolicyEntry {
        id,
        name: format!("policy-{order}"),
        order,
        created_at_us: 0,
        subjects_in: Vec::new(),
        subjects_not_in: Vec::new(),
        models_in: Vec::new(),
        models_not_in: Vec::new(),
        metadata: Vec::new(),
        applies_per: Vec::new(),
        limits: vec![RateLimitEntry {
            unit: LimitUnitEntry::Requests,
            window: LimitWindowEntry::Minute,
            most: 600,
        }],
        overrides: Vec::new(),
        audits: false,
        disabled: false,
        when_cut_off: WhenCutOffEntry::Alone,
    }
}

/// Rules as a gateway compiles them.
pub(crate) fn compiled(policies: impl IntoIterator<Item = RateLimitPolicyEntry>) -> Rules {
    let archives: Vec<AlignedVec> = policies
        .into_iter()
        .map(|it| Entry::RateLimitPolicy(it).archive())
        .collect();
    let archived = archives.iter().map(|archive| {
        rkyv::access::<ArchivedRateLimitPolicyEntry, Error>(archive).expect("made by this version")
    });
    Rules::compile(archived)
}

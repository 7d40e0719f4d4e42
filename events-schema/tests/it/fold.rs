//! The fold is total and deterministic, whatever comes: also what the log's rules would have kept out.

use events_schema::{
    envelope::DecodedEnvelope,
    events::{Owner, Subject},
    state::{Checkpoint, Organisation},
};
use proptest::{prelude::*, sample::Index};

use crate::strategies::{self, Placed};

fn folded(events: &[Placed]) -> Organisation {
    let mut state = Organisation::default();
    fold_in(&mut state, events);
    state
}

fn fold_in(state: &mut Organisation, events: &[Placed]) {
    for placed in events {
        state.evolve(&DecodedEnvelope {
            position: placed.position,
            recorded_at: placed.recorded_at,
            stream_version: placed.stream_version,
            event: &placed.event,
        });
    }
}

fn through_json(state: &Organisation) -> Organisation {
    let json = serde_json::to_string(state).expect("JSON");
    let checkpoint: Checkpoint = serde_json::from_str(&json).expect("what was written is read");
    Organisation::from_checkpoint(checkpoint).expect("of this fold's version")
}

proptest! {
    // Each is a whole history; more of them take long in a build that is not optimised.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_same_events_give_the_same_state_and_digest(events in strategies::placed(0..60)) {
        let (one, other) = (folded(&events), folded(&events));
        prop_assert_eq!(one.state_digest(), other.state_digest());
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_copy_goes_its_own_way_and_leaves_the_original_as_it_was(
        events in strategies::placed(0..60),
        at in any::<Index>(),
    ) {
        let (before, after) = events.split_at(at.index(events.len() + 1));
        let original = folded(before);
        let digest = original.state_digest();
        let mut overlay = original.clone();
        fold_in(&mut overlay, after);
        prop_assert_eq!(&overlay, &folded(&events));
        prop_assert_eq!(original.state_digest(), digest);
        prop_assert_eq!(original, folded(before));
    }

    #[test]
    fn a_state_is_the_same_after_a_checkpoint_and_goes_on_alike(
        events in strategies::placed(0..60),
        at in any::<Index>(),
    ) {
        let (before, after) = events.split_at(at.index(events.len() + 1));
        let state = folded(before);
        let mut resumed = through_json(&state);
        prop_assert_eq!(resumed.state_digest(), state.state_digest());
        prop_assert_eq!(&resumed, &state);
        fold_in(&mut resumed, after);
        prop_assert_eq!(resumed, folded(&events));
    }

    #[test]
    fn two_states_have_one_digest_only_when_they_are_the_same(
        one in strategies::placed(0..12),
        other in strategies::placed(0..12),
    ) {
        let (one, other) = (folded(&one), folded(&other));
        prop_assert_eq!(one.state_digest() == other.state_digest(), one == other);
    }

    #[test]
    fn what_is_found_by_name_or_owner_is_there_and_has_it(events in strategies::placed(0..60)) {
        let state = folded(&events);
        for (id, account) in state.provider_accounts() {
            let found = state.provider_account_named(&account.name).expect("it has this name");
            prop_assert!(found.name == account.name && found.id <= *id);
            let models = state.models().values().filter(|model| model.account == *id).count();
            prop_assert_eq!(state.models_of(*id).count(), models);
        }
        for (id, key) in state.keys() {
            let found = state.key_by_hash(&key.hash).expect("it has this hash");
            let former = found.former.as_ref().map(|former| &former.hash);
            prop_assert!((found.hash == key.hash || former == Some(&key.hash)) && found.id <= *id);
            prop_assert!(state.keys_of(key.owner).any(|found| found.id == *id));
            let labelled = state.keys().values().filter(|other| (other.owner, &other.label) == (key.owner, &key.label));
            let found = state.keys_labelled(key.owner, &key.label);
            prop_assert!(found.map(|found| found.id).eq(labelled.map(|other| other.id)));
            if let Some(former) = &key.former {
                prop_assert!(state.key_by_hash(&former.hash).is_some_and(|found| found.id <= *id));
            }
        }
        for (id, team) in state.teams() {
            let found = state.team_named(&team.name).expect("it has this name");
            prop_assert!(found.name == team.name && found.id <= *id);
            prop_assert_eq!(state.members_of(*id).count() as u64, team.members);
            for (user, membership) in state.members_of(*id) {
                prop_assert!(state.teams_of(user).any(|(of, it)| of.id == *id && it == membership));
            }
        }
        for (id, policy) in state.rate_limit_policies() {
            let found = state.rate_limit_policy_named(&policy.name).expect("it has this name");
            prop_assert!(found.name == policy.name && found.id <= *id);
        }
        for (id, policy) in state.budget_policies() {
            let found = state.budget_policy_named(&policy.name).expect("it has this name");
            prop_assert!(found.name == policy.name && found.id <= *id);
        }
        for (id, grant) in state.grants() {
            prop_assert!(state.grants_of(grant.subject).any(|found| found.id == *id));
        }
        for (id, _) in state.users() {
            let keys = state.keys().values().filter(|key| key.owner == Owner::User(*id)).count();
            prop_assert_eq!(state.keys_of(Owner::User(*id)).count(), keys);
            let grants = state.grants().values().filter(|grant| grant.subject == Subject::User(*id)).count();
            prop_assert_eq!(state.grants_of(Subject::User(*id)).count(), grants);
        }
    }
}

//! What a key may use.

use events_schema::{
    events::ModelRef,
    id::VirtualModelId,
    snapshot::entries::{
        Entry, MembershipsEntry, ModelRefEntry, OwnerEntry, SubjectEntry, TeamEntry,
        VirtualModelEntry,
    },
};
use gateway_policy::{
    Denial, EntryId, Resolved, authenticate, authorize, resolve, usable_models,
    usable_virtual_models,
};

use crate::memory::{
    ACCOUNT, BIG, BOB, BOT, CHAT, KEY, Memory, SMALL, grant, grant_id, id, now, organisation,
    target, virtual_model,
};

const NAMES: [&str; 4] = ["chat", "main/big", "main/embed", "other/org/small"];

fn with_grant(subject: SubjectEntry, models: &[ModelRefEntry]) -> Memory {
    let mut entries = organisation();
    entries.push(grant(61, subject, models.to_vec()));
    Memory::with(entries)
}

/// Which of all names a grant opens, by asking for each and by listing.
fn check(subject: SubjectEntry, models: &[ModelRefEntry], open: &[&str]) {
    let config = with_grant(subject, models);
    let caller = authenticate(&config, &[9; 32], now()).expect("the key works");
    for name in NAMES {
        let resolved = resolve(&config, name).expect("the model is there");
        let expected = if open.contains(&name) {
            Ok(grant_id(61))
        } else {
            Err(Denial::NotGranted)
        };
        assert_eq!(authorize(&config, caller, resolved), expected, "{name}");
    }
    let listed: Vec<String> = usable_virtual_models(&config, caller)
        .iter()
        .map(|it| it.name.to_string())
        .chain(
            usable_models(&config, caller)
                .iter()
                .map(|it| format!("{}/{}", it.account.name, it.model.name)),
        )
        .collect();
    assert_eq!(listed, open);
}

#[test]
fn a_grant_opens_what_it_lists_and_nothing_else() {
    let everyone = SubjectEntry::Everyone;
    check(everyone, &[ModelRefEntry::All], &NAMES);
    check(everyone, &[ModelRefEntry::VirtualModel(CHAT)], &["chat"]);
    check(everyone, &[ModelRefEntry::Model(BIG)], &["main/big"]);
    check(
        everyone,
        &[ModelRefEntry::ProviderAccount(ACCOUNT)],
        &["main/big", "main/embed"],
    );
    check(
        everyone,
        &[
            ModelRefEntry::Model(SMALL),
            ModelRefEntry::VirtualModel(CHAT),
        ],
        &["chat", "other/org/small"],
    );
    check(everyone, &[], &[]);
}

/// A virtual model with a slash in its name.
const BEFORE: EntryId = id(22);

/// The organisation with a virtual model that is called like `main/big`, and leads to another model.
fn with_one_before_a_model() -> Vec<Entry> {
    let mut entries = organisation();
    entries.push(Entry::VirtualModel(VirtualModelEntry {
        id: BEFORE,
        name: "main/big".into(),
        ..virtual_model(vec![target(SMALL, 1)])
    }));
    entries
}

#[test]
fn a_virtual_model_that_is_called_like_a_model_stands_before_it() {
    let config = Memory::with(with_one_before_a_model());
    let resolved = resolve(&config, "main/big").expect("it is there");
    let expected = ModelRef::VirtualModel(VirtualModelId::from_bytes(BEFORE));
    assert_eq!(resolved.model_ref(), expected);
    // Its neighbours are what they were, and so is a name with a slash that no account has.
    let direct = resolve(&config, "main/embed").expect("it is there");
    assert!(matches!(direct, Resolved::Direct(_)), "{direct:?}");
    let mut entries = organisation();
    entries.push(Entry::VirtualModel(VirtualModelEntry {
        id: BEFORE,
        name: "nobody/chat".into(),
        ..virtual_model(vec![target(SMALL, 1)])
    }));
    let config = Memory::with(entries);
    assert_eq!(
        resolve(&config, "nobody/chat").map(|it| it.model_ref()),
        Ok(expected)
    );
}

#[test]
fn who_may_ask_for_a_model_may_ask_for_what_stands_before_it() {
    let check = |models: &[ModelRefEntry], open: bool| {
        let mut entries = with_one_before_a_model();
        entries.push(grant(61, SubjectEntry::Everyone, models.to_vec()));
        let config = Memory::with(entries);
        let caller = authenticate(&config, &[9; 32], now()).expect("the key works");
        let resolved = resolve(&config, "main/big").expect("it is there");
        let expected = if open {
            Ok(grant_id(61))
        } else {
            Err(Denial::NotGranted)
        };
        assert_eq!(authorize(&config, caller, resolved), expected, "{models:?}");
        // It is listed once, as what it now is.
        let virtual_models = usable_virtual_models(&config, caller);
        let names: Vec<_> = virtual_models.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names.contains(&"main/big"), open, "{models:?}");
        let direct = usable_models(&config, caller);
        assert!(direct.iter().all(|it| it.model.id != BIG), "{models:?}");
    };
    check(&[ModelRefEntry::VirtualModel(BEFORE)], true);
    check(&[ModelRefEntry::Model(BIG)], true);
    check(&[ModelRefEntry::ProviderAccount(ACCOUNT)], true);
    check(&[ModelRefEntry::All], true);
    // What it leads to opens it to nobody, and neither does another virtual model.
    check(&[ModelRefEntry::Model(SMALL)], false);
    check(&[ModelRefEntry::VirtualModel(CHAT)], false);
    check(&[], false);
}

#[test]
fn a_grant_holds_for_the_key_its_owner_and_everyone() {
    for subject in [
        SubjectEntry::Key(KEY),
        SubjectEntry::User(BOB),
        SubjectEntry::Everyone,
    ] {
        check(subject, &[ModelRefEntry::VirtualModel(CHAT)], &["chat"]);
    }
    for subject in [
        SubjectEntry::Key(id(52)),
        SubjectEntry::User(KEY),
        SubjectEntry::VirtualAccount(BOT),
    ] {
        check(subject, &[ModelRefEntry::All], &[]);
    }
}

#[test]
fn the_grant_with_the_smallest_id_is_the_one_that_counts() {
    let mut entries = organisation();
    for number in [64, 62, 63] {
        entries.push(grant(
            number,
            SubjectEntry::User(BOB),
            vec![ModelRefEntry::All],
        ));
    }
    let config = Memory::with(entries);
    let caller = authenticate(&config, &[9; 32], now()).expect("the key works");
    let resolved = resolve(&config, "chat").expect("it is there");
    assert_eq!(authorize(&config, caller, resolved), Ok(grant_id(62)));
}

#[test]
fn names_that_stand_for_nothing_are_unknown() {
    let config = Memory::with(organisation());
    for name in [
        "",
        "/",
        "big",
        "main/",
        "/big",
        "main/chat",
        "main/small",
        "other/small",
        "chat/",
        "Chat",
    ] {
        assert_eq!(
            resolve(&config, name).map(|_| ()),
            Err(Denial::UnknownModel),
            "{name}"
        );
    }
}

#[test]
fn what_is_disabled_is_not_listed() {
    let mut entries = organisation();
    entries.push(grant(61, SubjectEntry::Everyone, vec![ModelRefEntry::All]));
    for entry in &mut entries {
        match entry {
            Entry::ProviderAccount(account) => account.disabled = account.id == ACCOUNT,
            Entry::VirtualModel(model) => model.disabled = true,
            _ => {}
        }
    }
    let config = Memory::with(entries);
    let caller = authenticate(&config, &[9; 32], now()).expect("the key works");
    assert!(usable_virtual_models(&config, caller).is_empty());
    let names: Vec<&str> = usable_models(&config, caller)
        .iter()
        .map(|it| it.model.name.as_str())
        .collect();
    assert_eq!(names, ["org/small"]);
}

const TEAM: gateway_policy::EntryId = id(71);
const OTHER_TEAM: gateway_policy::EntryId = id(72);

/// The organisation with two teams, of which Bob is in those that are listed; the first may use `chat`.
fn with_teams(disabled: bool, bobs: &[gateway_policy::EntryId]) -> Vec<Entry> {
    let team = |id, name: &str, disabled| {
        Entry::Team(TeamEntry {
            id,
            name: name.into(),
            disabled,
        })
    };
    let mut entries = organisation();
    entries.push(team(TEAM, "backend", disabled));
    entries.push(team(OTHER_TEAM, "frontend", false));
    if !bobs.is_empty() {
        entries.push(Entry::Memberships(MembershipsEntry {
            user: BOB,
            teams: bobs.to_vec(),
        }));
    }
    let chat = vec![ModelRefEntry::VirtualModel(CHAT)];
    entries.push(grant(61, SubjectEntry::Team(TEAM), chat));
    entries
}

fn check_team(entries: Vec<Entry>, expected: Result<(), Denial>) {
    let config = Memory::with(entries);
    let caller = authenticate(&config, &[9; 32], now()).expect("the key works");
    let resolved = resolve(&config, "chat").expect("it is there");
    let found = authorize(&config, caller, resolved);
    assert_eq!(found.map(|grant| assert_eq!(grant, grant_id(61))), expected);
    assert_eq!(
        usable_virtual_models(&config, caller).len(),
        usize::from(expected.is_ok())
    );
}

#[test]
fn a_teams_grant_opens_a_model_to_its_members_and_to_nobody_else() {
    check_team(with_teams(false, &[TEAM]), Ok(()));
    check_team(with_teams(false, &[OTHER_TEAM, TEAM]), Ok(()));
    check_team(with_teams(false, &[OTHER_TEAM]), Err(Denial::NotGranted));
    check_team(with_teams(false, &[]), Err(Denial::NotGranted));
    // A key of a virtual account is in no team, whoever has the account's id for a user's.
    let mut of_a_bot = with_teams(false, &[TEAM]);
    for entry in &mut of_a_bot {
        if let Entry::Key(key) = entry {
            key.owner = OwnerEntry::VirtualAccount(BOT);
        }
    }
    check_team(of_a_bot, Err(Denial::NotGranted));
}

#[test]
fn a_team_that_is_disabled_or_unknown_opens_nothing() {
    check_team(with_teams(true, &[TEAM]), Err(Denial::NotGranted));
    let mut without_its_entry = with_teams(false, &[TEAM]);
    without_its_entry.retain(|entry| !matches!(entry, Entry::Team(team) if team.id == TEAM));
    check_team(without_its_entry, Err(Denial::NotGranted));
}

#[test]
fn of_the_grants_of_several_teams_the_one_with_the_smallest_id_counts() {
    let mut entries = with_teams(false, &[TEAM, OTHER_TEAM]);
    entries.push(grant(
        60,
        SubjectEntry::Team(OTHER_TEAM),
        vec![ModelRefEntry::All],
    ));
    let config = Memory::with(entries);
    let caller = authenticate(&config, &[9; 32], now()).expect("the key works");
    let resolved = resolve(&config, "chat").expect("it is there");
    assert_eq!(authorize(&config, caller, resolved), Ok(grant_id(60)));
}

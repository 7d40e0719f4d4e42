//! Keys that work and keys that do not.

use events_schema::{
    snapshot::entries::{Entry, FormerSecretEntry, KeyEntry, OwnerEntry},
    time::Timestamp,
};
use gateway_policy::{Denial, authenticate};

use crate::memory::{BOB, BOT, KEY, Memory, NOW, changed, id, now, organisation};

fn check(config: &Memory, expected: Result<(), Denial>) {
    assert_eq!(
        authenticate(config, &[9; 32], now()).map(|caller| assert_eq!(caller.key.id, KEY)),
        expected
    );
}

fn with_key(change: impl Fn(&mut KeyEntry)) -> Memory {
    changed(|entry| {
        if let Entry::Key(key) = entry {
            change(key);
        }
    })
}

#[test]
fn a_key_works_for_a_user_and_for_a_virtual_account() {
    check(&with_key(|_| {}), Ok(()));
    check(
        &with_key(|key| key.owner = OwnerEntry::VirtualAccount(BOT)),
        Ok(()),
    );
}

#[test]
fn a_hash_that_no_key_has_is_unknown() {
    let config = Memory::with(organisation());
    assert_eq!(
        authenticate(&config, &[8; 32], now()).map(|_| ()),
        Err(Denial::UnknownKey)
    );
}

#[test]
fn a_disabled_key_says_disabled_even_when_it_has_expired_too() {
    check(
        &with_key(|key| key.disabled = true),
        Err(Denial::KeyDisabled),
    );
    check(
        &with_key(|key| (key.disabled, key.expires_at_us) = (true, Some(0))),
        Err(Denial::KeyDisabled),
    );
}

#[test]
fn a_key_works_until_the_microsecond_before_it_expires() {
    check(&with_key(|key| key.expires_at_us = Some(NOW + 1)), Ok(()));
    let at = Timestamp::from_micros(NOW).expect("a time");
    check(
        &with_key(|key| key.expires_at_us = Some(NOW)),
        Err(Denial::KeyExpired { at }),
    );
}

#[test]
fn a_key_does_not_work_when_its_owner_is_disabled_or_missing() {
    let disabled = changed(|entry| {
        if let Entry::User(user) = entry {
            user.disabled = true;
        }
    });
    check(&disabled, Err(Denial::OwnerDisabled));
    let bot_disabled = changed(|entry| match entry {
        Entry::VirtualAccount(bot) => bot.disabled = true,
        Entry::Key(key) => key.owner = OwnerEntry::VirtualAccount(BOT),
        _ => {}
    });
    check(&bot_disabled, Err(Denial::OwnerDisabled));
    check(
        &with_key(|key| key.owner = OwnerEntry::User(id(99))),
        Err(Denial::OwnerMissing),
    );
    check(
        &with_key(|key| key.owner = OwnerEntry::VirtualAccount(BOB)),
        Err(Denial::OwnerMissing),
    );
}

/// The organisation after Bob's key was rotated: the secret before it works until `works_until_us`.
fn rotated(works_until_us: i64, change: impl Fn(&mut KeyEntry)) -> Memory {
    let mut entries = organisation();
    for entry in &mut entries {
        if let Entry::Key(key) = entry {
            change(key);
        }
    }
    entries.push(Entry::FormerSecret(FormerSecretEntry {
        key: KEY,
        hash: [7; 32],
        pepper: "k1".into(),
        works_until_us,
    }));
    Memory::with(entries)
}

fn check_former(config: &Memory, expected: Result<(), Denial>) {
    assert_eq!(
        authenticate(config, &[7; 32], now()).map(|caller| assert_eq!(caller.key.id, KEY)),
        expected
    );
}

#[test]
fn after_a_rotation_both_secrets_work_until_the_microsecond_before_the_grace_ends() {
    let at = Timestamp::from_micros(NOW).expect("a time");
    let in_grace = rotated(NOW + 1, |_| {});
    check(&in_grace, Ok(()));
    check_former(&in_grace, Ok(()));
    let over = rotated(NOW, |_| {});
    check(&over, Ok(()));
    check_former(&over, Err(Denial::SecretReplaced { at }));
}

#[test]
fn a_former_secret_is_as_good_as_its_key_and_no_better() {
    let disabled = rotated(NOW + 1, |key| key.disabled = true);
    check_former(&disabled, Err(Denial::KeyDisabled));
    let at = Timestamp::from_micros(NOW).expect("a time");
    let expired = rotated(NOW + 1, |key| key.expires_at_us = Some(NOW));
    check_former(&expired, Err(Denial::KeyExpired { at }));
    // The key's own entry was refused or is gone: nobody vouches for the secret.
    let orphan = rotated(NOW + 1, |key| key.id = id(52));
    check_former(&orphan, Err(Denial::UnknownKey));
}

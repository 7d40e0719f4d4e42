//! Teams and rotated keys on `SNAPSHOTS`: what a change sends, and that it is the same after all is made anew.

use events_schema::{
    events::{Event, KeyEvent, TeamEvent, TeamRole, UserEvent},
    id::{TeamId, UserId},
    secrets::KeyedHash,
    snapshot::{EntryKind, EntrySubject},
    subjects,
    time::Timestamp,
};
use projections::snapshots::Rivals;

use crate::{
    history::{History, key_id},
    servers::Nats,
    snapshots::{Publisher, Shelf, told},
};

const TEAM: TeamId = TeamId::from_bytes([0x71; 16]);
const USERS: u8 = 50;

const fn user(nth: u8) -> UserId {
    UserId::from_bytes([nth; 16])
}

fn hash(byte: u8) -> KeyedHash {
    KeyedHash {
        key: "k1".into(),
        hash: [byte; 32],
    }
}

/// A history with a team that many users are in.
fn history() -> History {
    let mut history = History::new();
    let name = "backend".parse().expect("a slug");
    history.command(&[Event::Team(TEAM, TeamEvent::TeamCreated { name })]);
    for nth in 1..=USERS {
        history.command(&[Event::User(
            user(nth),
            UserEvent::UserAdded { email: hash(nth) },
        )]);
        history.command(&[member(nth)]);
    }
    history
}

fn member(nth: u8) -> Event {
    let (user, role) = (user(nth), TeamRole::Member);
    Event::Team(TEAM, TeamEvent::TeamMemberAdded { user, role })
}

/// Whether the shelf has an entry at this subject, and as of which position.
fn position(shelf: &Shelf, kind: EntryKind, id: [u8; 16]) -> Option<u64> {
    let subject = EntrySubject { kind, id }.to_string();
    shelf.entries.get(&subject).map(|(position, _)| *position)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_membership_sends_that_members_entry_and_no_other() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let mut publisher = Publisher::start(&nats, Rivals::StandBy).await;
    let mut history = history();
    history.relay(&context).await;
    let before = told(&context, history.position()).await;
    let members = EntryKind::Memberships;
    assert!(position(&before, members, user(7).bytes()).is_some());
    let sent = publisher.status().sent;

    let leave = TeamEvent::TeamMemberRemoved { user: user(7) };
    history.command(&[Event::Team(TEAM, leave)]);
    let role = TeamRole::Manager;
    let promote = TeamEvent::TeamMemberRoleChanged {
        user: user(8),
        role,
    };
    history.command(&[Event::Team(TEAM, promote)]);
    history.relay(&context).await;
    let after = told(&context, history.position()).await;
    assert_eq!(position(&after, members, user(7).bytes()), None);
    let team = |shelf| position(shelf, EntryKind::Team, TEAM.bytes());
    assert_eq!(team(&after), team(&before));
    let status = publisher
        .until("it has told it", |status| status.told >= history.position())
        .await;
    assert_eq!(status.sent, sent + 1, "the tombstone of one user's teams");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_anew_is_what_had_come_about_step_by_step() {
    let nats = Nats::start().await;
    let context = nats.jetstream().await;
    let publisher = Publisher::start(&nats, Rivals::StandBy).await;
    let mut history = history();
    history.issue_key(1);
    history.relay(&context).await;
    told(&context, history.position()).await;
    let rotated = KeyEvent::KeyRotated {
        hash: hash(0xee),
        hint: "wxyz".into(),
        former_works_until: Some(Timestamp::MAX),
    };
    let steps = [
        Event::Key(key_id(1), rotated),
        Event::Key(key_id(1), KeyEvent::KeyDisabled {}),
        Event::Team(TEAM, TeamEvent::TeamDisabled {}),
        Event::Team(TEAM, TeamEvent::TeamMemberRemoved { user: user(3) }),
        member(3),
        Event::User(user(4), UserEvent::UserDisabled {}),
    ];
    for step in steps {
        history.command(&[step]);
        history.relay(&context).await;
        told(&context, history.position()).await;
    }
    let stepwise = told(&context, history.position()).await;
    let rotated_at = position(&stepwise, EntryKind::FormerSecret, key_id(1).bytes());
    assert_eq!(rotated_at, Some(history.position() - 5));

    context
        .delete_stream(subjects::SNAPSHOTS)
        .await
        .expect("deleted");
    let anew = told(&context, history.position()).await;
    assert_eq!(anew.entries, stepwise.entries);
    publisher.stop().await;
}

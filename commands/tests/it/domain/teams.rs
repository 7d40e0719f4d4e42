//! Teams and who is in them.

use commands::domain::{Command, GrantCommand as G, TeamCommand as T, UserCommand as U};
use events_schema::{
    events::{
        GrantedModels, Subject,
        TeamRole::{Manager, Member},
    },
    id::UserId,
};
use uuid::Uuid;

use super::{and, check};
use crate::support::world::*;

/// Two teams and two users, of whom the first is in the first team.
fn teams() -> Vec<Command> {
    vec![
        create_team(1, "backend"),
        create_team(2, "frontend"),
        add_user(1),
        add_user(2),
        add_member(1, 1, Member),
    ]
}

#[test]
fn a_team_has_a_name_of_its_own() {
    let rename = |to| team(1, T::Rename { name: name(to) });
    check(&teams(), rename("backend"), "nothing");
    check(&teams(), rename("platform"), "team_renamed");
    for command in [rename("frontend"), create_team(3, "frontend")] {
        check(
            &teams(),
            command,
            "409 name_taken at name: There is already a team named 'frontend'.",
        );
    }
    check(&teams(), team(1, T::Disable), "team_disabled");
    check(&teams(), team(1, T::Enable), "nothing");
    let disabled = and(teams(), [team(1, T::Disable)]);
    check(&disabled, team(1, T::Enable), "team_enabled");
    check(
        &teams(),
        team(3, T::Disable),
        "404 not_found: There is no team with this id.",
    );
}

#[test]
fn a_user_comes_into_a_team_once_and_is_one_thing_in_it() {
    let change = |user, role| {
        team(
            1,
            T::ChangeMemberRole {
                user: id(user),
                role,
            },
        )
    };
    let remove = |user| team(1, T::RemoveMember { user: id(user) });
    check(&teams(), add_member(1, 2, Manager), "team_member_added");
    check(&teams(), add_member(1, 1, Member), "nothing");
    check(
        &teams(),
        add_member(1, 1, Manager),
        "team_member_role_changed",
    );
    check(&teams(), change(1, Manager), "team_member_role_changed");
    check(&teams(), change(1, Member), "nothing");
    check(
        &teams(),
        change(2, Manager),
        "409 not_a_member at user: The user is not in the team 'backend'.",
    );
    check(&teams(), remove(1), "team_member_removed");
    check(&teams(), remove(2), "nothing");
    check(
        &teams(),
        add_member(1, 7, Member),
        "422 missing_reference at user: There is no user with the id 07070707070707070707070707070707.",
    );
}

#[test]
fn whoever_is_deleted_leaves_all_teams_and_a_team_that_is_deleted_lets_all_members_go() {
    let both = and(
        teams(),
        [add_member(2, 1, Member), add_member(1, 2, Member)],
    );
    check(
        &both,
        user(1, U::Delete),
        "team_member_removed, team_member_removed, user_deleted",
    );
    check(
        &both,
        team(1, T::Delete),
        "team_member_removed, team_member_removed, team_deleted",
    );
    let granted = grant(
        1,
        G::Grant {
            subject: Subject::Team(id(1)),
            models: GrantedModels::All,
        },
    );
    check(&teams(), granted.clone(), "access_granted");
    check(
        &and(teams(), [granted]),
        team(1, T::Delete),
        "409 still_used: The team 'backend' cannot be deleted: 1 grant of access name it; revoke them first.",
    );
    check(
        &[],
        grant(
            1,
            G::Grant {
                subject: Subject::Team(id(1)),
                models: GrantedModels::All,
            },
        ),
        "422 missing_reference at subject: There is no team with the id 01010101010101010101010101010101.",
    );
}

#[test]
fn teams_and_what_a_user_is_in_have_an_end() {
    let mut crowded = vec![create_team(1, "backend"), add_user(1)];
    crowded.extend((0..10_000_u128).flat_map(|number| {
        let user = UserId::from_uuid(Uuid::from_u128(number));
        let hash = events_schema::secrets::KeyedHash::of("k2", &[1; 32], &number.to_le_bytes());
        let email = commands::domain::Fingerprints {
            active: hash,
            former: Vec::new(),
        };
        let member = T::AddMember { user, role: Member };
        [Command::User(user, U::Add { email }), team(1, member)]
    }));
    check(
        &crowded,
        add_member(1, 1, Member),
        "409 team_full at team: A team has at most 10,000 members, and 'backend' has as many.",
    );
    let mut busy = vec![add_user(1)];
    busy.extend((0..100).flat_map(|number| {
        [
            create_team(number, &format!("team-{number}")),
            add_member(number, 1, Member),
        ]
    }));
    check(
        &and(busy, [create_team(200, "one-more")]),
        add_member(200, 1, Member),
        "409 in_too_many_teams at user: A user is in at most 100 teams, and this one is in as many.",
    );
}

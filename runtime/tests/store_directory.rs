//! Changes of the directory, and how the shards learn of them.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use store_common::{Fixture, group, open_authentication, user};
use switchboard::store::{Directory, DirectoryError, NewGroup, NewUser, Role};
use switchboard_engine::{Answer, DirectoryChange, DirectoryChangeKind, Request, UserProfile};

fn change(revision: u64, who: &str, kind: DirectoryChangeKind) -> DirectoryChange {
    DirectoryChange { revision, user: user(who), kind }
}

fn chess() -> NewGroup {
    NewGroup {
        id: group("chess"),
        name: "Chess".into(),
        notice: "e4".into(),
        owner: user("alice"),
        invite_only: true,
    }
}

fn create_users(directory: &mut Directory, names: &[&str]) {
    for name in names {
        directory.create_user(&NewUser::new(user(name), name)).unwrap();
    }
}

/// All that the tests below change, one revision each.
fn change_everything(directory: &mut Directory) -> Vec<DirectoryChange> {
    create_users(directory, &["alice", "bob"]);
    directory.create_group(&chess()).unwrap();
    assert!(directory.join(&group("chess"), &user("bob")).unwrap());
    assert!(directory.set_avatar(&user("bob"), "bob.png").unwrap());
    assert!(directory.leave(&group("chess"), &user("alice")).unwrap());
    vec![
        change(1, "alice", DirectoryChangeKind::Joined(group("chess"))),
        change(2, "bob", DirectoryChangeKind::Joined(group("chess"))),
        change(3, "bob", DirectoryChangeKind::Avatar("bob.png".into())),
        change(4, "alice", DirectoryChangeKind::Left(group("chess"))),
    ]
}

#[test]
fn shards_learn_what_this_process_changes() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    let expected = change_everything(&mut directory);
    assert_eq!(fixture.directory_changes(4), expected);
}

#[test]
fn shards_learn_what_a_connection_changes_that_the_store_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = Directory::open(folder.path()).unwrap();
    let expected = change_everything(&mut directory);
    assert_eq!(fixture.directory_changes(4), expected);
    let loaded = fixture.ask(Request::LoadUser(user("bob")));
    let profile = UserProfile { avatar: "bob.png".into(), groups: vec![group("chess")], revision: 4 };
    assert_eq!(loaded, Answer::UserLoaded(profile));
}

#[test]
fn a_loaded_user_is_of_the_state_that_its_revision_names_and_later_changes_follow() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    change_everything(&mut directory);
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let loaded = fixture.ask(Request::LoadUser(user("alice")));
    assert_eq!(loaded, Answer::UserLoaded(UserProfile { revision: 4, ..UserProfile::default() }));
    directory.join(&group("chess"), &user("alice")).unwrap();
    let joined = change(5, "alice", DirectoryChangeKind::Joined(group("chess")));
    assert_eq!(fixture.directory_changes(1), [joined]);
    let loaded = fixture.ask(Request::LoadUser(user("alice")));
    let profile = UserProfile { groups: vec![group("chess")], revision: 5, ..UserProfile::default() };
    assert_eq!(loaded, Answer::UserLoaded(profile));
}

#[test]
fn many_changes_arrive_whole_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    create_users(&mut directory, &["alice"]);
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    // More than the store reads at a time.
    let connection = rusqlite::Connection::open(folder.path().join("switchboard.db")).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
             INSERT INTO directory_log (user_id, kind, avatar, changed_at_ms) SELECT 1, 3, n, 0 FROM n",
        )
        .unwrap();
    let changes = fixture.directory_changes(10_000);
    for (revision, found) in (1..).zip(&changes) {
        let avatar = DirectoryChangeKind::Avatar(revision.to_string().into());
        assert_eq!(*found, change(revision, "alice", avatar));
    }
    assert_eq!(changes.len(), 10_000);
}

#[test]
fn what_changes_nothing_is_not_announced() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    change_everything(&mut directory);
    assert!(!directory.join(&group("chess"), &user("bob")).unwrap());
    assert!(!directory.leave(&group("chess"), &user("alice")).unwrap());
    assert!(!directory.set_avatar(&user("bob"), "bob.png").unwrap());
    assert!(directory.set_avatar(&user("alice"), "alice.png").unwrap());
    let last = change(5, "alice", DirectoryChangeKind::Avatar("alice.png".into()));
    assert_eq!(fixture.directory_changes(5).last(), Some(&last));
}

#[test]
fn groups_and_members_can_be_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    change_everything(&mut directory);
    let groups = directory.groups_of(&user("bob")).unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!(
        (&groups[0].id, groups[0].name.as_str(), groups[0].notice.as_str()),
        (&group("chess"), "Chess", "e4")
    );
    assert_eq!(directory.groups_of(&user("alice")).unwrap(), []);
    assert_eq!(directory.groups_of(&user("nobody")).unwrap(), []);
    directory.join(&group("chess"), &user("alice")).unwrap();
    let members = directory.members_of(&group("chess")).unwrap();
    let names: Vec<_> = members.iter().map(|m| (m.user.as_str(), m.avatar.as_str(), m.role)).collect();
    assert_eq!(names, [("alice", "", Role::Member), ("bob", "bob.png", Role::Owner)], "who was left owns it");
}

#[test]
fn the_owner_of_a_new_group_is_its_first_member() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    create_users(&mut directory, &["alice"]);
    directory.create_group(&chess()).unwrap();
    let members = directory.members_of(&group("chess")).unwrap();
    assert_eq!(
        members.iter().map(|m| (m.user.as_str(), m.role)).collect::<Vec<_>>(),
        [("alice", Role::Owner)]
    );
}

#[test]
fn what_makes_no_sense_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    assert!(matches!(directory.create_group(&chess()), Err(DirectoryError::NoSuchUser(_))));
    create_users(&mut directory, &["alice"]);
    let again = directory.create_user(&NewUser::new(user("alice"), "another"));
    assert!(matches!(again, Err(DirectoryError::UserExists(_))));
    let taken = directory.create_user(&NewUser::new(user("another"), "alice"));
    assert!(matches!(taken, Err(DirectoryError::UsernameTaken(_))));
    assert_eq!(directory.user(&user("another")).unwrap(), None);
    let nowhere = directory.join(&group("chess"), &user("alice"));
    assert!(matches!(nowhere, Err(DirectoryError::NoSuchGroup(_))));
    directory.create_group(&chess()).unwrap();
    assert!(matches!(directory.create_group(&chess()), Err(DirectoryError::GroupExists(_))));
    let nobody = directory.join(&group("chess"), &user("nobody"));
    assert!(matches!(nobody, Err(DirectoryError::NoSuchUser(_))));
    assert!(matches!(directory.set_avatar(&user("nobody"), "x"), Err(DirectoryError::NoSuchUser(_))));
    assert!(matches!(directory.members_of(&group("go")), Err(DirectoryError::NoSuchGroup(_))));
}

#[test]
fn no_debug_output_shows_a_password_hash() {
    let mut new = NewUser::new(user("alice"), "alice");
    new.password_hash = Some("$argon2id$secret".into());
    assert!(!format!("{new:?}").contains("secret"));
}

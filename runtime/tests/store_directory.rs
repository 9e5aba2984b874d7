//! Changes of the directory, and how the shards learn of them.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use store_common::{Fixture, group, message, open_authentication, to_group, to_user, user, wait_until};
use switchboard::store::{
    AccountRole, Conversation, DATABASE_FILE, Directory, DirectoryError, NewGroup, NewSession, NewUser,
    Removed, Role, StoreOptions,
};
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

/// How many messages the index finds, after it has been checked.
fn found(folder: &std::path::Path, word: &str) -> i64 {
    let database = rusqlite::Connection::open(folder.join(DATABASE_FILE)).unwrap();
    database.execute("INSERT INTO words (words) VALUES ('integrity-check')", []).unwrap();
    let count = "SELECT count(*) FROM words WHERE words MATCH ?1";
    database.query_row(count, [word], |row| row.get(0)).unwrap()
}

#[test]
fn of_who_is_removed_nothing_stays_but_what_was_said_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &StoreOptions::default());
    let mut directory = fixture.store.directory().unwrap();
    let alice = user("alice");
    let profile = NewUser {
        nickname: "Al".into(),
        email: "al@example".into(),
        avatar: "al.png".into(),
        password_hash: Some("$argon2id$".into()),
        ..NewUser::new(alice.clone(), "alice")
    };
    directory.create_user(&profile).unwrap();
    create_users(&mut directory, &["bob", "carol"]);
    directory.create_group(&chess()).unwrap();
    for member in ["carol", "bob"] {
        directory.join(&group("chess"), &user(member)).unwrap();
    }
    directory.create_group(&NewGroup { id: group("alone"), ..chess() }).unwrap();
    directory.create_group(&NewGroup { id: group("bobs"), owner: user("bob"), ..chess() }).unwrap();
    directory.join(&group("bobs"), &alice).unwrap();
    directory.set_role(&alice, AccountRole::Administrator).unwrap();
    directory.befriend_user(&alice, &user("bob"), 9).unwrap();
    directory.befriend_user(&user("bob"), &alice, 9).unwrap();
    let session = NewSession {
        token_hash: [7; 32],
        lifetime_ms: 60_000,
        user_agent: String::new(),
        sessions_per_user: 9,
    };
    directory.begin_session(&alice, &session).unwrap();
    fixture.store(message("alice", 1, to_user("bob"), "tea"));
    fixture.store(message("alice", 2, to_user("alice"), "diary"));
    fixture.store(message("alice", 3, to_group("chess"), "gambit"));
    wait_until("the words are in the index", || found(folder.path(), "gambit") == 1);
    assert_eq!(["tea", "diary", "gambit"].map(|word| found(folder.path(), word)), [1, 1, 1]);

    let removed = directory.remove_user(&alice).unwrap().unwrap();
    // Carol has been there for longer than Bob.
    let handed_over = vec![(group("chess"), user("carol"))];
    assert_eq!(removed, Removed { groups: 3, handed_over, notes: 1 });
    let account = directory.account(&alice).unwrap().unwrap();
    assert_eq!((account.user.username, account.has_password), (None, false));
    assert_eq!([account.user.nickname, account.user.email, account.user.avatar], ["", "", ""]);
    assert_eq!(account.standing.role, AccountRole::User);
    assert!(account.standing.removed_at_ms.is_some() && account.standing.ban.is_some());
    assert_eq!(directory.session(&[7; 32]).unwrap(), None);
    assert!(directory.friends_of(&user("bob")).unwrap().is_empty());
    assert!(directory.friends_of(&alice).unwrap().is_empty());
    assert!(directory.groups_of(&alice).unwrap().is_empty());
    let members = directory.members_of(&group("chess")).unwrap();
    let roles: Vec<_> = members.iter().map(|member| (member.user.as_str(), member.role)).collect();
    assert_eq!(roles, [("bob", Role::Member), ("carol", Role::Owner)]);

    let said = |with: Conversation| {
        let history = directory.history(&with, 1..=u64::MAX, 100).unwrap();
        history.into_iter().map(|message| message.content.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(said(Conversation::Direct(alice.clone(), user("bob"))), ["tea"]);
    assert!(said(Conversation::Group(group("chess"))).contains(&"gambit".to_owned()));
    assert_eq!(said(Conversation::Direct(alice.clone(), alice.clone())), [""]);
    assert_eq!(["tea", "diary", "gambit"].map(|word| found(folder.path(), word)), [1, 0, 1]);

    assert_eq!(directory.remove_user(&alice).unwrap(), None, "once is enough");
    let nobody = directory.remove_user(&user("nobody")).unwrap_err();
    assert!(matches!(nobody, DirectoryError::NoSuchUser(_)));
    let again = directory.create_user(&NewUser::new(alice, "another")).unwrap_err();
    assert!(matches!(again, DirectoryError::UserExists(_)), "nobody is given its id");
    directory.create_user(&NewUser::new(user("alice-2"), "alice")).unwrap();
    // What is said meanwhile goes on as before.
    fixture.store(message("bob", 4, to_group("chess"), "endgame"));
}

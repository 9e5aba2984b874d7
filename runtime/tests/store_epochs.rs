//! Epochs: when logs get new ones, and when they keep theirs.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use store_common::{
    Fixture, earlier, group, heads, message, open_authentication, page, range, stored, to_group, to_user,
    user, wait_until,
};
use switchboard::cli::StoreCommand;
use switchboard::commands::{self, StoreError};
use switchboard::store::{
    DATABASE_FILE, DataFolder, Directory, MARK_FILE, NewGroup, NewUser, OpenError, renew_epochs,
};
use switchboard_engine::{Answer, Head, Request};

/// Stores a message of alice's to bob and one to carol, each with this number.
fn say(folder: &Path, number: u64) {
    let mut fixture = Fixture::open(folder, &open_authentication());
    fixture.store(message("alice", 2 * number, to_user("bob"), "x"));
    fixture.store(message("alice", 2 * number + 1, to_user("carol"), "x"));
    fixture.store.stop();
}

/// The epochs of alice's conversations, as a server has them that starts on this folder.
fn epochs(folder: &Path) -> Vec<u64> {
    let mut fixture = Fixture::open(folder, &open_authentication());
    let epochs: Vec<u64> = heads(&mut fixture, "alice").into_iter().map(|head| head.epoch).collect();
    fixture.store.stop();
    assert_eq!(epochs.len(), 2);
    assert!(epochs.iter().all(|epoch| *epoch != 0));
    epochs
}

fn all_differ(one: &[u64], other: &[u64]) -> bool {
    one.iter().chain(other).collect::<BTreeSet<_>>().len() == one.len() + other.len()
}

fn mark(folder: &Path) -> i64 {
    fs::read_to_string(folder.join(MARK_FILE)).unwrap().trim().parse().unwrap()
}

fn commits(folder: &Path) -> i64 {
    let connection = Connection::open(folder.join(DATABASE_FILE)).unwrap();
    connection.query_row("SELECT commits FROM store_state", [], |row| row.get(0)).unwrap()
}

#[test]
fn restarts_keep_epochs_and_the_mark_agrees_with_the_database() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), 1);
    assert_eq!(mark(folder.path()), 2);
    let before = epochs(folder.path());
    say(folder.path(), 2);
    assert_eq!(epochs(folder.path()), before);
    assert_eq!((mark(folder.path()), commits(folder.path())), (4, 4));
}

#[test]
fn an_older_copy_of_the_database_gives_all_logs_new_epochs_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE_FILE);
    let copy = folder.path().join("copy");
    say(folder.path(), 1);
    fs::copy(&database, &copy).unwrap();
    say(folder.path(), 2);
    let before = epochs(folder.path());
    fs::copy(&copy, &database).unwrap();
    let restored = epochs(folder.path());
    assert!(all_differ(&before, &restored), "{before:x?} {restored:x?}");
    assert_eq!(epochs(folder.path()), restored, "a restart is no second loss");
    assert!(commits(folder.path()) > 4, "the counter is beyond all that was");
    // The same copy once more, although nothing was written since.
    fs::copy(&copy, &database).unwrap();
    let again = epochs(folder.path());
    assert!(all_differ(&restored, &again) && all_differ(&before, &again));
    say(folder.path(), 3);
    assert_eq!(epochs(folder.path()), again);
}

#[test]
fn a_new_epoch_is_in_every_answer_and_the_log_goes_on_from_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE_FILE);
    say(folder.path(), 1);
    let copy = fs::read(&database).unwrap();
    say(folder.path(), 2);
    let before = epochs(folder.path());
    fs::write(&database, copy).unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let epoch = page(&mut fixture, range("bob", to_user("alice"))).epoch;
    let kept = fixture.store(message("alice", 2, to_user("bob"), "x"));
    assert_eq!((kept.epoch, kept.seq), (epoch, 1));
    assert!(!before.contains(&epoch));
    let lost = fixture.store(message("alice", 4, to_user("bob"), "x"));
    assert_eq!((lost.epoch, lost.seq), (epoch, 2));
    assert_eq!(heads(&mut fixture, "bob")[0].epoch, epoch);
}

#[test]
fn a_mark_that_is_deleted_or_unreadable_changes_nothing_and_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), 1);
    let before = epochs(folder.path());
    fs::remove_file(folder.path().join(MARK_FILE)).unwrap();
    assert_eq!(epochs(folder.path()), before);
    assert_eq!(mark(folder.path()), 2);
    fs::write(folder.path().join(MARK_FILE), "not a number").unwrap();
    assert_eq!(epochs(folder.path()), before);
    assert_eq!(mark(folder.path()), 2);
}

#[test]
fn the_mark_follows_while_the_store_runs_and_is_not_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    assert_eq!(mark(folder.path()), 0);
    for n in 1..=5 {
        fixture.store(message("alice", n, to_user("bob"), "x"));
        assert!(mark(folder.path()) <= commits(folder.path()));
    }
    wait_until("the mark has come up", || mark(folder.path()) == 5);
    // Answers that store nothing count nothing.
    assert_eq!(fixture.ask(message("alice", 5, to_user("bob"), "x")), earlier(5));
    fixture.store.stop();
    assert_eq!((mark(folder.path()), commits(folder.path())), (5, 5));
}

#[test]
fn a_crash_keeps_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    fixture.store(message("alice", 1, to_user("bob"), "x"));
    fixture.store(message("alice", 2, to_user("carol"), "x"));
    // The disk as a crash of the process leaves it: the write-ahead log is there, the mark lags behind or not.
    let crashed = tempfile::tempdir().unwrap();
    for file in [MARK_FILE, DATABASE_FILE, "switchboard.db-wal"] {
        fs::copy(folder.path().join(file), crashed.path().join(file)).unwrap();
    }
    let before: Vec<u64> = heads(&mut fixture, "alice").into_iter().map(|head| head.epoch).collect();
    assert_eq!(epochs(crashed.path()), before);
}

#[test]
fn the_operator_gives_new_epochs_but_not_while_a_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let command = || commands::store(folder.path(), &StoreCommand::NewEpochs);
    assert!(matches!(command(), Err(StoreError::NoDatabase { .. })));
    say(folder.path(), 1);
    let before = epochs(folder.path());
    let fixture = Fixture::open(folder.path(), &open_authentication());
    assert!(matches!(command(), Err(StoreError::Open(OpenError::InUse { .. }))));
    fixture.store.stop();
    assert_eq!(epochs(folder.path()), before);
    assert_eq!(command().unwrap(), "new epochs: 2; clients will fetch these conversations again\n");
    let after = epochs(folder.path());
    assert!(all_differ(&before, &after));
    assert_eq!(renew_epochs(&DataFolder::lock(folder.path()).unwrap()).unwrap(), 2);
    assert!(all_differ(&after, &epochs(folder.path())));
}

/// A database as the first release has left it: its own migration, and rows as that one wrote them.
fn first_release(folder: &Path) {
    let connection = Connection::open(folder.join(DATABASE_FILE)).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    connection.execute_batch(include_str!("../src/migrations/0001_initial.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO users (id, uuid, username, created_at_ms, updated_at_ms)
                 VALUES (1, 'alice', 'alice', 1, 1), (2, 'bob', 'bob', 1, 1), (3, 'carol', 'carol', 1, 1);
             INSERT INTO groups (id, uuid, name, owner_id, created_at_ms) VALUES (1, 'chess', 'chess', 1, 1);
             INSERT INTO members VALUES (1, 1, 2, 1), (1, 2, 1, 1);
             INSERT INTO conversations (id, kind, user_low, user_high, group_id, head_seq, epoch, created_at_ms)
                 VALUES (1, 1, 1, 2, NULL, 2, randomblob(16), 1), (2, 2, NULL, NULL, 1, 1, randomblob(16), 1),
                        (3, 1, 1, 1, NULL, 1, randomblob(16), 1);
             INSERT INTO messages VALUES
                 (1, 1, 1, zeroblob(16), 1, 'hello', '', '', '', 1700000000001),
                 (1, 2, 2, zeroblob(16), 1, 'hello yourself', '', '', '', 1700000000002),
                 (2, 1, 1, x'01010101010101010101010101010101', 1, 'a game?', '', '', '', 1700000000003),
                 (3, 1, 1, x'02020202020202020202020202020202', 1, 'remember', '', '', '', 1700000000004);
             INSERT INTO directory_log (user_id, kind, group_id, changed_at_ms) VALUES (1, 1, 1, 1), (2, 1, 1, 1);",
        )
        .unwrap();
    connection.pragma_update(None, "application_id", 0x5357_4244).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
}

#[test]
fn a_database_of_the_first_release_is_brought_over_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    first_release(folder.path());
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let alices = heads(&mut fixture, "alice");
    let epochs: BTreeSet<u64> = alices.iter().map(|head| head.epoch).collect();
    // 1 is what SQLite wanted as a default.
    assert!(epochs.len() == 3 && !epochs.contains(&0) && !epochs.contains(&1), "{epochs:x?}");
    let plain = |head: &Head| (head.conversation.clone(), head.seq, head.first_seq);
    let expected = [(to_user("bob"), 2, 1), (to_user("alice"), 1, 1), (to_group("chess"), 1, 1)];
    assert_eq!(alices.iter().map(plain).collect::<Vec<_>>(), expected);
    let read = page(&mut fixture, range("bob", to_user("alice")));
    let contents: Vec<(&str, i64)> =
        read.messages.iter().map(|message| (&*message.content, message.stored_at_ms)).collect();
    assert_eq!(contents, [("hello", 1_700_000_000_001), ("hello yourself", 1_700_000_000_002)]);
    // Those who were members already read everything.
    let read = page(&mut fixture, range("bob", to_group("chess")));
    assert_eq!((read.first_seq, read.messages.len()), (1, 1));
    // Stored is stored, and the log goes on.
    let again = fixture.store(message("alice", 0, to_user("bob"), "hello"));
    assert_eq!((again.epoch, again.seq, again.stored_at_ms), (alices[0].epoch, 1, 1_700_000_000_001));
    // Two users have used the same id.
    assert_eq!(fixture.store(message("bob", 0, to_user("alice"), "hello")).seq, 2);
    assert_eq!(fixture.ask(message("bob", 9, to_user("alice"), "x")), stored(3));
    let mut directory = fixture.store.directory().unwrap();
    assert!(directory.join(&group("chess"), &user("carol")).unwrap());
    assert_eq!(page(&mut fixture, range("carol", to_group("chess"))).first_seq, 2);
    drop(directory);
    fixture.store.stop();
    let connection = Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    let check = |pragma| -> String { connection.query_row(pragma, [], |row| row.get(0)).unwrap() };
    assert_eq!(check("PRAGMA integrity_check"), "ok");
    let mut foreign_keys = connection.prepare("PRAGMA foreign_key_check").unwrap();
    assert!(!foreign_keys.exists([]).unwrap());
}

#[test]
fn the_schema_is_the_same_whether_it_was_brought_over_or_made() {
    let schema = |folder: &Path| {
        let connection = Connection::open(folder.join(DATABASE_FILE)).unwrap();
        let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows: Vec<(String, Option<String>)> =
            statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap();
        rows
    };
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    first_release(old.path());
    for folder in [&old, &new] {
        Fixture::open(folder.path(), &open_authentication()).store.stop();
    }
    assert_eq!(schema(old.path()), schema(new.path()));
}

#[test]
fn a_backup_from_before_the_upgrade_has_new_epochs_too() {
    let folder = tempfile::tempdir().unwrap();
    first_release(folder.path());
    let backup = fs::read(folder.path().join(DATABASE_FILE)).unwrap();
    let epoch = |folder: &Path| {
        let mut fixture = Fixture::open(folder, &open_authentication());
        let epoch = heads(&mut fixture, "bob")[0].epoch;
        fixture.store(message("bob", epoch, to_user("alice"), "x"));
        fixture.store.stop();
        epoch
    };
    let before = epoch(folder.path());
    assert_eq!(epoch(folder.path()), before);
    fs::write(folder.path().join(DATABASE_FILE), backup).unwrap();
    assert_ne!(epoch(folder.path()), before);
    assert!(commits(folder.path()) > 2);
}

#[test]
fn a_new_group_is_read_from_its_creation_on_by_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory: Directory = fixture.store.directory().unwrap();
    directory.create_user(&NewUser::new(user("alice"), "alice")).unwrap();
    let new = NewGroup {
        id: group("chess"),
        name: "x".into(),
        notice: String::new(),
        owner: user("alice"),
        invite_only: true,
    };
    directory.create_group(&new).unwrap();
    let place = fixture.store(message("alice", 1, to_group("chess"), "x"));
    let expected = Head {
        conversation: to_group("chess"),
        epoch: place.epoch,
        seq: 2,
        first_seq: 1,
        own: switchboard_engine::Marks::default(),
        peer: switchboard_engine::Marks::default(),
    };
    let answer = fixture.ask(Request::LoadHeads { user: user("alice"), after: 0 });
    assert_eq!(answer, Answer::HeadsLoaded { heads: vec![expected], next: None });
}

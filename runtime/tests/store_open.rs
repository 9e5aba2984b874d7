//! Opening data folders, good and bad ones.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use std::error::Error;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;
use store_common::{Fixture, message, open_authentication, stored, to_user};
use switchboard::store::{DataFolder, Directory, OpenError};

/// What an operator reads when the folder cannot be opened; the message has to name `file`.
fn refusal(folder: &Path, file: &str) -> OpenError {
    let error = Fixture::try_open(folder, &open_authentication(), 1).map(drop).unwrap_err();
    let path = if file.is_empty() { folder.to_owned() } else { folder.join(file) };
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

/// A folder with a database of a few messages in it.
fn used_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let requests = (1..=100).map(|n| message("alice", n, to_user("bob"), &"x".repeat(1_000)));
    fixture.ask_in_one_batch(requests.collect());
    fixture.store.stop();
    folder
}

#[test]
fn a_missing_folder_is_created_and_opening_again_finds_everything() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a").join("b");
    let mut fixture = Fixture::open(&folder, &open_authentication());
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "hello")), stored(1));
    fixture.store.stop();
    let schema = || -> Vec<String> {
        let connection = Connection::open(folder.join("switchboard.db")).unwrap();
        let mut statement = connection.prepare("SELECT coalesce(sql, name) FROM sqlite_schema").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let before = schema();
    for n in 2..5 {
        let mut fixture = Fixture::open(&folder, &open_authentication());
        assert_eq!(fixture.ask(message("alice", n, to_user("bob"), "hello again")), stored(n));
    }
    assert_eq!(schema(), before);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_until_the_first_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let first = Fixture::open(folder.path(), &open_authentication());
    assert!(matches!(refusal(folder.path(), ""), OpenError::InUse { .. }));
    // Commands are no servers.
    Directory::open(folder.path()).unwrap();
    first.store.stop();
    Fixture::open(folder.path(), &open_authentication());
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    fs::write(&folder, "not a folder").unwrap();
    assert!(matches!(refusal(&folder, ""), OpenError::Folder { .. }));
}

#[test]
fn a_database_that_is_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("switchboard.db")).unwrap();
    assert!(matches!(refusal(folder.path(), "switchboard.db"), OpenError::Database { .. }));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchboard.db");
    let text = "this is no database, but somebody's diary\n".repeat(1_000);
    fs::write(&file, &text).unwrap();
    let error = refusal(folder.path(), "switchboard.db");
    assert!(matches!(error, OpenError::NotADatabase { .. }));
    assert!(error.source().unwrap().to_string().contains("not a database"), "{:?}", error.source());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchboard.db");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let before = fs::read(&file).unwrap();
    assert!(matches!(refusal(folder.path(), "switchboard.db"), OpenError::Foreign { .. }));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_of_a_newer_build_is_refused_and_left_alone() {
    let folder = used_folder();
    let file = folder.path().join("switchboard.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 4_711).unwrap();
    let before = fs::read(&file).unwrap();
    let error = refusal(folder.path(), "switchboard.db");
    assert!(matches!(error, OpenError::NewerSchema { found: 4_711, .. }));
    assert!(matches!(Directory::open(folder.path()), Err(OpenError::NewerSchema { .. })));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_damaged_database_is_refused() {
    // The schema, and every page after it.
    for (from, to) in [(100, 4_096), (4_096, u64::MAX)] {
        let folder = used_folder();
        let file = fs::File::options().write(true).open(folder.path().join("switchboard.db")).unwrap();
        let to = to.min(file.metadata().unwrap().len());
        file.write_all_at(&vec![0xa5; usize::try_from(to - from).unwrap()], from).unwrap();
        let error = refusal(folder.path(), "switchboard.db");
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn a_truncated_database_is_refused() {
    let folder = used_folder();
    let file = fs::File::options().write(true).open(folder.path().join("switchboard.db")).unwrap();
    file.set_len(2 * 4_096).unwrap();
    let error = refusal(folder.path(), "switchboard.db");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_folder_is_locked_until_its_last_user_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataFolder::lock(folder.path()).unwrap();
    assert!(matches!(DataFolder::lock(folder.path()), Err(OpenError::InUse { .. })));
    let clone = lock.clone();
    drop(lock);
    assert!(matches!(DataFolder::lock(folder.path()), Err(OpenError::InUse { .. })));
    drop(clone);
    DataFolder::lock(folder.path()).unwrap();
}

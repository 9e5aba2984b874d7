//! Whose files are whose, how many there may be, and what becomes of those that nothing refers to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use switchboard::media::{MediaOptions, MediaStore};
use switchboard::store::{Conversation, DataFolder, Directory, NewUser, Store};
use switchboard_engine::{Answer, Denial, FileSource, FileUpload, NewMessage, Request, Subject, Ticket};

use crate::bucket_server::{BucketServer, names};
use crate::store_common::{
    Fixture as StoreFixture, message_id, open_authentication, to_user, user, wait_until,
};
use crate::{Fixture, PNG};

fn registered(folder: &Path, users: &[&str]) -> Directory {
    let mut directory = Directory::open(folder).unwrap();
    for name in users {
        directory.create_user(&NewUser::new(user(name), name)).unwrap();
    }
    directory
}

fn upload(owner: &str, contents: &[u8]) -> FileUpload {
    let source = FileSource::Bytes(contents.to_vec().into());
    FileUpload { owner: user(owner), suffix: "png".into(), source }
}

/// A message from alice to bob with this file.
fn with_file(number: u64, name: &str) -> Request {
    entry(number, name, Subject::Message, 3)
}

fn recall(number: u64, target_seq: u64) -> Request {
    entry(number, "", Subject::Recall { target_seq }, 22)
}

fn entry(number: u64, url: &str, subject: Subject, content_type: u8) -> Request {
    Request::StoreMessage(Box::new(NewMessage {
        sender: user("alice"),
        id: message_id(number),
        recipient: to_user("bob"),
        content_type,
        content: "".into(),
        sender_name: "alice".into(),
        url: url.into(),
        file_suffix: "".into(),
        subject,
    }))
}

fn options(user_bytes: u64, unused: Duration) -> MediaOptions {
    MediaOptions { user_bytes, unused, ..MediaOptions::default() }
}

#[test]
fn a_users_files_have_so_many_bytes_and_what_is_refused_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(registered(folder.path(), &["alice", "bob"]));
    let fixture = Fixture::with_options(folder.path(), &options(40, Duration::from_secs(3_600)));
    let full = Answer::Denied(Denial::FilesFull { limit_bytes: 40 });
    // Shards have one store of files, so it is the same whichever asks.
    let ask = |owner: &str| fixture.ask_upload(upload(owner, PNG));
    let first = ask("alice");
    assert!(matches!(first, Answer::FileStored { .. }), "{first:?}");
    assert!(matches!(ask("alice"), Answer::FileStored { .. }));
    assert_eq!(ask("alice"), full);
    assert!(matches!(ask("bob"), Answer::FileStored { .. }));
    assert_eq!(fixture.files().len(), 3);
    assert!(fixture.media.health().is_ok(), "a full quota is no failure of the disk");
    let Answer::FileStored { name, .. } = first else { unreachable!() };
    fixture.media.files().discard(&name);
    wait_until("there is room again", || matches!(ask("alice"), Answer::FileStored { .. }));
    assert_eq!(fixture.files().len(), 3);
}

#[test]
fn a_recalled_messages_file_goes_and_one_that_another_message_names_stays() {
    for bucket in [None, Some(BucketServer::start())] {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataFolder::lock(folder.path()).unwrap();
        let mut store = StoreFixture::open_locked(&lock, &open_authentication(), 2).unwrap();
        drop(registered(folder.path(), &["alice", "bob"]));
        let fixture = {
            let bucket = bucket.as_ref().map(BucketServer::options);
            Fixture::locked(&lock, &MediaOptions { bucket, ..MediaOptions::default() })
        };
        let files = || bucket.as_ref().map_or_else(|| fixture.files(), |bucket| bucket.names("files"));
        let (gone, _) = fixture.store(PNG, "png");
        let (forwarded, _) = fixture.store(PNG, "png");
        for (number, name) in [(1, &gone), (2, &forwarded), (3, &forwarded)] {
            store.store(with_file(number, name));
        }
        store.store(recall(4, 1));
        store.store(recall(5, 2));
        wait_until("the file has gone", || files() == [forwarded.as_str()]);
        store.store(recall(6, 3));
        wait_until("the other one, too", || files().is_empty());
    }
}

#[test]
fn what_was_sent_and_never_used_goes_and_what_is_used_stays() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataFolder::lock(folder.path()).unwrap();
    let mut store = StoreFixture::open_locked(&lock, &open_authentication(), 2).unwrap();
    let mut directory = registered(folder.path(), &["alice", "bob"]);
    let fixture = Fixture::locked(&lock, &options(0, Duration::from_secs(2)));
    let (sent, _) = fixture.store(PNG, "png");
    let (face, _) = fixture.store(PNG, "png");
    let (unused, _) = fixture.store(PNG, "png");
    store.store(with_file(1, &sent));
    directory.set_avatar(&user("bob"), &face).unwrap();
    let mut kept = vec![sent, face];
    kept.sort();
    wait_until("what is not used has gone", || !fixture.files().contains(&unused));
    assert_eq!(fixture.files(), kept);
    // A picture that is none any more is shown by open windows for a while.
    directory.set_avatar(&user("bob"), "").unwrap();
    assert_eq!(fixture.files(), kept);
}

#[test]
fn a_message_that_names_a_file_that_has_gone_is_refused_and_one_that_has_named_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataFolder::lock(folder.path()).unwrap();
    let mut store = StoreFixture::open_locked(&lock, &open_authentication(), 2).unwrap();
    drop(registered(folder.path(), &["alice", "bob"]));
    let fixture = Fixture::locked(&lock, &options(0, Duration::from_secs(3_600)));
    let (early, _) = fixture.store(PNG, "png");
    let (late, _) = fixture.store(PNG, "png");
    store.store(with_file(1, &early));
    // The time of both has come: a clock was stepped.
    let connection = rusqlite::Connection::open(folder.path().join("switchboard.db")).unwrap();
    connection.execute("UPDATE files SET check_at_ms = 0", []).unwrap();
    drop(connection);
    wait_until("what no message has named yet has gone", || fixture.files() == [early.as_str()]);
    assert_eq!(store.ask(with_file(2, &late)), Answer::Denied(Denial::NoFile));
    assert_eq!(store.ask(with_file(3, &format!("{}.png", "0".repeat(32)))), Answer::Denied(Denial::NoFile));
    store.store(with_file(4, &early));
    // Both are recalled, and with them the file; who asks again whether it was stored is told so.
    store.store(recall(5, 1));
    store.store(recall(6, 2));
    wait_until("the file has gone", || fixture.files().is_empty());
    assert!(matches!(store.ask(with_file(4, &early)), Answer::StoredEarlier(_)));
    assert_eq!(store.ask(with_file(7, &early)), Answer::Denied(Denial::NoFile));
}

#[test]
fn files_of_before_the_books_are_counted_and_lost_ones_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataFolder::lock(folder.path()).unwrap();
    let mut store = StoreFixture::open_locked(&lock, &open_authentication(), 2).unwrap();
    drop(registered(folder.path(), &["alice", "bob"]));
    let media = folder.path().join("media");
    std::fs::create_dir(&media).unwrap();
    let (sent, lost) = (format!("{}.png", "a".repeat(32)), format!("{}.png", "b".repeat(32)));
    for name in [&sent, &lost, &"notes.txt".to_owned()] {
        std::fs::write(media.join(name), [0; 100]).unwrap();
    }
    // As a build has left it that had no books.
    store.store(with_file(1, ""));
    let connection = rusqlite::Connection::open(folder.path().join("switchboard.db")).unwrap();
    connection.execute("UPDATE messages SET url = ?1", [&sent]).unwrap();
    drop(connection);
    let fixture = Fixture::locked(&lock, &options(110, Duration::from_secs(1)));
    wait_until("what nobody knows has gone", || fixture.files() == [sent.as_str(), "notes.txt"]);
    assert_eq!(
        fixture.ask_upload(upload("alice", PNG)),
        Answer::Denied(Denial::FilesFull { limit_bytes: 110 })
    );
}

/// Tells the test that it is the child, and on which folder.
const CHILD: &str = "SWITCHBOARD_FILES_FOLDER";

/// Rounds of starting a server and killing it.
const ROUNDS: u64 = 8;

/// The child: uploads, sends and recalls for ever, and tells of each file that was sent and of each that was recalled.
fn send_until_killed(folder: &Path) {
    let lock = DataFolder::lock(folder).unwrap();
    let (sender, events) = std::sync::mpsc::channel();
    let sink = || {
        let sender = sender.clone();
        Box::new(move |_: usize, event| drop(sender.send(event)))
    };
    let store = Store::open(&lock, &open_authentication(), 1, sink()).unwrap();
    let media = MediaStore::open(&lock, &options(0, Duration::from_secs(3_600)), 1, sink()).unwrap();
    let ask = |handle: switchboard::store::StoreHandle, request| {
        handle.submit(0, Ticket(1), request);
        loop {
            if let switchboard::store::StoreEvent::Answers(answers) = events.recv().unwrap() {
                return answers.into_iter().next().unwrap().1;
            }
        }
    };
    let tell = |line: String| std::io::stderr().write_all(line.as_bytes()).unwrap();
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    let mut number = u64::from_le_bytes(random) >> 1;
    loop {
        let stored = ask(media.handle(), Request::StoreFile(upload("alice", PNG)));
        let Answer::FileStored { name, .. } = stored else { panic!("{stored:?}") };
        number += 1;
        let Answer::MessageStored(place) = ask(store.handle(), with_file(number, &name)) else { panic!() };
        tell(format!("sent {name}\n"));
        if number % 3 == 0 {
            number += 1;
            tell(format!("recalling {name}\n"));
            let answer = ask(store.handle(), recall(number, place.seq));
            assert!(matches!(answer, Answer::MessageStored(_)), "{answer:?}");
        }
    }
}

#[test]
fn after_kills_at_any_moment_every_message_has_its_file_and_no_other_file_is_left() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return send_until_killed(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    drop(registered(folder.path(), &["alice", "bob"]));
    let mut sent = std::collections::BTreeSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "books::after_kills_at_any_moment_every_message_has_its_file_and_no_other_file_is_left",
            ])
            .arg("--nocapture")
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("sent", name)) => drop(sent.insert(name.to_owned())),
                Some(("recalling", name)) => drop(sent.remove(name)),
                _ => panic!("the child says: {line}"),
            }
            seen += 1;
            if seen == 5 + round * 3 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
    }
    // What was uploaded and not sent goes at once now.
    let lock = DataFolder::lock(folder.path()).unwrap();
    let mut store = StoreFixture::open_locked(&lock, &open_authentication(), 2).unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("switchboard.db")).unwrap();
    connection.execute_batch("UPDATE files SET check_at_ms = 0").unwrap();
    drop(connection);
    let _ = store.ask(with_file(1, ""));
    let fixture = Fixture::locked(&lock, &MediaOptions::default());
    let named = || {
        let directory = Directory::open(folder.path()).unwrap();
        let of = Conversation::Direct(user("alice"), user("bob"));
        let history = directory.history(&of, 1..=u64::MAX, u32::MAX).unwrap();
        let mut names: Vec<String> = history
            .into_iter()
            .map(|message| String::from(message.url))
            .filter(|url| !url.is_empty())
            .collect();
        names.sort();
        names
    };
    wait_until("files and messages agree", || fixture.files() == named());
    assert!(sent.is_subset(&named().into_iter().collect()), "what was sent and not recalled is there");
    assert!(!sent.is_empty());
    assert_eq!(names(&folder.path().join("media")), named());
}

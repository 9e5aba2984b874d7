//! What clients read: heads of their conversations, and parts of their logs.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use std::collections::BTreeMap;

use store_common::{
    Fixture, PATIENCE, group, heads, message, message_id, open_authentication, page, range, stored, to_group,
    to_user, user, wait_until,
};
use switchboard::store::{DATABASE_FILE, Directory, HEADS_AT_A_TIME, NewGroup, NewUser, StoreOptions};
use switchboard_engine::{
    Answer, Head, MessageId, Messages, Range, Recipient, Request, StoredMessage, Ticket,
};

fn nothing() -> Messages {
    Messages { epoch: 0, head_seq: 0, first_seq: 1, messages: Vec::new(), group_name: "".into() }
}

fn create_users(directory: &mut Directory, names: &[&str]) {
    for name in names {
        directory.create_user(&NewUser::new(user(name), name)).unwrap();
    }
}

fn create_group(directory: &mut Directory, id: &str, owner: &str) {
    let new = NewGroup {
        id: group(id),
        name: id.to_owned(),
        notice: String::new(),
        owner: user(owner),
        invite_only: true,
    };
    directory.create_group(&new).unwrap();
}

fn seqs(page: &Messages) -> Vec<u64> {
    page.messages.iter().map(|message| message.seq).collect()
}

/// Alice and bob, with so many messages of ten bytes.
fn alice_and_bob(folder: &std::path::Path, count: u64) -> Fixture {
    let mut fixture = Fixture::open(folder, &open_authentication());
    fixture.ask_in_one_batch(
        (1..=count).map(|n| message("alice", n, to_user("bob"), &format!("number {n:3}"))).collect(),
    );
    fixture
}

#[test]
fn both_users_read_the_same_log_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut picture = message("alice", 1, to_user("bob"), "look");
    let Request::StoreMessage(new) = &mut picture else { unreachable!() };
    new.content_type = 3;
    // A bare name would be that of a file, which is looked up.
    new.url = "https://example.org/0123.png".into();
    let first = fixture.store(picture);
    let second = fixture.store(message("bob", 1, to_user("alice"), "nice"));
    let expected = Messages {
        epoch: first.epoch,
        head_seq: 2,
        first_seq: 1,
        messages: vec![
            StoredMessage {
                seq: 1,
                id: message_id(1),
                sender: user("alice"),
                sender_name: "the alice".into(),
                avatar: "".into(),
                content_type: 3,
                content: "look".into(),
                url: "https://example.org/0123.png".into(),
                stored_at_ms: first.stored_at_ms,
                subject: switchboard_engine::Subject::Message,
                changed_seq: 0,
                is_recalled: false,
            },
            StoredMessage {
                seq: 2,
                id: message_id(1),
                sender: user("bob"),
                sender_name: "the bob".into(),
                avatar: "".into(),
                content_type: 1,
                content: "nice".into(),
                url: "".into(),
                stored_at_ms: second.stored_at_ms,
                subject: switchboard_engine::Subject::Message,
                changed_seq: 0,
                is_recalled: false,
            },
        ],
        group_name: "".into(),
    };
    assert_eq!(page(&mut fixture, range("alice", to_user("bob"))), expected);
    assert_eq!(page(&mut fixture, range("bob", to_user("alice"))), expected);
}

#[test]
fn a_range_goes_in_both_directions_and_pages_are_ascending() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 10);
    let mut read = |from_seq, backwards, limit| {
        let page = page(&mut fixture, Range { from_seq, backwards, limit, ..range("alice", to_user("bob")) });
        assert_eq!((page.head_seq, page.first_seq), (10, 1));
        seqs(&page)
    };
    assert_eq!(read(0, false, 3), [1, 2, 3]);
    assert_eq!(read(1, false, 3), [1, 2, 3]);
    assert_eq!(read(9, false, 3), [9, 10]);
    assert!(read(11, false, 3).is_empty());
    assert!(read(u64::MAX, false, 3).is_empty());
    assert_eq!(read(0, true, 3), [8, 9, 10]);
    assert_eq!(read(7, true, 3), [5, 6, 7]);
    assert_eq!(read(2, true, 3), [1, 2]);
    assert_eq!(read(u64::MAX, true, 3), [8, 9, 10]);
    assert!(read(5, true, 0).is_empty());
}

#[test]
fn a_page_keeps_to_its_bytes_but_has_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 5);
    let mut read = |backwards, limit_bytes| {
        let range = Range { backwards, limit_bytes, ..range("alice", to_user("bob")) };
        seqs(&page(&mut fixture, range))
    };
    assert_eq!(read(false, 30), [1, 2, 3]);
    assert_eq!(read(false, 29), [1, 2]);
    assert_eq!(read(true, 29), [4, 5]);
    assert_eq!(read(false, 0), [1]);
    assert_eq!(read(true, 9), [5]);
}

#[test]
fn a_conversation_in_which_nothing_was_said_is_an_empty_page_whoever_the_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    create_users(&mut directory, &["alice", "bob"]);
    create_group(&mut directory, "chess", "alice");
    for other in [to_user("bob"), to_user("nobody"), to_user("alice")] {
        assert_eq!(page(&mut fixture, range("alice", other)), nothing());
    }
    assert_eq!(page(&mut fixture, range("stranger", to_user("bob"))), nothing());
    assert_eq!(directory.user(&user("nobody")).unwrap(), None, "reading brings nobody into being");
}

#[test]
fn nobody_reads_what_others_say_to_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 3);
    let mut directory = fixture.store.directory().unwrap();
    create_users(&mut directory, &["mallory"]);
    create_group(&mut directory, "chess", "alice");
    fixture.store(message("alice", 100, to_group("chess"), "to the group"));
    for other in ["alice", "bob", "mallory"] {
        assert_eq!(page(&mut fixture, range("mallory", to_user(other))), nothing());
    }
    for (reader, of) in [("mallory", "chess"), ("nobody", "chess"), ("alice", "go"), ("mallory", "go")] {
        let request = Request::LoadMessages(Box::new(range(reader, to_group(of))));
        assert_eq!(fixture.ask(request), Answer::Refused, "{reader} reads {of}");
    }
    assert_eq!(heads(&mut fixture, "mallory"), []);
    // A user of the group's name is not the group.
    create_users(&mut directory, &["chess"]);
    assert_eq!(page(&mut fixture, range("chess", to_user("alice"))), nothing());
}

#[test]
fn a_member_reads_from_its_last_joining_on_up_to_its_leaving() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    create_users(&mut directory, &["alice", "bob"]);
    create_group(&mut directory, "chess", "alice");
    let say = |fixture: &mut Fixture, n| fixture.store(message("alice", n, to_group("chess"), "x"));
    let epoch = say(&mut fixture, 1).epoch;
    assert!(directory.join(&group("chess"), &user("bob")).unwrap());
    let expected = Head {
        conversation: to_group("chess"),
        epoch,
        seq: 3,
        first_seq: 3,
        own: switchboard_engine::Marks::default(),
        peer: switchboard_engine::Marks::default(),
    };
    assert_eq!(heads(&mut fixture, "bob"), std::slice::from_ref(&expected));
    let back = Range { from_seq: 2, backwards: true, ..range("bob", to_group("chess")) };
    let empty =
        Messages { epoch, head_seq: 3, first_seq: 3, messages: Vec::new(), group_name: "chess".into() };
    assert_eq!(page(&mut fixture, back), empty);
    say(&mut fixture, 2);
    assert_eq!(seqs(&page(&mut fixture, range("bob", to_group("chess")))), [3, 4]);
    assert!(directory.leave(&group("chess"), &user("bob")).unwrap());
    say(&mut fixture, 3);
    let back = Range { backwards: true, ..range("bob", to_group("chess")) };
    let read = page(&mut fixture, back);
    assert_eq!((read.head_seq, seqs(&read)), (5, vec![3, 4, 5]));
    assert_eq!(heads(&mut fixture, "bob"), [Head { seq: 5, ..expected.clone() }]);
    assert!(directory.join(&group("chess"), &user("bob")).unwrap());
    // To join once more as a member changes nothing.
    say(&mut fixture, 4);
    assert!(!directory.join(&group("chess"), &user("bob")).unwrap());
    assert_eq!(heads(&mut fixture, "bob"), [Head { seq: 8, first_seq: 7, ..expected }]);
    assert_eq!(seqs(&page(&mut fixture, range("bob", to_group("chess")))), [7, 8]);
    assert_eq!(seqs(&page(&mut fixture, range("alice", to_group("chess")))), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn heads_name_each_conversation_once_as_the_user_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    create_users(&mut directory, &["bob", "alice", "carol"]);
    create_group(&mut directory, "chess", "alice");
    create_group(&mut directory, "silent", "alice");
    create_group(&mut directory, "others", "bob");
    let mut n = 0;
    let mut say = |from, to| {
        n += 1;
        fixture.store(message(from, n, to, "x"))
    };
    // Bob's number is lower than alice's, carol's is higher.
    let with_bob = [say("bob", to_user("alice")), say("alice", to_user("bob"))];
    let with_carol = say("carol", to_user("alice"));
    let with_herself = say("alice", to_user("alice"));
    let chess = say("alice", to_group("chess"));
    say("bob", to_group("others"));
    say("bob", to_user("carol"));
    let expected: BTreeMap<String, (u64, u64, u64)> = [
        (to_user("bob"), with_bob[1]),
        (to_user("carol"), with_carol),
        (to_user("alice"), with_herself),
        (to_group("chess"), chess),
    ]
    .into_iter()
    .map(|(of, place)| (format!("{of:?}"), (place.epoch, place.seq, 1)))
    .collect();
    let mut found = heads(&mut fixture, "alice");
    // Of which nothing is known but that it was created.
    found.retain(|head| head.conversation != to_group("silent"));
    assert_eq!(found.len(), 4);
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|head| (format!("{:?}", head.conversation), (head.epoch, head.seq, head.first_seq)))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(heads(&mut fixture, "nobody"), []);
}

#[test]
fn heads_come_in_pages_that_go_on_where_the_last_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    // One page exactly: with users of a lower number, with herself, and with users of a higher one.
    let others = HEADS_AT_A_TIME - 1;
    let mut requests: Vec<Request> = (0..others / 2)
        .map(|n| message(&format!("early-{n}"), 1, to_user(&format!("early-{n}")), "x"))
        .collect();
    requests.push(message("alice", 0, to_user("alice"), "x"));
    requests.extend((0..others).map(|n| {
        let other = if n < others / 2 { format!("early-{n}") } else { format!("late-{n}") };
        message("alice", 1 + u64::try_from(n).unwrap(), to_user(&other), "x")
    }));
    for answer in fixture.ask_in_one_batch(requests) {
        assert_eq!(answer, stored(1));
    }
    let load = |after| Request::LoadHeads { user: user("alice"), after };
    let Answer::HeadsLoaded { heads: whole, next } = fixture.ask(load(0)) else { panic!("no heads") };
    assert_eq!((whole.len(), next), (HEADS_AT_A_TIME, None));
    // Groups come last, on pages of their own then.
    let mut directory = fixture.store.directory().unwrap();
    for n in 0..HEADS_AT_A_TIME + 2 {
        let id = format!("group-{n:04}");
        create_group(&mut directory, &id, "alice");
    }
    let requests = (0..HEADS_AT_A_TIME + 2).map(|n| {
        message("alice", 10_000 + u64::try_from(n).unwrap(), to_group(&format!("group-{n:04}")), "x")
    });
    for answer in fixture.ask_in_one_batch(requests.collect()) {
        assert_eq!(answer, stored(2));
    }
    let mut sizes = Vec::new();
    let mut seen = Vec::new();
    let mut after = Some(0);
    while let Some(place) = after {
        let Answer::HeadsLoaded { heads, next } = fixture.ask(load(place)) else { panic!("no heads") };
        sizes.push(heads.len());
        seen.extend(heads.into_iter().map(|head| head.conversation));
        after = next;
    }
    assert_eq!(sizes, [HEADS_AT_A_TIME, HEADS_AT_A_TIME, 2]);
    assert_eq!(seen[..HEADS_AT_A_TIME], whole.into_iter().map(|head| head.conversation).collect::<Vec<_>>());
    let mut distinct: Vec<String> = seen.iter().map(|of| format!("{of:?}")).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 2 * HEADS_AT_A_TIME + 2);
    // A cursor that no store has given.
    let beyond = Answer::HeadsLoaded { heads: Vec::new(), next: None };
    assert_eq!(fixture.ask(load(u64::MAX)), beyond);
}

#[test]
fn what_was_acknowledged_is_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    for n in 1..=200 {
        fixture.store(message("alice", n, to_user("bob"), "x"));
        let newest = Range { backwards: true, limit: 1, ..range("bob", to_user("alice")) };
        assert_eq!(seqs(&page(&mut fixture, newest)), [n]);
        assert_eq!(heads(&mut fixture, "bob")[0].seq, n);
    }
}

#[test]
fn reading_goes_on_while_the_writer_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 3);
    // Somebody else writes, and does not end.
    let other = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = fixture.submit(0, message("alice", 4, to_user("bob"), "x"));
    assert_eq!(seqs(&page(&mut fixture, range("bob", to_user("alice")))), [1, 2, 3]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(fixture.answers(), (0, vec![(waiting, stored(4))]));
}

#[test]
fn a_full_queue_of_reads_fails_at_once_and_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { queue_reads: 2, ..open_authentication() };
    let mut fixture = Fixture::open(folder.path(), &options);
    let load = |name| Request::LoadHeads { user: user(name), after: 0 };
    fixture.gate.close();
    let first = fixture.submit(0, load("alice"));
    // The reader stands at the gate once this has come through.
    assert_eq!(fixture.answers().1[0].0, first);
    let waiting = [fixture.submit(0, load("alice")), fixture.submit(0, load("bob"))];
    let (sender, refused) = std::sync::mpsc::channel();
    // On a thread of its own, for the answer to it stands at the gate, too.
    let handle = fixture.store.handle();
    let submitter = std::thread::spawn(move || {
        handle.submit(1, Ticket(99), load("alice"));
        sender.send(()).unwrap();
    });
    assert_eq!(fixture.answers(), (1, vec![(Ticket(99), Answer::Failed)]));
    let written = fixture.submit(0, message("alice", 1, to_user("bob"), "x"));
    assert_eq!(fixture.answers(), (0, vec![(written, stored(1))]));
    fixture.gate.open();
    refused.recv_timeout(PATIENCE).unwrap();
    submitter.join().unwrap();
    let (_, answers) = fixture.answers();
    assert_eq!(answers.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), waiting);
    assert_eq!(heads(&mut fixture, "alice").len(), 1);
}

#[test]
fn reads_that_were_submitted_before_the_stop_are_answered_and_later_ones_fail() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 1);
    let handle = fixture.store.handle();
    let load = || Request::LoadHeads { user: user("alice"), after: 0 };
    for _ in 0..100 {
        fixture.submit(0, load());
    }
    fixture.store.stop();
    handle.submit(0, Ticket(5_000), load());
    let mut answers = Vec::new();
    for (_, event) in fixture.events.try_iter() {
        let switchboard::store::StoreEvent::Answers(some) = event else { unreachable!() };
        answers.extend(some);
    }
    assert_eq!(answers.pop(), Some((Ticket(5_000), Answer::Failed)));
    assert_eq!(answers.len(), 100);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Answer::HeadsLoaded { .. })));
    assert!(!folder.path().join("switchboard.db-wal").exists(), "the log was carried over");
}

#[test]
fn a_log_that_cannot_be_read_fails_and_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 3);
    fixture.store(message("alice", 100, to_user("carol"), "x"));
    fixture.store.stop();
    // A sender whose id is none stands for damage that only this log has.
    let connection = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    connection
        .execute("INSERT INTO users (uuid, created_at_ms, updated_at_ms) VALUES ('', 0, 0)", [])
        .unwrap();
    let damage = "UPDATE messages SET sender_id = (SELECT id FROM users WHERE uuid = '') WHERE seq = 2";
    assert_eq!(connection.execute(damage, []).unwrap(), 1);
    drop(connection);
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let load = |of| Request::LoadMessages(Box::new(range("alice", to_user(of))));
    // A page without the message would look like a gap.
    assert_eq!(fixture.ask(load("bob")), Answer::Failed);
    assert!(matches!(fixture.ask(load("carol")), Answer::MessagesLoaded(page) if page.messages.len() == 1));
    assert!(fixture.store.health().is_ok(), "reading has worked since");
    assert_eq!(fixture.ask(message("bob", 1, to_user("alice"), "x")), stored(4));
}

#[test]
fn a_database_that_cannot_be_read_any_more_is_told_of_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = alice_and_bob(folder.path(), 3);
    let health = fixture.store.health();
    let other = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    other.execute_batch("ALTER TABLE users RENAME TO hidden").unwrap();
    let request = || Request::LoadMessages(Box::new(range("bob", to_user("alice"))));
    assert_eq!(fixture.ask(request()), Answer::Failed);
    let failure = health.failure().expect("the store is unhealthy");
    assert!(failure.text.starts_with("reading"), "{failure}");
    other.execute_batch("ALTER TABLE hidden RENAME TO users").unwrap();
    wait_until("healthy again without traffic", || health.is_ok());
    assert_eq!(seqs(&page(&mut fixture, range("bob", to_user("alice")))), [1, 2, 3]);
}

#[test]
fn ids_come_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut request = message("alice", 0, to_user("bob"), "x");
    let Request::StoreMessage(new) = &mut request else { unreachable!() };
    new.id = MessageId([0, 255, 1, 254, 2, 253, 3, 252, 4, 251, 5, 250, 6, 249, 7, 248]);
    let id = new.id;
    fixture.store(request);
    assert_eq!(page(&mut fixture, range("bob", Recipient::User(user("alice")))).messages[0].id, id);
}

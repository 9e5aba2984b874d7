//! What a store does when it cannot store.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use std::path::Path;
use std::sync::mpsc;

use store_common::{
    Fixture, PATIENCE, earlier, message, message_id, open_authentication, plain, stored, to_user, user,
    wait_until,
};
use switchboard::store::{Conversation, DataFolder, Store, StoreEvent, StoreOptions};
use switchboard_engine::{Answer, Request, Ticket, UserProfile};

fn conversation() -> Conversation {
    Conversation::Direct(user("alice"), user("bob"))
}

/// A store whose database may not grow any more.
fn full(folder: &Path) -> Fixture {
    let mut fixture = Fixture::open(folder, &open_authentication());
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "there is space")), stored(1));
    fixture.store.set_max_database_bytes(Some(0));
    fixture
}

fn large() -> String {
    "x".repeat(1 << 20)
}

#[test]
fn a_full_database_fails_the_whole_batch_and_nothing_of_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = full(folder.path());
    let answers = fixture.ask_in_one_batch(vec![
        message("alice", 2, to_user("bob"), "small"),
        message("bob", 2, to_user("carol"), &large()),
        message("alice", 3, to_user("bob"), "small, too"),
    ]);
    assert_eq!(answers, [Answer::Full, Answer::Full, Answer::Full]);
    let failure = fixture.store.health().failure().expect("the store is unhealthy");
    assert!(failure.text.contains("full"), "{failure}");
    let directory = fixture.store.directory().unwrap();
    assert_eq!(directory.conversation(&conversation()).unwrap().unwrap().head_seq, 1);
    assert_eq!(directory.history(&conversation(), 1..=9, 9).unwrap().len(), 1);
    assert_eq!(directory.user(&user("carol")).unwrap(), None);
}

#[test]
fn the_thread_goes_on_after_a_failure_and_counts_on_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = full(folder.path());
    assert_eq!(fixture.ask(message("alice", 2, to_user("bob"), &large())), Answer::Full);
    // What needs no space is still done.
    assert_eq!(fixture.ask(Request::LoadUser(user("alice"))), Answer::UserLoaded(UserProfile::default()));
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "again")), earlier(1));
    fixture.store.set_max_database_bytes(None);
    assert_eq!(fixture.ask(message("alice", 2, to_user("bob"), &large())), stored(2));
    assert!(fixture.store.health().is_ok());
    assert_eq!(fixture.ask(message("alice", 3, to_user("bob"), "small")), stored(3));
    let directory = fixture.store.directory().unwrap();
    let ids: Vec<_> =
        directory.history(&conversation(), 1..=9, 9).unwrap().into_iter().map(|m| m.id).collect();
    assert_eq!(ids, [message_id(1), message_id(2), message_id(3)]);
}

#[test]
fn health_recovers_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = full(folder.path());
    assert_eq!(fixture.ask(message("alice", 2, to_user("bob"), &large())), Answer::Full);
    let health = fixture.store.health();
    assert!(!health.is_ok());
    fixture.store.set_max_database_bytes(None);
    wait_until("healthy again", || health.is_ok());
}

#[test]
fn a_limit_on_the_size_holds_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_database_bytes: Some(512 << 10), ..open_authentication() };
    let mut fixture = Fixture::open(folder.path(), &options);
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "small")), stored(1));
    assert_eq!(fixture.ask(message("alice", 2, to_user("bob"), &large())), Answer::Full);
    assert_eq!(fixture.ask(message("alice", 3, to_user("bob"), "small")), stored(2));
    fixture.store.stop();
    let bytes = folder.path().join("switchboard.db").metadata().unwrap().len();
    assert!(bytes <= 512 << 10, "{bytes}");
}

#[test]
fn a_full_queue_fails_at_once_and_takes_more_when_it_is_done_with_some() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { queue_requests: 3, ..open_authentication() };
    let mut fixture = Fixture::open(folder.path(), &options);
    fixture.gate.close();
    fixture.submit(0, Request::LoadUser(user("gatekeeper")));
    fixture.answers();
    let tickets: Vec<Ticket> =
        (1..=3).map(|n| fixture.submit(0, message("alice", n, to_user("bob"), "x"))).collect();
    let (sender, refused) = mpsc::channel();
    // On a thread of its own, for the answer to it stands at the gate, too.
    let handle = fixture.store.handle();
    let submitter = std::thread::spawn(move || {
        handle.submit(1, Ticket(99), message("alice", 4, to_user("bob"), "x"));
        sender.send(()).unwrap();
    });
    assert_eq!(fixture.answers(), (1, vec![(Ticket(99), Answer::Failed)]));
    fixture.gate.open();
    refused.recv_timeout(PATIENCE).unwrap();
    submitter.join().unwrap();
    let expected = (1..).zip(tickets).map(|(seq, ticket)| (ticket, stored(seq))).collect();
    assert_eq!(fixture.answers(), (0, expected));
    assert_eq!(fixture.ask(message("alice", 4, to_user("bob"), "x")), stored(4));
}

#[test]
fn a_request_larger_than_the_queue_fails_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { queue_bytes: 10_000, ..open_authentication() };
    let mut fixture = Fixture::open(folder.path(), &options);
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), &large())), Answer::Failed);
    assert_eq!(fixture.ask(message("alice", 2, to_user("bob"), "small")), stored(1));
}

#[test]
fn requests_of_unknown_shards_fail() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let ticket = fixture.submit(2, Request::LoadUser(user("alice")));
    assert_eq!(fixture.answers(), (2, vec![(ticket, Answer::Failed)]));
}

#[test]
fn a_panic_of_the_driver_shows_in_the_health_and_does_not_end_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, events) = mpsc::channel();
    let sink = move |_shard: usize, event: StoreEvent| {
        let StoreEvent::Answers(answers) = event else { return };
        assert_ne!(answers[0].0, Ticket(1), "on purpose");
        sender.send(answers).unwrap();
    };
    let lock = DataFolder::lock(folder.path()).unwrap();
    let store = Store::open(&lock, &open_authentication(), 1, Box::new(sink)).unwrap();
    store.handle().submit(0, Ticket(1), Request::LoadUser(user("alice")));
    let health = store.health();
    wait_until("unhealthy", || !health.is_ok());
    assert!(health.failure().unwrap().text.contains("on purpose"));
    store.handle().submit(0, Ticket(2), message("alice", 1, to_user("bob"), "hello"));
    let (ticket, answer) = events.recv_timeout(PATIENCE).unwrap().remove(0);
    assert_eq!((ticket, plain(answer)), (Ticket(2), stored(1)));
    assert!(health.is_ok());
}

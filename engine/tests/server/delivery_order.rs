//! The way through the store: order, files before their messages, senders who leave, answers that fail, are
//! late, come twice or never.

use switchboard_engine::{Answer, Denial, FileKind, Request};

use crate::harness::{World, forwarded, group_text, heartbeat, relayed, secs, shout, text, upload};
use crate::store::stored;

const NOTHING: [&str; 0] = [];

#[test]
fn messages_arrive_in_the_order_sent_in_whatever_order_the_store_answers() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    for content in ["one", "two", "three"] {
        world.says(alice, text("bob", content));
    }
    assert_eq!(world.store.held.len(), 3, "all three are asked for at once");
    world.store_says(2, stored(3));
    world.store_says(1, stored(2));
    assert_eq!(world.hears(bob), NOTHING);
    world.store_says(0, stored(1));
    assert_eq!(world.hears(bob), ["one", "two", "three"]);
}

#[test]
fn a_message_that_is_not_stored_holds_up_nothing_behind_it() {
    for answer in [Answer::Failed, Answer::Refused] {
        let mut world = World::new();
        let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
        world.store_holds();
        for content in ["one", "two", "three"] {
            world.says(alice, text("bob", content));
        }
        world.store_says(1, answer.clone());
        world.store_says(1, stored(2));
        assert_eq!(world.hears(bob), NOTHING);
        world.store_says(0, stored(1));
        assert_eq!(world.hears(bob), ["one", "three"], "{answer:?}");
    }
}

#[test]
fn a_message_that_the_store_never_answers_for_holds_up_nothing_longer_than_the_time_out() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, text("bob", "one"));
    world.says(alice, text("bob", "two"));
    world.store_says(1, stored(2));
    world.passes(secs(9));
    assert_eq!(world.hears(bob), NOTHING);
    world.passes(secs(1));
    assert_eq!(world.hears(bob), ["two"]);
    world.store_says(0, stored(1));
    assert_eq!(world.hears(bob), NOTHING, "too late");
    assert_eq!((world.stats().store_failed, world.stats().stale_events), (1, 1));
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, text("bob", "one"));
    let (ticket, _) = world.store.held[0];
    for seq in [1, 1, 2] {
        let answer = stored(seq);
        world.happens(switchboard_engine::Event::Answered { ticket, answer });
    }
    assert_eq!(world.hears(bob), ["one"]);
    assert_eq!((world.stats().stored, world.stats().stale_events), (1, 2));
}

#[test]
fn an_answer_to_something_else_is_the_drivers_fault_and_delivers_nothing() {
    let wrong = [
        Answer::UserLoaded(switchboard_engine::UserProfile::default()),
        Answer::FileStored { name: "x".into(), kind: FileKind::Other },
    ];
    for answer in wrong {
        let mut world = World::new();
        let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
        world.store_holds();
        world.says(alice, text("bob", "one"));
        world.store_says(0, answer);
        assert_eq!((world.hears(bob), world.stats().driver_faults), (vec![], 1));
        assert_eq!(world.server().gauges().pending, 0);
    }
}

#[test]
fn senders_do_not_wait_for_each_other() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.store_holds();
    world.says(alice, text("carol", "from alice"));
    world.says(bob, text("carol", "from bob"));
    world.store_answers(1);
    assert_eq!(world.hears(carol), ["from bob"]);
}

#[test]
fn relays_and_heartbeats_do_not_wait_for_the_store() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, text("bob", "stored"));
    world.says(alice, relayed("bob", 12, "relayed"));
    world.says(alice, shout("shouted"));
    world.says(alice, heartbeat());
    assert_eq!(world.hears(bob), ["relayed", "shouted"]);
    assert_eq!(world.hears(alice), ["shouted", "pong"]);
}

#[test]
fn what_was_accepted_reaches_its_recipient_although_its_sender_has_gone() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, text("bob", "one"));
    world.says(alice, upload("bob", "two", "png"));
    world.says(alice, group_text("crew", "three"));
    world.leaves(alice);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["one", "two", "three"]);
}

#[test]
fn a_sender_who_came_back_meanwhile_hears_no_echo_from_the_group() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, group_text("crew", "hi"));
    world.leaves(alice);
    let alice = world.connects("alice");
    world.store_resumes();
    assert_eq!((world.hears(alice), world.hears(bob)), (vec!["welcome!".into()], vec!["hi".into()]));
}

#[test]
fn a_file_is_kept_before_its_message_and_both_before_what_was_sent_after() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, upload("bob", "picture", "png"));
    world.says(alice, text("bob", "did you see it?"));
    let asked = |world: &World| -> Vec<&'static str> {
        let name = |request: &Request| match request {
            Request::LoadUser(_) => "user",
            Request::StoreMessage(_) => "message",
            Request::StoreFile(_) => "file",
            Request::LoadHeads { .. } | Request::LoadMessages(_) => "log",
            Request::StoreMarks(_)
            | Request::StoreSeen(_)
            | Request::LoadSeen { .. }
            | Request::StoreReceived(_)
            | Request::LoadUnreceived { .. } => "other",
        };
        world.store.held.iter().map(|(_, request)| name(request)).collect()
    };
    assert_eq!(asked(&world), ["file"], "the text waits, so that the log has the order of sending");
    world.store_answers(0);
    assert_eq!(asked(&world), ["message", "message"]);
    assert_eq!(world.hears(bob), NOTHING);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["picture", "did you see it?"]);
    assert_eq!(world.store.texts(), ["picture", "did you see it?"]);
}

#[test]
fn files_of_one_connection_are_kept_one_after_the_other() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    for content in ["one", "two", "three"] {
        world.says(alice, upload("bob", content, "png"));
    }
    world.says(alice, text("bob", "four"));
    assert_eq!(world.store.held.len(), 1);
    world.store_resumes();
    let read: Vec<_> = world.reads(bob).into_iter().map(|m| (m.content, m.url)).collect();
    let read: Vec<_> = read.iter().map(|(content, url)| (content.as_str(), url.as_str())).collect();
    assert_eq!(read, [("one", "file-1"), ("two", "file-2"), ("three", "file-3"), ("four", "")]);
    assert_eq!(world.store.texts(), ["one", "two", "three", "four"]);
}

#[test]
fn a_file_that_is_not_kept_takes_its_message_along_and_nothing_else() {
    for answer in [Some(Answer::Refused), Some(Answer::Failed), None] {
        let mut world = World::new();
        let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
        world.says(alice, text("bob", "before"));
        world.store_holds();
        world.says(alice, upload("bob", "picture", "png"));
        world.says(alice, text("bob", "after"));
        match answer {
            Some(answer) => world.store_says(0, answer),
            None => {
                world.passes(secs(10));
                world.store.held.remove(0);
            }
        }
        world.store_resumes();
        assert_eq!(world.hears(bob), ["before", "after"]);
        assert_eq!(world.store.texts(), ["before", "after"]);
    }
}

#[test]
fn whose_files_have_no_room_is_told_so_by_the_server_in_its_turn() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    let phone = world.arrives("alice");
    world.store_holds();
    world.says(alice, upload("bob", "picture", "png"));
    world.says(alice, text("alice", "after"));
    world.store_says(0, Answer::Denied(Denial::FilesFull { limit_bytes: 1_000 }));
    world.store_resumes();
    let heard = world.reads(alice);
    assert_eq!((heard[0].from.as_str(), heard[0].to.as_str()), ("System", "alice"));
    assert!(heard[0].content.starts_with("your files may have 1000 bytes together"), "{heard:?}");
    assert_eq!(heard.len(), 1);
    assert_eq!(world.hears(bob), NOTHING);
    assert_eq!(world.hears(phone), ["after"], "it was asked on the other device");
    assert_eq!(world.store.texts(), ["after"]);
    // Who has gone is told nothing.
    world.store_holds();
    world.says(alice, upload("bob", "picture", "png"));
    world.leaves(alice);
    world.store_says(0, Answer::Denied(Denial::FilesFull { limit_bytes: 1_000 }));
    assert_eq!(world.hears(bob), NOTHING);
}

#[test]
fn whose_message_names_a_file_that_is_not_there_is_told_so_by_the_server() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, forwarded("bob", "gone.pdf"));
    world.says(alice, text("bob", "after"));
    world.store_says(0, Answer::Denied(Denial::NoFile));
    world.store_resumes();
    let heard = world.reads(alice);
    assert_eq!((heard[0].from.as_str(), heard[0].to.as_str()), ("System", "alice"));
    assert!(heard[0].content.starts_with("there is no such file"), "{heard:?}");
    assert_eq!(heard.len(), 1);
    assert_eq!(world.hears(bob), ["after"]);
}

#[test]
fn what_comes_before_the_user_is_loaded_is_done_in_order_after_the_welcome() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.says(alice, heartbeat());
    world.says(alice, text("bob", "one"));
    world.says(alice, group_text("crew", "two"));
    world.says(alice, shout("three"));
    assert_eq!((world.hears(alice), world.hears(bob)), (vec![], vec![]));
    world.store_resumes();
    assert_eq!(world.hears(alice), ["welcome!", "pong", "three"]);
    assert_eq!(world.hears(bob), ["three", "one", "two"], "only what is stored takes longer");
}

#[test]
fn a_fault_among_what_came_early_ends_it_there() {
    let mut world = World::new();
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.says(alice, shout("one"));
    world.sends(alice, &b"\xff"[..]);
    world.says(alice, shout("two"));
    world.store_resumes();
    assert_eq!(world.hears(bob), ["one"]);
    assert_eq!(world.closed(alice).map(switchboard_engine::CloseReason::code), Some(1007));
    assert_eq!(world.server().gauges().pending_bytes, 0);
}

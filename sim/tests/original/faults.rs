//! Faults that no schedule avoids: they show under every seed.

use bytes::Bytes;
use switchboard_engine::{Answer, Event, Instant, Record, Request, Topic};
use switchboard_proto::classic::Message;
use switchboard_sim::original::{OriginalHub, Table, Waiting};

use crate::chat::{Chat, PLACE, Store, bytes, group, group_text, heartbeat, photo, text, user};

const SEEDS: core::ops::Range<u64> = 0..50;

#[test]
fn a_stale_connections_close_removes_the_users_newer_session() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (old, new, bob) = (chat.arrives("alice"), chat.arrives("alice"), chat.arrives("bob"));
        chat.leaves(old);
        chat.settle();
        chat.says(bob, &text("bob", "alice", "still there?"));
        assert!(chat.is_open(new));
        assert_eq!(chat.hears(new), [""; 0]);
    }
}

#[test]
fn a_second_login_makes_the_first_session_deaf() {
    let mut chat = Chat::new(1);
    let (phone, laptop, bob) = (chat.arrives("alice"), chat.arrives("alice"), chat.arrives("bob"));
    chat.says(bob, &text("bob", "alice", "hi"));
    assert_eq!((chat.hears(phone), chat.hears(laptop)), (vec![], vec!["hi".to_owned()]));
    assert!(chat.is_open(phone));
}

#[test]
fn of_two_sessions_of_one_user_a_task_is_left_for_ever() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let conns = [chat.arrives("alice"), chat.arrives("alice")];
        for conn in conns {
            chat.leaves(conn);
            chat.settle();
        }
        assert_eq!(chat.hub.tasks(), 2);
    }
}

#[test]
fn one_client_that_does_not_read_freezes_everybody() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| chat.arrives(name));
        chat.stops_reading(mallory);
        chat.says(bob, &text("bob", "mallory", &"x".repeat(5_000)));
        chat.says(bob, &text("bob", "mallory", "one more"));
        assert_eq!(chat.hub.hub_waits_for(), Some(Waiting::HandOver(mallory)));
        chat.says(alice, &text("alice", "bob", "hello"));
        assert_eq!(chat.hears(bob), [""; 0]);
        let carol = chat.connects("carol");
        chat.settle();
        assert_eq!(chat.hears(carol), [""; 0]);
        // The frozen server looks alive to whoever says nothing: heartbeats are answered.
        chat.says(bob, &heartbeat());
        assert_eq!(chat.hears(bob), ["pong"]);
        // Alice's waits behind her text.
        chat.says(alice, &heartbeat());
        assert_eq!(chat.hears(alice), [""; 0]);
        chat.reads_again(mallory);
        chat.settle();
        assert_eq!(
            (chat.hears(bob), chat.hears(carol)),
            (vec!["hello".to_owned()], vec!["welcome!".to_owned()])
        );
    }
}

#[test]
fn a_stalled_reader_that_sends_a_heartbeat_ends_the_process() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| chat.arrives(name));
        chat.stops_reading(mallory);
        chat.says(bob, &text("bob", "mallory", &"x".repeat(5_000)));
        assert_eq!(chat.hub.hub_waits_for(), Some(Waiting::Work));
        chat.says(mallory, &heartbeat());
        assert_eq!(chat.hub.died(), Some("concurrent write to websocket connection"));
        assert!(!chat.is_open(alice) && !chat.is_open(bob) && !chat.is_open(mallory));
        assert_eq!((chat.hub.poll_timeout(), chat.hub.tasks()), (None, 0));
    }
}

#[test]
fn a_panic_in_a_frozen_process_does_not_even_end_it() {
    let mut chat = Chat::new(1);
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| chat.arrives(name));
    chat.stops_reading(mallory);
    chat.says(bob, &text("bob", "mallory", &"x".repeat(5_000)));
    chat.says(bob, &text("bob", "mallory", "one more"));
    // The read loop panics; before that ends the process it unregisters, and the hub does not listen.
    chat.says(mallory, &heartbeat());
    assert_eq!(chat.hub.died(), None);
    assert_eq!(chat.hub.hub_waits_for(), Some(Waiting::HandOver(mallory)));
    chat.says(alice, &text("alice", "bob", "hello?"));
    assert_eq!(chat.hears(bob), [""; 0]);
    chat.reads_again(mallory);
    chat.settle();
    assert_eq!(chat.hub.died(), Some("concurrent write to websocket connection"));
}

#[test]
fn garbage_is_sent_to_everybody() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (alice, mallory) = (chat.arrives("alice"), chat.arrives("mallory"));
        let garbage = Bytes::from_static(b"\xff\xff\xff not a message");
        chat.sends_bytes(mallory, garbage.clone());
        chat.settle();
        assert_eq!(chat.frames(alice)[0].payload(), &garbage);
    }
}

#[test]
fn a_message_that_breaks_off_is_taken_for_what_was_read_of_it() {
    let mut chat = Chat::new(1);
    let (alice, mallory) = (chat.arrives("alice"), chat.arrives("mallory"));
    let mut broken = bytes(&text("mallory", "alice", "half")).to_vec();
    broken.extend([0x5a, 0x7f]);
    chat.sends_bytes(mallory, broken.into());
    chat.settle();
    assert_eq!(chat.hears(alice), ["half"]);
}

#[test]
fn one_short_frame_ends_the_process() {
    for content in ["", "hi", "base64", "data:image/png;base64"] {
        let mut chat = Chat::new(1);
        let mallory = chat.arrives("mallory");
        chat.says(mallory, &Message { content_type: 2, ..text("mallory", "x", content) });
        assert_eq!(chat.hub.died(), Some("slice bounds out of range"), "{content:?}");
        assert!(!chat.is_open(mallory));
    }
}

#[test]
fn from_is_believed() {
    let mut chat = Chat::new(1);
    let [_alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| chat.arrives(name));
    chat.says(mallory, &text("alice", "bob", "I owe mallory money"));
    assert_eq!(chat.messages(bob)[0].from, "alice");
    assert_eq!(chat.stored()[0].sender, user("alice"));
}

#[test]
fn a_sender_who_is_not_connected_is_believed_too_and_leaves_no_trace() {
    let mut chat = Chat::new(1);
    let (bob, mallory) = (chat.arrives("bob"), chat.arrives("mallory"));
    chat.says(mallory, &text("alice", "bob", "pay mallory"));
    assert_eq!(chat.messages(bob)[0].from, "alice");
    assert_eq!(chat.asked, []);
}

#[test]
fn who_is_no_member_writes_to_the_group_all_the_same() {
    let mut chat = Chat::new(1);
    chat.group("team", &["alice", "bob"]);
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| chat.arrives(name));
    chat.says(mallory, &group_text("mallory", "team", "buy this"));
    assert_eq!(
        (chat.hears(alice), chat.hears(bob)),
        (vec!["buy this".to_owned()], vec!["buy this".to_owned()])
    );
    assert_eq!(chat.stored().len(), 1);
}

#[test]
fn what_could_not_be_stored_is_delivered_all_the_same() {
    let mut chat = Chat::new(1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.store = Store::Fails;
    chat.says(alice, &text("alice", "bob", "lost"));
    assert_eq!(chat.hears(bob), ["lost"]);
    chat.says(alice, &photo("alice", "bob"));
    let delivered = chat.messages(bob).remove(0);
    assert_eq!((&*delivered.url, &*delivered.file), ("", &b"pixels"[..]));
    assert_eq!(chat.stored().len(), 1, "a message whose file was not kept is not even tried");
}

#[test]
fn while_the_store_thinks_nobody_is_served() {
    let mut chat = Chat::new(1);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| chat.arrives(name));
    chat.store = Store::Silent;
    chat.says(alice, &text("alice", "bob", "stored"));
    let Some(Waiting::Store(ticket)) = chat.hub.hub_waits_for() else {
        panic!("the hub waits for the store")
    };
    // Not even a signal, which needs no store.
    chat.says(carol, &Message { content_type: 0, ..text("carol", "bob", "signal") });
    assert_eq!(chat.hears(bob), [""; 0]);
    chat.answers(ticket, Answer::MessageStored(PLACE));
    assert_eq!(chat.hears(bob), ["stored", "signal"]);
}

#[test]
fn the_senders_picture_is_looked_up_once_for_every_recipient() {
    let mut chat = Chat::new(1);
    let names = ["alice", "bob", "carol", "dave", "erin"];
    chat.group("team", &names);
    let conns = names.map(|name| chat.arrives(name));
    chat.says(conns[0], &group_text("alice", "team", "hello"));
    let looked_up = chat.asked.iter().filter(|request| **request == Request::LoadUser(user("alice"))).count();
    // Once to see whether she is a member, then once for each of the four others.
    assert_eq!(looked_up, 5);
}

#[test]
fn a_signal_without_a_recipient_reaches_everybody() {
    let mut chat = Chat::new(1);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| chat.arrives(name));
    let sdp = Message { content_type: 0, r#type: "webrtc".into(), ..text("bob", "", "sdp for alice") };
    chat.says(bob, &sdp);
    assert_eq!(chat.hears(alice), chat.hears(carol));
}

fn processes<const N: usize>() -> [Chat; N] {
    core::array::from_fn(|seed| Chat::of(OriginalHub::new(seed as u64, Instant::ZERO).on_bus()))
}

/// Takes what the first process has published to the second one.
fn carry([from, to]: &mut [Chat; 2]) {
    while let Some(message) = from.published.pop_front() {
        to.event(Event::Published(Record { topic: Topic::Everyone, stored: None, message }));
        to.settle();
    }
}

#[test]
fn a_groups_photo_is_lost_on_every_process_but_the_senders() {
    let mut nodes = processes::<2>();
    for node in &mut nodes {
        node.group("team", &["alice", "bob", "carol"]);
    }
    let [alice, bob] = ["alice", "bob"].map(|name| nodes[0].arrives(name));
    let carol = nodes[1].arrives("carol");
    nodes[0].says(alice, &Message { message_type: 2, ..photo("alice", "team") });
    carry(&mut nodes);
    assert_eq!(nodes[0].messages(bob)[0].url, "kept.png");
    let lost = nodes[1].messages(carol).remove(0);
    assert_eq!((&*lost.url, lost.file.len()), ("", 0));
}

#[test]
fn a_sender_who_is_connected_to_two_processes_is_stored_twice() {
    let mut nodes = processes::<2>();
    let phone = nodes[0].arrives("alice");
    nodes[1].arrives("alice");
    nodes[0].says(phone, &text("alice", "bob", "once"));
    carry(&mut nodes);
    let [one, other] = &nodes;
    assert_eq!((one.stored().len(), other.stored().len()), (1, 1));
    assert_ne!(one.stored()[0].id, other.stored()[0].id);
}

#[test]
fn a_groups_messages_show_up_in_a_private_history() {
    let mut chat = Chat::new(1);
    let mut table = Table::default();
    ["alice", "bob"].into_iter().for_each(|name| table.add_user(user(name)));
    // The second group has the number of the second user.
    ["friends", "work"].into_iter().for_each(|name| table.add_group(group(name)));
    let alice = chat.arrives("alice");
    chat.says(alice, &text("alice", "bob", "to bob"));
    chat.says(alice, &group_text("alice", "work", "to work"));
    for message in chat.stored() {
        assert!(table.store(message));
    }
    assert_eq!(table.private_history(&user("alice"), &user("bob")), ["to bob", "to work"]);
}

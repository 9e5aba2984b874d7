//! Faults that depend on the schedule: one seed shows them, another does not.

use bytes::Bytes;
use switchboard_engine::{ConnId, Frame};

use crate::chat::{Chat, bytes, heartbeat, search, text, user};

/// Alice's connection is lost, and she reconnects at the same moment.
fn alice_reconnects(seed: u64) -> Chat {
    let mut chat = Chat::new(seed);
    let old = chat.arrives("alice");
    chat.leaves(old);
    chat.connects("alice");
    chat.settle();
    chat
}

#[test]
fn a_reconnection_between_the_two_unregisterings_of_one_close_ends_the_process() {
    search("A reconnection ends the process", alice_reconnects, |chat| {
        chat.hub.died() == Some("close of closed channel")
    });
}

#[test]
fn a_reconnection_before_the_first_unregistering_is_thrown_out() {
    search("A reconnection is thrown out, silently", alice_reconnects, |chat| {
        chat.hub.died().is_none() && chat.hub.registered(&user("alice")).is_none()
    });
}

/// Three users broadcast at the same moment.
fn three_broadcast(seed: u64) -> Chat {
    let mut chat = Chat::new(seed);
    let conns = ["alice", "bob", "carol"].map(|name| chat.arrives(name));
    for (conn, name) in conns.iter().zip(["alice", "bob", "carol"]) {
        chat.sends(*conn, &text(name, "", "hello, all"));
    }
    chat.settle();
    chat
}

#[test]
fn a_broadcast_throws_out_whoever_is_busy_with_the_one_before() {
    search("A broadcast throws out whoever is busy", three_broadcast, |chat| {
        (0..3).any(|slot| !chat.is_open(ConnId::new(slot, 1)))
    });
}

#[test]
fn whoever_was_thrown_out_and_comes_back_ends_the_process() {
    let run = |seed| {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        chat.sends(bob, &text("bob", "", "one"));
        chat.sends(bob, &text("bob", "", "two"));
        while chat.is_open(alice) && chat.step() {}
        chat.connects("alice");
        chat.settle();
        chat
    };
    search("Whoever was thrown out and comes back ends the process", run, |chat| {
        chat.hub.died() == Some("close of closed channel")
    });
}

#[test]
fn two_writers_put_one_frame_into_the_bytes_of_another() {
    let hello = text("bob", "alice", "a text that is longer than a pong");
    let run = |seed| {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        chat.sends(bob, &hello);
        chat.sends(alice, &heartbeat());
        chat.settle();
        chat
    };
    let pong: &[u8] = b"\x2a\x04pong\x3a\x08heatbeat";
    let torn = [pong, &bytes(&hello)[pong.len()..]].concat();
    search("Two writers tear a frame", run, |chat| {
        chat.frames(ConnId::new(0, 1)).contains(&Frame::Message(Bytes::from(torn.clone())))
    });
}

#[test]
fn two_writers_at_the_same_moment_end_the_process() {
    let run = |seed| {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        chat.sends(bob, &text("bob", "alice", "hello"));
        chat.sends(alice, &heartbeat());
        chat.settle();
        chat
    };
    search("Two writers at one socket end the process", run, |chat| {
        chat.hub.died() == Some("concurrent write to websocket connection")
    });
}

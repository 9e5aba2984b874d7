//! Chats that come by the rules which no canary's chat comes by.

use bytes::Bytes;
use switchboard_engine::{Answer, DirectoryChangeKind, Event, PeerFault, Topic};

use super::chat::Chat;
use crate::{
    harness::{relayed, shout, signal, text, upload},
    store::{group, user},
};

pub(super) const CHATS: &[fn(&mut Chat)] = &[
    what_the_transport_finds_wrong,
    sizes_and_recipients,
    calls,
    early_messages,
    files,
    pictures_without_room,
    the_directory,
    the_bus,
    the_end,
];

fn what_the_transport_finds_wrong(chat: &mut Chat) {
    for fault in [PeerFault::Framing, PeerFault::TextMessage, PeerFault::ReceiveBudget] {
        let conn = chat.arrives("alice");
        chat.happens(Event::Misbehaved { conn, fault });
    }
    let conn = chat.arrives("alice");
    chat.happens(Event::Ping { conn, payload: Bytes::from_static(b"there?") });
    chat.happens(Event::PeerClosed { conn });
}

fn sizes_and_recipients(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.message_bytes = 1024;
        config.limits.byte_burst = 1024;
    });
    let (large, fast) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.says(large, text(&"x".repeat(129), "an id has 128 bytes at most"));
    chat.says(large, shout(&"x".repeat(1024)));
    let much = || relayed("carol", 12, &"x".repeat(900));
    (0..100).for_each(|_| chat.says(fast, much()));
}

fn calls(chat: &mut Chat) {
    let (alice, _) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.says(alice, signal("bob", 12, "dial"));
    chat.says(alice, signal("bob", 13, "cancel"));
}

fn early_messages(chat: &mut Chat) {
    chat.with(|config| config.limits.pending_per_connection = 2);
    let bob = chat.arrives("bob");
    chat.store.holds = true;
    let (gone, babbler, eager) = (chat.connects("carol"), chat.connects("dave"), chat.connects("erin"));
    chat.leaves(gone);
    chat.babbles(babbler);
    chat.says(babbler, shout("never heard"));
    (0..3).for_each(|_| chat.says(eager, shout("too much")));
    chat.says(bob, shout("over the heads of who is not welcomed"));
    chat.store_resumes();
}

fn files(chat: &mut Chat) {
    let alice = chat.arrives("alice");
    chat.store.holds = true;
    (0..2).for_each(|_| chat.says(alice, upload("bob", "look", "png")));
    chat.store_says(0, Answer::Refused);
    chat.store_resumes();
}

fn pictures_without_room(chat: &mut Chat) {
    chat.with(|config| config.limits.streams_per_connection = 1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.is_stuck(alice);
    chat.says(bob, relayed("alice", 8, "camera"));
    chat.says(bob, relayed("alice", 9, "screen"));
}

fn the_directory(chat: &mut Chat) {
    chat.with(|config| config.limits.groups_per_user = 1);
    chat.found("crew", &["alice"]);
    chat.found("club", &["alice"]);
    chat.arrives("alice");
    chat.directory_says(9, "nobody", DirectoryChangeKind::Joined(group("crew")));
    chat.store.holds = true;
    chat.connects("stranger");
    chat.store_says(0, Answer::Refused);
}

fn the_bus(chat: &mut Chat) {
    chat.found("crew", &["alice"]);
    chat.arrives("alice");
    let mut said = shout("hi");
    for topic in [Topic::Everyone, Topic::Group(group("crew")), Topic::User(user("alice"))] {
        said.from = "bob".into();
        chat.bus_says(topic, &said);
    }
    said.from = String::new();
    chat.bus_says(Topic::Everyone, &said);
}

fn the_end(chat: &mut Chat) {
    let alice = chat.arrives("alice");
    chat.is_stuck(alice);
    chat.happens(Event::Shutdown);
    chat.connects("bob");
    chat.passes(5);
}

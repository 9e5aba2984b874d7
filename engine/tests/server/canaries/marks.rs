//! Chats that come by the rules which no canary's chat comes by.

use bytes::Bytes;
use switchboard_engine::{Answer, ConnId, DirectoryChangeKind, Event, PeerFault, Topic};
use switchboard_proto::v1::{Heartbeat, call::Kind, client_frame, group_change};

use super::chat::Chat;
use crate::{
    harness::{narrows, relayed, shout, signal, text, upload},
    session_words::{
        call, change, crowded, edit, entry, fetch, hello, mark, resync, signal as signal_of, typing, watch,
    },
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
    sessions_at_the_door,
    submits_that_go_wrong,
    copies_for_devices,
    entries_of_other_engines,
    heads_and_pages,
    sessions_that_read_slowly,
    super::flow::a_storm,
    super::flow::a_greedy_user,
    super::authority::revocations,
    super::authority::notices,
    super::resend::what_is_not_sent_again,
    super::resend::what_is_replaced,
    super::resend::what_waits,
    super::resend::what_is_not_held,
    super::resend::what_is_never_answered,
    marks_that_go_wrong,
    marks_and_typing_over_the_bus,
    who_is_here,
    calls_of_sessions,
    calls_without_room,
    calls_of_other_engines,
];

fn calls_of_sessions(chat: &mut Chat) {
    let [alice, phone, _, carol] = super::calls::crew(chat);
    chat.frame(alice, call(Kind::Ring, 1, "bob"));
    chat.frame(phone, call(Kind::Decline, 1, "alice"));
    chat.frame(alice, call(Kind::Ring, 2, "bob"));
    chat.frame(phone, call(Kind::Accept, 2, "alice"));
    chat.frame(carol, signal_of(2, "not hers"));
    chat.frame(alice, signal_of(2, "hello"));
    chat.frame(alice, call(Kind::HangUp, 2, "bob"));
}

fn calls_without_room(chat: &mut Chat) {
    chat.found("crew", &["alice", "bob", "carol"]);
    chat.with(|config| (config.peers, config.limits.calls, config.limits.lag_bytes) = (false, 2, 600));
    let [alice, phone, _, carol] = [("alice", 1), ("bob", 2), ("bob", 3), ("carol", 4)]
        .map(|(name, n)| super::calls::device(chat, name, n));
    chat.frame(alice, call(Kind::Ring, 3, "bob"));
    chat.frame(carol, call(Kind::Ring, 4, "alice"));
    chat.frame(phone, call(Kind::Accept, 3, "alice"));
    chat.is_stuck(phone);
    (0..2).for_each(|_| chat.frame(alice, signal_of(3, &"x".repeat(500))));
}

fn calls_of_other_engines(chat: &mut Chat) {
    chat.found("crew", &["alice", "bob"]);
    let alice = super::calls::device(chat, "alice", 1);
    chat.frame(alice, call(Kind::Ring, 1, "bob"));
    for device in [b"0123456789abcdef", b"fedcba9876543210"] {
        super::calls::noted(chat, Kind::Accept, 1, "bob", "alice", device);
    }
}

fn who_is_here(chat: &mut Chat) {
    chat.with(|config| (config.presence, config.limits.connections) = (true, 4));
    chat.found("crew", &["alice", "bob"]);
    let alice = chat.signs_in("alice");
    chat.store.holds = true;
    chat.frame(alice, watch(&["", "bob", "eve"]));
    chat.store_says(0, Answer::Failed);
    chat.store_resumes();
    chat.passes(3);
    for (generation, who) in ["bob", "bob", "a", "b", "c", "d"].into_iter().enumerate() {
        let conn = chat.connects_as(who, ConnId::new(1, generation as u32 + 1));
        chat.leaves(conn);
    }
    chat.passes(9);
    chat.store.holds = true;
    chat.passes(11);
}

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

fn sessions_at_the_door(chat: &mut Chat) {
    chat.dials("alice");
    chat.passes(10);
    let bob = chat.signs_in("bob");
    chat.frame(bob, client_frame::Body::Heartbeat(Heartbeat { nonce: 1 }));
    chat.babbles(bob);
    chat.store.holds = true;
    let carol = chat.dials("carol");
    chat.frame(carol, hello(&[]));
    chat.submits(carol, 1, "bob", "hi");
    chat.leaves(carol);
    chat.store_resumes();
}

fn submits_that_go_wrong(chat: &mut Chat) {
    chat.with(|config| config.limits.pending_per_connection = 3);
    let alice = chat.signs_in("alice");
    chat.submits(alice, 1, "", "to nobody");
    chat.store.holds = true;
    (1..=4).for_each(|id| chat.submits(alice, id, "bob", "hi"));
    chat.store_says(0, Answer::Refused);
    chat.store_says(0, Answer::Failed);
    chat.store_resumes();
    chat.store.holds = true;
    (1..=2).for_each(|_| chat.submits(alice, 9, "bob", "twice"));
    chat.store_resumes();
}

fn copies_for_devices(chat: &mut Chat) {
    chat.found("crew", &["alice", "bob"]);
    let (alice, _) = (chat.signs_in("alice"), chat.signs_in("alice"));
    chat.signs_in("bob");
    chat.submits(alice, 1, "bob", "hi");
    chat.submits(alice, 2, "#crew", "all");
    for record in core::mem::take(&mut chat.published) {
        chat.happens(Event::Published(record));
    }
}

fn entries_of_other_engines(chat: &mut Chat) {
    chat.found("crew", &["alice", "bob"]);
    let alice = chat.signs_in("alice");
    chat.signs_in("bob");
    chat.frame(alice, entry(1, "bob", edit(1, "hi!")));
    chat.frame(alice, entry(2, "#crew", change(group_change::Kind::Kick, "bob")));
    chat.frame(alice, entry(1, "bob", edit(1, "hi!")));
    for note in core::mem::take(&mut chat.told) {
        chat.happens(Event::Told(note));
    }
}

fn heads_and_pages(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.cursors_per_hello = 256;
        config.limits.fetches_per_connection = 2;
    });
    chat.store.heads_per_page = Some(1);
    let alice = chat.signs_in("alice");
    chat.submits(alice, 1, "bob", "hi");
    chat.submits(alice, 2, "carol", "hi");
    chat.frame(alice, crowded(1, resync(&[("bob", 1), ("carol", 1)])));
    chat.store.holds = true;
    chat.frame(alice, resync(&[]));
    chat.frame(alice, resync(&[]));
    chat.store.held.remove(0);
    chat.store_says(0, Answer::Failed);
    chat.passes(1);
    chat.store_resumes();
    chat.frame(alice, fetch(1, "", 1));
    chat.frame(alice, fetch(2, "bob", 1));
    chat.store.holds = true;
    (3..=5).for_each(|id| chat.frame(alice, fetch(id, "bob", 1)));
    chat.store_says(0, Answer::Refused);
    chat.store_says(0, Answer::Failed);
}

fn sessions_that_read_slowly(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.message_bytes = 1024;
        narrows(config, 2048);
    });
    let (alice, bob) = (chat.signs_in("alice"), chat.signs_in("bob"));
    chat.is_stuck(alice);
    (1..=4).for_each(|id| chat.submits(bob, id, "alice", &"x".repeat(700)));
    chat.frame(alice, fetch(1, "bob", 1));
    chat.flushes(alice);
    (1..=99).for_each(|id| chat.submits(alice, id, "", "to nobody"));
}

fn marks_that_go_wrong(chat: &mut Chat) {
    let alice = chat.signs_in("alice");
    chat.submits(alice, 1, "bob", "hi");
    chat.frame(alice, mark("bob", 1, 2));
    chat.frame(alice, typing("#crew", true));
    (0..2).for_each(|_| chat.frame(alice, mark("bob", 1, 0)));
    chat.frame(alice, mark("carol", 1, 0));
    chat.store.holds = true;
    chat.frame(alice, mark("bob", 1, 1));
    chat.store_says(0, Answer::Failed);
}

fn marks_and_typing_over_the_bus(chat: &mut Chat) {
    let (alice, bob) = (chat.signs_in("alice"), chat.signs_in("bob"));
    chat.submits(alice, 1, "bob", "hi");
    chat.frame(bob, mark("alice", 1, 1));
    chat.frame(bob, typing("alice", true));
    for note in core::mem::take(&mut chat.told) {
        chat.happens(Event::Told(note));
    }
}

fn the_end(chat: &mut Chat) {
    let alice = chat.arrives("alice");
    chat.bus_tells(Topic::Everyone, b"\x07garbled".to_vec());
    chat.signs_in("carol");
    chat.is_stuck(alice);
    chat.happens(Event::Shutdown);
    chat.connects("bob");
    chat.passes(5);
}

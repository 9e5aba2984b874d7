//! What a peer can use up, and what happens at the limit.

use std::time::Duration;

use bytes::Bytes;
use switchboard_engine::{
    Answer, CloseReason, ConnId, DevicePolicy, Event, FRAME_COST_BYTES, PeerFault, ServerConfig,
};
use switchboard_proto::Message as _;

use crate::{
    harness::{World, heartbeat, relayed, secs, shout, text, upload},
    store::stored,
};

fn small(config: &mut ServerConfig) {
    config.limits.message_bytes = 1024;
    crate::harness::narrows(config, 2048);
}

#[test]
fn what_the_transport_finds_wrong_closes_with_its_own_code() {
    for (fault, reason, code) in [
        (PeerFault::Framing, CloseReason::ProtocolError, 1002),
        (PeerFault::TextMessage, CloseReason::TextMessage, 1003),
        (PeerFault::InvalidUtf8, CloseReason::Undecodable, 1007),
        (PeerFault::MessageTooLarge, CloseReason::MessageTooLarge, 1009),
        (PeerFault::ReceiveBudget, CloseReason::ServerFull, 1013),
    ] {
        let mut world = World::new();
        let alice = world.arrives("alice");
        world.misbehaves(alice, fault);
        assert_eq!(world.closed(alice), Some(reason));
        assert_eq!(reason.code(), code);
    }
}

#[test]
fn what_is_no_message_closes_its_sender_with_1007() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.sends(alice, Bytes::from_static(b"\x1a\x05ab"));
    assert_eq!(world.closed(alice).map(CloseReason::code), Some(1007));
    assert_eq!(world.stats().undecodable, 1);
}

#[test]
fn a_message_of_the_limit_passes_and_a_larger_one_closes_its_sender_with_1009() {
    let mut world = World::with(small);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    let of_size = |bytes: usize| {
        let empty = relayed("bob", 12, "").encoded_len() + "alice".len() + 2;
        relayed("bob", 12, &"x".repeat(bytes - empty - 3))
    };
    world.says(alice, of_size(1024));
    assert_eq!(world.frames(bob)[0].payload().len(), 1024);
    world.says(alice, of_size(1025));
    assert_eq!(world.closed(alice).map(CloseReason::code), Some(1009));
    assert_eq!(world.frames(bob), []);
}

#[test]
fn too_many_messages_close_their_sender_with_1008() {
    let mut world = World::with(|config| {
        config.limits.messages_per_second = 10;
        config.limits.message_burst = 5;
    });
    let alice = world.arrives("alice");
    (0..5).for_each(|_| world.says(alice, heartbeat()));
    for _ in 0..20 {
        world.passes(Duration::from_millis(100));
        world.says(alice, heartbeat());
    }
    assert_eq!(world.closed(alice), None, "ten a second are allowed");
    world.says(alice, heartbeat());
    assert_eq!(world.closed(alice), Some(CloseReason::TooManyMessages));
    assert_eq!(CloseReason::TooManyMessages.code(), 1008);
}

#[test]
fn too_many_bytes_close_their_sender_with_1008() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        config.limits.byte_burst = 2048;
        config.limits.bytes_per_second = 1000;
    });
    let alice = world.arrives("alice");
    let kilobyte = || shout(&"x".repeat(900));
    (0..2).for_each(|_| world.says(alice, kilobyte()));
    assert_eq!(world.closed(alice), None);
    world.says(alice, kilobyte());
    assert_eq!(world.closed(alice), Some(CloseReason::TooManyBytes));
    assert_eq!(CloseReason::TooManyBytes.code(), 1008);
}

#[test]
fn pings_and_pongs_count_as_messages() {
    let ping = |conn| Event::Ping { conn, payload: Bytes::new() };
    let pong = |conn| Event::Pong { conn, payload: Bytes::new() };
    for event in [ping as fn(_) -> _, pong] {
        let mut world = World::with(|config| config.limits.message_burst = 5);
        let alice = world.arrives("alice");
        (0..5).for_each(|_| world.happens(event(alice)));
        assert_eq!(world.closed(alice), None);
        world.happens(event(alice));
        assert_eq!(world.closed(alice), Some(CloseReason::TooManyMessages));
    }
}

#[test]
fn who_does_not_read_is_closed_with_1013_once_its_byte_limit_is_reached_and_not_before() {
    let mut world = World::with(small);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    world.says(bob, relayed("alice", 12, "x"));
    let cost = world.frames(alice)[0].payload().len() as u64 + FRAME_COST_BYTES;
    let room = 2048 / cost;
    (1..room).for_each(|_| world.says(bob, relayed("alice", 12, "x")));
    assert_eq!((world.closed(alice), world.server().gauges().unflushed), (None, room));
    world.says(bob, relayed("alice", 12, "x"));
    assert_eq!(world.closed(alice), Some(CloseReason::SlowReader));
    assert_eq!(CloseReason::SlowReader.code(), 1013);
    assert_eq!(world.stats().pushes_dropped_full, 1);
    assert_eq!(world.frames(alice).len() as u64, room - 1, "what had room is still written");
}

#[test]
fn who_reads_again_in_time_has_missed_nothing() {
    let mut world = World::with(small);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    for _ in 0..10 {
        world.stops_reading(alice);
        (0..10).for_each(|_| world.says(bob, text("alice", "x")));
        world.reads_again(alice);
        assert_eq!(world.reads(alice).len(), 10);
    }
    assert_eq!(world.closed(alice), None);
}

#[test]
fn too_many_pending_of_one_connection_close_it_with_1013_and_keep_what_was_accepted() {
    let mut world = World::with(|config| config.limits.pending_per_connection = 2);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    (0..3).for_each(|n| world.says(alice, text("bob", &n.to_string())));
    assert_eq!(world.closed(alice), Some(CloseReason::TooManyPending));
    assert_eq!(CloseReason::TooManyPending.code(), 1013);
    world.says(bob, text("alice", "others have room"));
    assert_eq!(world.closed(bob), None);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["0", "1"]);
}

#[test]
fn too_many_pending_of_all_close_whoever_sends_one_more() {
    let mut world = World::with(|config| config.limits.pending = 2);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    (0..2).for_each(|_| world.says(alice, text("bob", "x")));
    world.says(bob, text("alice", "x"));
    assert_eq!((world.closed(alice), world.closed(bob)), (None, Some(CloseReason::TooManyPending)));
}

#[test]
fn too_many_pending_bytes_close_whoever_sends_more() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        config.limits.pending_bytes = 2048;
    });
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    (0..2).for_each(|_| world.says(alice, upload("bob", &"x".repeat(900), "bin")));
    assert_eq!(world.closed(alice), None);
    world.says(bob, text("alice", &"x".repeat(900)));
    assert_eq!(world.closed(bob), Some(CloseReason::TooManyPending));
    assert_eq!(world.stats().refused_pending, 1);
}

#[test]
fn what_has_left_the_pipeline_makes_room_again() {
    let mut world = World::with(|config| config.limits.pending = 2);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    for answer in [stored(1), Answer::Failed, Answer::Refused] {
        (0..2).for_each(|_| world.says(alice, text("bob", "x")));
        (0..2).for_each(|_| world.store_says(0, answer.clone()));
    }
    assert_eq!(world.closed(alice), None);
    assert_eq!(world.reads(bob).len(), 2);
}

#[test]
fn too_many_messages_before_the_user_is_loaded_close_the_connection_with_1013() {
    let mut world = World::with(|config| config.limits.pending_per_connection = 2);
    world.store_holds();
    let alice = world.connects("alice");
    (0..3).for_each(|_| world.says(alice, heartbeat()));
    assert_eq!(world.closed(alice), Some(CloseReason::TooManyPending));
    world.store_resumes();
    assert_eq!(world.server().gauges().pending_bytes, 0);
}

#[test]
fn what_a_user_sends_and_leaves_behind_before_it_is_loaded_has_a_limit_too() {
    let mut world = World::with(|config| config.limits.pending_per_connection = 2);
    let bob = world.arrives("bob");
    world.store_holds();
    for content in ["one", "two", "three"] {
        let alice = world.connects("alice");
        world.says(alice, shout(content));
        world.leaves(alice);
    }
    assert_eq!(world.stats().refused_pending, 1);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["one", "two"]);
}

#[test]
fn the_newest_connection_wins_where_a_user_may_have_one() {
    let mut world = World::with(|config| config.devices = DevicePolicy::NewestWins);
    let (old, new) = (world.arrives("alice"), world.arrives("alice"));
    assert_eq!((world.closed(old), world.closed(new)), (Some(CloseReason::TakenOver), None));
    assert_eq!(CloseReason::TakenOver.code(), 4000);
}

#[test]
fn the_oldest_connection_goes_where_a_user_has_too_many() {
    let mut world = World::with(|config| config.limits.connections_per_user = 2);
    let conns = [0; 4].map(|_| world.arrives("alice"));
    let gone = Some(CloseReason::TooManyDevices);
    assert_eq!(conns.map(|conn| world.closed(conn)), [gone, gone, None, None]);
    assert_eq!(CloseReason::TooManyDevices.code(), 4001);
}

#[test]
fn a_slot_beyond_the_limit_or_still_in_use_is_the_drivers_fault_and_harms_nobody() {
    let mut world = World::with(|config| config.limits.connections = 2);
    let alice = world.connects_as("alice", ConnId::new(0, 1));
    let beyond = world.connects_as("bob", ConnId::new(2, 1));
    let taken = world.connects_as("bob", ConnId::new(0, 2));
    assert!(world.aborted(beyond) && world.aborted(taken));
    assert_eq!(world.stats().driver_faults, 2);
    assert_eq!((world.server().gauges().connections, world.server().gauges().users), (1, 1));
    world.says(alice, shout("unharmed"));
    assert_eq!(world.hears(alice), ["welcome!", "unharmed"]);
}

#[test]
fn a_recipient_that_cannot_be_an_id_is_refused() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    for to in ["x".repeat(129), "line\nbreak".to_owned(), "System".to_owned()] {
        world.says(alice, text(&to, "stored"));
        world.says(alice, relayed(&to, 12, "relayed"));
    }
    assert_eq!((world.stats().refused_recipient, world.closed(alice)), (6, None));
    assert_eq!(world.store.log, []);
}

#[test]
fn flushes_of_frames_that_were_never_sent_are_the_drivers_fault() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.happens(Event::Flushed { conn: alice, frames: 1, payload_bytes: 10 });
    assert_eq!(world.stats().driver_faults, 1);
    world.passes(secs(1));
}

#[test]
fn a_configuration_that_contradicts_itself_about_sessions_is_refused_by_the_fields_name() {
    type Change = fn(&mut ServerConfig);
    let wrong: [(&str, Change); 14] = [
        ("hello_timeout", |config| config.hello_timeout = secs(0)),
        ("heartbeat_interval", |config| config.heartbeat_interval = secs(0)),
        ("heartbeat_interval", |config| config.heartbeat_interval = config.idle_timeout),
        ("resync_interval", |config| config.resync_interval = secs(0)),
        ("resync_interval", |config| config.resync_interval = secs(5_000_000)),
        ("reconnect_after", |config| config.reconnect_after = secs(5_000_000)),
        ("reconnect_spread", |config| config.reconnect_spread = secs(5_000_000)),
        ("lag_bytes", |config| config.limits.lag_bytes = config.limits.outbox_bytes),
        ("fetches_per_connection", |config| config.limits.fetches_per_connection = 0),
        ("marks_per_connection", |config| config.limits.marks_per_connection = 0),
        ("page_messages", |config| config.limits.page_messages = 0),
        ("page_bytes", |config| config.limits.page_bytes = config.limits.outbox_bytes),
        ("cursors_per_hello", |config| config.limits.cursors_per_hello = 255),
        ("heads_per_frame", |config| config.limits.heads_per_frame = 0),
    ];
    for (field, change) in wrong {
        let mut config = ServerConfig::default();
        assert_eq!(config.validate(), Ok(()));
        change(&mut config);
        assert_eq!(config.validate().map_err(|error| error.field), Err(field));
    }
}

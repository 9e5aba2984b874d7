//! Sessions arrive, introduce themselves, are told where they are, and go.

use switchboard_engine::{Answer, CloseReason, ConnId, DevicePolicy, Event, PeerFault};
use switchboard_proto::v1::{Heartbeat, client_frame, server_frame::Body};

use crate::{
    harness::{World, secs, text},
    session_words::{crowded, fetch, hello, resync, submit},
};

const NOTHING: [&str; 0] = [];

fn heartbeat(nonce: u64) -> client_frame::Body {
    client_frame::Body::Heartbeat(Heartbeat { nonce })
}

fn code(world: &World, conn: ConnId) -> Option<u16> {
    world.closed(conn).map(CloseReason::code)
}

#[test]
fn a_session_says_hello_and_is_welcomed_and_told_that_it_has_missed_nothing() {
    let mut world = World::new();
    let alice = world.dials("alice");
    assert_eq!(world.sees(alice), NOTHING);
    world.frame(alice, hello(&[]));
    assert_eq!(world.sees(alice), ["welcome alice", "heads ."]);
}

#[test]
fn the_welcome_names_the_session_the_intervals_and_the_limits() {
    let mut world = World::with(|config| {
        config.heartbeat_interval = secs(11);
        config.resync_interval = secs(12);
        config.limits.page_messages = 13;
        config.limits.fetches_per_connection = 3;
        config.limits.cursors_per_hello = 1_400;
    });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let alice = world.dials("alice");
        world.frame(alice, hello(&[]));
        let Some(Body::Welcome(welcome)) = world.told(alice).into_iter().next() else { panic!("a welcome") };
        assert_eq!((welcome.heartbeat_interval_ms, welcome.resync_interval_ms), (11_000, 12_000));
        let limits = welcome.limits.unwrap();
        assert_eq!((limits.page_messages, limits.fetches, limits.cursors), (13, 3, 1_400));
        let configured = &world.server().config().limits;
        assert_eq!((limits.message_bytes, limits.pending), (configured.message_bytes, 2_048));
        assert_eq!((limits.messages_per_second, limits.message_burst), (1_000, 2_000));
        assert_eq!((limits.bytes_per_second, limits.byte_burst), (8 << 20, 32 << 20));
        assert_eq!(welcome.session_id.len(), 16);
        ids.push(welcome.session_id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn nothing_is_pushed_before_the_welcome() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.dials("alice"), world.signs_in("bob"));
    world.submits(bob, 1, "alice", "too early");
    world.submits(bob, 2, "#crew", "this too");
    assert_eq!(world.sees(alice), NOTHING);
    world.frame(alice, hello(&[]));
    assert_eq!(world.sees(alice), ["welcome alice", "heads bob/1 #crew/1."]);
    world.submits(bob, 3, "alice", "in time");
    assert_eq!(world.sees(alice), ["bob/2 bob: in time"]);
}

#[test]
fn who_does_not_say_hello_in_time_is_closed() {
    let mut world = World::with(|config| config.hello_timeout = secs(3));
    let alice = world.dials("alice");
    world.passes(secs(2));
    assert_eq!(code(&world, alice), None);
    world.passes(secs(1));
    assert_eq!(code(&world, alice), Some(4003));
    assert_eq!(world.sees(alice), NOTHING, "who does not speak the protocol is not said goodbye in it");
    assert_eq!(world.stats().refused_out_of_turn, 1);
}

#[test]
fn a_hello_that_came_before_the_user_was_loaded_came_in_time() {
    let mut world = World::with(|config| config.hello_timeout = secs(3));
    world.store_holds();
    let (alice, bob) = (world.dials("alice"), world.dials("bob"));
    world.frame(alice, hello(&[]));
    world.passes(secs(4));
    assert_eq!((code(&world, alice), code(&world, bob)), (None, Some(4003)));
    world.store_resumes();
    assert_eq!(world.sees(alice), ["welcome alice", "heads ."]);
    world.passes(secs(9));
    assert_eq!(code(&world, alice), None);
}

#[test]
fn what_comes_before_the_user_is_loaded_is_done_in_order() {
    let mut world = World::new();
    let bob = world.signs_in("bob");
    world.store_holds();
    let alice = world.dials("alice");
    world.frame(alice, hello(&[]));
    world.submits(alice, 1, "bob", "one");
    world.frame(alice, heartbeat(9));
    world.store_resumes();
    assert_eq!(world.sees(alice), ["welcome alice", "heartbeat 9", "heads .", "accepted 1 as bob/1"]);
    assert_eq!(world.sees(bob), ["alice/1 alice: one"]);
}

#[test]
fn what_a_session_submitted_that_left_before_it_was_loaded_is_stored() {
    let mut world = World::new();
    let bob = world.signs_in("bob");
    world.store_holds();
    for first in [hello(&[]), heartbeat(1)] {
        let alice = world.dials("alice");
        world.frame(alice, first);
        world.submits(alice, 1, "bob", "one");
        world.frame(alice, fetch(1, "bob", 1));
        world.leaves(alice);
    }
    world.store_resumes();
    assert_eq!(world.sees(bob), ["alice/1 alice: one"], "once: the second said no hello");
    assert_eq!(world.server().gauges().requests, 0);
}

#[test]
fn a_frame_out_of_turn_closes() {
    for early in [heartbeat(1), submit(1, "bob", "hi"), fetch(1, "bob", 1), resync(&[])] {
        let mut world = World::new();
        let alice = world.dials("alice");
        world.frame(alice, early);
        assert_eq!(code(&world, alice), Some(4003));
        assert_eq!(world.store.log, []);
    }
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.frame(alice, hello(&[]));
    assert_eq!(code(&world, alice), Some(4003));
    assert_eq!(world.stats().refused_out_of_turn, 1);
}

#[test]
fn what_is_no_frame_closes_and_says_what_would_be_one() {
    for garbage in [&b"\xff"[..], b""] {
        let mut world = World::new();
        let alice = world.signs_in("alice");
        world.sends(alice, garbage);
        let reason = world.closed(alice).unwrap();
        assert_eq!((reason, reason.code()), (CloseReason::UndecodableFrame, 1007));
        assert!(reason.text().contains("switchboard.v1.ClientFrame"));
        assert_eq!(world.sees(alice), NOTHING);
    }
}

#[test]
fn a_heartbeat_is_answered_with_its_nonce() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.frame(alice, heartbeat(77));
    assert_eq!(world.sees(alice), ["heartbeat 77"]);
}

#[test]
fn heads_name_what_is_not_where_the_client_is() {
    let mut world = World::new();
    world.found("crew", &["alice"]);
    let alice = world.arrives("alice");
    for (to, content) in [("bob", "one"), ("bob", "two"), ("carol", "three"), ("dave", "four")] {
        world.says(alice, text(to, content));
    }
    let phone = world.dials("alice");
    world.frame(phone, hello(&[("bob", 2), ("carol", 0), ("nobody", 7)]));
    assert_eq!(world.sees(phone), ["welcome alice", "heads carol/1 dave/1."]);
    world.frame(phone, resync(&[("carol", 1), ("bob", 1), ("dave", 1)]));
    assert_eq!(world.sees(phone), ["heads bob/2."]);
}

#[test]
fn another_epoch_is_another_log() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "bob", "hi");
    world.told(alice);
    let client_frame::Body::Resync(mut frame) = resync(&[("bob", 1)]) else { panic!("a resync") };
    frame.cursors[0].epoch += 1;
    world.frame(alice, client_frame::Body::Resync(frame));
    assert_eq!(world.sees(alice), ["heads bob/1."]);
}

#[test]
fn heads_come_in_pages_and_in_frames_of_bounded_size() {
    let mut world = World::with(|config| config.limits.heads_per_frame = 2);
    world.store.heads_per_page = Some(3);
    let alice = world.signs_in("alice");
    for (id, to) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        world.submits(alice, id as u8 + 1, to, "hi");
    }
    world.told(alice);
    world.frame(alice, resync(&[]));
    assert_eq!(world.sees(alice), ["heads a/1 b/1", "heads c/1", "heads d/1 e/1."]);
    world.frame(alice, resync(&[("d", 1), ("e", 1)]));
    assert_eq!(world.sees(alice), ["heads a/1 b/1", "heads c/1", "heads ."]);
}

#[test]
fn cursors_beyond_the_limit_and_of_nobody_cost_a_head_and_nothing_else() {
    let mut world = World::with(|config| config.limits.cursors_per_hello = 256);
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "bob", "hi");
    world.submits(alice, 2, "carol", "hi");
    world.told(alice);
    world.frame(alice, crowded(1, resync(&[("bob", 1), ("carol", 1)])));
    assert_eq!(world.sees(alice), ["heads carol/1."]);
    world.frame(alice, resync(&[("", 1)]));
    assert_eq!(world.sees(alice), ["heads bob/1 carol/1."]);
}

#[test]
fn a_load_of_heads_that_fails_or_is_not_answered_is_tried_again_until_it_succeeds_or_the_session_ends() {
    let mut world = World::with(|config| config.reload_interval = secs(2));
    let alice = world.signs_in("alice");
    world.store_holds();
    world.frame(alice, resync(&[]));
    world.store_says(0, Answer::Failed);
    assert_eq!(world.store.held.len(), 0);
    world.passes(secs(2));
    assert_eq!(world.store.held.len(), 1);
    world.store.held.clear();
    world.passes(secs(10));
    world.passes(secs(2));
    assert_eq!((world.sees(alice), world.stats().heads_failed), (vec![], 2));
    world.store_answers(0);
    assert_eq!(world.sees(alice), ["heads ."]);
    world.frame(alice, resync(&[]));
    world.store_says(0, Answer::Failed);
    world.leaves(alice);
    world.passes(secs(9));
    assert_eq!(world.store.held.len(), 0);
}

#[test]
fn heads_of_a_user_whom_the_store_does_not_know_are_none() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.store_holds();
    world.frame(alice, resync(&[]));
    world.store_says(0, Answer::Refused);
    assert_eq!(world.sees(alice), ["heads ."]);
}

#[test]
fn a_resync_replaces_the_one_before_it() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "bob", "hi");
    world.told(alice);
    world.store_holds();
    world.frame(alice, resync(&[("bob", 1)]));
    world.frame(alice, resync(&[]));
    world.store_answers(0);
    assert_eq!(world.sees(alice), NOTHING);
    assert_eq!(world.server().gauges().cursors, 0);
    world.store_answers(0);
    assert_eq!(world.sees(alice), ["heads bob/1."]);
}

#[test]
fn cursors_are_kept_until_the_last_page_only() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.store_holds();
    world.frame(alice, resync(&[("bob", 1), ("carol", 2)]));
    assert_eq!(world.server().gauges().cursors, 2);
    world.store_resumes();
    assert_eq!(world.server().gauges().cursors, 0);
}

#[test]
fn before_it_is_closed_a_session_is_told_when_to_come_back() {
    let mut world = World::with(|config| {
        config.reconnect_after = secs(3);
        config.reconnect_spread = secs(30);
    });
    let alice = world.signs_in("alice");
    world.happens(Event::Shutdown);
    let Some(Body::Goodbye(goodbye)) = world.told(alice).pop() else { panic!("a goodbye") };
    assert_eq!((goodbye.reconnect_after_ms, goodbye.reconnect_spread_ms), (3_000, 30_000));
    assert_eq!(goodbye.text, CloseReason::GoingAway.text());
}

#[test]
fn who_was_taken_over_is_told_never_to_come_back_by_itself() {
    let mut world = World::with(|config| config.devices = DevicePolicy::NewestWins);
    let (first, second) = (world.signs_in("alice"), world.signs_in("alice"));
    assert_eq!(world.sees(first), [format!("goodbye, {} ms", u32::MAX)]);
    assert_eq!(world.closed(first), Some(CloseReason::TakenOver));
    let classic = world.arrives("alice");
    assert_eq!(world.closed(second), Some(CloseReason::TakenOver));
    let third = world.dials("alice");
    assert_eq!(world.closed(classic), Some(CloseReason::TakenOver));
    assert_eq!(world.closed(third), None);
}

#[test]
fn connections_of_both_protocols_count_as_the_users() {
    let mut world = World::with(|config| config.limits.connections_per_user = 2);
    let (oldest, _, _) = (world.arrives("alice"), world.signs_in("alice"), world.signs_in("alice"));
    assert_eq!(world.closed(oldest), Some(CloseReason::TooManyDevices));
    assert_eq!((world.server().gauges().sessions, world.server().gauges().users), (2, 1));
}

#[test]
fn a_fault_of_the_peers_ends_a_session_without_a_goodbye() {
    for fault in [PeerFault::Framing, PeerFault::TextMessage, PeerFault::InvalidUtf8] {
        let mut world = World::new();
        let alice = world.signs_in("alice");
        world.misbehaves(alice, fault);
        assert!(world.closed(alice).is_some());
        assert_eq!(world.sees(alice), NOTHING);
    }
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.misbehaves(alice, PeerFault::MessageTooLarge);
    assert_eq!(world.sees(alice), ["goodbye, 1000 ms"]);
}

#[test]
fn a_silent_session_is_pinged_and_a_dead_one_closed() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.passes(secs(25));
    assert_eq!(world.frames(alice).len(), 1, "a ping");
    world.is_unplugged(alice);
    world.passes(secs(60));
    assert_eq!(world.closed(alice), Some(CloseReason::Idle));
}

#[test]
fn a_session_that_sends_too_fast_is_closed() {
    let mut world = World::with(|config| config.limits.message_burst = 3);
    let alice = world.signs_in("alice");
    (0..3).for_each(|nonce| world.frame(alice, heartbeat(nonce)));
    assert_eq!(world.closed(alice), Some(CloseReason::TooManyMessages));
    assert_eq!(world.sees(alice), ["heartbeat 0", "heartbeat 1", "goodbye, 1000 ms"]);
}

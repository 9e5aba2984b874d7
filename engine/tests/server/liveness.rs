//! Pings, signs of life, and the ends of connections that give none.

use bytes::Bytes;
use switchboard_engine::{CloseReason, Event, Frame};

use crate::harness::{World, heartbeat, secs, text};

fn ping(position: u64) -> Frame {
    Frame::Ping(Bytes::copy_from_slice(&position.to_be_bytes()))
}

#[test]
fn a_silent_connection_is_pinged_with_the_number_of_frames_sent_before() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(bob, text("alice", "one"));
    world.says(bob, text("alice", "two"));
    world.frames(alice);
    world.passes(secs(24));
    assert_eq!(world.frames(alice), []);
    world.passes(secs(1));
    assert_eq!(world.frames(alice), [ping(3)], "the welcome and two texts");
    world.passes(secs(25));
    assert_eq!(world.frames(alice), [ping(4)], "the ping counts too");
}

#[test]
fn who_says_something_is_not_pinged() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    for _ in 0..5 {
        world.passes(secs(20));
        world.says(alice, heartbeat());
    }
    assert!(world.frames(alice).iter().all(|frame| matches!(frame, Frame::Message(_))));
}

#[test]
fn an_idle_client_that_only_answers_pings_lives() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.passes(secs(3600));
    assert_eq!(world.closed(alice), None);
    assert!(world.frames(alice).len() >= 100, "it was pinged all the time");
}

#[test]
fn no_heartbeat_is_ever_required_and_any_traffic_is_a_sign_of_life() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.is_unplugged(alice); // Nothing comes by itself any more.
    for _ in 0..5 {
        world.passes(secs(59));
        world.happens(Event::Ping { conn: alice, payload: Bytes::from_static(b"?") });
    }
    assert_eq!(world.closed(alice), None);
    world.passes(secs(59));
    world.says(alice, text("bob", "hi"));
    world.passes(secs(59));
    assert_eq!(world.closed(alice), None);
    world.passes(secs(1));
    assert_eq!(world.closed(alice), Some(CloseReason::Idle));
}

#[test]
fn a_dead_peer_is_closed_at_the_idle_time_out_and_cut_off_at_the_closing_one() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.is_unplugged(alice);
    world.passes(secs(59));
    assert_eq!(world.closed(alice), None);
    world.passes(secs(1));
    assert_eq!((world.closed(alice), world.aborted(alice)), (Some(CloseReason::Idle), false));
    world.passes(secs(4));
    assert!(!world.aborted(alice));
    world.passes(secs(1));
    assert!(world.aborted(alice));
    assert_eq!(world.server().gauges().connections, 0);
    assert_eq!(world.server().poll_timeout(), None, "nothing is left to watch");
}

#[test]
fn a_closing_connection_is_cut_off_in_time_even_if_it_was_a_ping_that_filled_it() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        crate::harness::narrows(config, 2048);
    });
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    // Two frames of 960 payload bytes and their cost leave no room for a ping.
    (0..2).for_each(|_| world.says(bob, text("alice", &"x".repeat(941))));
    assert_eq!(world.frames(alice).iter().map(|frame| frame.payload().len()).sum::<usize>(), 2 * 960);
    world.passes(secs(25));
    assert_eq!(world.closed(alice), Some(CloseReason::SlowReader));
    assert!(!world.aborted(alice));
    world.passes(secs(5));
    assert!(world.aborted(alice));
}

#[test]
fn a_websocket_ping_is_answered_with_its_payload() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.happens(Event::Ping { conn: alice, payload: Bytes::from_static(b"there?") });
    assert_eq!(world.frames(alice), [Frame::Pong(Bytes::from_static(b"there?"))]);
}

#[test]
fn who_closes_is_sent_what_was_on_its_way_and_nothing_more() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    world.says(bob, text("alice", "one"));
    world.happens(Event::PeerClosed { conn: alice });
    assert_eq!(world.closed(alice), Some(CloseReason::PeerClosed));
    world.says(bob, text("alice", "two"));
    assert_eq!(world.hears(alice), ["one"]);
    world.says(alice, text("bob", "a ghost"));
    assert_eq!(world.reads(bob), [], "what comes after its close frame is not read");
    world.leaves(alice);
    assert_eq!(world.server().gauges().connections, 1);
}

//! Camera and screen frames: of each sender and kind, only the newest unsent one is kept.

use switchboard_proto::classic::Message;

use crate::harness::{World, relayed, text};

const CAMERA: i32 = 8;
const SCREEN: i32 = 9;

fn picture(content_type: i32, content: &str) -> Message {
    relayed("alice", content_type, content)
}

#[test]
fn a_fast_reader_sees_every_picture() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    for content in ["1", "2", "3"] {
        world.says(bob, picture(SCREEN, content));
    }
    assert_eq!(world.hears(alice), ["1", "2", "3"]);
    assert_eq!(world.stats().pushes_dropped_superseded, 0);
}

#[test]
fn a_slow_reader_gets_the_newest_picture_and_what_was_between_is_counted() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    for content in ["1", "2", "3", "4", "5"] {
        world.says(bob, picture(SCREEN, content));
    }
    assert_eq!(world.hears(alice), ["1"], "the first is on its way");
    world.flushes(alice, 1);
    assert_eq!(world.hears(alice), ["5"]);
    assert_eq!(world.stats().pushes_dropped_superseded, 3);
    world.flushes(alice, 1);
    assert_eq!(world.hears(alice), [""; 0]);
    assert_eq!((world.server().gauges().unflushed, world.server().gauges().held), (0, 0));
}

#[test]
fn senders_and_kinds_are_kept_apart() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.stops_reading(alice);
    for round in 1..=3 {
        world.says(bob, picture(SCREEN, &format!("bob's screen {round}")));
        world.says(bob, picture(CAMERA, &format!("bob's camera {round}")));
        world.says(carol, picture(SCREEN, &format!("carol's screen {round}")));
    }
    assert_eq!(world.hears(alice), ["bob's screen 1", "bob's camera 1", "carol's screen 1"]);
    world.reads_again(alice);
    assert_eq!(world.hears(alice), ["bob's screen 3", "bob's camera 3", "carol's screen 3"]);
}

#[test]
fn each_picture_waits_for_its_predecessor_alone() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.stops_reading(alice);
    for round in 1..=2 {
        world.says(bob, picture(SCREEN, &format!("bob {round}")));
        world.says(carol, picture(SCREEN, &format!("carol {round}")));
    }
    world.hears(alice);
    world.flushes(alice, 1);
    assert_eq!(world.hears(alice), ["bob 2"], "carol's first is still on its way");
}

#[test]
fn texts_neither_wait_for_pictures_nor_replace_them() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    world.says(bob, picture(SCREEN, "1"));
    world.says(bob, picture(SCREEN, "2"));
    world.says(bob, text("alice", "can you see it?"));
    assert_eq!(world.hears(alice), ["1", "can you see it?"]);
    world.reads_again(alice);
    assert_eq!(world.hears(alice), ["2"]);
}

#[test]
fn pictures_for_everybody_are_thinned_out_for_the_slow_ones_only() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    for content in ["1", "2", "3"] {
        world.says(bob, relayed("", CAMERA, content));
    }
    assert_eq!((world.hears(alice), world.hears(bob).len()), (vec!["1".into()], 3));
    world.reads_again(alice);
    assert_eq!(world.hears(alice), ["3"]);
}

#[test]
fn pictures_beyond_the_byte_limit_are_dropped_and_close_nobody() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        crate::harness::narrows(config, 2048);
    });
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.stops_reading(alice);
    world.says(bob, picture(SCREEN, &"b".repeat(900)));
    world.says(bob, picture(SCREEN, &"B".repeat(900)));
    world.says(carol, picture(SCREEN, &"c".repeat(900)));
    assert_eq!((world.closed(alice), world.stats().pushes_dropped_full), (None, 1));
    world.says(bob, picture(SCREEN, &"X".repeat(901)));
    assert_eq!(world.stats().pushes_dropped_superseded, 1, "the room of the one it replaces is its own");
}

#[test]
fn pictures_of_too_many_senders_are_dropped() {
    let mut world = World::with(|config| config.limits.streams_per_connection = 1);
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.stops_reading(alice);
    world.says(bob, picture(SCREEN, "bob"));
    world.says(carol, picture(SCREEN, "carol"));
    assert_eq!((world.hears(alice), world.stats().pushes_dropped_full), (vec!["bob".into()], 1));
    world.flushes(alice, 1);
    world.says(carol, picture(SCREEN, "carol"));
    assert_eq!(world.hears(alice), ["carol"], "there is room again");
}

#[test]
fn a_picture_that_waits_when_its_reader_goes_is_counted() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    world.says(bob, picture(SCREEN, "1"));
    world.says(bob, picture(SCREEN, "2"));
    world.leaves(alice);
    assert_eq!(world.stats().pushes_dropped_closed, 2, "one on its way, one held");
    assert_eq!(world.stats().pushes, world.stats().pushes_flushed + 2);
}

#[test]
fn a_picture_that_waits_when_its_reader_is_closed_is_never_sent() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    world.says(bob, picture(SCREEN, "1"));
    world.says(bob, picture(SCREEN, "2"));
    world.sends(alice, &b"\xff"[..]);
    assert_eq!(world.server().gauges().held, 0);
    world.reads_again(alice);
    assert_eq!(world.hears(alice), ["1"]);
    assert_eq!(world.stats().pushes_dropped_closed, 1);
}

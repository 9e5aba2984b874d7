//! Signals of calls whose front-end leaves out the recipient.

use bytes::Bytes;
use switchboard_engine::{Event, Record, Topic};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    harness::{World, secs, signal},
    store::user,
};

const SDP: i32 = 0;
const DIAL: i32 = 10;
const NOBODY: [&str; 0] = [];

#[test]
fn the_callees_signals_without_a_recipient_go_to_the_caller_and_to_nobody_else() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.says(alice, signal("bob", SDP, "offer"));
    assert_eq!(world.hears(bob), ["offer"]);
    world.says(bob, signal("", SDP, "answer"));
    world.says(alice, signal("bob", SDP, "ice"));
    world.says(bob, signal("", SDP, "ice too"));
    assert_eq!(world.hears(alice), ["answer", "ice too"]);
    assert_eq!((world.hears(bob), world.hears(carol)), (vec!["ice".into()], vec![]));
}

#[test]
fn who_is_in_no_call_reaches_nobody_without_a_recipient() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, signal("", SDP, "offer"));
    world.says(alice, Message { r#type: String::new(), ..signal("", SDP, "offer") });
    world.says(alice, signal("", DIAL, "dial"));
    assert_eq!((world.hears(alice), world.hears(bob)), (vec![], vec![]));
    assert_eq!(world.stats().refused_no_call, 3);
}

#[test]
fn a_third_partys_ringing_cannot_take_over_an_active_call() {
    let mut world = World::new();
    let (alice, bob, mallory) = (world.arrives("alice"), world.arrives("bob"), world.arrives("mallory"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.says(bob, signal("alice", DIAL + 1, "accept"));
    world.says(mallory, signal("bob", DIAL, "me too"));
    world.says(mallory, signal("alice", SDP, "me too"));
    world.hears(alice);
    world.says(bob, signal("", SDP, "secret"));
    world.says(alice, signal("", SDP, "secret too"));
    assert_eq!(world.hears(alice), ["secret"]);
    assert_eq!(world.hears(bob), ["dial", "me too", "secret too"]);
    assert_eq!(world.hears(mallory), NOBODY);
}

#[test]
fn a_third_partys_ringing_cannot_take_over_a_call_that_is_still_dialled() {
    let mut world = World::new();
    let (alice, bob, mallory) = (world.arrives("alice"), world.arrives("bob"), world.arrives("mallory"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.says(mallory, signal("alice", DIAL, "me first"));
    world.says(alice, signal("", SDP, "offer"));
    assert_eq!(world.hears(bob), ["dial", "offer"]);
    assert_eq!(world.hears(mallory), NOBODY);
}

#[test]
fn of_two_who_ring_the_later_is_answered() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.says(carol, signal("bob", DIAL, "dial"));
    world.says(bob, signal("", SDP, "answer"));
    assert_eq!((world.hears(alice), world.hears(carol)), (vec![], vec!["answer".into()]));
}

#[test]
fn cancelling_and_rejecting_end_a_call_from_either_side() {
    for content_type in [13, 14, 17, 18] {
        for ender in 0..2 {
            let mut world = World::new();
            let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
            world.says(alice, signal("bob", DIAL, "dial"));
            match ender {
                0 => world.says(alice, signal("bob", content_type, "end")),
                _ => world.says(bob, signal("alice", content_type, "end")),
            }
            world.hears(alice);
            world.hears(bob);
            world.says(bob, signal("", SDP, "late"));
            world.says(alice, signal("", SDP, "late"));
            assert_eq!(world.hears(alice), NOBODY, "contentType {content_type} from {ender}");
            assert_eq!(world.hears(bob), NOBODY, "contentType {content_type} from {ender}");
        }
    }
}

#[test]
fn a_third_party_cannot_end_a_call() {
    let mut world = World::new();
    let (alice, bob, mallory) = (world.arrives("alice"), world.arrives("bob"), world.arrives("mallory"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.says(mallory, signal("bob", 13, "cancel"));
    world.says(mallory, Message { from: "alice".into(), ..signal("bob", 13, "cancel") });
    world.says(bob, signal("", SDP, "answer"));
    assert_eq!(world.hears(alice), ["answer"]);
}

#[test]
fn ringing_ends_after_the_ring_time_out_and_a_call_does_not() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.passes(secs(60));
    world.says(bob, signal("", SDP, "in time"));
    assert_eq!(world.hears(alice), ["in time"]);

    world.says(alice, signal("bob", 13, "cancel"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.passes(secs(61));
    world.says(bob, signal("", SDP, "too late"));
    assert_eq!(world.hears(alice), NOBODY);

    world.says(alice, signal("bob", DIAL, "dial"));
    world.says(bob, signal("alice", DIAL + 1, "accept"));
    world.passes(secs(600));
    world.says(bob, signal("", SDP, "still talking"));
    assert_eq!(world.hears(alice), ["accept", "still talking"]);
}

#[test]
fn a_call_ends_with_the_connection_of_the_user() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, signal("bob", DIAL, "dial"));
    world.leaves(bob);
    let bob = world.arrives("bob");
    world.says(bob, signal("", SDP, "from an earlier life"));
    assert_eq!(world.hears(alice), NOBODY);
}

#[test]
fn a_call_with_somebody_at_another_engine_goes_both_ways_over_the_bus() {
    let mut world = World::with(|config| config.peers = true);
    let bob = world.arrives("bob");
    let offer = Message { from: "alice".into(), ..signal("bob", SDP, "offer") };
    let message: Bytes = offer.encode_to_vec().into();
    world.happens(Event::Published(Record { topic: Topic::User(user("bob")), stored: None, message }));
    assert_eq!(world.hears(bob), ["offer"]);
    world.says(bob, signal("", SDP, "answer"));
    assert_eq!(world.published.len(), 1);
    assert_eq!((&world.published[0].topic, world.published[0].stored), (&Topic::User(user("alice")), None));
}

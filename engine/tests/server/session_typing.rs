//! Who is typing: told while it matters, and to nobody who has something better to read.

use switchboard_engine::{Event, Note, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, NotedTyping, Typing, client_frame::Body, note},
};

use crate::{
    harness::{World, narrows},
    session_words::{conversation, typing},
    store::{group, user},
};

const NOTHING: [&str; 0] = [];

#[test]
fn bob_sees_that_alice_types_and_that_she_has_stopped() {
    let mut world = World::new();
    let (phone, laptop, bob) = (world.signs_in("alice"), world.signs_in("alice"), world.signs_in("bob"));
    let (classic, asked) = (world.arrives("bob"), world.store.asked);
    world.frame(phone, typing("bob", true));
    world.frame(phone, typing("bob", false));
    assert_eq!(world.sees(bob), ["alice: alice types", "alice: alice stops"]);
    for conn in [phone, laptop, classic] {
        assert_eq!(world.frames(conn), []);
    }
    assert_eq!((world.store.asked, world.stats().typing), (asked, 2), "nothing is stored");
}

#[test]
fn a_group_sees_which_member_types() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob", "carol"]);
    let (phone, laptop, bob) = (world.signs_in("alice"), world.signs_in("alice"), world.signs_in("bob"));
    let (carol, dave) = (world.signs_in("carol"), world.signs_in("dave"));
    world.frame(phone, typing("#crew", true));
    for conn in [bob, carol] {
        assert_eq!(world.sees(conn), ["#crew: alice types"]);
    }
    for conn in [phone, laptop, dave] {
        assert_eq!(world.frames(conn), []);
    }
}

#[test]
fn only_a_member_is_seen_typing_in_a_group_and_nobody_as_somebody_else() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (bob, mallory) = (world.signs_in("bob"), world.signs_in("mallory"));
    world.frame(mallory, typing("#crew", true));
    world.frame(mallory, typing("#nowhere", true));
    world.frame(mallory, typing("", true));
    world.frame(mallory, Body::Typing(Typing { conversation: None, typing: true, user: "alice".into() }));
    assert_eq!((world.sees(bob), world.stats().refused_typing), (vec![], 4));
    assert_eq!(world.closed(mallory), None);
    let forged = Typing { conversation: Some(conversation("bob")), typing: true, user: "alice".into() };
    world.frame(mallory, Body::Typing(forged));
    assert_eq!(world.sees(bob), ["mallory: mallory types"]);
}

#[test]
fn who_types_to_oneself_is_told_nothing() {
    let mut world = World::new();
    let (phone, laptop) = (world.signs_in("alice"), world.signs_in("alice"));
    world.frame(phone, typing("alice", true));
    assert_eq!((world.sees(phone), world.sees(laptop)), (vec![], vec![]));
}

#[test]
fn a_slow_reader_is_not_told_and_does_not_lag_for_it() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        narrows(config, 2048);
    });
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.stops_reading(bob);
    (0..40).for_each(|_| world.frame(alice, typing("bob", true)));
    let told = world.sees(bob).len() as u64;
    assert_eq!(world.stats().pushes_dropped_typing, 40 - told);
    assert!(told < 10 && world.server().gauges().lagging == 0, "{told}");
    world.submits(alice, 1, "bob", "there is room for what matters");
    assert_eq!(world.sees(bob).len(), 1);
    (2..=9).for_each(|id| world.submits(alice, id, "bob", &"x".repeat(400)));
    assert_eq!(world.server().gauges().lagging, 1);
    let dropped = world.stats().pushes_dropped_typing;
    world.frame(alice, typing("bob", true));
    assert_eq!(world.stats().pushes_dropped_typing, dropped + 1);
}

#[test]
fn other_engines_are_told_and_tell_it_to_theirs() {
    let mut there = World::with(|config| config.peers = true);
    there.found("crew", &["alice"]);
    let alice = there.signs_in("alice");
    there.frame(alice, typing("bob", true));
    there.frame(alice, typing("#crew", false));
    let mut here = World::with(|config| config.peers = true);
    here.found("crew", &["alice", "bob"]);
    let (alice, bob) = (here.signs_in("alice"), here.signs_in("bob"));
    there.told.into_iter().for_each(|note| here.happens(Event::Told(note)));
    assert_eq!(here.sees(bob), ["alice: alice types", "#crew: alice stops"]);
    assert_eq!(here.sees(alice), NOTHING);
}

#[test]
fn notes_about_typing_that_cannot_be_are_counted_and_told_to_nobody() {
    let mut world = World::with(|config| config.peers = true);
    world.found("crew", &["alice", "bob"]);
    let bob = world.signs_in("bob");
    let noted = |topic: Topic, to: Option<&str>, user: &str| {
        let noted = NotedTyping { conversation: to.map(conversation), typing: true, user: user.into() };
        let note = v1::Note { body: Some(note::Body::Typing(noted)) }.encode_to_vec().into();
        Event::Told(Note { topic, note })
    };
    let wrong = [
        noted(Topic::User(user("bob")), Some("carol"), "alice"),
        noted(Topic::User(user("bob")), Some("#crew"), "alice"),
        noted(Topic::Group(group("crew")), Some("bob"), "alice"),
        noted(Topic::Everyone, Some("bob"), "alice"),
        noted(Topic::User(user("bob")), None, "alice"),
        noted(Topic::User(user("bob")), Some("bob"), ""),
    ];
    let count = wrong.len() as u64;
    wrong.into_iter().for_each(|event| world.happens(event));
    assert_eq!((world.sees(bob), world.stats().notes_undecodable), (vec![], count));
}

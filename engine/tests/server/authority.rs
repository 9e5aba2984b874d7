//! What those who run the server do: connections are closed whose right has ended, and something is said as the server.

use switchboard_engine::{Audience, CloseReason, ConnId, Event, Protocol, Revocation, SYSTEM, Whose};

use crate::{
    harness::{World, narrows, secs, text},
    session_words::{hello, submit},
    store::user,
};

const NOTHING: [&str; 0] = [];

fn revokes(world: &mut World, whose: Whose, why: Revocation) {
    world.happens(Event::Revoked { whose, why });
}

fn says(world: &mut World, to: Audience, text: &str) {
    world.happens(Event::Announced { to, text: text.into() });
}

#[test]
fn a_login_that_ends_takes_its_connection_and_no_other() {
    let mut world = World::new();
    let (phone, laptop, bob) = (world.arrives("alice"), world.arrives("alice"), world.arrives("bob"));
    revokes(&mut world, Whose::Connection(phone), Revocation::SignedOut);
    assert_eq!(world.closed(phone), Some(CloseReason::SignedOut));
    assert_eq!((world.closed(laptop), world.closed(bob)), (None, None));
    assert_eq!((CloseReason::SignedOut.code(), world.stats().revoked), (4004, 1));
    world.says(bob, text("alice", "still there?"));
    assert_eq!(world.hears(laptop), ["still there?"]);
}

#[test]
fn a_ban_takes_all_connections_of_a_user_whatever_they_speak_and_however_far_they_are() {
    let mut world = World::new();
    let (classic, session, alice) = (world.arrives("bob"), world.signs_in("bob"), world.arrives("alice"));
    let silent = world.next_conn();
    world.opens("bob", silent, Protocol::Session);
    revokes(&mut world, Whose::User(user("bob")), Revocation::Banned);
    for conn in [classic, session, silent] {
        assert_eq!(world.closed(conn), Some(CloseReason::Banned));
    }
    assert_eq!(world.closed(alice), None);
    assert_eq!((CloseReason::Banned.code(), world.stats().revoked), (4005, 3));
    assert_eq!(world.sees(session), ["goodbye, 4294967295 ms"], "not to come back");
}

#[test]
fn who_waits_for_the_store_is_closed_too() {
    let mut world = World::new();
    world.store_holds();
    let bob = world.connects("bob");
    revokes(&mut world, Whose::User(user("bob")), Revocation::Banned);
    assert_eq!(world.closed(bob), Some(CloseReason::Banned));
    world.store_resumes();
    assert_eq!(world.frames(bob), []);
}

#[test]
fn what_was_said_before_is_stored_and_delivered() {
    let mut world = World::new();
    let (alice, bob, carol) = (world.arrives("alice"), world.signs_in("bob"), world.arrives("carol"));
    world.store_holds();
    world.says(alice, text("carol", "one"));
    world.frame(bob, submit(1, "carol", "two"));
    revokes(&mut world, Whose::User(user("alice")), Revocation::Banned);
    revokes(&mut world, Whose::User(user("bob")), Revocation::SignedOut);
    world.store_resumes();
    assert_eq!(world.hears(carol), ["one", "two"]);
}

#[test]
fn nothing_that_comes_later_is_heard() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    revokes(&mut world, Whose::Connection(alice), Revocation::SignedOut);
    let stale = world.stats().stale_events;
    world.says(alice, text("bob", "I am still here"));
    assert_eq!((world.hears(bob), world.stats().stale_events), (vec![], stale + 1));
    // Closing it again changes nothing, and the peer has its time to read the close frame.
    revokes(&mut world, Whose::Connection(alice), Revocation::Banned);
    revokes(&mut world, Whose::User(user("alice")), Revocation::Banned);
    assert_eq!((world.closed(alice), world.aborted(alice)), (Some(CloseReason::SignedOut), false));
    world.passes(secs(100));
    assert!(world.aborted(alice));
    assert_eq!(world.stats().revoked, 1);
}

#[test]
fn a_late_word_about_an_old_connection_does_not_touch_its_successor() {
    let mut world = World::new();
    let (old, new) = (ConnId::new(9, 1), ConnId::new(9, 2));
    world.connects_as("alice", old);
    world.leaves(old);
    world.connects_as("bob", new);
    let stale = world.stats().stale_events;
    revokes(&mut world, Whose::Connection(old), Revocation::SignedOut);
    revokes(&mut world, Whose::User(user("alice")), Revocation::Banned);
    assert_eq!((world.closed(new), world.stats().revoked), (None, 0));
    assert_eq!(world.stats().stale_events, stale + 1);
}

#[test]
fn whom_an_administrator_has_closed_may_come_back() {
    let mut world = World::new();
    let bob = world.signs_in("bob");
    revokes(&mut world, Whose::User(user("bob")), Revocation::Administrator);
    assert_eq!(world.closed(bob), Some(CloseReason::Administrator));
    assert_eq!(CloseReason::Administrator.code(), 4006);
    assert_eq!(world.sees(bob), ["goodbye, 1000 ms"]);
    world.signs_in("bob");
}

#[test]
fn the_server_speaks_to_all_devices_of_one_user_in_the_words_of_each() {
    let mut world = World::new();
    let (classic, session, alice) = (world.arrives("bob"), world.signs_in("bob"), world.arrives("alice"));
    says(&mut world, Audience::User(user("bob")), "mind the gap");
    let heard = world.reads(classic);
    let [notice] = &heard[..] else { panic!("one message, not {heard:?}") };
    assert_eq!((notice.from.as_str(), notice.to.as_str()), (SYSTEM, "bob"));
    assert_eq!((notice.content.as_str(), notice.content_type, notice.message_type), ("mind the gap", 1, 1));
    assert_eq!(world.sees(session), ["the server says: mind the gap"]);
    assert_eq!((world.frames(alice), world.stats().announced), (vec![], 1));
    assert_eq!(world.store.log.len(), 0, "it is stored nowhere");
}

#[test]
fn the_server_speaks_to_everybody_who_is_welcomed_and_passes_nothing_on() {
    let mut world = World::with(|config| config.peers = true);
    let (alice, bob) = (world.arrives("alice"), world.signs_in("bob"));
    let greeting = world.next_conn();
    world.opens("carol", greeting, Protocol::Session);
    world.store_holds();
    let loading = world.connects("dave");
    says(&mut world, Audience::Everyone, "we close at ten");
    assert_eq!(world.hears(alice), ["we close at ten"]);
    assert_eq!(world.sees(bob), ["the server says: we close at ten"]);
    assert_eq!((world.frames(greeting), world.frames(loading)), (vec![], vec![]));
    assert_eq!((world.published.len(), world.told.len()), (0, 0));
    // Who comes later has missed it.
    world.store_resumes();
    world.frame(greeting, hello(&[]));
    assert_eq!(world.sees(greeting), ["welcome carol", "heads ."]);
}

#[test]
fn nobody_is_told_what_the_server_says_to_somebody_who_is_not_there() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    says(&mut world, Audience::User(user("bob")), "hello?");
    assert_eq!((world.hears(alice), world.stats().announced), (NOTHING.map(String::from).to_vec(), 1));
}

#[test]
fn who_reads_slowly_misses_it_as_a_session_and_is_closed_as_a_classic_client() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        narrows(config, 4096);
    });
    let (classic, session) = (world.arrives("alice"), world.signs_in("bob"));
    world.stops_reading(classic);
    world.stops_reading(session);
    says(&mut world, Audience::Everyone, &"x".repeat(3_000));
    says(&mut world, Audience::Everyone, &"y".repeat(3_000));
    assert_eq!((world.closed(classic), world.closed(session)), (Some(CloseReason::SlowReader), None));
    assert_eq!(world.stats().pushes_dropped_full, 2);
    world.reads_again(session);
    assert_eq!(world.sees(session), [format!("the server says: {}", "x".repeat(3_000))]);
}

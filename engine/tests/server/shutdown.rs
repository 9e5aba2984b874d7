//! Stopping: everybody is told, what was accepted is settled, and then the server says so.

use switchboard_engine::{Answer, CloseReason, Event};

use crate::harness::{World, group_text, secs, shout, text, upload};

#[test]
fn everybody_is_told_to_go_away() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    let loading = world.connects("carol");
    world.happens(Event::Shutdown);
    for conn in [alice, bob, loading] {
        assert_eq!(world.closed(conn), Some(CloseReason::GoingAway));
    }
    assert_eq!(CloseReason::GoingAway.code(), 1001);
    assert!(world.stopped());
}

#[test]
fn a_server_without_connections_stops_at_once_and_says_so_once() {
    let mut world = World::new();
    world.happens(Event::Shutdown);
    assert!(world.stopped());
    // The driver of the tests allows no action after the last one.
    world.happens(Event::Shutdown);
    world.passes(secs(100));
}

#[test]
fn it_is_stopped_when_the_last_connection_is_gone_and_not_before() {
    let mut world = World::new();
    let slow = world.arrives("alice");
    world.stops_reading(slow);
    world.happens(Event::Shutdown);
    assert!(!world.stopped());
    world.passes(secs(4));
    assert!(!world.stopped());
    world.passes(secs(1));
    assert!(world.aborted(slow) && world.stopped());
}

#[test]
fn what_was_accepted_is_stored_and_published_before_it_is_stopped() {
    let mut world = World::with(|config| config.peers = true);
    world.found("crew", &["alice"]);
    let alice = world.arrives("alice");
    world.store_holds();
    world.says(alice, text("bob", "one"));
    world.says(alice, upload("bob", "two", "png"));
    world.says(alice, group_text("crew", "three"));
    world.happens(Event::Shutdown);
    assert!(!world.stopped());
    world.store_answers(0);
    world.store_answers(0);
    assert!(!world.stopped(), "the file is kept, its message and the next are not");
    world.store_resumes();
    assert_eq!(world.store.texts(), ["one", "two", "three"]);
    assert_eq!(world.published.len(), 5, "those for bob also for alice's other devices");
    assert!(world.stopped());
}

#[test]
fn what_was_accepted_is_delivered_before_anybody_is_closed() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    world.says(alice, text("bob", "one"));
    world.says(alice, text("bob", "two"));
    world.happens(Event::Shutdown);
    world.says(alice, text("bob", "too late"));
    assert_eq!((world.closed(alice), world.closed(bob)), (None, None));
    assert_eq!(world.stats().refused_stopping, 1);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["one", "two"]);
    assert_eq!(world.closed(bob), Some(CloseReason::GoingAway));
    assert!(world.stopped());
}

#[test]
fn what_came_before_its_user_was_loaded_is_delivered_before_anybody_is_closed() {
    let mut world = World::new();
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.says(alice, text("bob", "one"));
    world.happens(Event::Shutdown);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["one"]);
    assert!(world.stopped());
}

#[test]
fn a_silent_store_does_not_keep_anybody_from_being_told() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    world.store_holds();
    world.says(alice, text("bob", "one"));
    world.happens(Event::Shutdown);
    world.passes(secs(4));
    assert_eq!(world.closed(alice), None);
    world.passes(secs(1));
    assert_eq!(world.closed(alice), Some(CloseReason::GoingAway));
}

#[test]
fn a_store_that_fails_or_is_silent_does_not_keep_it_from_stopping() {
    for answer in [Some(Answer::Failed), None] {
        let mut world = World::new();
        let alice = world.arrives("alice");
        world.store_holds();
        world.says(alice, text("bob", "one"));
        world.happens(Event::Shutdown);
        assert!(!world.stopped());
        match answer {
            Some(answer) => world.store_says(0, answer),
            None => world.passes(secs(10)),
        }
        assert!(world.stopped());
    }
}

#[test]
fn who_connects_meanwhile_is_told_to_go_away_and_nothing_is_asked_about_them() {
    let mut world = World::with(|config| config.peers = true);
    let slow = world.arrives("alice");
    world.stops_reading(slow);
    world.happens(Event::Shutdown);
    let asked = world.store.asked;
    let late = world.connects("bob");
    assert_eq!(world.closed(late), Some(CloseReason::GoingAway));
    assert_eq!(world.frames(late), []);
    assert_eq!(world.store.asked, asked);
    assert_eq!(world.subscriptions(), [""; 0]);
}

#[test]
fn nothing_is_routed_any_more() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.stops_reading(alice);
    world.stops_reading(bob);
    world.happens(Event::Shutdown);
    world.says(alice, shout("anybody?"));
    world.says(alice, text("bob", "anybody?"));
    assert_eq!((world.frames(alice), world.frames(bob), world.store.log.len()), (vec![], vec![], 0));
}
